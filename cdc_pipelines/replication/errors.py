"""One tree of errors, cut by what the caller should do.

    CdcError
    ├── RetryableError          wait and call again; the state is unchanged
    │   └── LeaseHeldError      another operation on this pipeline is under way
    ├── ConfigurationError      change the pipeline's file or a server's settings
    │   ├── PipelineFileError   the pipeline's file can't be read or is wrong
    │   ├── PrerequisiteError   one or more prerequisites of a start are not met
    │   ├── NameTakenError      the name or the file is another pipeline's
    │   └── NotConfiguredError  no such pipeline in the control store
    ├── ResyncRequiredError     the stream can't go on exactly; copy the pipeline (or the table) again
    │   └── TornLogError        unless the source still has what the log misses: then it is read again
    ├── UnsupportedChangeError  a change of the source that the applier doesn't follow
    ├── FencedError             something newer is in charge of the pipeline; this process must end
    └── IntegrityError          both sides or our own records contradict each other; a person must look

Every message names the thing, the bad value and the next step.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "CdcError",
    "CheckResult",
    "ConfigurationError",
    "FencedError",
    "IntegrityError",
    "LeaseHeldError",
    "NameTakenError",
    "NotConfiguredError",
    "PipelineFileError",
    "PrerequisiteError",
    "ResyncRequiredError",
    "RetryableError",
    "TornLogError",
    "UnsupportedChangeError",
    "named",
]


class CdcError(Exception):
    """Base of all errors that this package raises on purpose.

    `message` names the thing and the bad value, `next_step` says what to do; `str()` gives both.
    """

    def __init__(self, message: str, next_step: str = "") -> None:
        self.message = message
        self.next_step = next_step
        super().__init__(message if not next_step else f"{message}\n  Next step: {next_step}")

    def name_pipeline(self, pipeline: str) -> None:
        """Put the pipeline's name into the commands that its words recommend: who raised it need not have known."""
        self.message, self.next_step = named(self.message, pipeline), named(self.next_step, pipeline)
        self.args = tuple(named(part, pipeline) if isinstance(part, str) else part for part in self.args)

    def __reduce__(self) -> tuple[type["CdcError"], tuple[str, str]]:
        return type(self), (self.message, self.next_step)


class RetryableError(CdcError):
    """Something was out of reach or busy. Wait and call again; nothing has changed."""


class LeaseHeldError(RetryableError):
    """Another operation on the same pipeline is under way."""


class ConfigurationError(CdcError):
    """The pipeline's file or a server's settings must be changed first."""


class PipelineFileError(ConfigurationError):
    """The pipeline's file can't be read, or says something that is not allowed."""


class NameTakenError(ConfigurationError):
    """A pipeline's name, or its file, belongs to another pipeline."""


class NotConfiguredError(ConfigurationError):
    """The control store knows no pipeline of that name."""


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one prerequisite: what was looked at, how it stands, how to mend it."""

    name: str
    ok: bool
    message: str
    fix: str = ""


class PrerequisiteError(ConfigurationError):
    """One or more prerequisites of a start are not met; `results` holds them all, met ones too."""

    def __init__(self, pipeline: str, results: Sequence[CheckResult]) -> None:
        self.pipeline = pipeline
        self.results = tuple(results)
        failed = [r for r in self.results if not r.ok]
        lines = [f"pipeline {pipeline}: {len(failed)} of {len(self.results)} prerequisites are not met:"]
        for result in failed:
            lines.append(f"  - {result.name}: {result.message}")
            lines.extend(f"      fix: {line}" for line in result.fix.splitlines() if line)
        super().__init__("\n".join(lines), f"mend them, then run `cdc check {pipeline}`.")

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return type(self), (self.pipeline, self.results)


class ResyncRequiredError(CdcError):
    """The stream can't go on exactly from where it stands; only a new copy brings both sides together."""


class TornLogError(ResyncRequiredError):
    """A part of a transaction is missing from the change log. From the source's log the whole of it can be had again.

    Where that fails as well, only a new copy helps.
    """


class UnsupportedChangeError(CdcError):
    """The source changed in a way that the applier doesn't follow; it stopped before applying it."""


class FencedError(CdcError):
    """The epoch in the target is newer than this process's own: something else took over."""


class IntegrityError(CdcError):
    """Two records of the truth contradict each other. Nothing was written; a person must look."""


def named(text: str, pipeline: str) -> str:
    """The text, `cdc … NAME` in it replaced by the command for this pipeline."""
    return re.sub(r"\bcdc ([a-z-]+(?: [a-z]+)?) NAME\b", rf"cdc \1 {pipeline}", text)
