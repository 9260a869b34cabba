"""Whether a position still lies in a server's history, and for how long its log will lead on from there."""

from typing import Any

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.databases.mysql.binlog import LogFile, log_files, select, value
from cdc_pipelines.replication.databases.mysql.gtid import MariaDbGtidSet, MySqlGtidSet
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import ConfigurationError, ResyncRequiredError
from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.replication.position import log_file_number

_RESYNC = "copy again: `cdc start NAME --force-resync`."


def require_reachable(conn: "Connection[Cursor]", identity: str, position: MySqlPosition) -> None:
    """Raises ResyncRequiredError where the server is another one, its log was reset, or purged beyond `position`."""
    if position.server and position.server != identity:
        raise ResyncRequiredError(
            f"the source at {conn.host}:{conn.port} is another server ({identity}) than the one that position "
            f"{position.file}:{position.pos} comes from ({position.server})", _RESYNC,
        )
    files = log_files(conn)
    if not files:
        raise ResyncRequiredError(f"the source at {conn.host}:{conn.port} has no binary log any more", _RESYNC)
    _require_not_reset(conn, files, position)
    if position.file in {f.name for f in files}:
        return
    if position.flavor == "mariadb":
        _require_not_purged_mariadb(conn, files, position)
    else:
        _require_not_purged_mysql(conn, files, position)


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


def _require_not_reset(conn: "Connection[Cursor]", files: list[LogFile], position: MySqlPosition) -> None:
    newest = files[-1]
    if log_file_number(position.file) > log_file_number(newest.name):
        raise _reset(position, f"the newest file is {newest.name}")
    size = next((f.size for f in files if f.name == position.file), None)
    if size is not None and position.pos > size:
        raise _reset(position, f"{position.file} has only {size} bytes")
    if not position.gtids:
        return
    if position.flavor == "mysql":
        executed = str(value(conn, "@@global.gtid_executed"))
        if not MySqlGtidSet(executed).includes(MySqlGtidSet(position.gtids)):
            raise _reset(position, "gtid_executed does not hold all of it")
        _require_same_file(conn, files, position)
    else:
        here = MariaDbGtidSet(str(value(conn, "@@global.gtid_binlog_pos")))
        if not here.includes(MariaDbGtidSet(position.gtids)):
            raise _reset(position, f"gtid_binlog_pos is {here}")
        if size is not None:
            then = _mariadb_state(conn, position.file, position.pos)
            if then is not None and not MariaDbGtidSet(position.gtids).includes(then):
                raise _reset(position, f"at that place the log stands at {then}")


def _require_same_file(conn: "Connection[Cursor]", files: list[LogFile], position: MySqlPosition) -> None:
    """After a reset the same numbers come again: the file must begin within the position, and the next one after it."""
    names = [f.name for f in files]
    if position.file not in names:
        return
    ours = MySqlGtidSet(position.gtids)
    begin = _previous_gtids(conn, position.file)
    if begin is not None and not _filled(ours).includes(begin):
        raise _reset(position, f"{position.file} begins with {begin}")
    after = names.index(position.file) + 1
    if after < len(names):
        end = _previous_gtids(conn, names[after])
        if end is not None and not end.includes(ours):
            raise _reset(position, f"{position.file} ends with {end}")


def _require_not_purged_mysql(conn: "Connection[Cursor]", files: list[LogFile], position: MySqlPosition) -> None:
    if not position.gtids:
        raise _purged(position, f"the oldest file is {files[0].name}")
    purged = MySqlGtidSet(str(value(conn, "@@global.gtid_purged")))
    if not _filled(MySqlGtidSet(position.gtids)).includes(purged):
        raise _purged(position, f"gtid_purged is {purged}")


def _require_not_purged_mariadb(conn: "Connection[Cursor]", files: list[LogFile], position: MySqlPosition) -> None:
    begin = _mariadb_state(conn, files[0].name, 4)
    if begin is None:
        begin = _mariadb_state(conn, files[0].name, files[0].size)
    if begin is None or not MariaDbGtidSet(position.gtids).includes(begin):
        raise _purged(position, f"the oldest file {files[0].name} begins at {begin}")


def _filled(gtids: MySqlGtidSet) -> MySqlGtidSet:
    """With every gap below a server's highest number filled.

    Transactions that never reach the change log (DDL of other databases) leave gaps in an applied position; a server
    numbers its transactions in the order of its log, so what is below the highest one lies before it.
    """
    return gtids.filled()


def _previous_gtids(conn: "Connection[Cursor]", file: str) -> MySqlGtidSet | None:
    """What had been executed before the file began; None where we may not look (REPLICATION SLAVE)."""
    try:
        events = select(conn, "show binlog events in %s limit 3", (file,))
    except ConfigurationError:
        return None
    for _, _, kind, _, _, info in events:
        if kind == "Previous_gtids":
            return MySqlGtidSet(str(info))
    return None


def _mariadb_state(conn: "Connection[Cursor]", file: str, pos: int) -> MariaDbGtidSet | None:
    state = select(conn, "select binlog_gtid_pos(%s, %s)", (file, pos))[0][0]
    if state is None:
        return None
    return MariaDbGtidSet(state.decode() if isinstance(state, bytes) else str(state))


def log_runway(conn: "Connection[Cursor]", spec: Source, position: MySqlPosition) -> dict[str, Any]:
    """`retention_seconds` (None: for ever), `oldest_file`, `bytes_behind` (from the position to the log's end; None if
    its file is gone), `log_bytes` (all files), `runway_seconds` (until the position's file may be purged, None: never
    or unknown)."""
    files = log_files(conn)
    names = [f.name for f in files]
    behind = None
    if position.file in names:
        at = names.index(position.file)
        behind = max(0, sum(f.size for f in files[at:]) - position.pos)
    retention = _retention(conn, spec)
    return {
        "retention_seconds": retention,
        "oldest_file": names[0] if names else "",
        "bytes_behind": behind,
        "log_bytes": sum(f.size for f in files),
        "runway_seconds": 0 if behind is None else retention,
    }


def _retention(conn: "Connection[Cursor]", spec: Source) -> int | None:
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
