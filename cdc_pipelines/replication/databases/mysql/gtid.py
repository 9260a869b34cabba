"""Sets of global transaction ids: MySQL's `uuid[:tag]:1-5:7`, MariaDB's `domain-server-sequence`."""

from bisect import bisect_right
from typing import Protocol, Self

from cdc_pipelines.replication.errors import IntegrityError


class GtidSet(Protocol):
    """What both servers' sets can do."""

    def __contains__(self, gtid: str) -> bool: ...
    def add(self, gtid: str) -> None: ...
    def includes(self, other: Self) -> bool: ...
    def copy(self) -> Self: ...


class MySqlGtidSet:
    """Intervals per server uuid (and tag); adding the next id of a server is O(1).

    `in_order` names the server whose own log is read: it numbers its transactions in the order of its log, so that
    an id of it that is added stands for all before it. Else transactions that the log leaves out (those of other
    databases' DDL) would leave holes, and the set would grow for ever.
    """

    def __init__(self, text: str = "", in_order: str = "") -> None:
        self._in_order = in_order.lower()
        # uuid → flat sorted bounds [start, end, start, end, …], both inclusive
        self._bounds: dict[str, list[int]] = {}
        for part in text.replace("\n", "").replace(" ", "").split(","):
            if not part:
                continue
            source = ""
            uuid, *rest = part.lower().split(":")
            source = uuid
            for item in rest:
                if not item[:1].isdigit():  # a tag (MySQL 8.3+) starts a set of its own
                    source = f"{uuid}:{item}"
                    continue
                start, _, end = item.partition("-")
                self._insert(source, int(start), int(end or start))

    def _insert(self, source: str, start: int, end: int) -> None:
        bounds = self._bounds.setdefault(source, [])
        if bounds and bounds[-1] + 1 == start:
            bounds[-1] = end
            return
        pairs = sorted([*zip(bounds[::2], bounds[1::2], strict=True), (start, end)])
        merged: list[int] = []
        for low, high in pairs:
            if merged and low <= merged[-1] + 1:
                merged[-1] = max(merged[-1], high)
            else:
                merged += [low, high]
        self._bounds[source] = merged

    @staticmethod
    def _split(gtid: str) -> tuple[str, int]:
        source, _, number = gtid.lower().rpartition(":")
        try:
            return source, int(number)
        except ValueError:
            raise IntegrityError(f"{gtid!r} is not a MySQL GTID (uuid:number)") from None

    def __contains__(self, gtid: str) -> bool:
        source, number = self._split(gtid)
        return self._has(source, number, number)

    def _has(self, source: str, start: int, end: int) -> bool:
        bounds = self._bounds.get(source)
        if not bounds:
            return False
        # The last interval that starts at or before `start`
        at = bisect_right(bounds[::2], start) - 1 if len(bounds) > 2 else (0 if bounds[0] <= start else -1)
        return at >= 0 and end <= bounds[2 * at + 1]

    def add(self, gtid: str) -> None:
        source, number = self._split(gtid)
        if self._has(source, number, number):
            return
        bounds = self._bounds.get(source)
        start = bounds[-1] + 1 if bounds and source == self._in_order and bounds[-1] < number else number
        self._insert(source, start, number)

    def includes(self, other: "MySqlGtidSet") -> bool:
        return all(
            self._has(source, start, end)
            for source, bounds in other._bounds.items()
            for start, end in zip(bounds[::2], bounds[1::2], strict=True)
        )

    def copy(self) -> "MySqlGtidSet":
        twin = MySqlGtidSet(in_order=self._in_order)
        twin._bounds = {source: list(bounds) for source, bounds in self._bounds.items()}
        return twin

    def highest(self, source: str) -> int:
        """The highest number of a server (`uuid` or `uuid:tag`), 0 if there is none."""
        return self._bounds.get(source, [0])[-1]

    def filled(self) -> "MySqlGtidSet":
        """The set with every gap below each server's highest number filled."""
        twin = MySqlGtidSet(in_order=self._in_order)
        twin._bounds = {source: [1, bounds[-1]] for source, bounds in self._bounds.items()}
        return twin

    def __str__(self) -> str:
        return ",".join(
            source + "".join(
                f":{start}" if start == end else f":{start}-{end}"
                for start, end in zip(bounds[::2], bounds[1::2], strict=True)
            )
            for source, bounds in sorted(self._bounds.items())
        )


class MariaDbGtidSet:
    """The highest sequence per domain, which is all that MariaDB itself keeps of a position."""

    def __init__(self, text: str = "") -> None:
        self._last: dict[int, tuple[int, int]] = {}  # domain → (sequence, server)
        for part in text.replace(" ", "").split(","):
            if part:
                self.add(part)

    @staticmethod
    def _split(gtid: str) -> tuple[int, int, int]:
        try:
            domain, server, sequence = gtid.split("-")
            return int(domain), int(server), int(sequence)
        except ValueError:
            raise IntegrityError(f"{gtid!r} is not a MariaDB GTID (domain-server-sequence)") from None

    def __contains__(self, gtid: str) -> bool:
        domain, _, sequence = self._split(gtid)
        return domain in self._last and sequence <= self._last[domain][0]

    def add(self, gtid: str) -> None:
        domain, server, sequence = self._split(gtid)
        if domain not in self._last or sequence > self._last[domain][0]:
            self._last[domain] = (sequence, server)

    def includes(self, other: "MariaDbGtidSet") -> bool:
        return all(
            domain in self._last and sequence <= self._last[domain][0]
            for domain, (sequence, _) in other._last.items()
        )

    def copy(self) -> "MariaDbGtidSet":
        twin = MariaDbGtidSet()
        twin._last = dict(self._last)
        return twin

    def __str__(self) -> str:
        return ",".join(f"{domain}-{server}-{sequence}" for domain, (sequence, server) in sorted(self._last.items()))
