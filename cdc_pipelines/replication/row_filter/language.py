"""The language of row filters: columns compared with literals, by and, or, not, in, between, is null.

What the grammar does not have is refused. `in` and `between` are read as the comparisons that they stand for.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, Literal

from lark import Lark, Token, Transformer, UnexpectedInput, v_args

Operator = Literal["=", "<>", "<", "<=", ">", ">="]
Value = Decimal | str | bool

VALID_FORMS = (
    "column = literal (also <>, !=, <, <=, >, >=), column in (…), column between … and …, column is null, each also "
    "with not; joined by and, or, not and parentheses"
)

_GRAMMAR = r"""
?start: either
?either: both ("or"i both)*
?both: opposite ("and"i opposite)*
?opposite: "not"i opposite -> negation
    | "(" either ")"
    | condition
?condition: column OPERATOR literal                                -> compare
    | column "is"i "null"i                                         -> is_null
    | column "is"i "not"i "null"i                                  -> is_not_null
    | column "in"i "(" literal ("," literal)* ")"                  -> one_of
    | column "not"i "in"i "(" literal ("," literal)* ")"           -> none_of
    | column "between"i literal "and"i literal                     -> between
    | column "not"i "between"i literal "and"i literal              -> not_between
column: NAME | QUOTED
literal: NUMBER | TEXT | TRUE | FALSE
OPERATOR: "=" | "<>" | "!=" | "<=" | ">=" | "<" | ">"
TRUE.2: /true\b/i
FALSE.2: /false\b/i
NAME: /(?!(or|and|not|is|null|in|between|true|false)\b)[^\W\d][\w$]*/i
QUOTED: /`(?:[^`]|``)+`/
NUMBER: /[-+]?(\d+(\.\d+)?|\.\d+)(?![\w.])/
TEXT: /'(?:[^']|'')*'/
%ignore /\s+/
"""

_WORDS = {
    "OPERATOR": "=, <>, <, <=, > or >=", "NAME": "a column", "QUOTED": "", "NUMBER": "a number",
    "TEXT": "a text in single quotes", "TRUE": "true or false", "FALSE": "", "LPAR": "(", "RPAR": ")",
    "COMMA": "a comma", "$END": "the end",
}  # fmt: skip


@dataclass(frozen=True)
class Compare:
    """`column operator value`; `place` is the column's in the text, counted from 0."""

    column: str
    operator: Operator
    value: Value
    place: int = field(compare=False)


@dataclass(frozen=True)
class IsNull:
    column: str
    place: int = field(compare=False)


@dataclass(frozen=True)
class Not:
    part: "Condition"


@dataclass(frozen=True)
class All:
    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class AnyOf:
    parts: tuple["Condition", ...]


Condition = Compare | IsNull | Not | All | AnyOf


def parse(text: str) -> Condition:
    """Raises ValueError with the place and what may stand there."""
    try:
        return _Reader().transform(_parser().parse(text))
    except UnexpectedInput as error:
        at_end = getattr(getattr(error, "token", None), "type", "") == "$END"
        place = len(text) if at_end or error.pos_in_stream is None else error.pos_in_stream
        raise ValueError(_mistake(text, place, error)) from None


def columns_of(condition: Condition) -> list[str]:
    """The columns that it uses, each once, in the order of the text."""
    match condition:
        case Compare(column=column) | IsNull(column=column):
            return [column]
        case Not(part):
            return columns_of(part)
        case All(parts) | AnyOf(parts):
            return list(dict.fromkeys(column for part in parts for column in columns_of(part)))


def _mistake(text: str, place: int, error: UnexpectedInput) -> str:
    names = set(getattr(error, "accepts", None) or getattr(error, "expected", None) or getattr(error, "allowed", None)
                or ())
    words = sorted({_WORDS.get(name, name.lower()) for name in names} - {""})
    rest = text[place : place + 20]
    found = f"character {place + 1}, `{rest}`" if rest else "the end"
    return f"at {found}: expected {', '.join(words) or 'something else'}; a condition is {VALID_FORMS}"


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", maybe_placeholders=False)


@v_args(inline=True)
class _Reader(Transformer[Token, Condition]):
    """From the parser's tree to conditions."""

    def column(self, token: Token) -> tuple[str, int]:
        text = str(token)
        name = text[1:-1].replace("``", "`") if token.type == "QUOTED" else text
        return name, int(token.start_pos or 0)

    def literal(self, token: Token) -> Value:
        match token.type:
            case "NUMBER":
                return Decimal(str(token))
            case "TEXT":
                return str(token)[1:-1].replace("''", "'")
        return token.type == "TRUE"

    def compare(self, column: tuple[str, int], operator: Token, value: Value) -> Condition:
        sign: Any = "<>" if operator == "!=" else str(operator)
        return Compare(column[0], sign, value, column[1])

    def is_null(self, column: tuple[str, int]) -> Condition:
        return IsNull(*column)

    def is_not_null(self, column: tuple[str, int]) -> Condition:
        return Not(IsNull(*column))

    def one_of(self, column: tuple[str, int], *values: Value) -> Condition:
        return AnyOf(tuple(Compare(column[0], "=", value, column[1]) for value in values))

    def none_of(self, column: tuple[str, int], *values: Value) -> Condition:
        return Not(self.one_of(column, *values))

    def between(self, column: tuple[str, int], low: Value, high: Value) -> Condition:
        return All((Compare(column[0], ">=", low, column[1]), Compare(column[0], "<=", high, column[1])))

    def not_between(self, column: tuple[str, int], low: Value, high: Value) -> Condition:
        return Not(self.between(column, low, high))

    def negation(self, part: Condition) -> Condition:
        return part.part if isinstance(part, Not) else Not(part)

    def both(self, *parts: Condition) -> Condition:
        return All(parts)

    def either(self, *parts: Condition) -> Condition:
        return AnyOf(parts)
