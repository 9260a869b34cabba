"""MySQL and MariaDB values in PostgreSQL.

The events are those of Debezium with decimal.handling.mode=string, bigint.unsigned.handling.mode=precise and
decimal.format=NUMERIC, binary.handling.mode=base64, time.precision.mode=microseconds, enable.time.adjuster=false (else
the year 1 becomes 2001); every session of ours on the source speaks utf8mb4 and has time_zone '+00:00' and sql_mode ''.
"""

import re
from binascii import a2b_base64
from datetime import date
from functools import lru_cache
from typing import Any

import msgspec

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.values.form import Form

_EPOCH_DAY = date(1970, 1, 1).toordinal()

_SIGNED = {"tinyint": "smallint", "smallint": "smallint", "mediumint": "integer", "int": "integer", "bigint": "bigint"}
_UNSIGNED = {"tinyint": "smallint", "smallint": "integer", "mediumint": "integer", "int": "bigint",
             "bigint": "numeric(20)"}
_TEXTS = {"tinytext", "text", "mediumtext", "longtext"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}

_DATE = re.compile(r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)( \d\d:\d\d:\d\d(\.\d{1,6})?)?$")

_PLAIN_LABEL = re.compile(r"[^,\\\x00-\x1f]*").fullmatch
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "0": "\0", "Z": "\x1a", "%": "\\%", "_": "\\_"}

_UTF8 = "convert({c} using utf8mb4)"
_MOMENT = "date_format({c},'%Y-%m-%d %H:%i:%s.%f')"
# time_to_sec() keeps the fraction on MariaDB and drops it on MySQL.
_MICROSECONDS = "if({c}<0,-1,1)*((hour({c})*3600+minute({c})*60+second({c}))*1000000+microsecond({c}))"
# The eight bytes of a double, the most significant one first: a point's binary form holds them, reversed. Texts would
# differ (1e15, 1e+15), and a cast to decimal has no room for 1e300.
_DOUBLE_BITS = "hex(reverse(substring(st_asbinary(point({c},0)),6,8)))"
# The servers allow dates without a day or a month (which have no day number) and in a year 0 (whose days end before
# day 366, the first of year 1). Neither PostgreSQL nor the change log has them.
_NO_DATE = "coalesce(to_days({c}),0)<366"
_ZERO_MOMENT = re.compile(r"1970-01-01T00:00:00(\.0+)?Z")


def mysql_form(column: Column) -> Form | None:
    """The form of a MySQL column, or None where its type has none."""
    return _form(column, mariadb=False)


def mariadb_form(column: Column) -> Form | None:
    """The form of a MariaDB column, or None where its type has none."""
    return _form(column, mariadb=True)


def _form(column: Column, *, mariadb: bool) -> Form | None:
    kind = column.type
    if kind in _SIGNED:
        return _integer(column)
    if kind in ("decimal", "numeric"):
        read = "{c}+0" if _zerofill(column) else "{c}"
        # Of decimal(5,5) both servers cut -0.12345 to -0.1234 wherever its text passes through a temporary table.
        return Form(f"numeric({column.precision},{column.scale or 0})", read, str, None, f"cast({read} as char(80))",
                    "{c}::text")
    if kind in ("float", "double"):
        # A float's text has 6 digits only, that of float(7,3) 3 decimals; a product is printed whole, and -0 stays -0.
        wide = "{c}*1e0"
        return Form("real" if kind == "float" else "double precision", wide, float, repr,
                    _DOUBLE_BITS.replace("{c}", wide), "upper(encode(float8send({c}::float8),'hex'))")
    if kind in ("char", "varchar"):
        return Form(f"varchar({column.length})", "{c}", str, None, _UTF8, "{c}")
    if kind in _TEXTS:
        return Form("text", "{c}", str, None, _UTF8, "{c}")
    if kind in ("enum", "set"):
        plain = column.labels and all(_PLAIN_LABEL(label) for label in column.labels)
        return Form("text", "{c}", str, None if plain else _label_text, _UTF8, "{c}")
    if kind == "json":
        return Form("jsonb", "{c}", str, None, _UTF8, "{c}::text", "json")
    if kind == "uuid":
        return Form("uuid", "{c}", str, None, _UTF8, "{c}::text")
    if kind in _BYTES:
        read = "concat(char(92),'x',hex({c}))"
        if kind in ("mediumblob", "longblob"):
            # A text longer than max_allowed_packet silently becomes null; out of exp()'s range is at least an error.
            read = f"if(octet_length({{c}})*2+2>@@max_allowed_packet,exp(octet_length({{c}})),{read})"
        if kind.endswith("blob"):
            # Compared by digest: as hex digits a large one would be null, and compare unequal with itself.
            return Form("bytea", read, str, _bytes_text(column), "sha2({c},256)", "encode(sha256({c}),'hex')")
        return Form("bytea", read, str, _bytes_text(column), "hex({c})", "upper(encode({c},'hex'))")
    if kind == "bit":
        width = column.length or 1
        bits = f"lpad(bin({{c}}+0),{width},'0')"
        return Form(f"bit({width})", bits, bool if width == 1 else str,
                    _bool_bit if width == 1 else _bits_text(width), bits, "{c}::text")
    if kind == "year":
        return Form("smallint", "{c}+0", int, _year_text, "{c}+0", "{c}::text")
    return _temporal(column, mariadb=mariadb)


