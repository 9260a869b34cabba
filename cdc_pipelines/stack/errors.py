"""Errors of the local stack: each names the part, what was wrong and the next step."""

from __future__ import annotations

from pathlib import Path


class StackError(Exception):
    """Something about the local stack failed in a way its user can act on."""


class PartFailedError(StackError):
    """A part did not come up; carries its log so that the command can show the end of it."""

    def __init__(self, part: str, reason: str, log: Path | None = None) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason
        self.log = log
        self.last_lines: list[str] = []
