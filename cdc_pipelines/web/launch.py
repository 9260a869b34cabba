"""Actions are runs of Dagster's jobs: seen there, alerted from there, and no second way to do the same."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import requests

from cdc_pipelines.dagster_client import ActiveRun, DagsterClient, DagsterClientError
from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.errors import LeaseHeldError
from cdc_pipelines.replication.health.judge import silent_seconds
from cdc_pipelines.web.problems import ProblemError

TAG = "cdc/pipeline"
"""The tag by which jobs' runs are found; the jobs set the same."""
_BY = "cdc/launched_by"
_TIMEOUT_S = 15.0
_LOAD_S = 120.0
PASSING = frozenset({"heal", "heal_replication", "replication_health"})
"""What ends soon by itself: the launched run waits for it."""
RESYNC, RELEASE, ADD, REMOVE = "resync_tables", "release_tables", "add_table", "remove_table"
_COPIES = frozenset({RESYNC, RELEASE})
_BESIDE = _COPIES | {ADD, REMOVE}
"""Jobs on single tables: the pipeline may be stopped, started and verified meanwhile."""
_AGAINST = frozenset({"start", "start_replication", "stop", "stop_replication", "teardown"})
"""What leaves a lane no stream to join, or copies its table itself."""
_AT_WORK_S = 10.0
"""A lane's worker beats every 3 seconds."""
_log = logging.getLogger("cdc.web")


@dataclass(frozen=True)
class Launched:
    """A run. `already`: it was under way when it was asked for."""

    run_id: str
    job: str
    url: str
    already: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Launcher:
    """Launches jobs of one Dagster webserver for pipelines of one control store."""

    def __init__(self, url: str, store: ControlStore) -> None:
        self.url = url
        self._client = DagsterClient(url, timeout_s=_TIMEOUT_S)
        self._loading = DagsterClient(url, timeout_s=_LOAD_S)
        self._store = store
        self._one_at_a_time = threading.Lock()

    def launch(self, record: PipelineRecord, job: str, config: Mapping[str, Any] | None = None) -> Launched:
        """Launch a job for a pipeline, or find the run of it that is under way.

        Raises LeaseHeldError where something else works on the pipeline, ProblemError where no Dagster answers,
        DagsterClientError where it refuses.
        """
        with self._asking(record):
            for run in self._active(record):
                if run.job == job:
                    return self._found(run)
                if run.job not in PASSING | _BESIDE:
                    raise self._under_way(record, run)
            self._refuse_held(record, lambda held: held not in PASSING)
            return self._launch(record, job, config or {})

    def launch_on_table(
        self, record: PipelineRecord, job: str, table: str, config: Mapping[str, Any], lane: dict[str, Any] | None,
        prepare: Callable[[], None] = lambda: None,
    ) -> Launched:
        """Launch a job for one table, beside those of others, or find the run of it that is under way.

        `lane` is the table's, as the status tells it. A resync needs the stream and no lease. Taking tables in and
        leaving them out changes the pipeline: one at a time, under its lease. `prepare` is called once nothing is in
        the way. Raises what `launch` raises.
        """
        with self._asking(record):
            for run in self._active(record):
                tables = run.config.get("tables") or [run.config.get("table")]
                if run.job == job and tables == [table]:
                    return self._found(run)
                if run.job in _AGAINST:
                    raise self._under_way(record, run)
                if run.job in _BESIDE and (table in tables or not _COPIES & {job, run.job}):
                    raise self._under_way(record, run, f" on {', '.join(map(str, tables))}")
            self._refuse_held(record, lambda held: held in _AGAINST if job == RESYNC else held not in PASSING)
            if lane is not None and silent_seconds(lane, datetime.now(UTC)) < _AT_WORK_S:
                raise LeaseHeldError(
                    f"another process works on table {table} of pipeline {record.name} already",
                    "wait until it ends; one that died lets go within some seconds.",
                )
            prepare()
            return self._launch(record, job, config)

    def reload(self) -> None:
        """Let Dagster load its code location anew, so that it shows what is configured now. Takes some seconds.

        Raises DagsterClientError where the location does not load, ProblemError where no Dagster answers.
        """
        with self._reached("cdc status"):
            self._loading.reload()

    def reload_soon(self) -> None:
        """The same beside what is asked here, after a save: nobody waits for it, and where it fails the log tells."""
        threading.Thread(target=self._reload_or_say, name="reload", daemon=True).start()

    def _reload_or_say(self) -> None:
        try:
            self.reload()
        except (ProblemError, DagsterClientError, requests.RequestException, ValueError) as error:
            _log.warning("Dagster did not load its code location anew: %s", error)

    def _active(self, record: PipelineRecord) -> list[ActiveRun]:
        return self._client.active({TAG: record.name})

    def _found(self, run: ActiveRun) -> Launched:
        return Launched(run.id, run.job, self._client.run_url(run.id), already=True)

    def _under_way(self, record: PipelineRecord, run: ActiveRun, what: str = "") -> LeaseHeldError:
        return LeaseHeldError(
            f"the job {run.job}{what} of pipeline {record.name} has not ended: {self._client.run_url(run.id)}",
            "wait until it ends, or terminate that run in Dagster.",
        )

    def _refuse_held(self, record: PipelineRecord, is_against: Callable[[str], bool]) -> None:
        held = self._store.lease_info(record.name)
        if held is not None and is_against(held.operation):
            raise LeaseHeldError(
                f"pipeline {record.name} is held by {held.holder} for `{held.operation}` "
                f"(since {held.acquired_at:%Y-%m-%d %H:%M:%S} UTC)",
                "wait until that ends; a holder that died lets go within a minute.",
            )

    def _launch(self, record: PipelineRecord, job: str, config: Mapping[str, Any]) -> Launched:
        run_id = self._client.launch(
            job, {"pipeline": record.name} | dict(config), tags={TAG: record.name, _BY: "cdc web"}
        )
        _log.info("%s launched, run %s", job, run_id, extra={"pipeline": record.name})
        return Launched(run_id, job, self._client.run_url(run_id))

    @contextmanager
    def _asking(self, record: PipelineRecord) -> Iterator[None]:
        """One at a time: two clicks are one run."""
        with self._one_at_a_time, self._reached(f"cdc status {record.name}"):
            yield

    @contextmanager
    def _reached(self, instead: str) -> Iterator[None]:
        try:
            yield
        except requests.RequestException as error:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, "dagster_unreachable", "Dagster does not answer",
                f"no Dagster webserver answers at {self.url} ({type(error).__name__}); actions are "
                "runs of its jobs",
                "start it (`dagster dev`, or your deployment), or set CDC_DAGSTER_URL to where it is; "
                f"`cdc` in a terminal works without it, e.g. `{instead}`.",
            ) from error
