"""Making what runs on this host what is desired: one `tick` after the other."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from cdc_pipelines.agent import exit_codes, log_files
from cdc_pipelines.agent.backoff import Backoff
from cdc_pipelines.agent.consumers import CommandFor, ConsumerProcess, find_by_heartbeat, find_marked, spawn
from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control.assignments import HELD_S
from cdc_pipelines.replication.control.store import ControlStore, DesiredState, Heartbeat
from cdc_pipelines.replication.errors import CdcError, ConfigurationError, NotConfiguredError
from cdc_pipelines.replication.secrets import is_reference, resolve_secret

GRACE_S = 20.0
ASSIGN_EVERY_S = 1.0
LOOK_EVERY_S = 5.0
STALE_AFTER_S = 120.0
STALE_FOR_S = 30.0

_log = logging.getLogger("cdc.agent")


class Supervisor:
    """The consumers of one control store on this host.

    Every method that talks to the store may raise RetryableError; the next tick then finds everything as it was.
    """

    def __init__(
        self, store: ControlStore, command_for: CommandFor, *, grace_s: float = GRACE_S,
        stale_after_s: float = STALE_AFTER_S, stale_for_s: float = STALE_FOR_S,
    ) -> None:
        self._store = store
        self._command_for = command_for
        self._grace_s = grace_s
        self._stale_after_s, self._stale_for_s = stale_after_s, stale_for_s
        self._host = processes.host()
        self._running: dict[str, ConsumerProcess] = {}
        self._leaving: list[ConsumerProcess] = []  # being ended, in whose place another one may be wanted
        self._backoffs: dict[str, tuple[int, Backoff]] = {}
        self._held: dict[str, int] = {}
        self._mine: set[str] = set()
        self._asked: set[str] = set()
        self._assigned_at = self._looked_at = float("-inf")
        self._waiting_since = float("-inf")  # in unbroken reach of the store since then

    def take_over(self) -> None:
        """Find what an earlier agent left: its consumers, and which of them are held back."""
        self._held = {
            name: last.revision for name, last in self._store.last_exits().items()
            if last.exit_code in exit_codes.HOLD
        }
        for consumer in find_marked(self._store):
            if consumer.pipeline in self._running:
                self._leaving.append(consumer)
            else:
                self._running[consumer.pipeline] = consumer
                _log.info("consumer of %s is at work already: process %d", consumer.pipeline, consumer.pid)

    def tick(self) -> None:
        """One look at everything."""
        states = {state.pipeline: state for state in self._store.desired_states()}
        # First whose they are: an agent that was frozen must not judge what another host runs by now.
        self._assign(self._wanted(states))
        for consumer in [*self._running.values(), *self._leaving]:
            with _one_pipelines(consumer.pipeline):
                if consumer.ended():
                    self._after_end(consumer, states.get(consumer.pipeline))
        wanted = self._wanted(states)
        for name, consumer in list(self._running.items()):
            state = wanted.get(name)
            if state is None or name not in self._mine or consumer.group != state.group:
                self._leaving.append(self._running.pop(name))
        self._see_off()
        beats = self._look()
        busy = {consumer.pipeline for consumer in self._leaving}
        for name, state in wanted.items():
            if name in self._mine and name not in self._running and name not in busy:
                with _one_pipelines(name):
                    self._start(state, beats)

    def _wanted(self, states: dict[str, DesiredState]) -> dict[str, DesiredState]:
        return {
            name: state for name, state in states.items()
            if state.desired == "running" and self._held.get(name) != state.revision
        }

    def stop_all(self) -> None:
        """End every consumer and wait for it: `grace_s` at most, then by force."""
        self._leaving.extend(self._running.values())
        self._running.clear()
        while self._leaving:
            self._see_off()
            for consumer in [c for c in self._leaving if c.ended()]:
                try:
                    self._after_end(consumer, None)
                except (CdcError, OSError) as error:
                    _log.warning("how consumer of %s ended is not kept: %s", consumer.pipeline, error)
                    self._leaving.remove(consumer)
            time.sleep(0.05)
        try:
            self._store.unassign(self._mine, self._host)
        except CdcError as error:
            _log.warning("%s; another host's agent takes the pipelines over in some seconds", error.message)

    @property
    def pids(self) -> dict[str, int]:
        """The consumers that are at work, by pipeline."""
        return {name: consumer.pid for name, consumer in self._running.items()}

    def _assign(self, wanted: dict[str, DesiredState]) -> None:
        """Renew what this host has, and ask for what is new."""
        if wanted.keys() == self._asked and time.monotonic() - self._assigned_at < ASSIGN_EVERY_S:
            return
        asked_at = time.monotonic()
        if asked_at - self._assigned_at > HELD_S:
            # Just begun, frozen, or the store was out of reach. Then it was for the others, too: they come first.
            self._waiting_since = asked_at
        patient = asked_at - self._waiting_since > HELD_S
        before = self._mine
        self._mine = self._store.assign(list(wanted), self._host, take_over=patient) if wanted else set()
        self._asked = set(wanted)
        self._assigned_at = asked_at
        for name in before & wanted.keys() - self._mine:
            _log.warning("pipeline %s is another host's now: this one did not renew its hold in time", name)

    def _start(self, state: DesiredState, beats: dict[str, Heartbeat] | None) -> None:
        name = state.pipeline
        revision, backoff = self._backoffs.get(name, (state.revision, Backoff()))
        if revision != state.revision:
            backoff = Backoff()  # a new word: what failed before no longer counts
        self._backoffs[name] = (state.revision, backoff)
        if not backoff.due():
            return
        beat = (beats or {}).get(name) or self._store.heartbeat(name)
        consumer = find_by_heartbeat(beat, self._host, state)
        if consumer is not None and consumer.group == state.group:
            self._running[name] = consumer
            _log.info("consumer of %s was started by hand: process %d", name, consumer.pid)
            return
        try:
            self._running[name] = spawn(self._store, state, self._command_for)
        except OSError as error:
            delay = backoff.failed(0)
            _log.error("consumer of %s can't be started: %s; tried again in %.0f s", name, error, delay)
            return
        _log.info("consumer of %s started: process %d, group %s", name, self._running[name].pid, state.group)

    def _see_off(self) -> None:
        """Ask those that shall not run to end, and insist."""
        for consumer in self._leaving:
            if consumer.told_at is None:
                _log.info("consumer of %s (process %d) is asked to end", consumer.pipeline, consumer.pid)
                consumer.terminate()
            elif time.monotonic() - consumer.told_at > self._grace_s and not consumer.killed_why:
                _log.warning(
                    "consumer of %s (process %d) did not end within %.0f s and is killed: what it had not committed "
                    "is read again", consumer.pipeline, consumer.pid, self._grace_s,
                )
                consumer.kill(f"it did not end within {self._grace_s:.0f} s")

    def _look(self) -> dict[str, Heartbeat] | None:
        """Now and then: bound the logs, and kill consumers that live but have stopped beating."""
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return None
        beats = self._store.heartbeats()
        self._looked_at = time.monotonic()
        for name, consumer in self._running.items():
            with _one_pipelines(name):
                if log_files.bound(consumer.log):
                    consumer.log_start = 0
            beat = beats.get(name)
            if beat is None or beat.pid != consumer.pid or beat.host != self._host:
                continue
            if (datetime.now(UTC) - beat.at).total_seconds() < self._stale_after_s:
                consumer.stale_since = None
            elif consumer.stale_since is None:
                # Not at once: after a suspension of the machine everybody's last beat is old.
                consumer.stale_since = time.monotonic()
            elif time.monotonic() - consumer.stale_since > self._stale_for_s and not consumer.killed_why:
                _log.error("consumer of %s (process %d) lives but does not beat; it is killed", name, consumer.pid)
                consumer.kill(f"it had not beaten for more than {self._stale_after_s:.0f} s")
        return beats

    def _after_end(self, consumer: ConsumerProcess, state: DesiredState | None) -> None:
        """Keep how it ended and judge whether it may start again. Forgets it only when the store knows."""
        name, code = consumer.pipeline, consumer.exit_code
        wanted = self._running.get(name) is consumer
        mine = wanted and name in self._mine
        # Only now, with its secrets known, may its last words be kept.
        lines = consumer.last_lines() if self._know_secrets(name) else ""
        self._store.record_exit(
            name, group=consumer.group, revision=consumer.revision, host=self._host, pid=consumer.pid,
            exit_code=code, last_lines=lines,
        )
        current = state is not None and state.desired == "running" and state.revision == consumer.revision
        hold = code in exit_codes.HOLD or (code is None and state is not None and state.status == "failed")
        if mine and current and hold:
            self._hold(consumer, lines)
        elif mine and current:
            delay = self._backoffs.setdefault(name, (consumer.revision, Backoff()))[1].failed(consumer.lived_s)
            reason = consumer.killed_why or exit_codes.explain(code)
            self._close(consumer, "failed", f"{reason}; started again in {delay:.0f} s")
            _log.warning("consumer of %s (process %d) ended: %s; started again in %.0f s",
                         name, consumer.pid, reason, delay)
        else:
            self._close(consumer, "stopped", consumer.killed_why)
            _log.info("consumer of %s (process %d) ended: %s", name, consumer.pid, exit_codes.explain(code))
        if wanted:
            del self._running[name]
        else:
            self._leaving.remove(consumer)

    def _hold(self, consumer: ConsumerProcess, lines: str) -> None:
        name = consumer.pipeline
        beat = self._store.heartbeat(name)
        said = beat.message if beat is not None and beat.pid == consumer.pid else ""
        reason = said or (lines.splitlines()[-1] if lines else "")
        message = f"consumer: {exit_codes.explain(consumer.exit_code)}" + (f": {reason}" if reason else "")
        self._held[name] = consumer.revision
        self._close(consumer, "failed", message)
        with suppress(NotConfiguredError):  # deleted meanwhile
            # A consumer that could has told its reason itself, at more length.
            if self._store.get(name).status != "failed":
                self._store.set_status(name, "failed", message=message, if_revision=consumer.revision)
        _log.error("consumer of %s is not started again until `cdc start %s`: %s", name, name, message)

    def _know_secrets(self, name: str) -> bool:
        """Resolve the pipeline's secrets, so that they are masked in what is kept; whether they are known now.

        What can't be resolved here could not be in the consumer either: it has our environment.
        """
        try:
            spec = self._store.get(name).spec
        except ConfigurationError:
            return False
        for text in (spec.source.password, spec.target.password, *spec.kafka.client.values()):
            with suppress(ConfigurationError):
                if is_reference(text):
                    resolve_secret(text)
        return True

    def _close(self, consumer: ConsumerProcess, state: str, message: str) -> None:
        self._store.close_heartbeat(
            consumer.pipeline, host=self._host, pid=consumer.pid, state=state, message=message
        )


@contextmanager
def _one_pipelines(name: str) -> Iterator[None]:
    """One pipeline's surprise (a log that can't be read, a full disk) must not keep the others waiting."""
    try:
        yield
    except CdcError:
        raise
    except Exception:  # noqa: BLE001 (logged whole)
        _log.exception("pipeline %s: unexpected error; the agent goes on with the others", name)
