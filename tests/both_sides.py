"""A source and a target that a test speaks to directly."""

from typing import Any

import psycopg
import pymysql


class BothSides:
    """Holds a session on each side: `mysql` and `target`."""

    mysql: pymysql.Connection
    target: psycopg.Connection

    def run(self, *statements: str) -> None:
        """Statements on the source, each its own transaction unless they say otherwise."""
        with self.mysql.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def source_rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.mysql.cursor() as cursor:
            cursor.execute(query)
            return [tuple(row) for row in cursor.fetchall()]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the target."""
        return self.target.execute(query).fetchall()  # type: ignore[arg-type]
