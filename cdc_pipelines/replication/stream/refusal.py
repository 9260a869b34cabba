"""A change that the target refuses: what is known of it, and how it becomes a dead letter."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg

from cdc_pipelines.replication.catalog import to_json
from cdc_pipelines.replication.changes.batches import Event, Key
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.postgres.dead_letters import NewLetter
from cdc_pipelines.replication.databases.postgres.refusals import is_refusal, reason
from cdc_pipelines.replication.errors import CdcError, FencedError, IntegrityError, RetryableError
from cdc_pipelines.replication.stream.messages import Message


class RefusedError(IntegrityError):
    """The target refuses a change of `table` for what the change or the table is: it would do so again.

    `event` is the one that is refused, once it was found; None while only a stretch is known that holds it. `details`
    is all that the target said, values of the row included; the message has the part without them.
    """

    def __init__(
        self, table: str, reason: str, *, details: str = "", sqlstate: str | None = None, event: Event | None = None,
        next_step: str = "", key: Sequence[Any] | None = None,
    ) -> None:
        """`key`: the event's as people may see it, if they may not see it as it is."""
        self.table, self.reason, self.event = table, reason, event
        self.details, self.sqlstate = details or reason, sqlstate
        shown = key or (event.key if event is not None else None)
        where = f" of row {', '.join(map(str, shown))[:100]}" if shown else ""
        super().__init__(
            reason if reason.startswith("table ") else f"table {table}: the target refused a change{where}: {reason}",
            next_step or "mend the target table (or the mapping), then `cdc start NAME`; the change log keeps what was "
            "not applied.",
        )

    @property
    def log_place(self) -> str | None:
        """Where the refused change stands in the source's log, `file:pos`; None until it is found."""
        return None if self.event is None else self.event.place.log_place

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return IntegrityError, (self.message, self.next_step)


@contextmanager
def refusals_told(
    table: str, origin: Event | None, shown_key: Callable[[], Sequence[object] | None]
) -> Iterator[None]:
    """What the target refuses inside the block is raised as RefusedError: with the table, and the event if it is known.

    `shown_key`: the event's key as people may see it, if they may not see it as it is. Raises IntegrityError where
    the target can't be written to at all; what is worth another try comes as it is.
    """
    try:
        yield
    except (FencedError, RetryableError, RefusedError):
        raise
    except CdcError as error:  # a row that is not there, a table that is gone
        raise RefusedError(
            table, error.message, event=origin, next_step=error.next_step, key=shown_key()
        ) from error
    except psycopg.Error as error:
        if is_refusal(error):
            raise RefusedError(
                table, reason(error), details=str(error).strip(), sqlstate=error.sqlstate, event=origin,
                key=shown_key(),
            ) from error
        if isinstance(error, psycopg.OperationalError):
            raise
        raise IntegrityError(
            f"table {table}: the target can't be written to: {reason(error)}",
            "mend that on the target, then `cdc start NAME`; the change log keeps what was not applied.",
        ) from error


def event_of(message: Message, offset: int, key: Key | None = None) -> Event:
    """A record of the log, as it is kept until it is known whether the target takes it."""
    schema = message.op is None
    after = msgspec.Raw(msgspec.json.encode(message.ddl)) if schema else message.after
    commit_ms = message.source.ts_ms if message.source else None
    return Event(message.op or "s", key, message.before, after, message.place(), offset, commit_ms)


def letter(refusal: RefusedError, codec: RowCodec) -> NewLetter:
    """The dead letter of a refusal whose event was found. What the target must not see it does not see here either."""
    event = refusal.event
    assert event is not None
    names = [column.source.name for column in codec.table.key]
    key = None if event.key is None else to_json(dict(zip(names, codec.shown_key(event.key), strict=True)))
    before, after = (
        image if image is None or event.op == "s" else codec.disguise(image) for image in (event.before, event.after)
    )
    return NewLetter(
        table=refusal.table, op=event.op, key=key, before=_image(before), after=_image(after),
        position=to_json(event.place._asdict()), commit_ms=event.commit_ms, log_offset=event.offset,
        sqlstate=refusal.sqlstate, error=refusal.details,
    )


def _image(raw: msgspec.Raw | None) -> str | None:
    """The row as the log has it, whole; None where the event has no such image."""
    text = b"null" if raw is None else bytes(raw)
    return None if text == b"null" else text.decode()
