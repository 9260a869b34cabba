"""MySQL and MariaDB values in PostgreSQL.

The events are those of Debezium with decimal.handling.mode=string, bigint.unsigned.handling.mode=precise and
decimal.format=NUMERIC, binary.handling.mode=base64, time.precision.mode=microseconds; every session of ours on the
source speaks utf8mb4 and has time_zone '+00:00' and sql_mode ''.
"""

import base64
from datetime import date, datetime, timedelta
from typing import Any

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.values.form import Form

_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_SIGNED = {"tinyint": "smallint", "smallint": "smallint", "mediumint": "integer", "int": "integer", "bigint": "bigint"}
_UNSIGNED = {"tinyint": "smallint", "smallint": "integer", "mediumint": "integer", "int": "bigint",
             "bigint": "numeric(20)"}
_TEXTS = {"tinytext", "text", "mediumtext", "longtext"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}

_UTF8 = "convert({c} using utf8mb4)"
_MOMENT = "date_format({c},'%Y-%m-%d %H:%i:%s.%f')"
_MICROSECONDS = "(cast(time_to_sec({c}) as signed)*1000000+if({c}<0,-1,1)*microsecond({c}))"


def form(column: Column) -> Form | None:
    """The form of a column, or None where its type has none."""
    kind = column.type
    if kind in _SIGNED:
        return _integer(column)
    if kind in ("decimal", "numeric"):
        return Form(f"numeric({column.precision},{column.scale or 0})", "{c}+0" if _zerofill(column) else "{c}",
                    str, None, "{c}+0" if _zerofill(column) else "{c}", "{c}::text")
    if kind in ("float", "double"):
        # A float's text has 6 digits only; as a double it is printed whole.
        wide = "{c}+0e0" if kind == "float" else "{c}"
        return Form("real" if kind == "float" else "double precision", wide, float, repr,
                    f"cast({wide} as decimal(65,30))", "({c}::float8)::text::numeric(65,30)::text", "float")
    if kind in ("char", "varchar"):
        return Form(f"varchar({column.length})", "{c}", str, None, _UTF8, "{c}")
    if kind in _TEXTS or kind in ("enum", "set"):
        return Form("text", "{c}", str, None, _UTF8, "{c}")
    if kind == "json":
        return Form("jsonb", "{c}", str, None, _UTF8, "{c}::text", "json")
    if kind == "uuid":
        return Form("uuid", "{c}", str, None, _UTF8, "{c}::text")
    if kind in _BYTES:
        return Form("bytea", "concat(char(92),'x',hex({c}))", str, _bytes_text(column), "hex({c})",
                    "upper(encode({c},'hex'))")
    if kind == "bit":
        width = column.length or 1
        bits = f"lpad(bin({{c}}+0),{width},'0')"
        return Form(f"bit({width})", bits, bool if width == 1 else str,
                    _bool_bit if width == 1 else _bits_text(width), bits, "{c}::text")
    if kind == "year":
        return Form("smallint", "{c}+0", int, str, "{c}+0", "{c}::text")
    return _temporal(column)


def _zerofill(column: Column) -> bool:
    return "zerofill" in column.full_type


def _integer(column: Column) -> Form:
    if column.full_type == "tinyint(1)":
        # The servers' and the ORMs' convention for BOOLEAN. A value beside 0 and 1 is refused by the target, loudly.
        return Form("boolean", "{c}", int | bool, _boolean_text, "{c}+0", "{c}::int::text")
    types = _UNSIGNED if column.unsigned else _SIGNED
    read = "{c}+0" if _zerofill(column) else "{c}"
    return Form(types[column.type], read, int, str, read, "{c}::text")


def _temporal(column: Column) -> Form | None:
    fraction = column.fraction or 0
    # PostgreSQL has no zero date: where the column may be null it is null on the target (as Debezium sends it);
    # elsewhere the copy fails with the server's message.
    def zero_null(sql: str) -> str:
        return f"if({{c}}=0,null,{sql})" if column.nullable else sql

    match column.type:
        case "date":
            return Form("date", zero_null("{c}"), int, _day_text, zero_null("date_format({c},'%Y-%m-%d')"),
                        "to_char({c},'YYYY-MM-DD')")
        case "datetime":
            return Form(f"timestamp({fraction})", zero_null("{c}"), int, _moment_text,
                        zero_null(_MOMENT), "to_char({c},'YYYY-MM-DD HH24:MI:SS.US')")
        case "timestamp":
            return Form(f"timestamptz({fraction})", zero_null("concat({c},'+00')"), str, None,
                        zero_null(_MOMENT),
                        "to_char({c} at time zone 'UTC','YYYY-MM-DD HH24:MI:SS.US')")
        case "time":
            # MySQL's TIME is a span of up to ±838 hours; PostgreSQL's time ends at 24:00.
            return Form(f"interval({fraction})", "{c}", int, _span_text, _MICROSECONDS,
                        "(extract(epoch from {c})*1000000)::bigint::text")
        case _:
            return None


def _boolean_text(value: Any) -> str:
    return str(int(value))


def _bool_bit(value: Any) -> str:
    return "1" if value else "0"


def _bits_text(width: int) -> Any:
    def text(value: str) -> str:
        # Debezium sends BIT(n>1) as little-endian bytes.
        return format(int.from_bytes(base64.b64decode(value), "little"), f"0{width}b")

    return text


def _bytes_text(column: Column) -> Any:
    # The binlog drops the zero bytes that pad BINARY(n).
    padded = column.length if column.type == "binary" else None

    def text(value: str) -> str:
        raw = base64.b64decode(value)
        if padded is not None:
            raw = raw.ljust(padded, b"\0")
        return "\\x" + raw.hex()

    return text


def _day_text(days: int) -> str:
    return date.fromordinal(_EPOCH_DAY + days).isoformat()


def _moment_text(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(" ")


def _span_text(microseconds: int) -> str:
    sign = "-" if microseconds < 0 else ""
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"

