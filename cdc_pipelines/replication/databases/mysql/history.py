"""Whether a position still lies in a server's history, and for how long its log will lead on from there."""

import re
from typing import Any

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.databases.mysql.binlog import LogFile, log_files, select, value
from cdc_pipelines.replication.databases.mysql.binlog_file import file_started
from cdc_pipelines.replication.databases.mysql.gtid import MariaDbGtidSet, MySqlGtidSet
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import ConfigurationError, ResyncRequiredError
from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.replication.position import log_file_number

_BAD_PLACE = 1220
_EVENTS = 500  # looked at to find the next transaction's begin; a large transaction may have more
_IN_FLIGHT = 1000
_SHORT_BYTES = 16_000_000  # MariaDB reads a file of its log from the beginning to tell which transactions it holds
_GTID = re.compile(r"'([-0-9a-fA-F]{36}(?::\w*[a-zA-Z_]\w*)?):(\d+)'")
_RESYNC = "copy again: `cdc start NAME --force-resync`."


def require_reachable(conn: "Connection[Cursor]", identity: str, position: MySqlPosition) -> None:
    """Raises ResyncRequiredError where the server is another one, its log was reset, or purged beyond `position`."""
    files = require_same_history(conn, identity, position)
    if position.file in {f.name for f in files}:
        return
    if position.flavor == "mariadb":
        _require_not_purged_mariadb(conn, files, position)
    else:
        _require_not_purged_mysql(conn, files, position)


def require_same_history(
    conn: "Connection[Cursor]", identity: str, position: MySqlPosition, *, often: bool = False
) -> list[LogFile]:
    """Raises ResyncRequiredError where the server is another one, or its log was reset. Returns the log's files.

    Who asks `often` costs the server little: MariaDB then need not read a long part of its log to answer.
    """
    if position.server and position.server != identity:
        raise ResyncRequiredError(
            f"the source at {conn.host}:{conn.port} is another server ({identity}) than the one that position "
            f"{position.file}:{position.pos} comes from ({position.server})", _RESYNC,
        )
    files = log_files(conn)
    if not files:
        raise ResyncRequiredError(f"the source at {conn.host}:{conn.port} has no binary log any more", _RESYNC)
    _require_not_reset(conn, files, position, often=often)
    return files


def _reset(position: MySqlPosition, why: str) -> ResyncRequiredError:
    return ResyncRequiredError(
        f"position {position.file}:{position.pos} ({position.gtids or 'no GTIDs'}) is not in the source's history: "
        f"{why}; its binary log was reset, or the server was restored from a backup", _RESYNC,
    )


def _purged(position: MySqlPosition, why: str) -> ResyncRequiredError:
    return ResyncRequiredError(
        f"the source has purged its binary log beyond position {position.file}:{position.pos}: {why}",
        f"{_RESYNC[:-1]}, and let the server keep its log longer (binlog_expire_logs_seconds).",
    )


def _require_not_reset(
    conn: "Connection[Cursor]", files: list[LogFile], position: MySqlPosition, *, often: bool
) -> None:
    newest = files[-1]
    if log_file_number(position.file) > log_file_number(newest.name):
        raise _reset(position, f"the newest file is {newest.name}")
    size = next((f.size for f in files if f.name == position.file), None)
    if size is not None and position.pos > size:
        raise _reset(position, f"{position.file} has only {size} bytes")
    executed = str(value(conn, "@@global.gtid_executed" if position.flavor == "mysql" else "@@global.gtid_binlog_pos"))
    if position.gtids and not _gtids(position, executed).includes(position.gtid_set):  # type: ignore[arg-type]
        raise _reset(position, f"the server has executed {executed or 'nothing'}")
    if size is None or (often and position.flavor == "mariadb" and position.pos > _SHORT_BYTES):
        return
    if position.flavor == "mariadb":
        then, ours = _mariadb_state(conn, position.file, position.pos), MariaDbGtidSet(position.gtids)
        if position.within:
            ours.add(position.within)
        if then is None or not (_same_mariadb_state(then, ours) if position.exact else ours.includes(then)):
            raise _reset(position, f"at that place the log stands at {then}")
    else:
        _require_same_log(conn, position)


def _gtids(position: MySqlPosition, text: str) -> MySqlGtidSet | MariaDbGtidSet:
    return MySqlGtidSet(text) if position.flavor == "mysql" else MariaDbGtidSet(text)


def _same_mariadb_state(then: MariaDbGtidSet, ours: MariaDbGtidSet) -> bool:
    """Whether the log's state at a place is ours. In other domains than the last transaction's there may be more:
    transactions that never reach the change log.
    """
    behind = [gtid for gtid in str(then).split(",") if gtid not in ours]
    return then.includes(ours) and len(behind) < max(1, len(str(then).split(",")))


