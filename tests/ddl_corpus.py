"""Schema changes and rows around them, as other projects' test suites and tools make them: `ddl_corpus.sql`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_suffix(".sql")
_TABLE = "create table {t} (id int primary key, a varchar(10), n int not null default 3)"
_ROWS = "insert into {t} values (1, 'a', 1), (2, null, 2)"


@dataclass(frozen=True)
class Case:
    """`before` stands on the source when the copy is made; `burst` runs in one go while the stream is at work."""

    name: str
    before: tuple[str, ...]
    burst: tuple[str, ...]
    flavors: tuple[str, ...]


def cases(flavor: str) -> Iterator[Case]:
    """Those that can run on a kind of server."""
    for part in _FILE.read_text(encoding="utf-8").split("\n## ")[1:]:
        head, *lines = [line for line in part.splitlines() if line]
        name, *flavors = head.split()
        if flavors and flavor not in flavors:
            continue
        own = "--" in lines
        before = lines[: lines.index("--")] if own else [_TABLE.format(t=name), _ROWS.format(t=name)]
        burst = lines[lines.index("--") + 1 :] if own else lines
        yield Case(name, tuple(before), tuple(s.replace("\\n", "\n") for s in burst), tuple(flavors))
