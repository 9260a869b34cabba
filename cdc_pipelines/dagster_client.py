"""What a person does in Dagster's UI, done through its GraphQL: launch, wait, re-execute, materialize, look."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import requests
import yaml

LOCATION = "cdc_pipelines"
REPOSITORY = "__repository__"
ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

_LAUNCH = """
mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message }
  ... on PipelineNotFoundError { message }
  ... on InvalidSubsetError { message }
} }"""
_REEXECUTE = """
mutation Again($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message }
} }"""
_TERMINATE = """
mutation End($run: String!) { terminateRun(runId: $run) { __typename ... on PythonError { message } } }"""
_RELOAD = """
mutation Reload($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename
  ... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } }
} }"""
_LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"""
_RUN = """
query Run($run: ID!) { runOrError(runId: $run) { __typename
  ... on Run { runId status jobName runConfigYaml tags { key value } stepStats { stepKey status attempts { startTime } }
    assetSelection { path } assets { key { path } } }
} }"""
_RETRIES = """
query Retries($parent: String!) { runsOrError(filter: {tags: [{key: "dagster/parent_run_id", value: $parent}]}) {
  ... on Runs { results { runId } } } }"""
_ACTIVE = """
query Active($tags: [ExecutionTag!]!) {
  runsOrError(filter: {tags: $tags, statuses: [QUEUED, NOT_STARTED, MANAGED, STARTING, STARTED, CANCELING]}) {
    ... on Runs { results { runId jobName runConfigYaml } } } }"""
_NEWEST = """
query Newest($tags: [ExecutionTag!]!, $limit: Int!) { runsOrError(filter: {tags: $tags}, limit: $limit) {
  ... on PythonError { message }
  ... on Runs { results { runId jobName status creationTime endTime stepStats { stepKey status } } } } }"""
_EVENTS = """
query Events($run: ID!, $after: String) { logsForRun(runId: $run, afterCursor: $after) { __typename
  ... on EventConnection { cursor hasMore events { __typename
    ... on MessageEvent { message level stepKey eventType timestamp }
    ... on MaterializationEvent { assetKey { path } partition
      metadataEntries { label ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } } }
    ... on ObservationEvent { assetKey { path } partition
      metadataEntries { label ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } } }
    ... on ExecutionStepFailureEvent { error { message } failureMetadata { description
      metadataEntries { label ... on MarkdownMetadataEntry { mdStr } ... on TextMetadataEntry { text } } } }
    ... on RunFailureEvent { error { message } }
  } } } }"""


class DagsterClientError(Exception):
    """Dagster refused what was asked; the message is its own."""


class RunFailedError(DagsterClientError):
    """A run did not end in success; the message holds the reasons of its failed steps."""


@dataclass(frozen=True)
class Run:
    """A run as it stands."""

    id: str
    status: str
    job: str
    config_yaml: str
    tags: dict[str, str]
    steps: dict[str, str]
    assets: list[list[str]]


class ActiveRun(NamedTuple):
    """A run that has not ended; `config` is the Launchpad's."""

    id: str
    job: str
    config: dict[str, Any]


class SeenRun(NamedTuple):
    """A run as a list shows it. `created` and `ended`: seconds since 1970; `ended` is None until then."""

    id: str
    job: str
    status: str
    created: float
    ended: float | None
    steps: dict[str, str]


