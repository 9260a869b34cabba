"""The kinds of source servers that a campaign runs against, each of the arena's own stack."""

from dataclasses import dataclass

import pymysql

from cdc_pipelines.stack.settings import ServerAccess, StackSettings


@dataclass(frozen=True)
class SourceKind:
    """A part of the stack, and what its server is told once, before anything is in it."""

    name: str
    part: str  # of the stack, and `source.type` in the pipeline's file
    settings: tuple[str, ...] = ()  # survive the server's restarts: it is killed again and again
    session: str = ""

    def access(self, stack: StackSettings) -> ServerAccess:
        return stack.mysql if self.part == "mysql" else stack.mariadb

    def prepare(self, admin: pymysql.Connection) -> None:
        with admin.cursor() as cursor:
            for statement in self.settings:
                cursor.execute(statement)


_DEEP = "set session cte_max_recursion_depth = 1000000"

SOURCES = {
    kind.name: kind
    for kind in (
        SourceKind("mysql-gtid", "mysql", session=_DEEP),
        SourceKind(
            "mysql-plain", "mysql", session=_DEEP,
            # One step at a time, as the server wants it; then no transaction of before is left that has a GTID.
            settings=(
                "set persist gtid_mode = on_permissive", "set persist gtid_mode = off_permissive",
                "set persist gtid_mode = off", "set persist enforce_gtid_consistency = off",
                "reset binary logs and gtids",
            ),
        ),
        SourceKind(
            "mysql-compressed", "mysql", settings=("set persist binlog_transaction_compression = on",), session=_DEEP
        ),
        SourceKind("mariadb", "mariadb", session="set session max_recursive_iterations = 1000000"),
    )
}  # fmt: skip
