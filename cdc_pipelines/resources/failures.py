"""From the engine's errors to what a person reads in the Dagster UI.

The engine cuts its errors by what the caller should do, so each kind maps to one behaviour of a step:

    RetryableError        the step is retried, with a growing delay; the last try fails with the same words
    any other CdcError    the step fails at once, however many retries are left: repeating would not help
    a driver's own error  of a lost connection: like RetryableError
    anything else         a bug: the step fails at once, with the traceback
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import dagster as dg
import mysql.connector
import psycopg
import pymysql
import sqlalchemy.exc

from cdc_pipelines.replication.errors import CdcError, CheckResult, PrerequisiteError, RetryableError
from cdc_pipelines.replication.secrets import redact

# After 5, 10, 20 and 40 s: longer than a lease that a killed run leaves behind, and than Kafka Connect's restart.
RETRIES = dg.RetryPolicy(max_retries=4, delay=5, backoff=dg.Backoff.EXPONENTIAL)

Context = dg.OpExecutionContext | dg.AssetExecutionContext | dg.AssetCheckExecutionContext

_OUTAGES = (
    OSError,  # refused, reset and timed-out connections, those of `requests` too
    psycopg.OperationalError,
    pymysql.err.OperationalError,
    mysql.connector.errors.OperationalError,
    mysql.connector.errors.InterfaceError,
    sqlalchemy.exc.OperationalError,
)


@contextmanager
def explained(context: Context, pipeline: str) -> Iterator[None]:
    """Turn errors of the engine into `dg.Failure`s with the next step as their metadata; see the module."""
    try:
        yield
    except (RetryableError, *_OUTAGES) as error:
        if context.retry_number < RETRIES.max_retries:
            context.log.warning("%s\nThe step will be tried again.", redact(str(error)))
            shown = masked(error)
            if shown is error:
                raise
            raise shown from shown.__cause__
        fail(error, pipeline)
    except dg.Failure:
        raise
    except Exception as error:  # noqa: BLE001 - shown with its traceback, as the failure's cause
        fail(error, pipeline)


def fail(error: Exception, pipeline: str) -> NoReturn:
    """Raise the failure that shows an error; retries of the step are over."""
    message = error.message if isinstance(error, CdcError) else f"{type(error).__name__}: {error}"
    metadata: dict[str, dg.MetadataValue] = {
        "pipeline": dg.MetadataValue.text(pipeline),
        "error": dg.MetadataValue.text(type(error).__name__),
    }
    if isinstance(error, CdcError) and error.next_step:
        metadata["next step"] = dg.MetadataValue.md(redact(error.next_step))
    if isinstance(error, PrerequisiteError):
        metadata["prerequisites"] = prerequisites_table(error.results)
        metadata["next step"] = dg.MetadataValue.md(prerequisites_fixes(error))
    raise dg.Failure(redact(message), metadata=metadata, allow_retries=False) from masked(error)


def masked(error: BaseException) -> BaseException:
    """The error without secrets in its words, nor in those of what led to it: Dagster keeps them all.

    An error of the engine is masked itself. Any other that tells a secret gives way to one of the same name, with its
    traceback.
    """
    led_to = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    words, shown = str(error), error
    if isinstance(error, CdcError):
        error.message, error.next_step = redact(error.message), redact(error.next_step)
        error.args = tuple(redact(part) if isinstance(part, str) else part for part in error.args)
    elif redact(words) != words:
        kind = type(error)
        stand_in = type(kind.__name__, (Exception,), {"__module__": kind.__module__})
        shown = stand_in(redact(words)).with_traceback(error.__traceback__)
        shown.__cause__ = None  # nor the error that it stands for
    if led_to is not None:
        before = masked(led_to)
        if shown is not error or before is not led_to:
            shown.__cause__ = before
    return shown


def prerequisites_table(results: tuple[CheckResult, ...] | list[CheckResult]) -> dg.MetadataValue:
    """All results, those that are not met first."""
    rows = [
        dg.TableRecord(
            {"met": "yes" if r.ok else "NO", "prerequisite": r.name, "found": redact(r.message), "fix": r.fix}
        )
        for r in sorted(results, key=lambda r: r.ok)
    ]
    return dg.MetadataValue.table(
        records=rows, schema=dg.TableSchema([dg.TableColumn(n) for n in ("met", "prerequisite", "found", "fix")])
    )


def prerequisites_fixes(error: PrerequisiteError) -> str:
    """The fixes alone, as markdown that can be copied statement by statement."""
    blocks = [
        f"**{r.name}**: {redact(r.message)}" + (f"\n```\n{r.fix}\n```" if r.fix else "")
        for r in error.results
        if not r.ok
    ]
    return "\n\n".join([*blocks, redact(error.next_step)])
