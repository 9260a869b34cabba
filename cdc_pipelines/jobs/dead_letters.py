"""`dead_letters`, `retry_dead_letter`, `skip_dead_letter`: changes that the target refused.

Their tables stand apart until `release_tables` brings them back.
"""

from typing import Any

import dagster as dg

from cdc_pipelines.jobs.config import DeadLetterConfig, DeadLettersConfig, SkipConfig
from cdc_pipelines.jobs.single import job_of
from cdc_pipelines.replication.operations import dead_letters as letters
from cdc_pipelines.replication.secrets import redact
from cdc_pipelines.resources.failures import RETRIES
from cdc_pipelines.resources.pipelines import PipelinesResource

_LETTER = ("id", "table", "change", "key", "state", "at (UTC)", "position", "error", "note")
_TABLE = ("table", "since", "changes passed by", "dead letters", "reason")


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def list_dead_letters(context: dg.OpExecutionContext, config: DeadLettersConfig, pipelines: PipelinesResource) -> None:
    """List what a pipeline's target refused, and the tables that are in quarantine for it. Changes nothing."""
    with pipelines.beside(context, config.pipeline) as rt:
        found = letters.letters(rt, table=config.table or None, settled=config.settled)
        apart = letters.quarantined(rt)
    rows = [
        (
            str(each.id), each.table, letters.OPERATIONS[each.op], each.key or "", each.state,
            f"{each.created_at:%Y-%m-%d %H:%M:%S}", each.position,
            redact(each.error.splitlines()[0]), each.note or "",
        )
        for each in found
    ]
    context.log.info("%d dead letter(s), %d table(s) in quarantine", len(found), len(apart))
    metadata: dict[str, Any] = {
        "dead letters": _table(_LETTER, rows),
        "tables in quarantine": _table(
            _TABLE,
            [
                (each["table"], str(each["since"]), each["skipped"], each["dead_letters"], redact(each["reason"]))
                for each in apart
            ],
        ),
    }
    if apart:
        metadata["next step"] = dg.MetadataValue.md(
            "Mend the target's table or the source's row; then launch `release_tables`, which copies the tables again."
        )
    context.add_output_metadata(metadata)


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def try_dead_letter(context: dg.OpExecutionContext, config: DeadLetterConfig, pipelines: PipelinesResource) -> None:
    """Try whether the target would take a dead letter now; nothing is kept of it. The run fails where it would not."""
    with pipelines.beside(context, config.pipeline) as rt:
        table = letters.letter(rt, config.id).table
        why = letters.retry(rt, config.id)
        if why:
            raise dg.Failure(
                f"pipeline {config.pipeline}, dead letter {config.id} (table {table}): still refused: {redact(why)}",
                metadata={
                    "next step": dg.MetadataValue.md(
                        "Mend the target's table; or the source's row, and launch `release_tables`: a row that was "
                        "changed there need not pass this."
                    )
                },
                allow_retries=False,
            )
    context.log.info("dead letter %d: the target would take it now; launch release_tables for %s", config.id, table)
    context.add_output_metadata({"table": table})


@dg.op(out=dg.Out(dg.Nothing), retry_policy=RETRIES)
def accept_dead_letter(context: dg.OpExecutionContext, config: SkipConfig, pipelines: PipelinesResource) -> None:
    """Accept that a dead letter was not applied. Its table stays in quarantine until it is released."""
    with pipelines.beside(context, config.pipeline) as rt:
        found = letters.skip(rt, config.id, config.note)
        rt.store.record(
            rt.name, "skip dead letter", context.run.run_id, "done", f"{found.id} (table {found.table}): {config.note}"
        )
    context.log.info("dead letter %d (table %s): skipped", found.id, found.table)
    context.add_output_metadata({"table": found.table, "note": config.note})


def _table(columns: tuple[str, ...], rows: list[tuple[str | int, ...]]) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        records=[dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name) for name in columns]),
    )


dead_letters = job_of(list_dead_letters, name="dead_letters", config=DeadLettersConfig)
retry_dead_letter = job_of(try_dead_letter, name="retry_dead_letter", config=DeadLetterConfig)
skip_dead_letter = job_of(accept_dead_letter, name="skip_dead_letter", config=SkipConfig)
