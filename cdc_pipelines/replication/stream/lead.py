"""The lead: of all consumers of a pipeline the one that may write, by an advisory lock of its session on the target.

A host that died without a word, or a process that is frozen, keeps its session, and with it the lock, for as long as
the target's server believes in it. So a consumer of the host that has the pipeline now (control/assignments.py) ends
the session of one of another host. What that one had not committed is undone, and without its session it writes nothing
any more, even if it was only cut off from the control store and is at work.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable

import psycopg

from cdc_pipelines.replication.errors import RetryableError

PATIENCE_S = 30
_POLL_S = 0.2
_NAME_BYTES = 63  # of a session's name on PostgreSQL

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def session_purpose(pipeline: str, host: str) -> str:
    """The consumer's `purpose` for `connect`; it tells whose session holds the lead."""
    start = f"{pipeline}:consumer@"
    room = _NAME_BYTES - len(f"cdc:{start}")
    return start + (host if len(host) <= room else hashlib.sha256(host.encode()).hexdigest()[:room])


def take_lead(
    conn: psycopg.Connection, pipeline: str, *, holds: Callable[[], bool], stop: threading.Event, log: Log
) -> None:
    """Returns with the lead, or without where `stop` is set. `holds`: whether the pipeline is this host's now.

    Raises RetryableError where another consumer keeps it for PATIENCE_S.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not stop.is_set():
        row = conn.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", [_key(pipeline)]).fetchone()
        conn.commit()
        if row is not None and row[0]:
            return
        leader = _leader_elsewhere(conn, pipeline)
        if leader is not None and holds():
            log.warning("consumer of %s: this host has the pipeline now; ending the session of %s", pipeline, leader[1])
            _end(conn, leader)
        if time.monotonic() > deadline:
            raise RetryableError(
                f"another consumer of pipeline {pipeline} holds the lead on the target"
                + (f": session {leader[0]}, {leader[1]}" if leader else ""),
                "it will be tried again; `cdc status` shows who beats.",
            )
        stop.wait(_POLL_S)


def _key(pipeline: str) -> str:
    return f"cdc:{pipeline}"


def _leader_elsewhere(conn: psycopg.Connection, pipeline: str) -> tuple[int, str] | None:
    """(backend, name) of the session that has the lead, where it is another host's."""
    found: tuple[int, str] | None = conn.execute(
        """
        select a.pid, a.application_name from pg_locks l
        join pg_stat_activity a using (pid), (select hashtextextended(%s, 0) as key) k
        where l.locktype = 'advisory' and l.granted and l.objsubid = 1
          and l.database = (select oid from pg_database where datname = current_database())
          and l.classid = ((k.key >> 32) & 4294967295)::oid and l.objid = (k.key & 4294967295)::oid
          and a.application_name <> current_setting('application_name')
        """,
        [_key(pipeline)],
    ).fetchone()
    conn.commit()
    return found


def _end(conn: psycopg.Connection, leader: tuple[int, str]) -> None:
    try:
        conn.execute("select pg_terminate_backend(%s)", [leader[0]])
        conn.commit()
    except psycopg.errors.InsufficientPrivilege as error:
        raise RetryableError(
            f"the lead on the target is held by session {leader[0]} ({leader[1]}) of another database user",
            f"end it: `select pg_terminate_backend({leader[0]})` as its user or a superuser.",
        ) from error
