"""Any legal name and any key: discovered, copied under writes, followed through schema changes, repaired, resynced."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg import sql

from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import CommandResult, mysql_connection, postgres_connection, unique_name
from tests.e2e.conftest import Pipe, pipe_maker
from tests.plain_compare import plain_compare

# Whatever is special to SQL, regular expressions, lists, paths, formats or JSON. Two that differ by case alone.
TABLES = [
    "select", "Order", "order", 'a"b', "a'b", "d.o.t", " led by one", "100% %s %(x)s", "back\\slash", "a,b", "a;b--",
    "/*c*/", "(a|b)*", "^a$", "tab\tin", "日本語", "x" * 63, "ü" * 64, "'q'", 'q"',
]
COLUMNS = [
    "id", *[name for name in TABLES if name != "order"], "$1", "\\N", "1e5", "a:b", "a/b", "#x", "[a]", "{a}", "€",
    "c0", "before", "op", "ctid", "xmin", "user", "`", '"', "Ab",
]
SCHEMA = 'the "target", 100% {x}'

# Per table: the key, then rows of the copy, then statements of the stream, each a transaction. Two of them in one
# string, by `;;`, are one transaction.
KEYS: dict[str, tuple[str, list[str], list[str]]] = {
    "composite": (
        "a tinyint, k varchar(9), c datetime(6), d decimal(9,3), primary key (c, a, d, k)",
        ["1, 'a', '2024-01-01 00:00:00.000001', 1.000", "1, 'b', '2024-01-01', -1.5"],
        ["update {t} set k = 'A' where k = 'a'", "update {t} set c = c + interval 1 microsecond, v = 'x'"],
    ),
    "blind to case": (
        "k varchar(9) primary key", ["'a'", "'b'", "'straße'"],
        ["update {t} set k = 'A' where k = 'a'", "delete from {t} where k = 'B';;insert into {t} values ('again', 'B')",
         "update {t} set k = 'STRASSE' where k = 'straße'"],
    ),
    "padded": (
        "k varchar(9) collate utf8mb4_general_ci primary key", ["'a'", "'b '", "'c'"],
        ["update {t} set k = 'a  ' where k = 'a'", "update {t} set k = 'b' where k = 'b'",
         "delete from {t} where k = 'c';;insert into {t} values ('', 'C ')"],
    ),
    "bytes of text": (
        "k varchar(9) collate utf8mb4_bin primary key", ["'a'", "'A'", "'ä'", "'a\u0308'"],
        ["update {t} set k = 'a ' where k = 'a'", "update {t} set v = 'x' where k = 'ä'"],
    ),
    "char": ("k char(9) character set latin1 primary key", ["'a  '", "'é'"], ["update {t} set k = 'É ' where k = 'é'"]),
    "binary": ("k binary(4) primary key", ["x'61'", "x'6100000a'", "x'00'"],
               ["update {t} set k = x'62' where k = x'61000000'"]),
    "varbinary": (
        "k varbinary(9) primary key", ["x'61'", "x'6100'", "x'6120'", "''"],
        ["update {t} set k = x'610000' where k = x'6100'", "delete from {t} where k = x'61'",
         "update {t} set k = concat(k, ' ') where k = x'6120'"],
    ),
    "decimal": ("k decimal(30,10) primary key", ["1.1", "-0.0000000001"], ["update {t} set k = k * 10 where k > 0"]),
    "day": ("k date primary key", ["'1000-01-01'", "'9999-12-31'"],
            ["update {t} set k = '2024-02-29' where k > '9000-01-01'"]),
    "unsigned": (
        "k bigint unsigned primary key", ["18446744073709551615", "9223372036854775808", "0"],
        ["update {t} set k = k - 1 where k > 9223372036854775807", "delete from {t} where k = 0"],
    ),
    "enum": ("k enum('b','a','B b') primary key", ["'a'", "'B b'"], ["update {t} set k = 'b' where k = 'a'"]),
    "bit": ("k bit(17) primary key", ["0", "b'10000000000000001'"], ["update {t} set k = b'11' where k = 0"]),
    "year and time": ("y year, k time(3), primary key (y, k)", ["0, '-838:59:59'", "2155, '00:00:00.001'"],
                      ["update {t} set k = '24:00:00' where y = 0"]),
    "unique": ("k varchar(9) not null, unique (k)", ["'a'", "'b'"],
               ["update {t} set k = 'A' where k = 'a'",
                "delete from {t} where k = 'b';;insert into {t} values ('', 'B')"]),
    "two unique": ("k int not null, j int not null, unique zz (k), unique aa (j)", ["1, 10", "2, 20"],
                   ["update {t} set k = 3, j = 30 where k = 1", "update {t} set j = 10 where k = 2"]),
    "swaps": (
        "k int primary key, u int, w varchar(9), unique (u), unique (w)", ["1, 1, 'a'", "2, 2, 'b'", "3, null, 'c'"],
        ["update {t} set u = -1, w = 'x' where k = 1;;update {t} set u = 1, w = 'A' where k = 2;;"
         "update {t} set u = 2, w = 'B' where k = 1",
         "delete from {t} where k = 3;;insert into {t} values ('', 4, 3, 'C');;update {t} set k = 3 where k = 4"],
    ),
    "none": ("k int, w varchar(9)", ["1, 'a'", "1, 'a'", "null, null"],
             ["delete from {t} where k = 1 limit 1", "update {t} set w = 'A' where k = 1",
              "insert into {t} values ('v', 1, 'A')"]),
}
MARIADB = {
    "uuid": ("k uuid primary key", ["'00000000-0000-0000-0000-000000000001'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
             ["update {t} set k = '12345678-9abc-4def-8123-456789abcdef' where k like 'f%'"]),
}


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def landed(name: str) -> str:
    """What the target calls it."""
    cut = name.encode()
    adapted = f"{cut[:54].decode(errors='ignore')}_{hashlib.sha256(cut).hexdigest()[:8]}" if len(cut) > 63 else name
    return {"ctid": "ctid_", "xmin": "xmin_"}.get(name, adapted)


@pytest.fixture(params=["mysql", "mariadb"])
def odd(
    request: pytest.FixtureRequest, stack: StackSettings, target_database: str, pipeline_file: Callable[..., Path],
    cdc: Callable[..., CommandResult], cdc_home: Path,
) -> Iterator[Pipe]:
    """A pipeline between a database and a schema that have odd names themselves."""
    server = getattr(stack, request.param)
    source = unique_name('So.ür,c"e %s')
    with ExitStack() as ends:
        admin = ends.enter_context(mysql_connection(server))
        with admin.cursor() as cursor:
            cursor.execute(f"create database {quoted(source)} character set utf8mb4")
        mysql = ends.enter_context(mysql_connection(server, source))
        target = ends.enter_context(postgres_connection(stack.postgres, target_database))

        def write(database: str, target_name: str, **settings: Any) -> Path:
            settings |= {"source_type": request.param, "values": {"names": "adapt"}}
            file = pipeline_file(database, target_name, **settings)
            document = yaml.safe_load(file.read_text())
            document["target"]["schema"] = SCHEMA
            file.write_text(yaml.safe_dump(document, allow_unicode=True))
            return file

        with pipe_maker(mysql, target, write, cdc, cdc_home) as make:
            yield make()
        with admin.cursor() as cursor:
            cursor.execute(f"drop database {quoted(source)}")


@contextmanager
def writing(pipe: Pipe, stack: StackSettings, tables: dict[str, Any]) -> Iterator[None]:
    """Meanwhile rows of all tables come and go, under keys of which only the last one stays."""
    over = threading.Event()
    server = stack.mariadb if pipe.mysql.port == stack.mariadb.port else stack.mysql

    def write() -> None:
        with mysql_connection(server, pipe.mysql.db.decode()) as connection, connection.cursor() as cursor:
            while not over.wait(0.05):
                for name, (_, rows, _) in tables.items():
                    cursor.execute("begin")
                    cursor.execute(f"delete from {quoted(name)}")
                    cursor.execute(f"insert into {quoted(name)} values {', '.join(f'(uuid(), {row})' for row in rows)}")
                    cursor.execute("commit")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def make_named(pipe: Pipe) -> None:
    for name in TABLES:
        column = quoted("v" + name[:60])
        pipe.run(f"create table {quoted(name)} (id int primary key, {column} varchar(20))",
                 f"insert into {quoted(name)} values (1, 'a'), (2, 'b')")
    columns = ", ".join(f"{quoted(name)} int" for name in COLUMNS)
    pipe.run(f"create table wide ({columns}, primary key (id, {quoted(COLUMNS[1])}))",
             f"insert into wide values ({', '.join(['1'] * len(COLUMNS))})")


def make_keyed(pipe: Pipe, tables: dict[str, Any]) -> None:
    for name, (definition, rows, _) in tables.items():
        values = ", ".join(f"('old', {row})" for row in rows)
        pipe.run(f"create table {quoted(name)} (v varchar(40), {definition})",
                 f"insert into {quoted(name)} values {values}")


def equal(pipe: Pipe, tables: list[str]) -> None:
    """By our comparison, and by a plain one."""
    report = pipe.equal()
    assert {table["table"] for table in report["tables"]} == set(tables)
    for table in tables:
        names = [str(name) for name, *_ in pipe.source_rows(f"show columns from {quoted(table)}")]
        renames = {name: landed(name) for name in names}
        found = plain_compare(pipe.mysql, pipe.target, table, landed(table), [], renames, SCHEMA)
        assert found.equal, (table, found)


def change_keys(pipe: Pipe, tables: dict[str, Any]) -> None:
    for name, (_, _, statements) in tables.items():
        for transaction in statements:
            pipe.run("begin", *transaction.replace("{t}", quoted(name)).split(";;"), "commit")


def change_named(pipe: Pipe) -> None:
    for name in TABLES:
        pipe.run(f"insert into {quoted(name)} values (3, 'c')", f"update {quoted(name)} set id = 5 where id = 2",
                 f"delete from {quoted(name)} where id = 1")
    pipe.run("update wide set " + ", ".join(f"{quoted(name)} = 2" for name in COLUMNS))


def alter_named(pipe: Pipe) -> list[str]:
    """A column more, of the table's own name, that gets another; the table as well. The tables' names then."""
    for name in TABLES:
        new = quoted(name[:60] + ".r")
        pipe.run(
            f"alter table {quoted(name)} add column {quoted(name)} int not null default 7",
            f"insert into {quoted(name)} values (9, 'c', 1)",
            f"alter table {quoted(name)} rename column {quoted(name)} to {new}",
            f"rename table {quoted(name)} to {new}", f"update {new} set {new} = 8 where id = 5",
        )
    pipe.run("create table `made,later.` (`%` int primary key, `ctid` int)", "insert into `made,later.` values (1, 2)")
    return [*[name[:60] + ".r" for name in TABLES], "made,later."]


def plant(pipe: Pipe, tables: Iterable[str]) -> dict[str, str]:
    """One row is missing, another one differs, in every table; the column k, as text, of those that are missing."""
    missing = {}
    for name in tables:
        table = sql.Identifier(SCHEMA, name)
        row = "where ctid = (select ctid from {0} order by ctid {1} limit 1)"
        delete, update = f"delete from {{0}} {row} returning k::text", f"update {{0}} set v = 'planted' {row}"
        missing[name] = pipe.target.execute(sql.SQL(delete).format(table, sql.SQL("desc"))).fetchall()[0][0]
        pipe.target.execute(sql.SQL(update).format(table, sql.SQL("asc")))
    return missing


def test_names_and_keys(odd: Pipe, stack: StackSettings) -> None:
    pipe = odd
    keys = KEYS | (MARIADB if pipe.mysql.port == stack.mariadb.port else {})
    make_named(pipe)
    make_keyed(pipe, keys)
    proposed = yaml.safe_load(pipe.cdc("discover", pipe.file).stdout)
    assert {choice["source"] for choice in proposed["tables"]} == {*TABLES, *keys, "wide"}
    pipe.configure()
    with writing(pipe, stack, keys):
        pipe.start()
    change_named(pipe)
    change_keys(pipe, keys)
    tables = [*alter_named(pipe), *keys, "wide"]
    pipe.arrives("select count(*) from pg_tables where tablename = 'made,later.'", [(1,)])
    equal(pipe, tables)
    assert pipe.status()["overall"] == "healthy"

    as_text = ("composite", "blind to case", "padded", "bytes of text", "decimal", "unsigned", "enum", "bit", "swaps")
    missing = plant(pipe, (*as_text, "none"))
    planted = [word for name in missing for word in ("--table", name)]
    report = pipe.cdc("verify", pipe.name, "--json", *planted)
    found = {t["table"]: {d["kind"]: d for d in t["differences"]} for t in report.json["tables"]}
    assert {name: set(kinds) for name, kinds in found.items()} == {
        name: {"missing", "extra" if name == "none" else "differs"} for name in missing
    }
    for name in as_text:
        assert str(found[name]["missing"]["key"]["k"]) == missing[name], name
    pipe.ok("resync", "--table", "'q'.r", "--table", "a,b.r", "--table", "swaps")
    pipe.ok("verify", "--repair", *planted)
    equal(pipe, tables)
