"""MySQL 9.7 as a source: GTIDs, row-based binary log with full row images.

The supported Debian releases carry no MySQL server; unstable does. Its packages run out of a folder of
their own, through that folder's loader and libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pymysql

from cdc_pipelines.stack.debian import PackageRoot, package_root
from cdc_pipelines.stack.errors import PartFailedError
from cdc_pipelines.stack.part import NotReadyError, Part, fingerprint, server_environment
from cdc_pipelines.stack.process import Launch
from cdc_pipelines.stack.settings import HOST

ACCESS_DENIED = 1045
_SUITE = "sid"
_PACKAGES = ("mysql-server-core", "mysql-client-core")


class MySql(Part):
    name = "mysql"
    stop_patience = 40

    @property
    def root(self) -> PackageRoot:
        return PackageRoot(self.layout.parts / "mysql-9")

    @property
    def config_file(self) -> Path:
        return self.layout.conf(self.name) / "mysqld.cnf"

    @property
    def version(self) -> str:
        return self.root.version

    def missing(self) -> str | None:
        return None if self.root.path.exists() else "MySQL server (about 70 MB)"

    def fetch(self) -> None:
        package_root(self.name, self.root.path, _SUITE, _PACKAGES)

    def initialize(self, data: Path) -> None:
        config = self.layout.write(self.layout.conf(self.name) / "initialize.cnf", self._config(data))
        secret = self.secret_file(account_statements(self.values, "MYSQL", "REPLICATION CLIENT"))
        try:
            self.run_once(
                "initialize",
                [*self.root.command("usr/sbin/mysqld"), f"--defaults-file={config}", "--initialize-insecure",
                 f"--init-file={secret}"],
                server_environment(),
            )
        finally:
            secret.unlink()

    def launch(self) -> Launch:
        config = self._config(self.data)
        self.layout.write(self.config_file, config)
        argv = (*self.root.command("usr/sbin/mysqld"), f"--defaults-file={self.config_file}")
        return Launch(argv, server_environment(), self.data, self.log, str(self.config_file),
                      fingerprint(argv, config))

    def clear_leftovers(self) -> None:
        # The lock of the socket names a pid only; once reused by any process it would block the start.
        self.layout.socket(self.name).with_suffix(".sock.lock").unlink(missing_ok=True)

    def check(self) -> None:
        probe_mysql(self.name, self.port, self.values["CDC_STACK_MYSQL_USER"], self.values["CDC_STACK_MYSQL_PASSWORD"])

    def _config(self, data: Path) -> str:
        root = self.root.path
        return f"""[mysqld]
basedir = {root}/usr
datadir = {data}
lc-messages-dir = {root}/usr/share/mysql
character-sets-dir = {root}/usr/share/mysql/charsets
plugin-dir = {root}/usr/lib/mysql/plugin
secure-file-priv = NULL
mysqlx = OFF
bind-address = {HOST}
port = {self.port}
socket = {self.layout.socket(self.name)}
pid-file = {self.layout.base}/run/mysqld.pid
skip-name-resolve = ON
local-infile = ON
max-connections = 200
max-allowed-packet = 256M
innodb-buffer-pool-size = 512M
innodb-redo-log-capacity = 1G
# A development stack: survives a killed server, may lose the last second with the machine's power.
innodb-flush-log-at-trx-commit = 2
sync-binlog = 0
server-id = 97001
log-bin = binlog
binlog-format = ROW
binlog-row-image = FULL
binlog-expire-logs-seconds = 259200
gtid-mode = ON
enforce-gtid-consistency = ON
"""


def account_statements(values: Mapping[str, str], server: str, position_privilege: str) -> str:
    """The administrator's password and the replicating user, with exactly the privileges a pipeline needs.

    One statement a line, as the servers' initialising files want it. Passwords are our own hex digits.
    """
    prefix = f"CDC_STACK_{server}_"
    root, user = values[prefix + "ROOT_PASSWORD"], values[prefix + "USER"]
    privileges = (
        f"SELECT, RELOAD, LOCK TABLES, SHOW DATABASES, REPLICATION SLAVE, {position_privilege}"
    )
    return "\n".join([
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{root}';",
        f"CREATE USER 'root'@'127.0.0.1' IDENTIFIED BY '{root}';",
        "GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;",
        f"CREATE USER '{user}'@'%' IDENTIFIED BY '{values[prefix + 'PASSWORD']}';",
        f"GRANT {privileges} ON *.* TO '{user}'@'%';",
        "",
    ])


def probe_mysql(part: str, port: int, user: str, password: str) -> None:
    """Log in over TCP as the replicating user and let SQL answer."""
    try:
        with pymysql.connect(
            host=HOST, port=port, user=user, password=password, connect_timeout=3, read_timeout=5
        ) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except pymysql.Error as error:
        if error.args[0] == ACCESS_DENIED:
            raise PartFailedError(
                part, f"the data folder was made with another password of user {user} than stack.env holds; "
                "restore stack.env, or start anew with `cdc stack down --wipe`"
            ) from None
        raise NotReadyError(str(error)) from error
