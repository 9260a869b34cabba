"""Taking a pipeline's row from whoever holds it: how old workers and consumers are fenced off."""

import psycopg

from cdc_pipelines.replication.errors import RetryableError

_TRIES = 6
_WAIT_MS = 3000  # per try; then the sessions that hold the row are ended
_PATIENCE_S = 30


def lock_pipeline(conn: psycopg.Connection, name: str) -> None:
    """Lock the pipeline's row in `_cdc.pipeline` till the caller's transaction ends.

    Sessions of the pipeline (told by application_name) that sit on the row for long are ended: their transactions
    are rolled back, and their next one meets the new epoch. Raises RetryableError where others hold it.
    """
    if conn.autocommit and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
        raise RuntimeError("a pipeline's row is locked only inside the caller's transaction")
    # Opens the transaction, so that the block below is a savepoint and its lock outlives it.
    row = conn.execute("select current_setting('lock_timeout')").fetchone()
    before = "0" if row is None else row[0]
    others: list[str] = []
    for _ in range(_TRIES):
        try:
            with conn.transaction():
                conn.execute("select set_config('lock_timeout', %s, true)", [f"{_WAIT_MS}ms"])
                conn.execute("select 1 from _cdc.pipeline where name = %s for update", [name])
                conn.execute("select set_config('lock_timeout', %s, true)", [before])
        except psycopg.errors.LockNotAvailable:
            others = _end_holders(conn, name)
        else:
            return
    raise RetryableError(
        f"pipeline {name}: its row in _cdc.pipeline on the target is locked by other sessions: "
        + (", ".join(others) or "unknown (not visible to this user)"),
        "end these sessions (`select pg_terminate_backend(pid)`), then run the command again.",
    )


def keep_others_out(conn: psycopg.Connection, name: str) -> None:
    """Hold the pipeline's row till the caller's transaction ends, so that nothing else of ours writes meanwhile.

    Unlike `lock_pipeline` it ends nobody: raises RetryableError where another transaction lasts for more than 30 s.
    """
    conn.execute(f"set local lock_timeout = '{_PATIENCE_S}s'".encode())
    try:
        conn.execute("select 1 from _cdc.pipeline where name = %s for update", [name])
    except psycopg.errors.LockNotAvailable as error:
        raise RetryableError(
            f"pipeline {name}: another transaction of it has been writing to the target for more than {_PATIENCE_S} s",
            "try again when the consumer is through it (`cdc status`).",
        ) from error
    conn.execute("set local lock_timeout to default")


def _end_holders(conn: psycopg.Connection, name: str) -> list[str]:
    """End this pipeline's sessions that hold locks on rows of `_cdc.pipeline`; returns the others that do."""
    rows = conn.execute(
        """
        select a.pid, a.application_name, starts_with(a.application_name, %s) as ours
        from pg_stat_activity a
        where a.pid <> pg_backend_pid() and a.pid in (
            select pid from pg_locks
            where relation = '_cdc.pipeline'::regclass and granted
              and database = (select oid from pg_database where datname = current_database())
              and mode in ('RowShareLock', 'RowExclusiveLock')
        )
        """,
        [f"cdc:{name}:"],
    ).fetchall()
    for pid, _, ours in rows:
        if ours:
            conn.execute("select pg_terminate_backend(%s)", [pid])
    return [f"pid {pid} ({application or 'no application_name'})" for pid, application, ours in rows if not ours]
