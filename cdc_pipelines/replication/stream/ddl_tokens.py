"""The words of a DDL statement: comments and spaces left out, quotes and brackets understood."""

import re
from collections.abc import Iterator
from typing import NamedTuple


class Token(NamedTuple):
    """`kind`: `word` (also numbers), `name` (in backticks), `text` (in quotes) or `sign`; `text` is without quotes."""

    kind: str
    text: str

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words


_TOKEN = re.compile(
    r"""(?P<space>\s+|/\*(?!M?!).*?\*/|--(?=\s|$)[^\n]*|\#[^\n]*|/\*M?!\d*|\*/)
      |(?P<name>`(?:[^`]|``)*`)
      |(?P<text>[bBxXnN]?'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
      |(?P<word>[\w$]+(?:\.\d+)?)
      |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


def tokens(ddl: str) -> Iterator[Token]:
    """Never fails: what is none of the others is a sign."""
    for match in _TOKEN.finditer(ddl):
        kind, text = match.lastgroup or "", match[0]
        if kind == "name":
            yield Token("name", text[1:-1].replace("``", "`"))
        elif kind == "text":
            yield Token("text", text)
        elif kind != "space":
            yield Token(kind, text)


def split(read: list[Token]) -> Iterator[list[Token]]:
    """The parts between commas that stand in no brackets."""
    part: list[Token] = []
    depth = 0
    for token in read:
        if token.kind == "sign" and token.text in "()":
            depth += 1 if token.text == "(" else -1
        if token == ("sign", ",") and depth == 0:
            if part:
                yield part
            part = []
        elif token != ("sign", ";"):
            part.append(token)
    if part:
        yield part


def words_of(read: list[Token]) -> str:
    """For messages: short, in capitals."""
    return " ".join(token.text for token in read)[:80].upper()
