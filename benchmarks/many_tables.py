"""What many tables in one database cost: seconds of configure, check, start, status and verify, all tables small.

    python -m benchmarks.many_tables [--tables 250 500 2000]

Seconds that grow faster than the tables do point to work per pair of tables.
"""

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.lab import lab, table
from cdc_pipelines.replication.health.status import status
from cdc_pipelines.replication.operations import start
from cdc_pipelines.replication.operations.check import check
from cdc_pipelines.replication.operations.configure import configure
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.verify.run import verify

LOG = logging.getLogger("benchmark")
WHAT = ("configure", "check", "start", "status", "verify")


def measure(count: int) -> list[float]:
    """Seconds of each, in the order of `WHAT`."""
    made = [
        statement
        for n in range(count)
        for statement in (
            f"create table t{n:05d} (id int primary key, v varchar(20))", f"insert into t{n:05d} values (1, 'a')",
        )
    ]
    seconds: list[float] = []

    @contextmanager
    def timed() -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds.append(time.perf_counter() - began)
        print(f"{count} tables: {WHAT[len(seconds) - 1]} {seconds[-1]:.2f} s", flush=True)

    with lab("bench_tables", *made) as laboratory:
        with timed():
            configure(laboratory.home / "bench_tables.yaml", laboratory.store)
        work: tuple[Callable[[Runtime], object], ...] = (
            check, lambda rt: start.start(rt, LOG, holder="benchmark"), status, lambda rt: verify(rt, LOG),
        )
        for one in work:
            with laboratory.runtime() as rt, timed():
                one(rt)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, nargs="+", default=[250, 500, 2000])
    counts = parser.parse_args().tables
    table("seconds, every table with one row", ["tables", *WHAT], [[str(count), *measure(count)] for count in counts])


if __name__ == "__main__":
    main()
