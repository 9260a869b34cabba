"""The words of a DDL statement, and a cursor over them: comments and spaces left out, quotes understood."""

import re
from collections.abc import Iterator
from typing import NamedTuple

Name = tuple[str | None, str]
"""(database or None, table)"""


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


class Cursor:
    """Reads tokens from the left; IndexError where they end too soon."""

    def __init__(self, read: list[Token]) -> None:
        self._tokens, self._at = [*read, Token("sign", ";")], 0

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def take(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def rest(self) -> list[Token]:
        """What was not taken yet."""
        return self._tokens[self._at : -1]

    def skip(self, *words: str) -> bool:
        """Whether the next token was one of these words; then it is passed."""
        if self.next.is_word(*words):
            self._at += 1
            return True
        return False

    def skip_if_exists(self) -> bool:
        if self.skip("if"):
            self.skip("not")
            self.skip("exists")
            return True
        return False

    def skip_wait(self) -> None:
        """MariaDB's `WAIT n` or `NOWAIT`."""
        if self.skip("wait"):
            self.take()
        self.skip("nowait")

    def name(self) -> str:
        token = self.take()
        if token.kind == "sign":
            raise IndexError(token.text)
        # In quotes where sql_mode has ANSI_QUOTES
        return token.text[1:-1].replace('""', '"') if token.kind == "text" else token.text

    def table(self) -> Name:
        first = self.name()
        if self.next == Token("sign", "."):
            self.take()
            return first, self.name()
        # `db.t` without backticks and with a name of digits comes as one word
        return None, first
