"""The table of types from MySQL and MariaDB to PostgreSQL. Copy, apply, verify and docs/types.md are all made from it.

The events are those of Debezium with decimal.handling.mode=string, bigint.unsigned.handling.mode=precise and
decimal.format=NUMERIC, binary.handling.mode=base64, time.precision.mode=microseconds, enable.time.adjuster=false (else
the year 1 becomes 2001); every session of ours on the source speaks utf8mb4 and has time_zone '+00:00' and sql_mode ''.
"""

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.values import charsets, mysql_bytes, mysql_moments, mysql_numbers, mysql_texts
from cdc_pipelines.replication.values.form import Case, Form, TypeRule
from cdc_pipelines.replication.values.mysql_texts import TEXT_RULES

_ZERO = frozenset({"zero_dates"})

TYPES: tuple[TypeRule, ...] = (
    TypeRule(
        mysql_numbers.INTEGERS, mysql_numbers.integer,
        "`tinyint`, `smallint`; `mediumint`, `int`; `bigint`; each `unsigned`: one size up, `bigint unsigned` last",
        "`smallint`; `integer`; `bigint`; `numeric(20)`",
        "`tinyint(1)`, which is BOOLEAN, is a `smallint` too: it may hold 2. `zerofill` is only a way to print.",
        frozenset({"tinyint1", "bigint_unsigned"}),
    ),
    TypeRule(("decimal", "numeric"), mysql_numbers.decimal, "`decimal(p,s)`, up to `(65,30)`", "`numeric(p,s)`"),
    TypeRule(
        ("float", "double"), mysql_numbers.floating, "`float`, `double`", "`real`, `double precision`",
        "Bit by bit as the server stores them, not as it prints them; -0.0 stays -0.0. Not as a key.",
    ),
    TypeRule(("bit",), mysql_numbers.bit, "`bit(n)`", "`bit(n)`"),
    TypeRule(("year",), mysql_numbers.year, "`year`", "`smallint`", "The year 0000 is 0."),
    TypeRule(
        ("char", "varchar"), mysql_texts.sized, "`char(n)`, `varchar(n)` in any character set", "`varchar(n)`",
        "The server takes the spaces off the end of a `char`. A `char(0)` becomes `varchar(1)`.", TEXT_RULES,
    ),
    TypeRule(
        ("tinytext", "text", "mediumtext", "longtext"), mysql_texts.unsized,
        "`tinytext` … `longtext`; `json` of MariaDB, which is a `longtext`", "`text`", "", TEXT_RULES,
    ),
    TypeRule(
        ("enum", "set"), mysql_texts.labels, "`enum`, `set`", "`text`",
        "The label, or the labels with commas between; the empty text for a value that is no label. A label that the "
        "definition has twice (in `sql_mode` '') is the same text; not as a key.",
    ),
    TypeRule(
        ("json",), mysql_texts.document, "`json` of MySQL", "`jsonb`",
        "Compared as documents: the order of names and the spelling of numbers don't matter.", frozenset({"nul"}),
    ),
    TypeRule(
        ("binary", "varbinary"), mysql_bytes.sized, "`binary(n)`, `varbinary(n)`", "`bytea`",
        "A `binary` with the zero bytes that pad it.",
    ),
    TypeRule(("tinyblob", "blob", "mediumblob", "longblob"), mysql_bytes.large, "`tinyblob` … `longblob`", "`bytea`"),
    TypeRule(("date",), mysql_moments.day, "`date`", "`date`", "", _ZERO),
    TypeRule(("datetime",), mysql_moments.moment, "`datetime(f)`", "`timestamp(f)`", "", _ZERO),
    TypeRule(
        ("timestamp",), mysql_moments.instant, "`timestamp(f)`", "`timestamptz(f)`",
        "An instant on both sides, whatever the time zones of servers and sessions.", _ZERO,
    ),
    TypeRule(
        ("time",), mysql_moments.span, "`time(f)`", "`interval(f)`", "It reaches from -838:59:59 to 838:59:59.",
        frozenset({"time"}),
    ),
    TypeRule(
        mysql_bytes.GEOMETRIES, mysql_bytes.geometry, "`geometry` and all its kinds", "`bytea`",
        "PostGIS's EWKB, with the SRID: `column::geometry` where PostGIS is installed. x is the longitude.",
    ),
    TypeRule(
        ("vector",), lambda case: None if case.mariadb else mysql_bytes.vector(case), "`vector(n)` of MySQL 9",
        "`real[]`", "`column::vector` where pgvector is installed.",
    ),
    TypeRule(("uuid",), mysql_texts.uuid, "`uuid` of MariaDB", "`uuid`"),
)

_BY_TYPE = {name: rule for rule in TYPES for name in rule.types}


def form(case: Case) -> Form | None:
    """The form of a column, or None where its type has none."""
    rule = _BY_TYPE.get(case.column.type)
    # MariaDB's COMPRESSED columns stand in the log as types of their own, which its connector does not know.
    compressed = not case.column.labels and "compressed" in case.column.full_type
    return None if rule is None or compressed else rule.make(case)


def heeds(column: Column) -> frozenset[str]:
    """The rules (`values` in a pipeline's file) that make a difference to a column."""
    rule = _BY_TYPE.get(column.type)
    idle = {
        "tinyint1": not mysql_numbers.is_tinyint1(column),
        "bigint_unsigned": column.type != "bigint" or not column.unsigned,
        "undecodable": not charsets.heeds_replace(column.charset),
    }
    return frozenset() if rule is None else frozenset(name for name in rule.heeds if not idle.get(name))
