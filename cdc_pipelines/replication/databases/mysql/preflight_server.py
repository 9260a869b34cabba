"""Prerequisites of the source server as a whole: its log, its settings, the user's grants."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.catalog import MappedTable, Table
from cdc_pipelines.replication.databases.mysql.binlog import select, value
from cdc_pipelines.replication.databases.mysql.grants import read_grants
from cdc_pipelines.replication.databases.mysql.server_errors import NOT_GRANTED
from cdc_pipelines.replication.databases.mysql.sql import literal, quote
from cdc_pipelines.replication.errors import CdcError, CheckResult
from cdc_pipelines.replication.pipeline import Pipeline, Source

OLDEST = {"mysql": (8, 0), "mariadb": (10, 5)}
_LEAST_RETENTION_S = 3600


@dataclass
class Look:
    """What the checks look at."""

    conn: "Connection[Cursor]"
    source: Any
    spec: Source
    chosen: tuple[Table | MappedTable, ...]
    pipeline: Pipeline | None

    @property
    def mysql(self) -> bool:
        return self.spec.type == "mysql"

    @property
    def tables(self) -> list[Table]:
        return [t.source if isinstance(t, MappedTable) else t for t in self.chosen]

    @cached_property
    def version(self) -> tuple[int, int]:
        numbers = re.findall(r"\d+", str(value(self.conn, "version()")))
        return int(numbers[0]), int(numbers[1])

    @cached_property
    def settings(self) -> dict[str, str]:
        """Global variables, upper-case values."""
        return {str(n).lower(): str(v).upper() for n, v in select(self.conn, "show global variables")}

    @cached_property
    def user(self) -> str:
        return str(value(self.conn, "current_user()"))

    @property
    def grantee(self) -> str:
        name, _, host = self.user.rpartition("@")
        return f"{literal(name)}@{literal(host)}"


def persist(look: Look, name: str, text: str) -> str:
    """How to change a setting for good."""
    if look.mysql:
        return f"SET PERSIST {name} = {text};"
    return f"SET GLOBAL {name} = {text};  -- and {name} = {text} in the server's configuration file"


def version(look: Look) -> CheckResult:
    text = str(value(look.conn, "version()"))
    oldest = OLDEST[look.spec.type]
    ok = look.version >= oldest
    fix = "" if ok else f"use {look.spec.type} {oldest[0]}.{oldest[1]} or newer."
    return CheckResult("source version", ok, text, fix)


def binary_log(look: Look) -> CheckResult:
    ok = look.settings.get("log_bin") == "ON"
    return CheckResult(
        "source binary log", ok, f"log_bin is {look.settings.get('log_bin')}",
        "" if ok else "set log_bin = binlog and a server_id in the server's configuration file and restart the server.",
    )


def log_format(look: Look) -> CheckResult:
    """Whole rows, as rows, and readable: Debezium skips MariaDB's compressed rows events without a word."""
    wanted = {"binlog_format": "ROW", "binlog_row_image": "FULL"}
    wanted |= {"binlog_row_value_options": ""} if look.mysql else {"log_bin_compress": "OFF"}
    found = {name: look.settings.get(name, "") for name in wanted}
    wrong = [name for name, text in wanted.items() if found[name] != text]
    shown = ", ".join(f"{name} is {text or repr('')}" for name, text in found.items())
    fixes = [persist(look, name, literal(wanted[name])) for name in wrong]
    if wrong:
        fixes.append("-- then end the sessions that were opened before: they keep the old setting.")
    return CheckResult("source log format", not wrong, shown, "\n".join(fixes))


def gtids(look: Look) -> CheckResult:
    if not look.mysql:
        return CheckResult("source GTIDs", True, f"always; domain {look.settings['gtid_domain_id']}")
    mode = look.settings.get("gtid_mode", "OFF")
    if mode in ("ON", "OFF"):
        ok = mode == "ON" or look.spec.locking != "none"
        message = f"gtid_mode is {mode}" + ("" if mode == "ON" else ": positions are files and offsets")
        fix = "" if ok else "set source.locking to brief, or gtid_mode to ON."
        return CheckResult("source GTIDs", ok, message, fix)
    return CheckResult(
        "source GTIDs", False, f"gtid_mode is {mode}: transactions with and without GTIDs stand in one log",
        "finish the change: SET PERSIST gtid_mode = ON (or OFF); one step at a time.",
    )


def log_filters(look: Look) -> CheckResult:
    """Databases that the server leaves out of its log."""
    if look.mysql and look.version >= (8, 2):
        rows = select(look.conn, "show binary log status")
    else:
        rows = select(look.conn, "show master status")
    only, without = (rows[0][2] or "", rows[0][3] or "") if rows else ("", "")
    name = look.spec.database
    ok = (not only or name in only.split(",")) and name not in without.split(",")
    return CheckResult(
        "source log filters", ok,
        f"binlog_do_db is {only!r}, binlog_ignore_db is {without!r}" if only or without else "none",
        "" if ok else f"let the server log {name}: change binlog_do_db or binlog_ignore_db in its configuration.",
    )


