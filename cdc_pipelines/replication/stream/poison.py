"""Finding the one change of a batch that the target refuses, by bisection under savepoints."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg

from cdc_pipelines.replication.changes.batches import Event, HistoryBatch, KeyedBatch, OrderedBatch, Origins
from cdc_pipelines.replication.databases.postgres.appliers import AnyApplier
from cdc_pipelines.replication.databases.postgres.refusals import is_refusal
from cdc_pipelines.replication.errors import IntegrityError

Plain = KeyedBatch | HistoryBatch | OrderedBatch


def apply_or_find(
    conn: psycopg.Connection, applier: AnyApplier, batch: Plain, origins: Origins
) -> tuple[Event, psycopg.Error | IntegrityError] | None:
    """Apply the batch in the open transaction. Where it is refused, nothing of it stays.

    Returns then the event that is refused, given those before it, and the error. Errors that are no refusal are raised.
    """
    error = refused(conn, applier, batch, keep=True)
    if error is None:
        return None
    steps = _steps(batch, unique=applier.unique)
    errors = {len(steps): error}

    def is_refused(count: int) -> bool:
        error = refused(conn, applier, _together(batch, steps[:count]))
        if error is not None:
            errors[count] = error
        return error is not None

    place = first_refused(len(steps), is_refused)
    return origins[steps[place][0]], errors[place + 1]


def refused(
    conn: psycopg.Connection, applier: AnyApplier, batch: Plain, *, keep: bool = False
) -> psycopg.Error | IntegrityError | None:
    """Try a batch under a savepoint: what the target has against it. Where that is nothing, it stays if `keep`."""
    try:
        with conn.transaction(force_rollback=not keep):
            applier.apply(batch if isinstance(batch, OrderedBatch) else applier.pack(batch))
    except (psycopg.Error, IntegrityError) as error:
        if isinstance(error, psycopg.Error) and not is_refusal(error):
            raise
        applier.undone()
        return error
    if not keep:
        applier.undone()
    return None


def first_refused(count: int, is_refused: Callable[[int], bool]) -> int:
    """Which of `count` steps, in order, is the first that is refused; all of them together are.

    `is_refused(n)` tells of the first n of them; it is asked about log2(count) times.
    """
    passes, refused = 0, count
    while refused - passes > 1:
        middle = (passes + refused) // 2
        if is_refused(middle):
            refused = middle
        else:
            passes = middle
    return refused - 1


def _steps(batch: Plain, *, unique: bool) -> list[tuple[Any, Any]]:
    """The batch one by one, in the order in which it is applied: (key, row; None for one to be gone), (place, change).

    Where rows make room for each other (`unique`), all keys that are touched go first, as in the whole batch: else the
    rows tried without those that make room for them would be refused for that.
    """
    if isinstance(batch, OrderedBatch):
        return list(enumerate(batch.changes))
    if isinstance(batch, HistoryBatch):
        return list(batch.versions.items())
    gone = [(key, None) for key, row in batch.images.items() if unique or row is None]
    return gone + [(key, row) for key, row in batch.images.items() if row is not None]


def _together(batch: Plain, steps: list[tuple[Any, Any]]) -> Plain:
    if isinstance(batch, OrderedBatch):
        return OrderedBatch([change for _, change in steps])
    if isinstance(batch, HistoryBatch):
        return replace(batch, versions=dict(steps))
    return KeyedBatch(dict(steps), fresh=False)
