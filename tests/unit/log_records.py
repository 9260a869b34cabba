"""Records of a change log, shaped as Debezium sends them, and a client that reads them without a broker."""

import json
import time
from typing import Any

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


class Record:
    def __init__(self, offset: int, value: dict[str, Any], headers: list[tuple[str, bytes]] | None = None) -> None:
        self._offset, self._value, self._headers = offset, json.dumps(value).encode(), headers

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self._headers


class Log:
    """Builds a log record by record; `gtid(n)` is the n-th transaction of one server."""

    def __init__(self, database: str = "shop", *, with_gtids: bool = True) -> None:
        self.records: list[Record] = []
        self._database = database
        self._with_gtids = with_gtids

    def add(self, value: dict[str, Any], headers: list[tuple[str, bytes]] | None = None) -> None:
        self.records.append(Record(len(self.records), value, headers))

    def begin(self, n: int) -> None:
        self.add({"status": "BEGIN", "id": self._id(n), "event_count": None, "data_collections": None, "ts_ms": 1})

    def end(self, n: int, count: int, *, ts_ms: int = 1) -> None:
        self.add({"status": "END", "id": self._id(n), "event_count": count, "data_collections": [], "ts_ms": ts_ms})

    def heartbeat(self) -> None:
        self.add({"ts_ms": 1_700_000_000_000 + len(self.records)})

    def row(
        self,
        n: int,
        op: str,
        table: str,
        *,
        before: dict | None = None,
        after: dict | None = None,
        order: int = 1,
        row: int = 0,
        pos: int | None = None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        self.add(
            {
                "op": op,
                "before": before,
                "after": after,
                "source": self.source(n, table, row=row) | ({} if pos is None else {"pos": pos}),
                "transaction": {"id": self._id(n), "total_order": order, "data_collection_order": order},
                "ts_ms": 1,
            },
            headers,
        )

    def truncate(self, n: int, table: str) -> None:
        self.add({"op": "t", "before": None, "after": None, "source": self.source(n, table), "transaction": None})

    def ddl(
        self,
        n: int,
        table: str,
        columns: list[dict],
        *,
        kind: str = "ALTER",
        text: str = "alter table",
        snapshot: str | None = None,
        key: list[str] | None = None,
    ) -> None:
        source = self.source(n, table) | {"snapshot": snapshot}
        self.add(
            {
                "source": source,
                "databaseName": self._database,
                "ddl": text,
                "ts_ms": 1,
                "tableChanges": [
                    {
                        "type": kind,
                        "id": f'"{self._database}"."{table}"',
                        "table": {"columns": columns, "primaryKeyColumnNames": ["id"] if key is None else key},
                    }
                ],
            }
        )

    def transaction(self, n: int, *changes: tuple) -> None:
        """A whole transaction: changes are (op, table, before, after)."""
        self.begin(n)
        for order, (op, table, before, after) in enumerate(changes, 1):
            self.row(n, op, table, before=before, after=after, order=order, row=order - 1)
        self.end(n, len(changes))

    def _id(self, n: int) -> str:
        return gtid(n) if self._with_gtids else f"file=binlog.000001,pos={n * 1000 - 100}"

    def source(self, n: int, table: str, row: int = 0) -> dict[str, Any]:
        return {
            "db": self._database,
            "table": table,
            "gtid": gtid(n) if self._with_gtids else None,
            "file": "binlog.000001",
            "pos": n * 1000,
            "row": row,
            "ts_ms": n * 1000,
            "snapshot": None,
        }


class FakeClient:
    """Hands the records out in small batches, as LogClient does. `marks` offsets behind the last one hold no record."""

    def __init__(self, records: list[Record], batch: int = 3, marks: int = 0) -> None:
        self._records, self._batch = list(records), batch
        self.last_error = ""
        self.end: int | None = None
        self._marks = marks
        self._last = records[-1].offset() + 1 if records else 0
        self._empty_since: float | None = None
        self.idle_s = 0.0
        """For how long the reader has asked, and there was nothing more."""

    def end_offset(self) -> int | None:
        return None

    def publish(self, offset: int) -> None:
        pass

    def read(self, wait_s: float, most: int = 5000) -> list[Record]:
        out, self._records = self._records[: self._batch], self._records[self._batch :]
        if not self._records:
            self.end = self._last + self._marks
        if not out:
            time.sleep(0.005)
            self._empty_since = self._empty_since or time.monotonic()
            self.idle_s = time.monotonic() - self._empty_since
        return out


def gtid(n: int) -> str:
    return f"{UUID}:{n}"
