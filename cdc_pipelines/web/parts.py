"""What the API and the pages stand on."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Path

from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.operations.configure import ConfigureResult
from cdc_pipelines.web.launch import Launcher
from cdc_pipelines.web.runs import Runs
from cdc_pipelines.web.settings import WebSettings
from cdc_pipelines.web.watch import Watch

Id = Annotated[int, Path(ge=0, le=2**63 - 1, description="The pipeline's config id.")]


@dataclass(frozen=True)
class Parts:
    """Settings, the store, statuses, actions and the runs that they are."""

    settings: WebSettings
    store: ControlStore
    watch: Watch
    launcher: Launcher
    runs: Runs

    def act(self, record: PipelineRecord, job: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Launch a job for a pipeline; the run as the API tells it."""
        launched = self.launcher.launch(record, job, config)
        self.look_again(record.name)
        return launched.to_dict()

    def saved(self, result: ConfigureResult) -> None:
        """A pipeline was saved: the next who asks sees it, and Dagster does soon."""
        self.look_again(result.spec.name)
        if result.created or result.changes:
            self.launcher.reload_soon()

    def look_again(self, pipeline: str) -> None:
        """Something was done about the pipeline: the next who asks is not told of before."""
        self.watch.look_again(pipeline)
        self.runs.look_again(pipeline)
