"""Comparing tables on two prepared sessions: one in a snapshot of the source, one in a snapshot of the target."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import psycopg

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.checksum import Key, Row, Salt
from cdc_pipelines.replication.databases.mysql.checksum import MySqlChecksum, has_ranges
from cdc_pipelines.replication.databases.mysql.read import SnapshotSession
from cdc_pipelines.replication.databases.postgres import history
from cdc_pipelines.replication.databases.postgres.checksum import PostgresChecksum, key_is_sound, require_table
from cdc_pipelines.replication.databases.postgres.connection import server_errors
from cdc_pipelines.replication.verify.compare import ROWS_PER_RANGE, Compared, compare_table
from cdc_pipelines.replication.verify.pair import Pair
from cdc_pipelines.replication.verify.walk import Pace


def verify_table(
    source: SnapshotSession, target: psycopg.Connection, table: MappedTable, *, max_keys: int = 100,
    rows_per_range: int = ROWS_PER_RANGE, salt: Salt | None = None, pace: Pace | None = None,
    start: Key | None = None, over: Callable[[], bool] = lambda: False,
) -> Compared:
    """Compare one table. `target` is in a REPEATABLE READ transaction; both sessions see the same state of the source.

    At most `max_keys` differences are listed; all are counted. For the rest see `compare_table`. Raises IntegrityError
    where the target's table or one of its columns is gone, RetryableError where a server is lost.
    """
    ours, theirs, ranges = both_sides(source, target, table, salt or new_salt())
    compared = compare_table(
        ours, theirs, ranges=ranges, max_keys=max_keys, rows_per_range=rows_per_range, pace=pace, start=start, over=over
    )
    if not table.rows.history or start is not None:
        return compared
    # The source can be asked for open versions only; of the others it is known how they must lie to each other.
    with server_errors(f"looking at the history of table {table.name}"):
        malformed = history.malformed(target, table)
    return compared._replace(result=msgspec.structs.replace(compared.result, malformed=malformed))


Images = dict[Key, frozenset[Row]]
"""Rows of the target by their picks."""


def look_again(
    source: SnapshotSession, target: psycopg.Connection, table: MappedTable, compared: Compared, salt: Salt,
    before: Images | None,
) -> tuple[Compared, Images]:
    """What is left, in another pair of snapshots, of the differences that a comparison (with `salt`) found.

    A row of the target that is not what it was at the look `before` is no difference: the stream has written the whole
    of it anew since then. Where nothing is left, as many rows count for the target as for the source: the others were
    in flight.
    """
    ours, theirs, ranges = both_sides(source, target, table, salt)
    if ranges != compared.ranges:
        return compared, before or {}
    with ThreadPoolExecutor(1, thread_name_prefix="verify-target") as pool:
        found, images = Pair(ours, theirs, pool).picked(compared.picks)
    if before is not None:
        found = [f for f in found if images.get(f.pick) == before.get(f.pick)]
    result = msgspec.structs.replace(
        compared.result, differences=tuple(f.difference for f in found)[: len(compared.result.differences)],
        difference_count=len(found),
        rows_target=compared.result.rows_source if not found else compared.result.rows_target,
    )
    return compared._replace(result=result, picks=frozenset(f.pick for f in found)), images


def both_sides(
    source: SnapshotSession, target: psycopg.Connection, table: MappedTable, salt: Salt
) -> tuple[MySqlChecksum, PostgresChecksum, bool]:
    """The table on both sides, and whether its key's ranges hold the same rows there."""
    found = require_table(target, table)
    ranges = has_ranges(table) and key_is_sound(found, table)
    ours = MySqlChecksum(source, table, "postgres", salt, "modulo" if ranges else "digest")
    theirs = PostgresChecksum(target, table, source.flavor, salt, "modulo" if ranges else "digest")
    return ours, theirs, ranges


def new_salt() -> Salt:
    """Fresh random texts for one comparison; short, for they are hashed with every column."""
    return Salt(separator="\x1f" + secrets.token_hex(2), null="\x1e" + secrets.token_hex(2))
