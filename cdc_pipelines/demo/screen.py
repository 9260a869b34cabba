"""One screen: a line per step while the demo runs, then what it found."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

from cdc_pipelines.demo.live import Visible

_STATUS_FIELDS = ("overall", "connector", "consumer", "config", "statistics", "timestamp")


class Step:
    """What one step has to say at its end."""

    def __init__(self) -> None:
        self.note = ""


class Screen:
    """Prints to standard output; on a terminal it also shows what is under way."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._number = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def title(self, text: str) -> None:
        self.console.print(f"[bold]{escape(text)}[/bold]")

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[Step]:
        """A numbered line: `name`, the step's note, its seconds; ✗ where it raised."""
        self._number += 1
        step, started = Step(), time.monotonic()
        try:
            with self.console.status(f"{name}: {doing}") if self.console.is_terminal else _nothing():
                yield step
        except BaseException:
            self._line("red", "✗", name, step.note or "failed", started)
            raise
        self._line("green", "✓", name, step.note, started)

    def _line(self, colour: str, mark: str, name: str, note: str, started: float) -> None:
        seconds = time.monotonic() - started
        self.console.print(
            f"[{colour}]{mark}[/{colour}] {self._number:>2} {name:<13} {escape(note):<80} [dim]{seconds:5.1f} s[/dim]"
        )

    def visible(self, measured: list[Visible]) -> None:
        for kind in measured:
            self.console.print(
                f"       {kind.what:<26} visible after {kind.median_ms:6.0f} ms "
                f"[dim](median of {len(kind.times_ms)}; slowest {kind.slowest_ms:.0f} ms)[/dim]"
            )

    def status(self, facts: dict[str, Any]) -> None:
        """The fixed fields of the status, as JSON."""
        chosen = {name: facts[name] for name in _STATUS_FIELDS}
        lines = (f'  "{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in chosen.items())
        self.console.print(escape("{\n" + ",\n".join(lines) + "\n}"))

    def line(self, text: str = "") -> None:
        self.console.print(escape(text))


@contextmanager
def _nothing() -> Iterator[None]:
    yield