def _events_from(conn: "Connection[Cursor]", position: MySqlPosition) -> list[tuple[Any, ...]]:
    """The events at a place and behind it, as SHOW BINLOG EVENTS has them.

    The server answers with the same error where no event begins at the place, and where one of those behind it is
    larger than the session's max_allowed_packet: then the first event alone shows that the place is one.
    """
    query = f"show binlog events in %s from {int(position.pos)} limit "
    conn.use_unicode = False  # a statement's text is in the character set of who made it
    try:
        events = select(conn, query + str(_EVENTS), (position.file,))
    except ConfigurationError:
        events = select(conn, query + "1", (position.file,))
    finally:
        conn.use_unicode = True
    return [tuple(v.decode(errors="replace") if isinstance(v, bytes) else v for v in event) for event in events]


def _require_same_log(conn: "Connection[Cursor]", position: MySqlPosition) -> None:
    """After a reset the same numbers come again. In the same log, the place is where an event begins (or the log
    ends), and the transaction that follows is none of the position's but the next one after it.
    """
    try:
        events = _events_from(conn, position)
    except ConfigurationError as error:
        cause = error.__cause__
        if cause is not None and cause.args[0] == _BAD_PLACE:
            raise _reset(position, "no event begins at that place") from error
        return  # not allowed to look (REPLICATION SLAVE): the other checks have to do
    if not position.exact:
        return
    following = next((_GTID.search(str(info)) for _, _, kind, _, _, info in events if kind == "Gtid"), None)
    if following is None or not position.gtids:
        return
    ours = MySqlGtidSet(position.gtids)
    source, number = following[1].lower(), int(following[2])
    # While the position was taken, transactions may have been in the log that were not yet in gtid_executed.
    if f"{source}:{number}" in ours or (source == position.server and number > ours.highest(source) + _IN_FLIGHT):
        raise _reset(position, f"it is followed by {source}:{number}")


def _require_not_purged_mysql(conn: "Connection[Cursor]", files: list[LogFile], position: MySqlPosition) -> None:
    if not position.gtids:
        raise _purged(position, f"the oldest file is {files[0].name}")
    purged = MySqlGtidSet(str(value(conn, "@@global.gtid_purged")))
    # Transactions that never reach the change log (DDL of other databases) leave gaps in an applied position. A server
    # numbers its transactions in the order of its log, so what is below the highest one lies before it.
    if not MySqlGtidSet(position.gtids).filled().includes(purged):
        raise _purged(position, f"gtid_purged is {purged}")


def _require_not_purged_mariadb(conn: "Connection[Cursor]", files: list[LogFile], position: MySqlPosition) -> None:
    begin = _mariadb_state(conn, files[0].name, 4)
    if begin is None:
        begin = _mariadb_state(conn, files[0].name, files[0].size)
    if begin is None or not MariaDbGtidSet(position.gtids).includes(begin):
        raise _purged(position, f"the oldest file {files[0].name} begins at {begin}")


def _mariadb_state(conn: "Connection[Cursor]", file: str, pos: int) -> MariaDbGtidSet | None:
    state = select(conn, "select binlog_gtid_pos(%s, %s)", (file, pos))[0][0]
    if state is None:
        return None
    return MariaDbGtidSet(state.decode() if isinstance(state, bytes) else str(state))


def log_runway(
    conn: "Connection[Cursor]", spec: Source, position: MySqlPosition, begun: dict[str, int]
) -> dict[str, Any]:
    """How far the log reaches back behind `position`, and for how long it will.

    retention_seconds: after which the server may delete a closed file; None: never
    oldest_file, log_bytes: of all files that are left
    bytes_behind: from the position to the log's end; None if the position's file is gone
    runway_seconds: until the position's file may be deleted; 0 if it is gone; None: never, or unknown

    `begun` keeps the times at which files were begun, for the next call.
    """
    files = log_files(conn)
    names = [f.name for f in files]
    behind = None
    if position.file in names:
        at = names.index(position.file)
        behind = max(0, sum(f.size for f in files[at:]) - position.pos)
    retention = _retention(conn)
    return {
        "retention_seconds": retention,
        "oldest_file": names[0] if names else "",
        "bytes_behind": behind,
        "log_bytes": sum(f.size for f in files),
        "runway_seconds": _runway(conn, spec, names, position.file, retention, begun),
    }


def _runway(
    conn: "Connection[Cursor]", spec: Source, names: list[str], file: str, retention: int | None, begun: dict[str, int]
) -> int | None:
    if file not in names:
        return 0
    if retention is None:
        return None
    following = names.index(file) + 1
    if following == len(names):
        return retention  # still written to: its time has not begun to run
    if names[following] not in begun:
        started = file_started(conn, spec, names[following])
        if started is None:
            return None
        begun[names[following]] = started
    return max(0, begun[names[following]] + retention - int(value(conn, "unix_timestamp()")))


def _retention(conn: "Connection[Cursor]") -> int | None:
    found = {
        str(name).lower(): str(text)
        for name, text in select(conn, "show global variables where variable_name in "
                                 "('binlog_expire_logs_seconds', 'expire_logs_days', 'binlog_expire_logs_auto_purge')")
    }
    if found.get("binlog_expire_logs_auto_purge", "ON") == "OFF":
        return None
    seconds = int(float(found.get("binlog_expire_logs_seconds", "0")))
    seconds = seconds or int(float(found.get("expire_logs_days", "0")) * 86400)
    return seconds or None
