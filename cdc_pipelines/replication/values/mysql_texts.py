"""Texts, labels and documents of MySQL and MariaDB in PostgreSQL."""

import re
from collections.abc import Callable

from cdc_pipelines.replication.values import charsets
from cdc_pipelines.replication.values.form import Case, Form

TEXT_RULES = frozenset({"nul", "undecodable"})
_UTF8 = "convert({c} using utf8mb4)"
_PLAIN_LABEL = re.compile(r"[^,\\\x00-\x1f]*").fullmatch
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "0": "\0", "Z": "\x1a", "%": "\\%", "_": "\\_"}

# In a document's text NUL is the six characters \u0000, unless the backslash itself is escaped.
_JSON_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_JSON_NUL_HEX = rb"\u0000".hex()
_NUL_INSTEAD = {"remove": "", "replace": "\ufffd"}


def sized(case: Case) -> Form | None:
    # varchar(0) holds an empty text or none; PostgreSQL's begins at 1.
    return _text(case, f"varchar({max(1, case.column.length or 1)})")


def unsized(case: Case) -> Form | None:
    return _text(case, "text")


def _text(case: Case, target_type: str) -> Form | None:
    charset, rules = case.column.charset, case.rules
    if not charsets.is_told(charset, case.flavor):
        return None
    replaces = rules.undecodable == "replace"
    read, canonical = (charsets.without_mark(charset, sql) for sql in ("{c}", _UTF8))
    steps: list[Callable[[str], str] | None] = [charsets.from_event(charset, replace=replaces, where=case.where)]
    if replaces:
        canonical = charsets.with_replacements(charset, canonical)
    if rules.nul != "error":
        instead = _NUL_INSTEAD[rules.nul]
        canonical = f"replace({canonical},_utf8mb4 x'00',_utf8mb4 x'{instead.encode().hex()}')"
        steps.append(lambda text: text.replace("\0", instead))
    if replaces or rules.nul != "error":
        read = canonical
    return Form(target_type, read, str, _in_turn(steps), canonical, "{c}")


def _in_turn(steps: list[Callable[[str], str] | None]) -> Callable[[str], str] | None:
    wanted = [step for step in steps if step is not None]
    if len(wanted) < 2:
        return wanted[0] if wanted else None
    first, second = wanted
    return lambda text: second(first(text))


def labels(case: Case) -> Form:
    known = case.column.labels
    plain = known and all(_PLAIN_LABEL(label) for label in known)
    return Form("text", "{c}", str, None if plain else _label_text, _UTF8, "{c}")


def _label_text(value: str) -> str:
    # Debezium sends a label as it is written in the table's definition, and a backslash before each comma.
    return _ESCAPED.sub(lambda match: _UNESCAPED.get(match[1], match[1]), value) if "\\" in value else value


def document(case: Case) -> Form:
    """jsonb. It refuses \\u0000 by itself."""
    read, canonical, text = "{c}", _UTF8, None
    if case.rules.nul != "error":
        instead = _NUL_INSTEAD[case.rules.nul]
        pattern = _JSON_NUL.pattern.encode().hex()
        put = ("$1" + instead).encode().hex()
        canonical = (
            f"if(locate(_utf8mb4 x'{_JSON_NUL_HEX}',{_UTF8})>0,"
            f"regexp_replace({_UTF8},_utf8mb4 x'{pattern}',_utf8mb4 x'{put}'),{_UTF8})"
        )
        read = canonical

        def text(value: str) -> str:
            return _JSON_NUL.sub(lambda match: match[1] + instead, value)

    return Form("jsonb", read, str, text, canonical, "{c}::text", "json")


def uuid(case: Case) -> Form:
    return Form("uuid", "{c}", str, None, _UTF8, "{c}::text")
