"""What a person can do about a dead letter: look at it, try it again without keeping it, accept it."""

import json
from typing import Any

import msgspec
import psycopg

from cdc_pipelines.replication.changes.batches import HistoryBatch, KeyedBatch, OrderedBatch
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.changes.versions import alone
from cdc_pipelines.replication.databases.postgres.appliers import applier_of
from cdc_pipelines.replication.databases.postgres.connection import server_errors, take_replica_role
from cdc_pipelines.replication.databases.postgres.dead_letters import DeadLetter
from cdc_pipelines.replication.databases.postgres.refusals import reason
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import CdcError, ConfigurationError
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream import poison

OPERATIONS = {"c": "insert", "r": "insert", "u": "update", "d": "delete", "t": "truncate", "s": "schema change"}
_LOCK_WAIT_S = 5


def letters(rt: Runtime, *, table: str | None = None, settled: bool = False) -> list[DeadLetter]:
    """Those that are held, the newest first; with `settled` all."""
    with rt.target("dead letters") as (_, state), server_errors("looking at the dead letters"):
        found = state.dead_letters(table) if state.exists() else []
    return [letter for letter in found if settled or letter.state == "held"]


def quarantined(rt: Runtime) -> list[dict[str, Any]]:
    """The tables that stand still because of them, ready for JSON: `table`, `target`, how many `dead_letters` are held,
    `reason`, `since` when, how many changes were `skipped`.
    """
    with rt.target("quarantine") as (_, state), server_errors("looking at the quarantine"):
        stats = state.table_stats() if state.exists() else []
    return [
        {"table": each["table"], "target": each["target"], "dead_letters": each["dead_letters"]} | each["detached"]
        for each in stats if each["detached"] and each["detached"]["kind"] == "quarantined"
    ]


def letter(rt: Runtime, letter_id: int) -> DeadLetter:
    """Raises ConfigurationError where the pipeline has none of that number."""
    with rt.target("dead letters") as (_, state), server_errors("looking at the dead letters"):
        return _of(state, rt.name, letter_id)


def _of(state: TargetState, pipeline: str, letter_id: int) -> DeadLetter:
    found = state.dead_letter(letter_id) if state.exists() else None
    if found is None:
        raise ConfigurationError(
            f"pipeline {pipeline} has no dead letter {letter_id}", f"`cdc deadletters list {pipeline}` shows them."
        )
    return found


def retry(rt: Runtime, letter_id: int) -> str:
    """Whether the target would take the change now: what it has against it, nothing where it would.

    Nothing is kept of it, whatever comes out: changes before and after it are missing from the table as well, so that
    only a new copy can bring it back. Raises ConfigurationError for what is no change of a row.
    """
    with rt.target("dead letters") as (conn, state), server_errors("trying the dead letter"):
        found = _of(state, rt.name, letter_id)
        table = next((t for t in state.mapped_tables() if t.name == found.table), None)
        if table is None or found.op not in ("c", "r", "u", "d"):
            raise ConfigurationError(
                f"dead letter {letter_id} ({found.op}, table {found.table}) is no change of a row: it can't be tried",
                f"look at the table on the target, then run `cdc quarantine release {rt.name} {found.table}`.",
            )
        codec = RowCodec(table, rt.pipeline.source.type, rt.target_spec.type, disguised=True)
        before, after = (
            None if image is None else codec.row(msgspec.Raw(image.encode())) for image in (found.before, found.after)
        )
        batch: KeyedBatch | HistoryBatch | OrderedBatch
        if codec.key_indexes:
            row = after if found.op != "d" else before
            assert row is not None
            batch = KeyedBatch({codec.key(row): None if found.op == "d" else row}, fresh=False)
        else:
            batch = OrderedBatch([(before if found.op in ("u", "d") else None, None if found.op == "d" else after)])
        conn.commit()
        take_replica_role(conn)
        conn.execute(f"set local lock_timeout = '{_LOCK_WAIT_S}s'".encode())
        try:
            if table.rows.history and isinstance(batch, KeyedBatch):
                batch = alone(batch, found.commit_ms)
            error = poison.refused(conn, applier_of(conn, codec, 0), batch)
        except CdcError as gone:
            return gone.message
        finally:
            conn.rollback()
        if error is None:
            return ""
        return reason(error) if isinstance(error, psycopg.Error) else error.message


def skip(rt: Runtime, letter_id: int, note: str) -> DeadLetter:
    """Take a letter as seen and accepted. Its table stays in quarantine until it is released.

    Raises ConfigurationError where it is held no more.
    """
    with rt.target("dead letters") as (conn, state), server_errors("skipping the dead letter"):
        facts, found = state.load(), _of(state, rt.name, letter_id)
        assert facts is not None
        state.require_epoch(facts.epoch)
        if not state.skip_letter(letter_id, note):
            raise ConfigurationError(
                f"dead letter {letter_id} is {found.state} already", f"see `cdc deadletters list {rt.name} --all`."
            )
        conn.commit()
        return _of(state, rt.name, letter_id)


def as_facts(letter: DeadLetter) -> dict[str, Any]:
    """Plain values; key, images and position as objects."""
    facts = msgspec.to_builtins(letter)
    documents = ("key", "before", "after", "position")
    parsed = {name: json.loads(facts[name]) for name in documents if facts[name] is not None}
    ordered = ("id", "state", "table", "op", "key", "before", "after", "position", "log_offset", "commit_ms",
               "sqlstate", "error", "note", "created_at", "settled_at")  # fmt: skip
    return {name: parsed.get(name, facts[name]) for name in ordered}
