"""A connector's life beside the hand-over: look at it, pause, resume, mend, remove."""

import re
import time
from typing import Any

from cdc_pipelines.replication.connect import Config, ConnectClient, Json
from cdc_pipelines.replication.errors import ConfigurationError, FencedError, RetryableError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.connector import (
    GENERATION_KEY,
    HISTORY_TOPIC_KEY,
    LOG_TOPIC_KEY,
    OFFSETS_TOPIC_KEY,
)
from cdc_pipelines.replication.stream.connector_failures import failure, first_lines
from cdc_pipelines.replication.stream.connector_seal import foreign_owner, require_sealed
from cdc_pipelines.replication.stream.log_topic import LogTopics

_LOOK_PATIENCE_S = 3.0
_STOP_S = 60.0
_POLL_S = 0.2
# A restarted task's old state is seen for a moment.
_RESTART_GRACE_S = 3.0


def connector_state(client: ConnectClient, name: str) -> dict[str, Any]:
    """`state` (Connect's word, or MISSING), `healthy`, `tasks` (`id`, `state`), `message` (why it is not healthy).

    Raises RetryableError soon where Connect is out of reach.
    """
    return connector_facts(client.url, name, client.status(name, patience_s=_LOOK_PATIENCE_S))


def connector_facts(url: str, name: str, status: Json | None) -> dict[str, Any]:
    """The same, from what Connect answered about the connector; None: there is none."""
    if status is None:
        return {"state": "MISSING", "healthy": False, "tasks": [],
                "message": f"connector {name} does not exist at {url}"}
    state = str(status["connector"]["state"])
    tasks = [{"id": task["id"], "state": task["state"]} for task in status["tasks"]]
    healthy = state == "RUNNING" and bool(tasks) and all(task["state"] == "RUNNING" for task in tasks)
    trace = failed_trace(status)
    if trace is not None:
        message = str(failure(name, trace))
    elif healthy:
        message = ""
    elif state == "RUNNING":
        message = "no task is running" if not tasks else "a task is not running yet"
    else:
        message = f"the connector is {state}"
    return {"state": state, "healthy": healthy, "tasks": tasks, "message": message}


def source_offset(client: ConnectClient, name: str) -> dict[str, Any] | None:
    """The committed source offset (`file`, `pos`, `gtids`, …); None where there is none."""
    offsets = [entry["offset"] for entry in client.offsets(name) if entry["offset"]]  # a wiped one is an empty entry
    return dict(offsets[0]) if offsets else None


def pause(client: ConnectClient, pipeline: Pipeline, owner: str | None = None) -> bool:
    """Pause, and wait until it is. The task stays alive, so that nothing is torn.

    False: there is no such connector, or it is not this pipeline's. One that somebody STOPPED is left so.
    """
    name = pipeline.connector_name
    status, config = client.status(name), client.config(name)
    if status is None or not config or foreign_owner(pipeline, config, owner):
        return False
    if status["connector"]["state"] == "STOPPED":
        return True
    if not client.pause(name):
        return False
    client.wait_state(name, "PAUSED", deadline_s=_STOP_S)
    return True


def resume(client: ConnectClient, name: str) -> bool:
    """Resume, and wait until its task runs. False: there is no such connector."""
    if not client.resume(name):
        return False
    wait_running(client, name, deadline_s=_STOP_S)
    return True


def wait_running(client: ConnectClient, name: str, *, deadline_s: float) -> None:
    """Raises what a failed task's trace means, or RetryableError after `deadline_s` seconds."""

    def runs(status: Json) -> bool:
        raise_failed(name, status)
        return bool(status["tasks"]) and all(t["state"] == "RUNNING" for t in status["tasks"])

    client.wait_state(name, "RUNNING", deadline_s=deadline_s, accept=runs)


def ensure_running(
    client: ConnectClient, pipeline: Pipeline, generation: int, *, owner: str | None = None, deadline_s: float = 60.0
) -> Json:
    """Mend what can be mended: a paused connector resumes, failed tasks restart. Returns `connector_state`.

    Never resumes a STOPPED connector: that is a person's doing, or a hand-over's. Raises ConfigurationError where it is
    missing, foreign, stopped or of another generation, ResyncRequiredError where it was changed by hand so that changes
    may be missing, and what the trace means where the task fails again.
    """
    name = pipeline.connector_name
    config = client.config(name)
    if config is None:
        raise ConfigurationError(
            f"connector {name} does not exist at {client.url}",
            f"run `cdc start {pipeline.name}`: it is made anew, from the applied position.",
        )
    if require_ours(client, pipeline, config, generation, owner) != generation:
        raise ConfigurationError(
            f"connector {name} belongs to an older generation of pipeline {pipeline.name}",
            f"run `cdc start {pipeline.name}`.",
        )
    require_sealed(pipeline, config)
    status = client.status(name)
    state = status["connector"]["state"] if status else "UNASSIGNED"
    if state == "STOPPED":
        raise ConfigurationError(f"connector {name} is STOPPED", f"run `cdc start {pipeline.name}`.")
    if state == "PAUSED":
        client.resume(name)
    elif status is not None and (state == "FAILED" or failed_trace(status) is not None):
        restart_failed(client, name)
    wait_running(client, name, deadline_s=deadline_s)
    return connector_state(client, name)


