"""Random tables of random columns and values: any type, any key, any legal name. Strategies for Hypothesis."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

NAMES = [
    "plain", "select", "MiXed", "with space", "quo`te", 'dou"ble', "sin'gle", "per%cent %s", "d.o.t", "back\\slash",
    "日本語", "ümläut", "a-b", "{c}", "$1", "x" * 40, "user", "id2", "semi;colon", "--", "/*c*/", "#",
]
_TEXTS = ["", "a", "A", "a ", " a", "tab\tcr\rlf\n", "back\\slash \\N \\.", "'\"`", "%s %Y {c}", "NULL", "\x01\x1e\x1f"]
_WIDE = [*_TEXTS, "é", "e\u0301", "日本語", "\U0001f600", "\ufeffbom", "\ufffd", "ß", "İ"]


def _texts(characters: st.SearchStrategy[str], size: int, samples: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from([t for t in samples if len(t) <= size]) | st.text(characters, max_size=size)


def _encodable(codec: str, top: int) -> st.SearchStrategy[str]:
    """Characters of a character set that no control code is among."""
    return st.integers(0x20, top).map(chr).filter(lambda c: c == c.encode(codec, "ignore").decode(codec))


_ANY = st.characters(codec="utf-8", exclude_characters="\0")
_BMP = st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\0\ufeff\ufffe\uffff")


def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.sampled_from([low, high, 0, 1, low + 1, high - 1]) | st.integers(low, high)


def _decimals(precision: int, scale: int) -> st.SearchStrategy[str]:
    whole = st.integers(-(10**precision) + 1, 10**precision - 1)
    return whole.map(lambda n: f"{'-' if n < 0 else ''}{abs(n) // 10**scale}.{abs(n) % 10**scale:0{scale}d}" if scale
                     else str(n))


def _moments(digits: int, low: int = 1) -> st.SearchStrategy[str]:
    def text(moment: Any, fraction: int) -> str:
        return f"{moment.isoformat(' ', 'seconds')}" + (f".{fraction:0{digits}d}" if digits else "")

    return st.builds(
        text, st.datetimes(datetime(low, 1, 1), datetime(9999, 12, 31, 23, 59, 59)),
        st.integers(0, 10**digits - 1),
    )


def _instants(digits: int) -> st.SearchStrategy[str]:
    def text(seconds: int, fraction: int) -> str:
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)
        return f"{moment:%Y-%m-%d %H:%M:%S}" + (f".{fraction:0{digits}d}" if digits else "")

    return st.builds(text, st.integers(1, 2**31 - 1), st.integers(0, 10**digits - 1))


def _spans(digits: int) -> st.SearchStrategy[str]:
    def text(sign: str, seconds: int, fraction: int) -> str:
        return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}" + (
            f".{fraction:0{digits}d}" if digits else "")

    seconds = st.integers(0, 838 * 3600 + 3598)
    return st.builds(text, st.sampled_from(["", "-"]), seconds, st.integers(0, 10**digits - 1))


_DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
_LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(_ANY, max_size=8)
_DOCUMENTS = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(_ANY, max_size=5), inner, max_size=3),
    max_leaves=6,
)

# Definition → values, as a driver sends them; the columns may be null beside.
TYPES: dict[str, st.SearchStrategy[Any]] = {
    "tinyint": _integers(-128, 127), "tinyint unsigned": _integers(0, 255), "tinyint(1)": _integers(-128, 127),
    "smallint": _integers(-(2**15), 2**15 - 1), "smallint unsigned zerofill": _integers(0, 2**16 - 1),
    "mediumint": _integers(-(2**23), 2**23 - 1), "mediumint unsigned": _integers(0, 2**24 - 1),
    "int": _integers(-(2**31), 2**31 - 1), "int unsigned": _integers(0, 2**32 - 1),
    "bigint": _integers(-(2**63), 2**63 - 1), "bigint unsigned": _integers(0, 2**64 - 1),
    "decimal(65,30)": _decimals(65, 30), "decimal(10,0)": _decimals(10, 0), "decimal(5,5)": _decimals(5, 5),
    "decimal(30,10) unsigned zerofill": _decimals(30, 10).map(lambda text: text.lstrip("-")),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False), "double": _DOUBLES,
    **{f"bit({n})": _integers(0, 2**n - 1).map(lambda v, n=n: v.to_bytes((n + 7) // 8, "big")) for n in (1, 2, 17, 64)},
    "char(9)": _texts(_ANY, 9, _WIDE), "varchar(30)": _texts(_ANY, 30, _WIDE), "text": _texts(_ANY, 300, _WIDE),
    "tinytext": _texts(_ANY, 50, _WIDE), "mediumtext": _texts(_ANY, 50, _WIDE), "longtext": _texts(_ANY, 50, _WIDE),
    "varchar(30) collate utf8mb4_bin": _texts(_ANY, 30, _WIDE),
    "varchar(30) character set utf8mb3": _texts(_BMP, 30, _TEXTS),
    "varchar(30) character set ucs2": _texts(_BMP, 30, _TEXTS),
    "char(9) character set utf16": _texts(_ANY, 9, _TEXTS), "varchar(9) character set utf32": _texts(_ANY, 9, _WIDE),
    "char(9) character set utf16le": _texts(_BMP, 9, _TEXTS),
    "varchar(30) character set latin1": _texts(_encodable("cp1252", 0x2122), 30, _TEXTS),
    "text character set cp1251": _texts(_encodable("cp1251", 0x2122), 30, _TEXTS),
    "varchar(30) character set koi8u": _texts(_encodable("koi8_u", 0x491), 30, _TEXTS),
    "varchar(30) character set gbk": _texts(st.integers(0x4E00, 0x9FA5).map(chr), 30, _TEXTS),
    "varchar(30) character set sjis": _texts(st.sampled_from("日本語表ｱｲｳソ―ー"), 30, _TEXTS),
    "varchar(30) character set binary": st.binary(max_size=30),
    "binary(4)": st.binary(max_size=4), "varbinary(20)": st.binary(max_size=20), "tinyblob": st.binary(max_size=30),
    "blob": st.binary(max_size=300), "mediumblob": st.binary(max_size=30), "longblob": st.binary(max_size=30),
    "year": st.integers(1901, 2155) | st.just(0),
    "date": _moments(0).map(lambda text: text[:10]) | st.just("0000-00-00"),
    "datetime": _moments(0) | st.just("0000-00-00"), "datetime(3)": _moments(3), "datetime(6)": _moments(6),
    "timestamp null": _instants(0) | st.just("0000-00-00"), "timestamp(6) null": _instants(6),
    "time": _spans(0), "time(3)": _spans(3), "time(6)": _spans(6),
    "enum('a','B','it''s','a,b','back\\\\slash','日本','')": st.integers(0, 7),
    "enum('a','b')": st.integers(0, 2),
    "set('x','y','z''s','ü')": st.integers(0, 15),
}
MYSQL: dict[str, st.SearchStrategy[Any]] = {
    "json": _DOCUMENTS.map(json.dumps),
}
MARIADB: dict[str, st.SearchStrategy[Any]] = {"uuid": st.uuids().map(str)}

# Keys: columns and the clause. Of equal keys the server takes the first. Of two unique indexes we and the connector do
# not choose the same one.
TWO = "two unique keys"
KEYS: list[tuple[tuple[str, ...], str]] = [
    (("int",), "primary key"), (("bigint unsigned",), "primary key"), (("int", "int"), "primary key"),
    (("varchar(30)",), "primary key"), (("varchar(30) collate utf8mb4_bin",), "primary key"),
    (("varchar(30) character set latin1",), "primary key"), (("char(9)", "smallint unsigned zerofill"), "primary key"),
    (("binary(4)",), "primary key"), (("varbinary(20)",), "primary key"), (("decimal(10,0)",), "primary key"),
    (("decimal(5,5)", "tinyint(1)"), "primary key"), (("datetime(6)",), "primary key"), (("time(3)",), "primary key"),
    (("year", "tinyint"), "primary key"), (("bit(17)",), "primary key"), (("mediumint", "varchar(30)"), "primary key"),
    (("enum('a','b')", "tinyint unsigned"), "primary key"),
    (("int",), "unique key"), (("varchar(30)", "int unsigned"), "unique key"),
    (("int", "int unsigned"), TWO), ((), ""),
]


@dataclass
class RandomTable:
    """One table: its columns' definitions, the key's columns first, and rows for the copy and for the stream."""

    definitions: list[str]
    names: list[str]
    key: int
    clause: str
    copied: list[tuple[Any, ...]]
    streamed: list[tuple[Any, ...]]
    name: str = field(default="", compare=False)

    def keys(self, quoted: Callable[[str], str]) -> str:
        """The clause of CREATE TABLE."""
        names = [quoted(name) for name in self.names[: self.key]]
        if self.clause == TWO:
            return f", unique key zz ({names[0]}), unique key aa ({names[1]})"
        return f", {self.clause} ({', '.join(names)})" if self.clause else ""


@st.composite
def random_tables(draw: st.DrawFn, flavor: str) -> RandomTable:
    types = TYPES | (MYSQL if flavor == "mysql" else MARIADB)
    key, clause = draw(st.sampled_from(KEYS))
    rest = draw(st.lists(st.sampled_from(sorted(types)), min_size=1, max_size=6))
    definitions = [*key, *rest]
    names = draw(st.permutations(NAMES))[: len(definitions)]
    zero = "0000-00-00"
    columns = [types[d].filter(lambda v: v != zero) for d in key] + [st.none() | types[d] for d in rest]
    rows = st.lists(st.tuples(*columns), min_size=0, max_size=5)
    return RandomTable(definitions, names, len(key), clause, draw(rows), draw(rows))


_CODECS = {"big5": "big5", "cp932": "cp932", "euckr": "euc_kr", "gb18030": "gb18030", "gb2312": "gb2312", "gbk": "gbk",
           "sjis": "shift_jis", "ujis": "euc_jp"}
# Of gb18030: their codes are not the same in every edition of the standard
_MOVED = [*range(0x9FB4, 0x9FBC), *range(0xE78D, 0xE797), *range(0xE81E, 0xE865), *range(0xFE10, 0xFE1A)]
_SINGLE = ("armscii8", "ascii", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "geostd8",
           "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce",
           "macroman", "swe7", "tis620")


def character_sets(flavor: str, every: int) -> list[RandomTable]:
    """A table for each character set: all its bytes, of those with several bytes every n-th character."""
    codes = {name: [bytes([n]) for n in range(1, 256)] for name in _SINGLE}
    for name, codec in _CODECS.items():
        places = [*range(0x80, 0xD800, every), *range(0xE000, 0xFFF0, every), *_MOVED]
        found = (chr(n).encode(codec, "ignore") for n in places)
        codes[name] = [code for code in found if code]
    if flavor == "mariadb":
        del codes["cp932"], codes["gb18030"]
    return [
        RandomTable(["int", f"varchar(9) character set {name}"], ["id", "v"], 1, "primary key",
                    list(enumerate(values)), [], f"set {name}")
        for name, values in codes.items()
    ]
