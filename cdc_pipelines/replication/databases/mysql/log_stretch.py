"""Whether a stretch of the binary log leaves a database's tables alone.

The connector tells nothing of what other databases write, nor of our own views, routines and grants: behind such a
statement its committed place stays short of the log's end until something else comes. On an idle MySQL that takes most
of a minute, on an idle MariaDB for ever.
"""

import re

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.databases.mysql.binlog import select
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.quiet_statements import QUIET
from cdc_pipelines.replication.errors import CdcError

_EVENTS = 2000  # of a short stretch; nobody waits for the answer of a long one
# Only bounds, or parts of what a Table_map before them names. Whatever else a server may write could be ours.
_OF_NOBODY = re.compile(
    r"Gtid|Anonymous_Gtid|Gtid_list|Gtid_tagged|Xid|Rows_query|Annotate_rows|Binlog_checkpoint|Intvar|User_var|Rand"
    r"|(Write|Update|Delete)_rows(_(compressed_)?v1)?",
    re.IGNORECASE,
)
_STATEMENT = re.compile(r"Query|Query_compressed", re.IGNORECASE)
_AROUND = re.compile(r"^use `(?:[^`]|``)*`;\s*|\s*/\* xid=\d+ \*/$")  # what the server shows of a statement beside it
# What isn't known to leave tables alone is taken for a statement that changes them.
_OF_NO_TABLE = re.compile(
    "|".join(f"(?:{pattern})" for pattern in (
        r"(?:BEGIN|COMMIT|SAVEPOINT|ROLLBACK|FLUSH)\b.*", r"DROP\s+TEMPORARY\s+TABLE\s.*", *QUIET
    )),
    re.IGNORECASE | re.DOTALL,
)


def leaves_alone(
    conn: "Connection[Cursor]", database: str, after: MySqlPosition, until: MySqlPosition, *, applied: bool = False
) -> bool:
    """Whether no event between two places of one log file concerns the tables of `database`.

    False also where that can't be told: in different files, across more than 2,000 events, without the right to look
    (REPLICATION SLAVE), or where the stretch has an event of a kind that names no database. A statement is taken for
    ours as soon as it holds the database's name anywhere, unless it is of a kind that leaves all tables alone.
    `applied`: `after` was applied from the change log. Where it is not exact, the event that begins there was, too.
    """
    if after.file != until.file or after.pos > until.pos:
        return False
    query = f"show binlog events in %s from {int(after.pos)} limit {_EVENTS}"
    try:
        events = select(conn, query, (after.file,))
    except CdcError:
        return False
    first = after.pos + 1 if applied and not after.exact else after.pos
    within = [(str(kind), str(info)) for _, pos, kind, _, _, info in events if first <= int(pos) < until.pos]
    if not events or int(events[-1][4]) < until.pos:
        return False
    return all(_leaves_alone(kind, info, _spellings(database)) for kind, info in within)


def _spellings(database: str) -> set[str]:
    name = database.casefold()
    return {name, name.replace("`", "``"), name.replace('"', '""')}


def _leaves_alone(kind: str, info: str, names: set[str]) -> bool:
    is_statement = _STATEMENT.fullmatch(kind)
    if is_statement or kind.casefold() == "table_map":
        of_another = not any(name in info.casefold() for name in names)
        return of_another or bool(is_statement and _OF_NO_TABLE.fullmatch(_AROUND.sub("", info)))
    return _OF_NOBODY.fullmatch(kind) is not None
