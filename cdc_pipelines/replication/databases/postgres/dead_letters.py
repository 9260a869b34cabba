"""Dead letters: events that the target refused, kept whole beside the tables that they are of."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import class_row

LetterState = Literal["held", "applied", "skipped"]
"""held: nobody has done with it; applied: its table was copied again, so that what it meant is there; skipped: accepted
as it is by a person."""

_COLUMNS = sql.SQL(
    "id, table_name as table, op, key, before, after, position, commit_ms, log_offset, sqlstate, error, state, note, "
    "created_at, settled_at"
)


class NewLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event and what the target said. `op` is Debezium's (c, u, d, t), or `s` for a change of the schema.

    `key`, `before`, `after` and `position` are JSON; the images are as the change log has them. `log_offset` is where.
    """

    table: str
    op: str
    key: str | None
    before: str | None
    after: str | None
    position: str | None
    commit_ms: int | None
    log_offset: int | None
    sqlstate: str | None
    error: str


class DeadLetter(NewLetter, frozen=True, kw_only=True):
    """One that is kept. `note` is what a person said to it."""

    id: int
    state: LetterState
    note: str | None
    created_at: datetime
    settled_at: datetime | None


class DeadLetterStore:
    """The dead letters of pipeline `name`, in the caller's transaction."""

    def __init__(self, conn: psycopg.Connection, name: str) -> None:
        self._conn = conn
        self._name = name

    def hold_letter(self, letter: NewLetter) -> int:
        """Keep an event that was refused. Returns its id."""
        row = self._conn.execute(
            "insert into _cdc.dead_letter (pipeline, table_name, op, key, before, after, position, commit_ms, "
            "log_offset, sqlstate, error) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning id",
            [self._name, *msgspec.structs.astuple(letter)],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def dead_letters(self, table: str | None = None) -> list[DeadLetter]:
        """All, or a table's; the newest first."""
        with self._conn.cursor(row_factory=class_row(DeadLetter)) as cursor:
            cursor.execute(
                sql.SQL(
                    "select {} from _cdc.dead_letter where pipeline = %s and (%s::text is null or table_name = %s) "
                    "order by id desc"
                ).format(_COLUMNS),
                [self._name, table, table],
            )
            return cursor.fetchall()

    def dead_letter(self, letter_id: int) -> DeadLetter | None:
        return next((letter for letter in self.dead_letters() if letter.id == letter_id), None)

    def held_letters(self) -> Mapping[str, int]:
        """How many are held, by table."""
        rows = self._conn.execute(
            "select table_name, count(*) from _cdc.dead_letter where pipeline = %s and state = 'held' "
            'group by table_name order by table_name collate "C"',
            [self._name],
        )
        return dict(rows.fetchall())

    def skip_letter(self, letter_id: int, note: str) -> bool:
        """Take a held one as seen and accepted. False where it is held no more."""
        return self._conn.execute(
            "update _cdc.dead_letter set state = 'skipped', note = %s, settled_at = clock_timestamp() "
            "where pipeline = %s and id = %s and state = 'held'",
            [note, self._name, letter_id],
        ).rowcount == 1

    def settle_letters(self, table: str) -> int:
        """The table was copied again: what its held ones meant is on the target. Returns how many there were."""
        return self._conn.execute(
            "update _cdc.dead_letter set state = 'applied', settled_at = clock_timestamp() "
            "where pipeline = %s and table_name = %s and state = 'held'",
            [self._name, table],
        ).rowcount
