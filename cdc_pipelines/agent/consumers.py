"""Consumer processes: started, found again, told to end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cdc_pipelines.agent import log_files
from cdc_pipelines.replication import processes
from cdc_pipelines.replication.agent import child_environment, logs_dir
from cdc_pipelines.replication.control.store import ControlStore, DesiredState, Heartbeat

CommandFor = Callable[[str], Sequence[str]]

# In the environment of every consumer that an agent starts: whose it is. Unlike a pid file it is there from the
# process's first instant to its last, so that an agent which died between starting one and noting it is no gap.
MARK = "CDC_CONSUMER_MARK"


def consume_command(pipeline: str) -> list[str]:
    """How a consumer is started."""
    return [sys.executable, "-m", "cdc_pipelines.cli", "consume", pipeline]


@dataclass
class ConsumerProcess:
    """One consumer of ours. `group` and `revision` are of the word that it was started under."""

    pipeline: str
    group: str | None
    revision: int
    pid: int
    born: str | None
    log: Path
    log_start: int = 0
    child: subprocess.Popen[bytes] | None = None
    since: float = field(default_factory=time.monotonic)
    told_at: float | None = None
    killed_why: str = ""
    stale_since: float | None = None

    def ended(self) -> bool:
        """Whether it is gone."""
        if self.child is not None:
            return self.child.poll() is not None
        return not processes.alive(self.pid, self.born)

    @property
    def exit_code(self) -> int | None:
        """Of a process that ended; None where it was not our child."""
        return self.child.returncode if self.child is not None else None

    @property
    def lived_s(self) -> float:
        return time.monotonic() - self.since

    def terminate(self) -> None:
        """Ask it to end, once."""
        if self.told_at is None:
            self.told_at = time.monotonic()
            self._signal(signal.SIGTERM)

    def kill(self, why: str) -> None:
        self.killed_why = why
        self.told_at = self.told_at or time.monotonic()
        self._signal(signal.SIGKILL)

    def last_lines(self) -> str:
        return log_files.tail(self.log, self.log_start)

    def _signal(self, number: int) -> None:
        # Not to its group: one started by hand shares its terminal's.
        if not self.ended():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def spawn(store: ControlStore, wanted: DesiredState, command_for: CommandFor) -> ConsumerProcess:
    """Start a consumer in a session of its own, its output appended to the pipeline's log. Raises OSError."""
    file = logs_dir() / f"{wanted.pipeline}.log"
    log_files.bound(file)
    mark = {
        "store": store.id, "host": processes.host(), "pipeline": wanted.pipeline, "group": wanted.group,
        "revision": wanted.revision,
    }
    with file.open("ab") as log:
        start = log.tell()
        child = subprocess.Popen(
            command_for(wanted.pipeline),
            env=child_environment(store) | {MARK: json.dumps(mark), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return ConsumerProcess(
        wanted.pipeline, wanted.group, wanted.revision, child.pid, processes.birth(child.pid), file, start, child
    )


def find_marked(store: ControlStore) -> Iterator[ConsumerProcess]:
    """Consumers of this store that an earlier agent on this host started, the youngest first."""
    found: list[tuple[float, ConsumerProcess]] = []
    for process in psutil.process_iter():
        try:
            text = process.environ().get(MARK)
            created = process.create_time()
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's
        born = processes.birth(process.pid)
        if not text or born is None or process.pid == os.getpid():
            continue
        try:
            mark = json.loads(text)
            consumer = ConsumerProcess(
                mark["pipeline"], mark["group"], int(mark["revision"]), process.pid, born,
                logs_dir() / f"{mark['pipeline']}.log",
            )
        except (ValueError, KeyError, TypeError):
            continue  # not of our making
        # Containers that share their processes may still be hosts of their own.
        ours = mark.get("store") == store.id and mark.get("host") == processes.host()
        if ours and not _has_marked_parent(process, text):
            found.append((created, consumer))
    found.sort(key=lambda pair: pair[0], reverse=True)
    yield from (consumer for _, consumer in found)


def find_by_heartbeat(beat: Heartbeat | None, host: str, wanted: DesiredState) -> ConsumerProcess | None:
    """The consumer that somebody started by hand (`cdc consume`), if the last heartbeat is of a live one here."""
    if beat is None or beat.host != host:
        return None
    born = processes.birth(beat.pid)
    try:
        words = psutil.Process(beat.pid).cmdline()
    except psutil.Error:
        return None
    if born is None or words[-2:] != ["consume", wanted.pipeline]:
        return None
    return ConsumerProcess(
        wanted.pipeline, beat.group, wanted.revision, beat.pid, born, logs_dir() / f"{wanted.pipeline}.log"
    )


def _has_marked_parent(process: psutil.Process, text: str) -> bool:
    """Whether it is only a child of a consumer, which has inherited the mark."""
    try:
        parent = process.parent()
        return parent is not None and parent.environ().get(MARK) == text
    except (psutil.Error, OSError):
        return False
