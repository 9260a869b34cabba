"""What a change of a source's row is to the rows that the target is to have, where that is not all of them as they are.

A row that leaves the filter is deleted, one that enters is inserted: an event tells both images. A delete of a table
with soft deletes is one more image of the row, the last one that it had, with the time of the delete. A change of what
the target does not have makes no version of a history.
"""

from typing import NamedTuple

from cdc_pipelines.replication.changes.batches import Row
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.stream.messages import Message


class Change(NamedTuple):
    """One row's change on the target; `op` as Debezium has it. `after` is the row to be there, None: it goes."""

    op: str
    before: Row | None
    after: Row | None


def shaped(codec: RowCodec, op: str, before: Row | None, after: Row | None) -> Change | None:
    """The change as the table's filter sees it; None where the target has no part in it."""
    was = before if before is not None and codec.accepts(before) else None
    now = after if after is not None and codec.accepts(after) else None
    if op not in "ud":  # an insert
        return None if now is None else Change(op, None, now)
    if was is None and now is None:
        return None
    if now is None:
        return Change("d", was, None)
    if codec.may_repeat and was is not None and codec.texts(was) == codec.texts(now):
        return None
    return Change(op if was is not None else "c", was, now)


def deleted(codec: RowCodec, row: Row, message: Message) -> Row | None:
    """What is left of a deleted row on the target: nothing, unless its table has soft deletes."""
    at_ms = message.source.ts_ms if message.source else None
    left = codec.gone(row, at_ms)
    if left is not None and codec.stamps:
        codec.stamp(left, "d", message.place(), at_ms)
    return left
