"""A table's row filter as a condition of MySQL's and MariaDB's SQL."""

from decimal import Decimal

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.sql import quote
from cdc_pipelines.replication.row_filter.binding import MOMENTS, NUMBERS, bound, form_asked
from cdc_pipelines.replication.row_filter.language import All, AnyOf, Compare, Condition, IsNull, Not


def filter_sql(table: MappedTable, flavor: str, target: str) -> str:
    """Empty where all rows are replicated. Its literals are hex digits and numbers alone; it has no placeholder."""
    condition = bound(table)
    return "" if condition is None else _Speller(table, flavor, target).sql(condition)


class _Speller:
    """Texts and moments are compared by the bytes of their canonical text: no collation has a say."""

    def __init__(self, table: MappedTable, flavor: str, target: str) -> None:
        self._columns = {c.source.name: c for c in (*table.columns, *table.rows.beside)}
        self._pair, self._table = (flavor, target), table.name

    def sql(self, condition: Condition) -> str:
        match condition:
            case Compare(column=name, operator=sign, value=value):
                literal = format(value, "f") if isinstance(value, Decimal) else f"x'{str(value).encode().hex()}'"
                return f"({self._comparable(name)} {sign} {literal})"
            case IsNull(column=name):
                # A date that is none may land as null, and is null here then.
                is_moment = self._columns[name].source.type in MOMENTS
                return f"({self._canonical(name) if is_moment else quote(name)} is null)"
            case Not(part):
                return f"(not {self.sql(part)})"
            case All(parts):
                return f"({' and '.join(map(self.sql, parts))})"
            case AnyOf(parts):
                return f"({' or '.join(map(self.sql, parts))})"

    def _comparable(self, name: str) -> str:
        kind = self._columns[name].source.type
        if kind in NUMBERS:
            # A YEAR would take a small number for its last two digits.
            return f"({quote(name)}+0)" if kind == "year" else quote(name)
        return f"cast({self._canonical(name)} as binary)"

    def _canonical(self, name: str) -> str:
        return form_asked(self._columns[name], *self._pair, self._table).source_canonical.format(c=quote(name))
