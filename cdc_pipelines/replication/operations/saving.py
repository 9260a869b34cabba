"""A pipeline that comes as a text, from a page or a Launchpad: its file is written, and it is configured by that."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import (
    CdcError,
    ConfigurationError,
    NameTakenError,
    NotConfiguredError,
    PipelineFileError,
)
from cdc_pipelines.replication.operations.configure import ConfigureResult, configure_text
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import load_pipeline, parse_pipeline

_log = logging.getLogger("cdc.configure")


def configure_and_write(text: str, file: Path, store: ControlStore, *, plan: bool = False) -> ConfigureResult:
    """Like `configure`, for a `text` that becomes the file `<name>.yaml`. After an error the file is as it was.

    With `plan` nothing is written. Raises NameTakenError where name or file are another pipeline's, ConfigurationError
    where the file can't be written; else as `configure` does.
    """
    spec = parse_pipeline(text, file)
    if file.name != f"{spec.name}.yaml":
        raise PipelineFileError(
            f"{file} can't be the file of pipeline {spec.name}", f"give {file.parent / spec.name}.yaml instead."
        )
    _refuse_others(spec, file, store)
    if plan:
        return configure_text(text, file, store, plan=True)
    with staged(text, file) as put:
        result = configure_text(text, file, store)
        put()
    return result


@contextmanager
def staged(text: str, file: Path) -> Iterator[Callable[[], None]]:
    """A text written beside its file; what is given puts it in the file's place. Until then the file is as it was.

    Raises ConfigurationError where it can't be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        number, new = tempfile.mkstemp(prefix=f".{file.stem}.", suffix=".new", dir=file.parent)
    except OSError as error:
        raise ConfigurationError(
            f"{file} can't be written: {error.strerror}",
            "let this process write there, or set CDC_PIPELINES_DIR to another folder.",
        ) from error

    def put() -> None:
        os.replace(new, file)
        _log.info("saved as %s", file, extra={"pipeline": file.stem})

    try:
        with os.fdopen(number, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(new, 0o644)  # it holds references only, and the code location may be another user
        yield put
    finally:
        with suppress(FileNotFoundError):
            os.unlink(new)


def _refuse_others(spec: Pipeline, file: Path, store: ControlStore) -> None:
    """A name that is taken belongs to one pipeline: the one with the same config id."""
    there: dict[str, int] = {}
    if file.exists():
        try:
            found = load_pipeline(file)
        except CdcError:
            raise NameTakenError(f"{file} is there, and can't be read as a pipeline", "mend or remove it.") from None
        if found.name != spec.name:
            raise NameTakenError(f"{file} declares pipeline {found.name}", f"rename it to {found.name}.yaml first.")
        there[str(file)] = found.config
    with suppress(NotConfiguredError):
        there["the control store"] = store.get(spec.name).config
    for where, config in there.items():
        if config != spec.config:
            raise NameTakenError(
                f"in {where} pipeline {spec.name} has config id {config}, not {spec.config}",
                f"to change that one, give `config: {config}`; for a new one, choose another name.",
            )
