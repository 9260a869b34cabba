"""Positions in a MySQL or MariaDB binary log."""

from functools import cached_property
from typing import Any

import msgspec

from cdc_pipelines.replication.databases.mysql.gtid import MariaDbGtidSet, MySqlGtidSet
from cdc_pipelines.replication.position import Place, log_file_number


class MySqlPosition(msgspec.Struct, frozen=True, dict=True):
    """Everything in the binary log up to `file`:`pos`, which is the GTID set `gtids` where the server has GTIDs.

    `server` is the server's identity (MySQL's @@server_uuid). `flavor` is `mysql` or `mariadb`.
    Not `exact`: `gtids` says how far, and `file`:`pos` only where an event at or before that begins. So are positions
    that were applied from the change log, which does not tell where a transaction ends. `within`: the GTID of the
    transaction that this event is of, where it is not among `gtids` as rows of it may follow (MariaDB's CREATE TABLE).
    """

    file: str
    pos: int
    gtids: str = ""
    server: str = ""
    flavor: str = "mysql"
    exact: bool = True
    begin: int = 0
    within: str = ""

    @cached_property
    def gtid_set(self) -> MySqlGtidSet | MariaDbGtidSet:
        return MySqlGtidSet(self.gtids, self.server) if self.flavor == "mysql" else MariaDbGtidSet(self.gtids)

    @property
    def log_place(self) -> str:
        """`file:pos`, for people."""
        return f"{self.file}:{self.pos}"

    def covers(self, place: Place) -> bool:
        """Whether the event is at or before this position: by GTID where both have one, else by file and offset.

        By file and offset: a snapshot's position is where the last transaction ended, an applied one is where the
        last rows event started. Both servers write an event of their own before a transaction's rows, so no rows
        event of a later transaction starts exactly there: `<=` is right for both.
        """
        if place.gtid and self.gtids:
            return place.gtid in self.gtid_set
        return (log_file_number(place.file), place.pos) <= (log_file_number(self.file), self.pos)

    def includes(self, other: "MySqlPosition") -> bool:
        """Whether everything up to `other` is at or before this position."""
        if self.gtids and other.gtids:
            return self.gtid_set.includes(other.gtid_set)  # type: ignore[arg-type]
        return (log_file_number(other.file), other.pos) <= (log_file_number(self.file), self.pos)

    def has_read(self, position: "MySqlPosition") -> bool:
        """Whether a connector that has committed this offset has read all up to `position`, which is exact.

        Debezium takes a transaction's GTID into its offset when the next one begins. Behind a last transaction that is
        not ours (DDL of another database) its GTIDs stay one short for as long as the source is idle, but its place is
        the log's end: outside of transactions it is where the last one ended, inside where the open one began.
        """
        if self.includes(position):
            return True
        ours, theirs = log_file_number(self.file), log_file_number(position.file)
        return ours == theirs and self.pos >= position.pos

    def connect_offset(self) -> dict[str, Any]:
        """The offset that makes Debezium start right here. No other keys: `ts_sec` would fake progress."""
        offset: dict[str, Any] = {"file": self.file, "pos": self.begin or self.pos}
        if self.gtids:
            offset["gtids"] = self.gtids
        return offset

    @classmethod
    def from_connect_offset(cls, offset: dict[str, Any], like: "MySqlPosition") -> "MySqlPosition":
        """The position that a connector has committed, on the server that `like` is of.

        Never exact: Debezium may stand inside a transaction, and after it connected at a file's begin (pos 4).
        """
        gtids = str(offset.get("gtids") or "").replace("\n", "")
        file, pos = str(offset.get("file") or like.file), int(offset.get("pos") or 0)
        return cls(file, pos, gtids, like.server, like.flavor, exact=False)

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "MySqlPosition":
        return msgspec.json.decode(text, type=cls)
