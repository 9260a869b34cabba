"""Who holds the captured tables: open transactions that a table lock would have to wait for."""

from collections.abc import Sequence

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.catalog import Table

# Write intent held by a transaction, whose age (picoseconds) counts from its begin. Digests hold no values.
_HOLDERS = """select t.processlist_id, t.processlist_user, t.processlist_host, t.processlist_command,
max(x.timer_wait) / 1e12 as age,
max(coalesce(s.digest_text, '')), group_concat(distinct m.object_name order by m.object_name separator ', ')
from performance_schema.metadata_locks m
join performance_schema.threads t on t.thread_id = m.owner_thread_id
left join performance_schema.events_statements_current s on s.thread_id = t.thread_id
left join performance_schema.events_transactions_current x on x.thread_id = t.thread_id and x.state = 'ACTIVE'
where m.object_type = 'TABLE' and m.lock_status = 'GRANTED'
and m.lock_type in ('SHARED_WRITE', 'SHARED_UPGRADABLE', 'SHARED_NO_WRITE', 'SHARED_NO_READ_WRITE', 'EXCLUSIVE')
and (m.object_schema, m.object_name) in ({tables})
group by 1, 2, 3, 4 having age >= %s or age is null order by age desc"""


def blockers(conn: "Connection[Cursor]", tables: Sequence[Table], older_than_s: float) -> list[str]:
    """One line per transaction that holds one of the tables for writing and is older than `older_than_s` seconds.

    Empty where nobody does, or where we may not look (it needs SELECT on performance_schema): the bounded wait is then
    all that protects the source.
    """
    pairs = [part for t in tables for part in (t.schema, t.name)]
    sql = _HOLDERS.format(tables=", ".join(["(%s, %s)"] * len(tables)))
    try:
        with conn.cursor() as cursor:
            cursor.execute(sql, (*pairs, older_than_s))
            rows = cursor.fetchall()
    except pymysql.err.MySQLError:
        return []
    return [
        f"session {session} ({user}@{host}, {command}, {float(age or 0):.1f} s) on {names}: {(digest or '?')[:80]}"
        for session, user, host, command, age, digest, names in rows
    ]