class DagsterClient:
    """One webserver."""

    def __init__(self, url: str, *, location: str = LOCATION, timeout_s: float = 60) -> None:
        self.url = url
        self.location = location
        self._timeout_s = timeout_s

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer's `data`. Raises DagsterClientError with GraphQL's errors."""
        answer = requests.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=self._timeout_s
        )
        answer.raise_for_status()
        body = answer.json()
        if body.get("errors"):
            raise DagsterClientError("; ".join(e["message"] for e in body["errors"]))
        data: dict[str, Any] = body["data"]
        return data

    def launch(self, job: str, config: Mapping[str, Any], *, tags: Mapping[str, str] | None = None) -> str:
        """Launch a job with the Launchpad's config. Returns the run's id."""
        return self._launch(job, config, tags or {})

    def materialize(self, asset: Sequence[str], partition: str) -> str:
        """"Materialize" on one partition of an asset. Returns the run's id."""
        return self._launch("__ASSET_JOB", {}, {"dagster/partition": partition}, assets=[{"path": list(asset)}])

    def check(self, asset: Sequence[str], name: str) -> str:
        """"Execute" on one check of an asset. Returns the run's id."""
        checks = [{"assetKey": {"path": list(asset)}, "name": name}]
        return self._launch("__ASSET_JOB", {}, {}, assets=[], checks=checks)

    def reexecute_from_failure(self, run_id: str) -> str:
        """"Re-execute from failure": the failed steps and what follows them. Returns the new run's id."""
        params = {"parentRunId": run_id, "strategy": "FROM_FAILURE"}
        return self._run_id(self.graphql(_REEXECUTE, params=params)["launchRunReexecution"])

    def terminate(self, run_id: str) -> None:
        """"Terminate": interrupt the run's steps."""
        answer = self.graphql(_TERMINATE, run=run_id)["terminateRun"]
        if answer["__typename"] != "TerminateRunSuccess":
            raise DagsterClientError(f"run {run_id} can't be terminated: {answer}")

    def reload(self) -> None:
        """Reload the code location, as after configuring a pipeline."""
        entry = self.graphql(_RELOAD, name=self.location)["reloadRepositoryLocation"]
        loaded = entry.get("locationOrLoadError") or {}
        if loaded.get("__typename") != "RepositoryLocation":
            raise DagsterClientError(f"code location {self.location} did not load: {loaded.get('message', entry)}")

    def location_state(self) -> str:
        """`RepositoryLocation` once the definitions are loaded; `PythonError` where they can't be; else `loading`."""
        entries = self.graphql(_LOCATIONS)["workspaceOrError"]["locationEntries"]
        found = next((e["locationOrLoadError"] for e in entries if e["name"] == self.location), None)
        return found["__typename"] if found else "loading"

    def run(self, run_id: str) -> Run:
        found = self.graphql(_RUN, run=run_id)["runOrError"]
        if found["__typename"] != "Run":
            raise DagsterClientError(f"there is no run {run_id}")
        return Run(
            found["runId"], found["status"], found["jobName"], found["runConfigYaml"],
            {t["key"]: t["value"] for t in found["tags"]},
            {s["stepKey"]: s["status"] for s in found["stepStats"]},
            [a["key"]["path"] for a in found["assets"]],
        )  # fmt: skip

    def retries_of(self, run_id: str) -> list[str]:
        """The runs that repeat a run, launched by a person or by Dagster itself, the newest first."""
        runs = self.graphql(_RETRIES, parent=run_id)["runsOrError"]["results"]
        return [run["runId"] for run in runs]

    def active(self, tags: Mapping[str, str]) -> list[ActiveRun]:
        """The runs with these tags that have not ended, the newest first."""
        wanted = [{"key": k, "value": v} for k, v in tags.items()]
        runs = self.graphql(_ACTIVE, tags=wanted)["runsOrError"].get("results", [])
        return [ActiveRun(run["runId"], run["jobName"], yaml.safe_load(run["runConfigYaml"]) or {}) for run in runs]

    def newest(self, tags: Mapping[str, str], limit: int) -> list[SeenRun]:
        """The runs with these tags, ended or not, the newest first."""
        wanted = [{"key": k, "value": v} for k, v in tags.items()]
        answer = self.graphql(_NEWEST, tags=wanted, limit=limit)["runsOrError"]
        if "results" not in answer:
            raise DagsterClientError(f"runs can't be listed: {answer.get('message', answer)}")
        return [
            SeenRun(
                run["runId"], run["jobName"], run["status"], run["creationTime"], run["endTime"],
                {s["stepKey"]: s["status"] for s in run["stepStats"]},
            )
            for run in answer["results"]
        ]

    def run_url(self, run_id: str) -> str:
        """Where people see a run."""
        return f"{self.url}/runs/{run_id}"

    def wait(self, run_id: str, *, timeout_s: float = 600, poll_s: float = 0.5) -> Run:
        """The run once it has ended, however it ended. Raises TimeoutError with where it stands."""
        deadline = time.monotonic() + timeout_s
        while True:
            run = self.run(run_id)
            if run.status in ENDED:
                return run
            if time.monotonic() > deadline:
                raise TimeoutError(f"run {run_id} of {run.job} is {run.status} after {timeout_s:.0f} s: {run.steps}")
            time.sleep(poll_s)

    def succeed(self, run_id: str, *, timeout_s: float = 600) -> Run:
        """Like `wait`; raises RunFailedError unless the run succeeded."""
        run = self.wait(run_id, timeout_s=timeout_s)
        if run.status != "SUCCESS":
            reasons = "\n".join(self.failures(run_id))
            raise RunFailedError(f"run {run_id} of {run.job} ended as {run.status}:\n{reasons}")
        return run

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """All events of a run, in order, log messages among them."""
        events: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.graphql(_EVENTS, run=run_id, after=cursor)["logsForRun"]
            events += page["events"]
            if not page["hasMore"]:
                return events
            cursor = page["cursor"]

    def messages(self, run_id: str) -> list[str]:
        """What the steps logged, without Dagster's own events."""
        return [e["message"] for e in self.events(run_id) if e["__typename"] == "LogMessageEvent"]

    def failures(self, run_id: str) -> list[str]:
        """Per failed step: its name, the reason, the next step."""
        found = []
        for event in self.events(run_id):
            if event["__typename"] == "ExecutionStepFailureEvent":
                facts = event["failureMetadata"] or {"description": event["error"]["message"], "metadataEntries": []}
                steps = [m["mdStr"] for m in facts["metadataEntries"] if m["label"] == "next step"]
                found.append("\n".join([f"{event['stepKey']}: {facts['description']}", *steps]))
            elif event["__typename"] == "RunFailureEvent" and event.get("error"):
                found.append(event["error"]["message"])
        return found

    def _launch(
        self, job: str, config: Mapping[str, Any], tags: Mapping[str, str], assets: list[dict[str, Any]] | None = None,
        checks: list[dict[str, Any]] | None = None,
    ) -> str:
        selector: dict[str, Any] = {
            "repositoryLocationName": self.location, "repositoryName": REPOSITORY, "jobName": job,
        }  # fmt: skip
        if assets is not None:
            selector["assetSelection"] = assets
        if checks is not None:
            selector["assetCheckSelection"] = checks
        params = {
            "selector": selector,
            "runConfigData": config,
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
        }
        return self._run_id(self.graphql(_LAUNCH, params=params)["launchRun"])

    @staticmethod
    def _run_id(answer: dict[str, Any]) -> str:
        if answer["__typename"] != "LaunchRunSuccess":
            reasons = answer.get("message") or "; ".join(e["message"] for e in answer.get("errors", []))
            raise DagsterClientError(f"{answer['__typename']}: {reasons}")
        run_id: str = answer["run"]["runId"]
        return run_id
