"""A pipeline saved through the page is a file like any other: `pipelines/<name>.yaml`, which the CLI reads as well."""

import json
from contextlib import suppress
from pathlib import Path

import yaml

from cdc_pipelines.replication.alerts import private
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import ConfigurationError, PipelineFileError
from cdc_pipelines.replication.operations.configure import ConfigureResult
from cdc_pipelines.replication.operations.discover import SCHEMA_LINE
from cdc_pipelines.replication.operations.saving import configure_and_write
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from cdc_pipelines.replication.secrets import resolve_secret

_POSTED = Path("the posted pipeline")


def text_of(body: bytes, content_type: str) -> str:
    """A request's body as the text of a pipeline's file. JSON becomes YAML; YAML stays, comments and all."""
    try:
        text = body.decode("utf-8")
        if "json" not in content_type:
            return text
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise PipelineFileError(
            "the posted pipeline is not JSON in UTF-8",
            "send JSON as application/json, or YAML as application/yaml.",
        ) from None
    return f"{SCHEMA_LINE}\n{yaml.safe_dump(document, sort_keys=False, allow_unicode=True)}"


def parse(text: str) -> Pipeline:
    """The pipeline that a posted text declares. Its name must be in it: there is no file yet to take it from."""
    spec = parse_pipeline(text, _POSTED)
    if "name" not in yaml.safe_load(text):
        raise PipelineFileError("the posted pipeline has no `name`", "give it one: small letters, digits and _.")
    return spec


def save(text: str, folder: Path, store: ControlStore, *, plan: bool = False) -> ConfigureResult:
    """Check the pipeline against its live source, write its file and save it. Nothing is made elsewhere.

    With `plan` nothing is written either. Raises what `configure_and_write` raises.
    """
    spec = parse(text)
    learn_secrets(spec)
    return configure_and_write(text, folder / f"{spec.name}.yaml", store, plan=plan)


def learn_secrets(spec: Pipeline) -> None:
    """Let what the pipeline refers to as secret be masked from now on, whether or not it is ever used here."""
    private.learn_secrets(spec)
    alerts = spec.alerts
    references = [
        *alerts.apprise,
        *([alerts.webhook.url, alerts.webhook.secret or ""] if alerts.webhook else []),
        *([alerts.pagerduty.routing_key] if alerts.pagerduty else []),
    ]
    for reference in references:
        with suppress(ConfigurationError):
            resolve_secret(reference)
