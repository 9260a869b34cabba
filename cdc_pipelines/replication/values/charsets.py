"""Texts in any character set: the same characters by copy and by stream, or a refusal.

The server converts what it sends us to UTF-8; Debezium converts what stands in the log by itself, and not always alike.
"""

from collections.abc import Callable

from cdc_pipelines.replication.errors import UnsupportedChangeError
from cdc_pipelines.replication.values.charset_tables import AS_THE_SERVER

_UNICODE = {"utf8", "utf8mb3", "utf8mb4", "utf16", "utf16le", "utf32", "ucs2"}
_SEVERAL_BYTES = {"big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "sjis", "ujis"}
# Java takes a leading U+FEFF for a mark of the byte order, and drops it.
_MARKED = {"ucs2", "utf16", "utf32"}
# Which character an event means can't be told: several codes come as one.
_UNTOLD = {"mysql": {"eucjpms"}, "mariadb": {"eucjpms", "cp932"}}
# Control characters that the server has and Windows-1252 has not; Java writes U+FFFD for them.
_NOT_IN_WINDOWS_1252 = "\x81\x8d\x8f\x90\x9d"
_LOST = dict.fromkeys(["latin1", "armscii8", "dec8", "hp8"], _NOT_IN_WINDOWS_1252)
_LOST["tis620"] = "".join(map(chr, range(0x80, 0xA0)))
_UNKNOWN = "\ufffd"


def is_told(charset: str | None, flavor: str) -> bool:
    """Whether the change log tells every character of such a text."""
    return charset not in _UNTOLD[flavor]


def is_unicode(charset: str | None) -> bool:
    """Whether every byte sequence that the server takes stands for characters, which all sides know."""
    return charset is None or charset in _UNICODE


def heeds_replace(charset: str | None) -> bool:
    """Whether copy and stream can agree on what stands for undecodable bytes."""
    return not is_unicode(charset) and charset not in _SEVERAL_BYTES


def without_mark(charset: str | None, sql: str) -> str:
    """`sql`, a UTF-8 text of the column `{c}`, as the change log has it: without a leading U+FEFF."""
    if charset not in _MARKED:
        return sql
    return f"if(hex(left({{c}},1)) in ('FEFF','0000FEFF'),substring({sql},2),{sql})"


def with_replacements(charset: str | None, sql: str) -> str:
    """`sql`, a UTF-8 text, with U+FFFD for the characters that the change log can't tell."""
    lost = _LOST.get(charset or "")
    if not lost:
        return sql
    return f"regexp_replace({sql},{_literal(f'[{lost}]')},{_literal(_UNKNOWN)})"


def undecodable(charset: str | None) -> str | None:
    """SQL that is true of a value of `{c}` that the change log or the server can't tell; None where there is none."""
    if is_unicode(charset):
        return None
    text = "convert({c} using utf8mb4)"
    lost = _LOST.get(charset or "", "")
    # More question marks than it holds: the server put them in the place of what it can't read. (Converting it back
    # would not tell: cp932 has two codes for some characters.)
    marks = "octet_length({0})-octet_length(replace({0},'?',''))"
    ours, theirs = marks.format(text), marks.format("cast({c} as binary)")
    return f"({ours}>{theirs} or {text} regexp {_literal(f'[{lost}{_UNKNOWN}]')})"


def from_event(charset: str | None, *, replace: bool, where: str) -> Callable[[str], str] | None:
    """From an event's text to the server's; None where it is that already.

    Raises UnsupportedChangeError where the event has lost what the source holds, unless `replace`.
    """
    if is_unicode(charset):
        return None
    table = AS_THE_SERVER.get(charset or "")
    if replace and heeds_replace(charset):
        # Where the server has no character either, it says so by a question mark.
        unknown: dict[int, int | str] = {} if charset in _LOST else {ord(_UNKNOWN): "?"}
        whole = (table or {}) | unknown
        return (lambda text: text.translate(whole)) if whole else None

    def told(text: str) -> str:
        if _UNKNOWN in text:
            raise UnsupportedChangeError(
                f"column {where}: a text in {charset} holds bytes for which the change log has no character",
                "convert the column to utf8mb4 on the source"
                + (", or set `undecodable: replace` for it under `values`" if heeds_replace(charset) else "")
                + "; then `cdc start NAME --force-resync`.",
            )
        return text.translate(table) if table else text

    return told


def _literal(text: str) -> str:
    """As hex digits: neither a session's settings nor a template's braces can touch it."""
    return f"_utf8mb4 x'{text.encode().hex()}'"
