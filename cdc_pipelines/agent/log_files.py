"""The files that consumers' output goes to: bounded, and readable from where one process began."""

import os
import shutil
from pathlib import Path

MOST_BYTES = 50 * 1024 * 1024
KEPT_FILES = 3

_TAIL_BYTES = 4096
_BLOCK_BYTES = 65_536
_TAIL_LINES = 20


def bound(file: Path) -> bool:
    """Move a file's content to `file.1` once it is too large; whether that was done.

    The process that writes goes on with the same, now empty, file: it appends. A line written between the copy
    and the cut is lost.
    """
    try:
        if file.stat().st_size <= MOST_BYTES:
            return False
    except FileNotFoundError:
        return False
    for number in range(KEPT_FILES, 1, -1):
        older = file.with_name(f"{file.name}.{number - 1}")
        if older.exists():
            older.replace(file.with_name(f"{file.name}.{number}"))
    shutil.copyfile(file, file.with_name(f"{file.name}.1"))
    os.truncate(file, 0)
    return True


def tail(file: Path, start: int = 0) -> str:
    """The last lines of what was written after byte `start`; everything, where the file was cut since."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            begin = start if start <= size else 0
            stream.seek(max(begin, size - _TAIL_BYTES))
            data = stream.read()
    except OSError:  # how a process ended counts, with or without its last words
        return ""
    return "\n".join(data.decode(errors="replace").splitlines()[-_TAIL_LINES:])


def last_lines(file: Path, count: int) -> tuple[int, list[str]]:
    """The last lines, whole ones, also of `file.1` where the file was moved on; and the byte after them."""
    older = file.with_name(f"{file.name}.1")
    end, lines = _whole_lines(file, count)
    if len(lines) < count and older.exists():
        lines = _whole_lines(older, count - len(lines))[1] + lines
    return end, [line.decode(errors="replace") for line in lines]


def _whole_lines(file: Path, count: int) -> tuple[int, list[bytes]]:
    with file.open("rb") as stream:
        begin = end = stream.seek(0, os.SEEK_END)
        data = b""
        # One line feed more than lines: the one before them tells that the first is whole.
        while begin and data.count(b"\n") <= count:
            begin = max(0, begin - _BLOCK_BYTES)
            stream.seek(begin)
            data = stream.read(end - begin)
    *lines, part = data.split(b"\n")
    return end - len(part), lines[-count:] if count else []