def replica(look: Look) -> CheckResult:
    """A replica that doesn't log what it replicates has no log of it."""
    updates = look.settings.get("log_replica_updates", look.settings.get("log_slave_updates", ""))
    if look.mysql:
        statement = "show replica status" if look.version >= (8, 1) else "show slave status"
        is_replica = bool(select(look.conn, statement))
    else:
        # SHOW SLAVE STATUS would need a privilege of its own (SLAVE MONITOR).
        running = dict(select(look.conn, "show global status like 'slaves_running'"))
        is_replica = any(int(n) > 0 for n in running.values())
    ok = not is_replica or updates == "ON"
    name = "log_replica_updates" if look.mysql else "log_slave_updates"
    return CheckResult(
        "source replica", ok, f"a replica, {name} is {updates}" if is_replica else "not a replica",
        "" if ok else f"set {name} = ON in the server's configuration and restart it, or replicate from its source.",
    )


def server_id(look: Look) -> CheckResult:
    own = int(look.settings.get("server_id", "0"))
    if own == 0:
        return CheckResult("source server id", False, "server_id is 0: it sends its log to nobody",
                           persist(look, "server_id", "1"))
    if look.pipeline is None:
        return CheckResult("source server id", True, f"the server's is {own}")
    ours = look.pipeline.server_id
    fix = f"set connect.server_id in the pipeline's file to a number that no replica uses (now {ours})."
    if own == ours:
        return CheckResult("source server id", False, f"the server's own id is the connector's too: {ours}", fix)
    try:
        rows = select(look.conn, "show replicas" if look.mysql and look.version >= (8, 1) else "show slave hosts")
    except CdcError as error:
        cause = error.__cause__
        if cause is None or cause.args[0] not in NOT_GRANTED:
            raise
        return CheckResult("source server id", True, f"{ours} (the list of replicas is hidden from this user)")
    # The connector itself does not register, so that whoever is listed is somebody else.
    taken = [row for row in rows if int(row[0]) == ours]
    if taken:
        return CheckResult("source server id", False, f"a replica at {taken[0][1] or '?'} uses {ours} already", fix)
    return CheckResult("source server id", True, f"{ours}, {len(rows)} replicas use others")


def retention(look: Look) -> CheckResult:
    """The log must bridge an outage of the connector. (A copy that would outlast it gets its connector first.)"""
    seconds = int(float(look.settings.get("binlog_expire_logs_seconds", "0")))
    seconds = seconds or int(float(look.settings.get("expire_logs_days", "0")) * 86400)
    purges = look.settings.get("binlog_expire_logs_auto_purge", "ON") == "ON"
    if not seconds or not purges:
        return CheckResult("source log retention", True, "the server keeps its log until told otherwise")
    return CheckResult(
        "source log retention", seconds >= _LEAST_RETENTION_S,
        f"the log is kept for {seconds / 3600:.1f} h",
        "" if seconds >= _LEAST_RETENTION_S else persist(look, "binlog_expire_logs_seconds", "86400"),
    )


def xa(look: Look) -> CheckResult:
    """A prepared transaction stands in the log where it was prepared, and becomes visible long after."""
    try:
        rows = select(look.conn, "xa recover")
    except CdcError:
        return CheckResult("source XA transactions", True, "hidden from this user (XA_RECOVER_ADMIN)")
    return CheckResult(
        "source XA transactions", not rows,
        f"{len(rows)} prepared XA transactions; their rows would be missing in the copy" if rows else "none prepared",
        "XA COMMIT or XA ROLLBACK them (XA RECOVER lists them), then try again." if rows else "",
    )


def grants(look: Look) -> CheckResult:
    """What reading the log and taking an exact position need. Reading the tables is tried, not looked up."""
    held = read_grants(look.conn)
    fixes = []
    wanted = ["REPLICATION SLAVE", "REPLICATION CLIENT" if look.mysql else "BINLOG MONITOR"]
    missing = [privilege for privilege in wanted if not held.has(privilege)]
    if missing:
        fixes.append(f"GRANT {', '.join(missing)} ON *.* TO {look.grantee};")
    if look.mysql and look.spec.locking == "brief":
        schema = look.spec.database
        without = [t.name for t in look.tables if not held.has("LOCK TABLES", schema, t.name)]
        if without or (not look.tables and not held.has("LOCK TABLES", schema)):
            missing.append("LOCK TABLES")
            fixes.append(f"GRANT LOCK TABLES ON {quote(schema)}.* TO {look.grantee};")
    return CheckResult(
        "source grants", not missing,
        f"user {look.user} lacks {', '.join(missing)}" if missing else f"user {look.user} may read and lock",
        "\n".join(fixes),
    )
