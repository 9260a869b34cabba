"""The initial copy against PostgreSQL's own COPY of the same rows, in turn, as a ratio.

    python -m benchmarks.copy [--rows 2000000] [--rounds 3]

The peer is the target alone: COPY FROM of ready-made text into the same table (primary key in place), one connection.
"""

import argparse
import logging
import os
import tempfile
import threading
import time

import psutil

from benchmarks.lab import TABLE, Lab, lab, median, rounds, table
from cdc_pipelines.replication.operations import start

LOG = logging.getLogger("benchmark")


class PeakMemory(threading.Thread):
    """The highest resident size of this process and its children, in MiB, while the block runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mib = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self._over.wait(0.05):
            sizes = [p.memory_info().rss for p in [me, *me.children(recursive=True)]]
            self.mib = max(self.mib, sum(sizes) / 2**20)

    def __enter__(self) -> "PeakMemory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def ours(laboratory: Lab, rows: int, peaks: list[float]) -> float:
    """Plan and copy everything anew; rows a second, planning and the snapshot included."""
    with laboratory.runtime() as rt, PeakMemory() as memory:
        began = time.perf_counter()
        start.step_plan(rt, LOG, force_resync=True)
        start.step_copy_all(rt, LOG, on_chunk=lambda _: None)
        seconds = time.perf_counter() - began
        start.step_check_copy(rt, LOG)
    peaks.append(memory.mib)
    return rows / seconds


def copy_alone(laboratory: Lab, rows: int, file: str) -> float:
    postgres = laboratory.postgres
    postgres.execute(f"drop table if exists {laboratory.name}.alone")
    postgres.execute(f"create table {laboratory.name}.alone (like {laboratory.name}.event including all)")
    began = time.perf_counter()
    with (
        open(file, "rb") as text,
        postgres.cursor() as cursor,
        cursor.copy(f"copy {laboratory.name}.alone from stdin") as copy,
    ):
        while block := text.read(1 << 20):
            copy.write(block)
    seconds = time.perf_counter() - began
    postgres.execute(f"drop table {laboratory.name}.alone")
    return rows / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with lab("bench_copy", TABLE) as laboratory, tempfile.NamedTemporaryFile(prefix="cdc-copy-") as file:
        print(f"making {arguments.rows:,} rows…", flush=True)
        laboratory.fill(arguments.rows)
        laboratory.execute("analyze table event")
        peaks: list[float] = []
        ours(laboratory, arguments.rows, peaks)  # warms the caches, and makes the peer's text
        with laboratory.postgres.cursor() as cursor, cursor.copy(f"copy {laboratory.name}.event to stdout") as copy:
            for block in copy:
                file.write(block)
        file.flush()
        size = os.path.getsize(file.name) / arguments.rows
        mine, alone = rounds(
            arguments.rounds,
            lambda: ours(laboratory, arguments.rows, peaks),
            lambda: copy_alone(laboratory, arguments.rows, file.name),
        )
        table(
            f"initial copy, {arguments.rows:,} rows × 11 columns, {size:.0f} bytes a row, {arguments.rounds} rounds",
            ["", "rows/s", "MiB/s", "of COPY alone", "peak memory MiB"],
            [
                ["PostgreSQL COPY alone", median(alone), median(alone) * size / 2**20, "1.00", "-"],
                [
                    "copy MySQL → PostgreSQL",
                    median(mine),
                    median(mine) * size / 2**20,
                    f"{median(mine) / median(alone):.2f}",
                    f"{max(peaks):.0f}",
                ],
            ],
        )
        print(f"  ratios per round: {', '.join(f'{m / a:.2f}' for m, a in zip(mine, alone, strict=True))}")


if __name__ == "__main__":
    main()
