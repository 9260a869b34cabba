"""Verification against the copy of the same table, in turn; then under load, with differences planted on the target.

    python -m benchmarks.verify [--rows 2000000] [--rounds 3] [--rate 2000]

Exit code 1 where the comparison under load told a difference that is none, or missed one that was planted.
"""

import argparse
import logging
import sys
import threading
import time

import pymysql

from benchmarks.copy import ours as copy
from benchmarks.lab import TABLE, Lab, lab, median, rounds, table
from cdc_pipelines.replication.operations import start
from cdc_pipelines.replication.verify import VerifyReport, verify

LOG = logging.getLogger("benchmark")

# Far apart, in rows that the writer leaves alone (those whose id is a multiple of 7)
PLANTED = {
    7: "update event set body = overlay(body placing 'S' from 1) where id = 7",
    70_000: "delete from event where id = 70000",
    140_063: "update event set name = '' where id = 140063",  # null on the source
    140_007: "update event set name = left(body, 80), body = name where id = 140007",
    280_000: "update event set name = name || ' ' where id = 280000",
    280_014: "update event set name = upper(name) where id = 280014",
    420_000: "update event set created = created + interval '1 microsecond' where id = 420000",
    420_007: "update event set score = '-0' where id = 420007",
    560_000: "update event set body = replace(body, '🙂', '🙃') where id = 560000",
    999_999_999: "insert into event (id, state, amount, created, active) values (999999999, 'new', 1, now(), 1)",
}


class Load(threading.Thread):
    """Changes per second on the source, in transactions of ten rows."""

    def __init__(self, laboratory: Lab, rows: int, rate: float) -> None:
        super().__init__(daemon=True)
        access = laboratory.stack.mysql
        self._connection = pymysql.connect(
            host=access.host, port=access.port, user=access.admin_user, password=access.admin_password,
            database=laboratory.name,
        )
        self._rows, self._rate = rows, rate
        self.changes, self.seconds = 0, 0.0
        self._over = threading.Event()

    def run(self) -> None:
        began, step = time.perf_counter(), 0
        with self._connection, self._connection.cursor() as cursor:
            while not self._over.is_set():
                at = 1 + step * 7919 % (self._rows - 20)
                cursor.execute(
                    "update event set amount = amount + 1, updated = now(3) where id between %s and %s and id %% 7",
                    (at, at + 10),
                )
                self.changes += cursor.rowcount
                self._connection.commit()
                step += 1
                pause = began + self.changes / self._rate - time.perf_counter()
                if pause > 0:
                    time.sleep(pause)
        self.seconds = time.perf_counter() - began

    def end(self) -> float:
        """Changes per second that it really made."""
        self._over.set()
        self.join()
        return self.changes / self.seconds


def at_rest(laboratory: Lab, rows: int) -> float:
    began = time.perf_counter()
    report = _verify(laboratory)
    if not report.equal:
        raise SystemExit(f"the sides differ before anything was planted: {report}")
    return rows / (time.perf_counter() - began)


def _verify(laboratory: Lab) -> VerifyReport:
    with laboratory.runtime() as rt:
        return verify(rt, LOG, max_keys=1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=2000)
    arguments = parser.parse_args()
    rows = arguments.rows
    with lab("bench_verify", TABLE) as laboratory:
        print(f"making {rows:,} rows…", flush=True)
        laboratory.fill(rows)
        laboratory.execute("update event set score = 0 where id = 420007", "analyze table event")
        copied = [copy(laboratory, rows, []) for _ in range(arguments.rounds)]
        with laboratory.runtime() as rt:
            start.start(rt, LOG, holder="benchmark")
        (still,) = rounds(arguments.rounds, lambda: at_rest(laboratory, rows))
        load = Load(laboratory, rows, arguments.rate)
        load.start()
        time.sleep(5)
        began = time.perf_counter()
        calm = _verify(laboratory)
        busy = rows / (time.perf_counter() - began)
        laboratory.postgres.execute(f"set search_path = {laboratory.name}")
        for statement in PLANTED.values():
            laboratory.postgres.execute(statement)
        found = {d.key["id"] for d in _verify(laboratory).tables[0].differences}
        rate = load.end()
        table(
            f"verification, {rows:,} rows × 11 columns",
            ["", "rows/s", "of the copy"],
            [
                ["copy MySQL → PostgreSQL", median(copied), "1.00"],
                ["verify, nothing is written", median(still), f"{median(still) / median(copied):.2f}"],
                [f"verify, {rate:,.0f} changes/s", busy, f"{busy / median(copied):.2f}"],
            ],
        )
        missed, false = PLANTED.keys() - found, found - PLANTED.keys()
        print(f"  under load: {0 if calm.equal else 'SOME'} false alarms; of {len(PLANTED)} planted differences "
              f"{len(PLANTED) - len(missed)} found, {len(false)} others")  # fmt: skip
    if not calm.equal or missed or false:
        print(f"  WRONG: missed {sorted(missed)}, false {sorted(false)[:20]}, calm {calm}")
        sys.exit(1)


if __name__ == "__main__":
    main()
