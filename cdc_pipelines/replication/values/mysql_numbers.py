"""Numbers and bits of MySQL and MariaDB in PostgreSQL."""

from binascii import a2b_base64
from collections.abc import Callable
from typing import Any

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.values.form import Case, Form

_SIGNED = {"tinyint": "smallint", "smallint": "smallint", "mediumint": "integer", "int": "integer", "bigint": "bigint"}
_UNSIGNED = {"tinyint": "smallint", "smallint": "integer", "mediumint": "integer", "int": "bigint",
             "bigint": "numeric(20)"}
INTEGERS = tuple(_SIGNED)

# The eight bytes of a double, the most significant one first: a point's binary form holds them, reversed. Texts would
# differ (1e15, 1e+15), and a cast to decimal has no room for 1e300.
_DOUBLE_BITS = "hex(reverse(substring(st_asbinary(point({c},0)),6,8)))"


def integer(case: Case) -> Form:
    column, rules = case.column, case.rules
    if is_tinyint1(column) and rules.tinyint1 == "boolean":
        # A value beside 0 and 1 is refused by the target, loudly.
        return Form("boolean", "{c}", int | bool, _boolean_text, "{c}+0", "{c}::int::text")
    target_type = (_UNSIGNED if column.unsigned else _SIGNED)[column.type]
    if column.type == "bigint" and column.unsigned and rules.bigint_unsigned == "bigint":
        target_type = "bigint"
    read = "{c}+0" if _zerofill(column) else "{c}"
    if is_tinyint1(column):
        # A column that was added as BOOLEAN comes as true or false, until its connector is made anew.
        return Form(target_type, read, int | bool, _boolean_text, read, "{c}::text")
    return Form(target_type, read, int, str, read, "{c}::text")


def is_tinyint1(column: Column) -> bool:
    """What BOOLEAN means to the servers, and to most applications."""
    return column.full_type == "tinyint(1)"


def decimal(case: Case) -> Form:
    column = case.column
    read = "{c}+0" if _zerofill(column) else "{c}"
    # Of decimal(5,5) both servers cut -0.12345 to -0.1234 wherever its text passes through a temporary table.
    return Form(f"numeric({column.precision},{column.scale or 0})", read, str, None, f"cast({read} as char(80))",
                "{c}::text")


def floating(case: Case) -> Form:
    # A float's text has 6 digits only, that of float(7,3) 3 decimals; a product is printed whole, and -0 stays -0.
    wide = "{c}*1e0"
    return Form("real" if case.column.type == "float" else "double precision", wide, float, repr,
                _DOUBLE_BITS.replace("{c}", wide), "upper(encode(float8send({c}::float8),'hex'))")


def bit(case: Case) -> Form:
    width = case.column.length or 1
    bits = f"lpad(bin({{c}}+0),{width},'0')"
    return Form(f"bit({width})", bits, bool if width == 1 else str, _bool_bit if width == 1 else _bits_text(width),
                bits, "{c}::text")


def year(case: Case) -> Form:
    return Form("smallint", "{c}+0", int, _year_text, "{c}+0", "{c}::text")


def _zerofill(column: Column) -> bool:
    return "zerofill" in column.full_type


def _boolean_text(value: Any) -> str:
    return str(int(value))


def _year_text(value: int) -> str:
    # The year 0000 comes as 1900, which is no YEAR.
    return "0" if value == 1900 else str(value)


def _bool_bit(value: Any) -> str:
    return "1" if value else "0"


def _bits_text(width: int) -> Callable[[str], str]:
    def text(value: str) -> str:
        # Debezium sends BIT(n>1) as little-endian bytes.
        return format(int.from_bytes(a2b_base64(value), "little"), f"0{width}b")

    return text