def restart_failed(client: ConnectClient, name: str) -> None:
    """Restart what failed, and wait until its old failure is no longer shown (or is a new one)."""
    client.restart(name)
    ends = time.monotonic() + _RESTART_GRACE_S
    while time.monotonic() < ends:
        status = client.status(name)
        if status is not None and failed_trace(status) is None:
            return
        time.sleep(_POLL_S)


def failed_trace(status: Json) -> str | None:
    """The trace of the connector or its first failed task; None where nothing failed."""
    for part in (status["connector"], *status["tasks"]):
        if part["state"] == "FAILED":
            return str(part.get("trace") or "no trace was given")
    return None


def raise_failed(name: str, status: Json | None) -> None:
    """Raises what the trace means, if something failed."""
    trace = failed_trace(status) if status is not None else None
    if trace is not None:
        raise failure(name, trace)


def require_ours(
    client: ConnectClient, pipeline: Pipeline, config: Config, generation: int, owner: str | None = None
) -> int:
    """The generation of an existing connector that this pipeline made; `owner` is the target's identity.

    Raises ConfigurationError where somebody else made it, FencedError where it is newer than `generation`.
    """
    name = pipeline.connector_name
    if whose := foreign_owner(pipeline, config, owner):
        raise ConfigurationError(
            f"connector {name} already exists at {client.url} and belongs to {whose}; it was left as it is",
            f"give pipeline {pipeline.name} another config id (or connect.connector and kafka.topic_prefix), or delete "
            "that connector if nobody needs it.",
        )
    try:
        found = int(config.get(GENERATION_KEY, ""))
    except ValueError:
        return 0
    if found > generation:
        raise FencedError(
            f"connector {name} belongs to generation {found} of pipeline {pipeline.name}, this process to {generation}",
            "something newer took over; nothing was changed.",
        )
    return found


def stop(client: ConnectClient, name: str) -> None:
    """STOPPED, without tasks: what offsets can be changed in."""
    client.stop(name)
    client.wait_state(name, "STOPPED", deadline_s=_STOP_S)


def remove(client: ConnectClient, name: str) -> None:
    """The connector gone. Its offsets are in a topic of its own, which the next one of that name doesn't read.

    (Resetting offsets through REST never comes back where they are in such a topic: Connect 4.3 with exactly-once.)
    """
    if client.config(name) is None:
        return
    stop(client, name)
    client.delete(name)
    ends = time.monotonic() + _STOP_S
    while client.config(name) is not None or client.status(name) is not None:
        if time.monotonic() > ends:
            raise RetryableError(
                f"connector {name} is still there {_STOP_S:.0f} s after its deletion", "run the same command again."
            )
        time.sleep(_POLL_S)


def topics_of(
    client: ConnectClient, topics: LogTopics, pipeline: Pipeline, owner: str | None = None
) -> list[str]:
    """Every log, history and offsets topic of the pipeline, of all generations; never one that another connector uses.

    (Two pipelines may have been given the same topic prefix, and even the same connector's name.)
    """
    ours = re.compile(re.escape(pipeline.topic_prefix) + r"\.g\d+\.(log|(history|offsets)\.\d+)")
    used = {
        connector["info"]["config"].get(key)
        for name, connector in client.all("info").items()
        if name != pipeline.connector_name or foreign_owner(pipeline, connector["info"]["config"], owner)
        for key in (LOG_TOPIC_KEY, HISTORY_TOPIC_KEY, OFFSETS_TOPIC_KEY)
    }
    return [t for t in topics.list(f"{pipeline.topic_prefix}.g") if ours.fullmatch(t) and t not in used]


def teardown_connector(
    client: ConnectClient, topics: LogTopics, pipeline: Pipeline, owner: str | None = None
) -> None:
    """Connector, its offsets and the pipeline's topics gone. A connector of that name that isn't ours stays."""
    name = pipeline.connector_name
    config = client.config(name)
    if config is not None and not foreign_owner(pipeline, config, owner):
        remove(client, name)
    topics.delete(topics_of(client, topics, pipeline, owner))


__all__ = [
    "connector_facts", "connector_state", "ensure_running", "failed_trace", "first_lines", "pause", "raise_failed",
    "remove", "require_ours", "restart_failed", "resume", "source_offset", "stop", "teardown_connector", "topics_of",
    "wait_running",
]
