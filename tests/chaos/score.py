"""The campaign's table: fault × times × lost × doubled × by hand × longest stall."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.arena import Difference

SEVERAL = "several at once"


@dataclass
class Line:
    """One fault. Rows lost or doubled count for every fault since the comparison before."""

    times: int = 0
    lost: int = 0
    doubled: int = 0
    by_hand: int = 0  # times that `cdc start` was needed afterwards: the connector's task had failed
    longest_stall_s: float = 0.0


@dataclass
class Score:
    """Counts by fault, over all sources of a campaign."""

    lines: dict[str, Line] = field(default_factory=dict)
    since: set[str] = field(default_factory=set)  # struck since the last comparison
    problems: list[str] = field(default_factory=list)
    comparisons: int = 0
    looks: int = 0
    transactions: int = 0

    def struck(self, *names: str) -> None:
        for name in names:
            self.lines.setdefault(name, Line()).times += 1
            self.since.add(name)

    def times(self, name: str) -> int:
        return self.lines[name].times if name in self.lines else 0

    def compared(self, found: list[Difference]) -> None:
        self.comparisons += 1
        for name in self.since:
            line = self.lines[name]
            line.lost += sum(d.lost + d.changed for d in found)
            line.doubled += sum(d.doubled for d in found)
        self.since.clear()

    def mended(self, name: str) -> None:
        self.lines.setdefault(name, Line()).by_hand += 1

    def stalled(self, longest: dict[str, float]) -> None:
        for name, seconds in longest.items():
            if name in self.lines:
                self.lines[name].longest_stall_s = round(max(self.lines[name].longest_stall_s, seconds), 1)

    def table(self) -> str:
        rows = [("fault", "times", "lost", "doubled", "by hand", "longest stall, s")]
        rows += [
            (name, str(line.times), str(line.lost), str(line.doubled), str(line.by_hand),
             f"{line.longest_stall_s:.1f}")
            for name, line in sorted(self.lines.items(), key=lambda pair: (pair[0] == SEVERAL, pair[0]))
        ]
        wide = [max(len(row[n]) for row in rows) for n in range(6)]
        return "\n".join(
            row[0].ljust(wide[0]) + "".join("  " + cell.rjust(w) for cell, w in zip(row[1:], wide[1:], strict=True))
            for row in rows
        )

    def write(self, file: Path, **facts: object) -> None:
        file.write_text(json.dumps(facts | asdict(self) | {"since": sorted(self.since)}, indent=1) + "\n")
