"""A pipeline saved through the page is a file like any other: `pipelines/<name>.yaml`, which the CLI reads as well."""

import json
import os
import tempfile
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

import yaml

from cdc_pipelines.replication.alerts import private
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import CdcError, ConfigurationError, NotConfiguredError, PipelineFileError
from cdc_pipelines.replication.operations.configure import ConfigureResult, configure_text
from cdc_pipelines.replication.operations.discover import SCHEMA_LINE
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import load_pipeline, parse_pipeline
from cdc_pipelines.replication.secrets import resolve_secret
from cdc_pipelines.web.problems import ProblemError

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

    With `plan` nothing is written either. Raises ProblemError where the name is another pipeline's; else as
    `configure` does. After an error the file is as it was.
    """
    spec = parse(text)
    learn_secrets(spec)
    file = folder / f"{spec.name}.yaml"
    _refuse_others(spec, file, store)
    if plan:
        return configure_text(text, file, store, plan=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, new = tempfile.mkstemp(prefix=f".{spec.name}.", suffix=".new", dir=folder)
    except OSError as error:
        raise ProblemError(
            HTTPStatus.INTERNAL_SERVER_ERROR, "not_writable", "The pipeline's file can't be written",
            f"{folder}: {error.strerror}", "let `cdc web` write there, or set CDC_PIPELINES_DIR to another folder.",
        ) from error
    try:
        with os.fdopen(number, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(new, 0o644)  # it holds references only, and the code location may be another user
        result = configure_text(text, file, store)
        os.replace(new, file)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(new)
    return result


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


def _refuse_others(spec: Pipeline, file: Path, store: ControlStore) -> None:
    """A name that is taken belongs to one pipeline: the one with the same config id."""
    there: dict[str, int] = {}
    if file.exists():
        try:
            found = load_pipeline(file)
        except CdcError:
            raise _taken(spec, f"{file} is there, and can't be read as a pipeline", "mend or remove it.") from None
        if found.name != spec.name:
            raise _taken(spec, f"{file} declares pipeline {found.name}", f"rename it to {found.name}.yaml first.")
        there[str(file)] = found.config
    with suppress(NotConfiguredError):
        there["the control store"] = store.get(spec.name).config
    for where, config in there.items():
        if config != spec.config:
            raise _taken(
                spec, f"in {where} pipeline {spec.name} has config id {config}, not {spec.config}",
                f"to change that one, post it with `config: {config}`; for a new one, choose another name.",
            )


def _taken(spec: Pipeline, detail: str, step: str) -> ProblemError:
    return ProblemError(HTTPStatus.CONFLICT, "name_taken", f"The name {spec.name} is taken", detail, step)
