"""MariaDB 10.11 as a source, out of Debian's packages; the system's own service is never touched."""

from __future__ import annotations

from pathlib import Path

from cdc_pipelines.stack.debian import PackageRoot, package_root
from cdc_pipelines.stack.mysql import account_statements, probe_mysql
from cdc_pipelines.stack.part import Part, fingerprint, server_environment
from cdc_pipelines.stack.process import Launch
from cdc_pipelines.stack.settings import HOST

_SUITE = "bookworm"
_PACKAGES = ("mariadb-server-core", "mariadb-client-core")


class MariaDb(Part):
    name = "mariadb"
    stop_patience = 40

    @property
    def root(self) -> PackageRoot:
        return PackageRoot(self.layout.parts / "mariadb-10.11")

    @property
    def config_file(self) -> Path:
        return self.layout.conf(self.name) / "mariadbd.cnf"

    @property
    def version(self) -> str:
        return self.root.version

    def missing(self) -> str | None:
        return None if self.root.path.exists() else "MariaDB server (about 40 MB)"

    def fetch(self) -> None:
        package_root(self.name, self.root.path, _SUITE, _PACKAGES)

    def initialize(self, data: Path) -> None:
        """What mariadb-install-db does, with our own users in the same run."""
        share = self.root.path / "usr/share/mysql"
        tables = [
            (share / name).read_text()
            for name in ("mysql_system_tables.sql", "mysql_performance_tables.sql",
                         "mysql_system_tables_data.sql", "fill_help_tables.sql", "mysql_sys_schema.sql")
        ]
        config = self.layout.write(self.layout.conf(self.name) / "initialize.cnf", self._config(data))
        self.layout.own_dir(data / "mysql")
        self.layout.own_dir(self._temporary)
        script = "\n".join([
            "create database if not exists mysql;", "use mysql;",
            "SET @auth_root_socket=NULL;",
            *tables,
            # It brings passwordless administrators for several hosts: keep the one that gets a password next.
            "DELETE FROM mysql.global_priv WHERE NOT (User IN ('root', 'mariadb.sys') AND Host = 'localhost');",
            "DELETE FROM mysql.proxies_priv WHERE Host <> 'localhost';",
            "FLUSH PRIVILEGES;",
            account_statements(self.values, "MARIADB", "BINLOG MONITOR"),
        ])
        self.run_once(
            "initialize",
            [*self.root.command("usr/sbin/mariadbd"), f"--defaults-file={config}", "--bootstrap", "--skip-log-bin"],
            server_environment(),
            stdin=script,
        )

    def launch(self) -> Launch:
        config = self._config(self.data)
        self.layout.write(self.config_file, config)
        self.layout.own_dir(self._temporary)
        argv = (*self.root.command("usr/sbin/mariadbd"), f"--defaults-file={self.config_file}")
        return Launch(argv, server_environment(), self.data, self.log, str(self.config_file),
                      fingerprint(argv, config))

    def check(self) -> None:
        probe_mysql(
            self.name, self.port, self.values["CDC_STACK_MARIADB_USER"], self.values["CDC_STACK_MARIADB_PASSWORD"]
        )

    @property
    def _temporary(self) -> Path:
        """Of its own: a server that starts deletes all temporary tables in its folder, also those of another server."""
        return self.layout.base / "tmp" / self.name

    def _config(self, data: Path) -> str:
        root = self.root.path
        return f"""[mariadbd]
basedir = {root}/usr
datadir = {data}
tmpdir = {self._temporary}
lc-messages-dir = {root}/usr/share/mysql
character-sets-dir = {root}/usr/share/mysql/charsets
plugin-dir = {root}/usr/lib/mysql/plugin
bind-address = {HOST}
port = {self.port}
socket = {self.layout.socket(self.name)}
pid-file = {self.layout.base}/run/mariadbd.pid
skip-name-resolve = ON
local-infile = ON
max-connections = 200
max-allowed-packet = 256M
innodb-buffer-pool-size = 256M
# A development stack: survives a killed server, may lose the last second with the machine's power.
innodb-flush-log-at-trx-commit = 2
sync-binlog = 0
server-id = 101101
log-bin = binlog
binlog-format = ROW
binlog-row-image = FULL
expire-logs-days = 3
gtid-strict-mode = ON
"""
