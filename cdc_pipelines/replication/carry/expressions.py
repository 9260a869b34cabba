"""Conditions and expressions of MySQL, written for PostgreSQL where both servers mean the same by them.

sqlglot reads them; what is written is made here, form by form, so that nothing passes that was not thought of.
"""

from collections.abc import Callable

from sqlglot import errors, exp, parse_one

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable

_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_MOMENTS = ("date", "timestamp")
_ORDERS: dict[type[exp.Expr], str] = {exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_EQUALS: dict[type[exp.Expr], str] = {exp.EQ: "=", exp.NEQ: "<>", exp.NullSafeEQ: "is not distinct from"}
_WRAPPINGS: dict[type[exp.Expr], str] = {exp.Lower: "lower", exp.Upper: "upper"}


class UntranslatableError(Exception):
    """Why there is no such thing on the target, in words that fit behind a colon."""


def quoted(name: str) -> str:
    """A name of ours, or the source's, as PostgreSQL's SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def column_of(table: MappedTable, name: str) -> MappedColumn:
    """Raises UntranslatableError where the column is not replicated."""
    for column in table.columns:
        if column.source.name.lower() == name.lower():
            return column
    raise UntranslatableError(f"column {name} is not replicated")


def condition(table: MappedTable, text: str) -> str:
    """A CHECK's condition. Raises UntranslatableError where the target would judge otherwise, or might."""
    return _Writer(table).condition(_read(text))


def index_expression(table: MappedTable, text: str) -> str:
    """What an index is over: `lower(column)`, `upper(column)`. Raises UntranslatableError for everything else."""
    tree = _read(text).unnest()
    word = _WRAPPINGS.get(type(tree))
    if word is None or not isinstance(tree.this, exp.Column):
        raise UntranslatableError(f"it is over an expression: {text[:80]}")
    column = column_of(table, tree.this.name)
    if _family(column) not in ("text", "exact text"):
        raise UntranslatableError(f"it is over an expression of a column that is no text: {text[:80]}")
    return f"{word}({quoted(column.target_name)})"


def _read(text: str) -> exp.Expr:
    try:
        tree = parse_one(text, read="mysql")
    except errors.SqlglotError:
        raise UntranslatableError(f"it is not understood: {text[:80]}") from None
    # _utf8mb4'…': every text that comes here is Unicode.
    for introducer in list(tree.find_all(exp.Introducer)):
        introducer.replace(introducer.expression)
    return tree


def _family(column: MappedColumn) -> str:
    """What its values are compared as: `number`, `moment`, `exact text`, `text`, or nothing that is known here."""
    source, target = column.source, column.target_type
    if target.startswith("timestamptz"):
        return ""  # a literal is of the session's time zone
    if target.startswith(_NUMBERS):
        return "number"
    if target.startswith(_MOMENTS):
        return "moment"
    if target == "text" or target.startswith("varchar"):
        exact = source.type == "enum" or (source.collation or "").endswith("_bin")
        return "exact text" if exact and source.type != "set" else "text"
    return ""


class _Writer:
    def __init__(self, table: MappedTable) -> None:
        self._table = table

    def condition(self, tree: exp.Expr) -> str:
        tree = tree.unnest()
        match tree:
            case exp.And() | exp.Or():
                word = "and" if isinstance(tree, exp.And) else "or"
                return f"({self.condition(tree.this)} {word} {self.condition(tree.expression)})"
            case exp.Not():
                return f"(not {self.condition(tree.this)})"
            case exp.Is() if isinstance(tree.expression, exp.Null) and isinstance(tree.this.unnest(), exp.Column):
                return f"({self._column(tree.this)[0]} is null)"
            case exp.Between() if not tree.args.get("symmetric"):
                one, low, high = self._alike([tree.this, tree.args["low"], tree.args["high"]], ordered=True)
                return f"({one} between {low} and {high})"
            case exp.In() if tree.args.get("expressions") and not tree.args.get("query"):
                one, *others = self._alike([tree.this, *tree.args["expressions"]], ordered=False)
                return f"({one} in ({', '.join(others)}))"
        word = _ORDERS.get(type(tree)) or _EQUALS.get(type(tree)) or ""
        if not word:
            raise UntranslatableError(f"it is no simple comparison: {tree.sql(dialect='mysql')[:80]}")
        left, right = self._alike([tree.this, tree.expression], ordered=type(tree) in _ORDERS)
        return f"({left} {word} {right})"

    def _alike(self, trees: list[exp.Expr], *, ordered: bool) -> list[str]:
        """The sides of a comparison, all of one family; at least one of them a column."""
        trees = [tree.unnest() for tree in trees]
        columns = [self._column(tree) for tree in trees if isinstance(tree, exp.Column)]
        families = {family for _, family in columns}
        if len(families) != 1:
            raise UntranslatableError("it compares what both servers may compare differently")
        (family,) = families
        if family not in ("number", "moment", "exact text") or (ordered and family == "exact text"):
            what = "texts" if "text" in family else "values"
            raise UntranslatableError(f"it compares {what}, which both servers do differently")
        write = self._literals()[family]
        return [self._column(tree)[0] if isinstance(tree, exp.Column) else write(tree) for tree in trees]

    def _column(self, tree: exp.Expr) -> tuple[str, str]:
        tree = tree.unnest()
        assert isinstance(tree, exp.Column)
        column = column_of(self._table, tree.name)
        return quoted(column.target_name), _family(column)

    def _literals(self) -> dict[str, Callable[[exp.Expr], str]]:
        return {"number": _number, "moment": _moment, "exact text": _text}


def _number(tree: exp.Expr) -> str:
    if isinstance(tree, exp.Neg):
        return f"(-{_number(tree.this.unnest())})"
    if isinstance(tree, exp.Literal) and not tree.is_string:
        return str(tree.this)
    raise UntranslatableError(f"it compares a number with {tree.sql(dialect='mysql')[:60]}")


def _moment(tree: exp.Expr) -> str:
    if isinstance(tree, exp.Cast | exp.TsOrDsToDate):  # DATE'2020-01-01'
        tree = tree.this
    return _text(tree)


def _text(tree: exp.Expr) -> str:
    if isinstance(tree, exp.Literal) and tree.is_string and "\\" not in tree.this:
        return "'" + str(tree.this).replace("'", "''") + "'"
    raise UntranslatableError(f"it compares a text or a date with {tree.sql(dialect='mysql')[:60]}")
