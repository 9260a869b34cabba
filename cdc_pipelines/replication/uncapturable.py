"""Tables that Debezium's connector can't read, whichever of their columns are replicated.

Tried with Debezium 3.5.0 for MariaDB: a CREATE TABLE with INET4 or INET6 is one that its parser fails on; rows with a
COMPRESSED column are of a kind that its reader of the log does not know; of SYSTEM VERSIONING the parser knows some.
"""

from cdc_pipelines.replication.catalog import Column, Table

_UNKNOWN_TYPES = {"inet4", "inet6"}


def why_uncapturable(table: Table, flavor: str) -> str | None:
    """Why no connector can capture the table, and what helps; None where one can."""
    if table.versioned:
        return (
            "has system versioning, which Debezium's connector can't follow; leave the table out, or take its "
            f"versioning off: ALTER TABLE {table.name} DROP SYSTEM VERSIONING"
        )
    if flavor != "mariadb":
        return None
    unknown = [column for column in table.columns if _is_unknown(column)]
    if not unknown:
        return None
    return (
        f"has {', '.join(f'{c.name} ({c.full_type[:40]})' for c in unknown)}, which Debezium's connector can't read, "
        "also where it is not replicated; leave the table out, or give the column another type on the source"
    )


def _is_unknown(column: Column) -> bool:
    return column.type in _UNKNOWN_TYPES or "compressed" in column.full_type.lower()
