"""The files that consumers' output goes to: bounded, and readable from where one process began."""

import os
import shutil
from pathlib import Path

MOST_BYTES = 50 * 1024 * 1024
KEPT_FILES = 3

_TAIL_BYTES = 4096
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