def _zerofill(column: Column) -> bool:
    return "zerofill" in column.full_type


def _integer(column: Column) -> Form:
    if column.full_type == "tinyint(1)":
        # The servers' and the ORMs' convention for BOOLEAN. A value beside 0 and 1 is refused by the target, loudly.
        return Form("boolean", "{c}", int | bool, _boolean_text, "{c}+0", "{c}::int::text")
    types = _UNSIGNED if column.unsigned else _SIGNED
    read = "{c}+0" if _zerofill(column) else "{c}"
    return Form(types[column.type], read, int, str, read, "{c}::text")


def _temporal(column: Column, *, mariadb: bool) -> Form | None:
    fraction = column.fraction or 0
    match column.type:
        case "date":
            return Form("date", _dated(column, "{c}", "1970-01-01"), int, _day_text,
                        _dated(column, "date_format({c},'%Y-%m-%d')", "1970-01-01"), "to_char({c},'YYYY-MM-DD')")
        case "datetime":
            return Form(f"timestamp({fraction})", _dated(column, "{c}", "1970-01-01 00:00:00"), int, _moment_text,
                        _dated(column, _MOMENT, "1970-01-01 00:00:00.000000"),
                        "to_char({c},'YYYY-MM-DD HH24:MI:SS.US')")
        case "timestamp":
            # MariaDB's connector knows neither null nor the default here: it always says 1970.
            literal = None if mariadb else column.default
            column = msgspec.structs.replace(column, default=literal)
            return Form(f"timestamptz({fraction})", _dated(column, "concat({c},'+00')", "1970-01-01 00:00:00+00"), str,
                        _zero_moment_null if mariadb and column.nullable else None,
                        _dated(column, _MOMENT, "1970-01-01 00:00:00.000000"),
                        "to_char({c} at time zone 'UTC','YYYY-MM-DD HH24:MI:SS.US')")
        case "time":
            # MySQL's TIME is a span of up to ±838 hours; PostgreSQL's time ends at 24:00.
            return Form(f"interval({fraction})", "{c}", int, _span_text, _MICROSECONDS,
                        "(extract(epoch from {c})*1000000)::bigint::text")
        case _:
            return None


def _dated(column: Column, sql: str, epoch: str) -> str:
    """`sql`, but for a zero date (or one with a zero part) what the change log has in its place.

    That is null where the column may be null, else the column's default if it is a real date, else 1970-01-01. `epoch`
    is that day in the form that `sql` gives.
    """
    if column.nullable:
        return f"if({_NO_DATE},null,{sql})"
    default = _DATE.match(column.default or "")
    if default and "00" not in (default["month"], default["day"]) and default["year"] != "0000":
        # Our own digits, in the column's own form and fraction
        moment = f"cast('{default[0]}' as {'date' if column.type == 'date' else f'datetime({column.fraction or 0})'})"
        return f"if({_NO_DATE},{sql.replace('{c}', moment)},{sql})"
    return f"if({_NO_DATE},'{epoch}',{sql})"


def _boolean_text(value: Any) -> str:
    return str(int(value))


def _label_text(value: str) -> str:
    # Debezium sends a label as it is written in the table's definition, and a backslash before each comma.
    return _ESCAPED.sub(lambda match: _UNESCAPED.get(match[1], match[1]), value) if "\\" in value else value


def _year_text(value: int) -> str:
    # The year 0000 comes as 1900, which is no YEAR.
    return "0" if value == 1900 else str(value)


def _zero_moment_null(value: str) -> Any:
    # TIMESTAMP begins one second later: this is how MariaDB's connector writes a zero date.
    return None if _ZERO_MOMENT.fullmatch(value) else value


def _bool_bit(value: Any) -> str:
    return "1" if value else "0"


def _bits_text(width: int) -> Any:
    def text(value: str) -> str:
        # Debezium sends BIT(n>1) as little-endian bytes.
        return format(int.from_bytes(a2b_base64(value), "little"), f"0{width}b")

    return text


def _bytes_text(column: Column) -> Any:
    # The binlog drops the zero bytes that pad BINARY(n).
    padded = column.length if column.type == "binary" else None

    def text(value: str) -> str:
        raw = a2b_base64(value)
        if padded is not None:
            raw = raw.ljust(padded, b"\0")
        return "\\x" + raw.hex()

    return text


@lru_cache(10_000)
def _day_text(days: int) -> str:
    return date.fromordinal(_EPOCH_DAY + days).isoformat()


@lru_cache(1440)
def _minute_text(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _moment_text(microseconds: int) -> str:
    # By parts that come again and again: three times as quick as datetime's own way.
    days, rest = divmod(microseconds, 86_400_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    seconds = f"{rest:08d}"
    return f"{_day_text(days)} {_minute_text(minutes)}:{seconds[:2]}.{seconds[2:]}"


def _span_text(microseconds: int) -> str:
    sign = "-" if microseconds < 0 else ""
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"

