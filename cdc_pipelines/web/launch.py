"""Actions are runs of Dagster's jobs: seen there, alerted from there, and no second way to do the same."""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import requests

from cdc_pipelines.dagster_client import DagsterClient
from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.errors import LeaseHeldError
from cdc_pipelines.web.problems import ProblemError

TAG = "cdc/pipeline"
"""The tag by which jobs' runs are found; the jobs set the same."""
_BY = "cdc/launched_by"
_TIMEOUT_S = 15.0
_PASSING = frozenset({"heal", "heal_replication", "replication_health"})
"""What ends soon by itself: the launched run waits for it."""


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
        self._store = store
        self._one_at_a_time = threading.Lock()

    def launch(self, record: PipelineRecord, job: str, config: Mapping[str, Any] | None = None) -> Launched:
        """Launch a job for a pipeline, or find the run of it that is under way.

        Raises LeaseHeldError where something else works on the pipeline, ProblemError where no Dagster answers,
        DagsterClientError where it refuses.
        """
        with self._one_at_a_time:  # two clicks are one run
            try:
                return self._launch(record, job, {"pipeline": record.name} | dict(config or {}))
            except requests.RequestException as error:
                raise ProblemError(
                    HTTPStatus.SERVICE_UNAVAILABLE, "dagster_unreachable", "Dagster does not answer",
                    f"no Dagster webserver answers at {self.url} ({type(error).__name__}); actions are "
                    "runs of its jobs",
                    "start it (`dagster dev`, or your deployment), or set CDC_DAGSTER_URL to where it is; "
                    f"`cdc` in a terminal works without it, e.g. `cdc status {record.name}`.",
                ) from error

    def _launch(self, record: PipelineRecord, job: str, config: dict[str, Any]) -> Launched:
        for run_id, running in self._client.active({TAG: record.name}):
            if running == job:
                return Launched(run_id, job, self._client.run_url(run_id), already=True)
            if running not in _PASSING:
                raise LeaseHeldError(
                    f"the job {running} of pipeline {record.name} has not ended: {self._client.run_url(run_id)}",
                    "wait until it ends, or terminate that run in Dagster.",
                )
        held = self._store.lease_info(record.name)
        if held is not None and held.operation not in _PASSING:
            raise LeaseHeldError(
                f"pipeline {record.name} is held by {held.holder} for `{held.operation}` "
                f"(since {held.acquired_at:%Y-%m-%d %H:%M:%S} UTC)",
                "wait until that ends; a holder that died lets go within a minute.",
            )
        run_id = self._client.launch(job, config, tags={TAG: record.name, _BY: "cdc web"})
        return Launched(run_id, job, self._client.run_url(run_id))
