"""A table as wide as MySQL has them, and rows of many megabytes: copied, streamed and compared."""

from tests.e2e.conftest import Pipe
from tests.plain_compare import plain_compare

COLUMNS = 1000
MEGABYTES = 8


def large(n: int) -> str:
    """SQL for a value of each kind: bytes that compress badly, and characters of two and more bytes."""
    blob = f"repeat(unhex(sha2('{n}', 512)), {MEGABYTES * 1024 * 1024 // 64})"
    return f"{blob}, repeat('é{n}🙂\\n', {MEGABYTES * 1024 * 1024 // 8})"


def test_a_thousand_columns_and_rows_of_sixteen_megabytes(shared: Pipe) -> None:
    pipe = shared
    names = [f"column_{n}" for n in range(1, COLUMNS)]
    values = ", ".join(map(str, range(1, COLUMNS)))
    pipe.run(
        f"create table wide (id int primary key, {', '.join(f'{name} int' for name in names)})",
        f"insert into wide values (1, {values}), (2, {values})",
        "create table large (id int primary key, raw longblob, words longtext)",
        f"insert into large values (1, {large(1)}), (2, {large(2)})",
    )
    pipe.configure()
    pipe.start()
    pipe.run(
        f"insert into large values (3, {large(3)})", "delete from large where id = 1",
        "update large set raw = concat('x', raw), words = concat(words, 'x') where id = 2",
        f"insert into wide values (3, {values})", "update wide set column_999 = -1, column_1 = null where id = 1",
        "delete from wide where id = 2",
    )
    pipe.arrives("select id, column_1, column_998, column_999 from wide order by id",
                 [(1, None, 998, -1), (3, 1, 998, 999)])
    pipe.equal()
    assert pipe.rows("select id, octet_length(raw) / 1048576 from large order by id") == [(2, 8), (3, 8)]
    for table in ("wide", "large"):
        assert plain_compare(pipe.mysql, pipe.target, table, table, ["id"]).equal
