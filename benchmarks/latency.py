"""From the source's commit to the row being visible on the target, through the whole way, at a steady rate.

    python -m benchmarks.latency [--rate 200] [--seconds 30]

The writer notes when each commit returned; an observer asks the target without pause for rows it has not seen.
"""

import argparse
import logging
import threading
import time

from benchmarks.lab import lab, table
from cdc_pipelines.replication.operations import start

LOG = logging.getLogger("benchmark")


def measure(rate: float, seconds: float) -> list[float]:
    """Milliseconds per row, sorted."""
    ddl = "create table beat (id int primary key, note varchar(40), at datetime(6))"
    with lab("bench_latency", ddl) as laboratory, laboratory.runtime() as rt:
        start.start(rt, LOG, holder="benchmark")
        committed: dict[int, float] = {}
        visible: dict[int, float] = {}
        total = int(rate * seconds)
        over = threading.Event()

        def observe() -> None:
            last = 0
            while len(visible) < total and not over.is_set():
                rows = laboratory.postgres.execute(
                    "select id from bench_latency.beat where id > %s order by id", [last]
                ).fetchall()
                now = time.perf_counter()
                for (number,) in rows:
                    visible[number] = now
                    last = number

        observer = threading.Thread(target=observe)
        observer.start()
        began = time.perf_counter()
        with laboratory.mysql.cursor() as cursor:
            for number in range(1, total + 1):
                pause = began + number / rate - time.perf_counter()
                if pause > 0:
                    time.sleep(pause)
                cursor.execute("insert into beat values (%s, 'a note', now(6))", (number,))
                committed[number] = time.perf_counter()
        observer.join(timeout=60)
        over.set()
        observer.join()
        if len(visible) < total:
            raise SystemExit(f"{total - len(visible)} rows never arrived")
        return sorted((visible[n] - committed[n]) * 1000 for n in committed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    found = measure(arguments.rate, arguments.seconds)
    at = lambda share: found[min(len(found) - 1, int(len(found) * share))]  # noqa: E731 (a one-line percentile)
    table(
        f"commit → visible, {arguments.rate:g} transactions/s for {arguments.seconds:g} s",
        ["", "p50 ms", "p95 ms", "p99 ms", "max ms"],
        [["MySQL → Debezium → Kafka → PostgreSQL", at(0.5), at(0.95), at(0.99), found[-1]]],
    )


if __name__ == "__main__":
    main()
