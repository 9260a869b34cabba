"""Whether a stretch of the binary log holds nothing of a database.

The connector reads what other databases write and tells nothing of it: behind their last statement its committed place
stays short of the log's end until something else comes, for most of a minute on an idle server.
"""

import re

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.databases.mysql.binlog import select
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import CdcError

_EVENTS = 2000  # of a short stretch; nobody waits for the answer of a long one
# Only bounds, or parts of what a Table_map before them names. Whatever else a server may write could be ours.
_OF_NOBODY = re.compile(
    r"Gtid|Anonymous_Gtid|Gtid_list|Gtid_tagged|Xid|Rows_query|Annotate_rows|Binlog_checkpoint|Intvar|User_var|Rand"
    r"|(Write|Update|Delete)_rows(_(compressed_)?v1)?",
    re.IGNORECASE,
)
_NAMING = re.compile(r"(Table_map|Query|Query_compressed)", re.IGNORECASE)


def all_foreign(conn: "Connection[Cursor]", database: str, after: MySqlPosition, until: MySqlPosition) -> bool:
    """Whether no event between two places of one log file concerns `database`.

    False also where that can't be told: in different files, across more than 2,000 events, without the right to look
    (REPLICATION SLAVE), or where the stretch has an event of a kind that names no database. A statement is taken for
    ours as soon as it holds the database's name anywhere.
    """
    if after.file != until.file or after.pos > until.pos:
        return False
    query = f"show binlog events in %s from {int(after.pos)} limit {_EVENTS}"
    try:
        events = select(conn, query, (after.file,))
    except CdcError:
        return False
    within = [(str(kind), str(info)) for _, pos, kind, _, _, info in events if int(pos) < until.pos]
    if not events or int(events[-1][4]) < until.pos:
        return False
    return all(_is_foreign(kind, info, _spellings(database)) for kind, info in within)


def _spellings(database: str) -> set[str]:
    name = database.casefold()
    return {name, name.replace("`", "``"), name.replace('"', '""')}


def _is_foreign(kind: str, info: str, names: set[str]) -> bool:
    if _NAMING.fullmatch(kind):
        return not any(name in info.casefold() for name in names)
    return _OF_NOBODY.fullmatch(kind) is not None
