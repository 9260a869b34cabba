"""The demo's end: Dagster, the page, the pipeline with its tables, the agent, the shop. Harmless where nothing is."""

import logging
import os
import signal
from collections.abc import Callable

import psutil

from cdc_pipelines.demo.run import dagster_of, page_of
from cdc_pipelines.demo.scene import DemoFailedError, Scene
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.operations.lifecycle import stop_consumer
from cdc_pipelines.replication.operations.runtime import Runtime

_AGENT_PATIENCE_S = 20.0

Say = Callable[[str], None]


def end_demo(scene: Scene, say: Say) -> None:
    """Raises DemoFailedError where something could not be taken down; run it again once that is mended."""
    if page_of(scene).stop():
        say("page: stopped")
    dagster = dagster_of(scene)
    if dagster.processes:
        dagster.stop()
        say("dagster: stopped")
    if all(part["state"] == "running" for part in scene.cdc_json("stack", "status")):
        scene.cdc("teardown", scene.name, "--drop-tables", "--yes")
        say(f"pipeline {scene.name}: torn down, its target tables dropped")
        with scene.admin() as admin, admin.cursor() as cursor:
            cursor.execute("DROP DATABASE IF EXISTS `" + scene.pipeline.source.database.replace("`", "``") + "`")
        say(f"database {scene.pipeline.source.database}: dropped")
    else:
        _stop_consumer(scene)
        say(f"pipeline {scene.name}: stopped; the stack is not up, so its data stays until the next `make demo`")
    _stop_agent(say)


def _stop_consumer(scene: Scene) -> None:
    """What needs no server: the consumer ends and is not started again."""
    store = ControlStore.open()
    if scene.name not in {record.name for record in store.list()}:
        return
    store.set_desired(scene.name, "stopped")
    with Runtime.open(scene.name, store) as runtime:
        stop_consumer(runtime, logging.getLogger("cdc.demo"))


def _stop_agent(say: Say) -> None:
    """End this host's agent, unless other pipelines still need it."""
    store = ControlStore.open()
    others = [record.name for record in store.list() if record.desired == "running"]
    if others:
        say(f"agent: goes on, for {', '.join(others)}")
        return
    agents = [agent.pid for agent in store.live_agents() if agent.here]
    for pid in agents:
        try:
            agent = psutil.Process(pid)
            os.kill(pid, signal.SIGTERM)
            agent.wait(timeout=_AGENT_PATIENCE_S)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
        except psutil.TimeoutExpired:
            raise DemoFailedError(f"the agent (process {pid}) does not end; look at its log, then kill it") from None
        say("agent: stopped")
