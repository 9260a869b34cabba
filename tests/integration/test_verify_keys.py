"""Tables are compared by whatever key they have: of numbers, of texts, of odd names, or none."""

import pytest
from psycopg import sql

from tests.copied import Copied
from tests.integration.judged import agree, plain


def test_composite_keys_of_mixed_integers(copied: Copied) -> None:
    copied.run(
        "create table order_lines (a smallint, b bigint unsigned, c mediumint, v varchar(9), primary key (a, b, c))",
        "insert into order_lines with recursive n(i) as (select 1 union all select i + 1 from n where i < 900) "
        "select -3 + i % 7, 18446744073709551615 - i % 50, i - 450, i from n",
    )
    table = copied.copy("order_lines")
    assert copied.verify(table, rows_per_range=13).equal
    copied.target.execute("delete from order_lines where c % 41 = 0")
    copied.target.execute("update order_lines set v = v || '!' where a < 0 and c % 29 = 0")
    copied.target.execute("insert into order_lines values (-32768, 0, 1, 'x'), (32767, 18446744073709551615, 1, 'y')")
    agree(copied, table, copied.verify(table, max_keys=1000, rows_per_range=13))


def test_names_that_need_quoting(copied: Copied) -> None:
    name, key, column = "sel`ect \"%s\" {c}", "ke`y%(a)s", "{0} \"quo'te\" %d\\"
    quoted = [f"`{n.replace('`', '``')}`" for n in (name, key, column)]
    copied.run(
        f"create table {quoted[0]} ({quoted[1]} int, {quoted[2]} varchar(20), primary key ({quoted[1]}))",
        f"insert into {quoted[0]} values (1, 'a'), (2, null), (3, '%s')",
    )
    copied.renames = {column: "group%s"}
    table = copied.copy(name)
    assert copied.verify(table, rows_per_range=1).equal
    copied.target.execute(
        sql.SQL("update {} set {} = 'b' where {} = 2").format(
            *map(sql.Identifier, (name, "group%s", key))
        )
    )
    result = copied.verify(table, rows_per_range=1)
    assert [(d.kind, d.key, d.columns) for d in result.differences] == [("differs", {key: 2}, (column,))]
    agree(copied, table, result)


def test_names_that_need_quoting_without_ranges(copied: Copied) -> None:
    copied.run("create table `%s` (`%` varchar(9) primary key, `%%` int)", "insert into `%s` values ('a', 1), ('b', 2)")
    table = copied.copy("%s")
    copied.target.execute(b'update "%s" set "%%" = 3 where "%" = \'b\'')
    result = copied.verify(table)
    assert [(d.kind, d.key, d.columns) for d in result.differences] == [("differs", {"%": "b"}, ("%%",))]


@pytest.mark.parametrize("collation", ["utf8mb4_0900_ai_ci", "utf8mb4_general_ci", "utf8mb4_bin", "latin1_swedish_ci"])
def test_keys_of_texts(copied: Copied, collation: str) -> None:
    charset = collation.split("_")[0]
    copied.run(
        f"create table words (w varchar(40) collate {collation}, n int, v text, primary key (w, n)) charset {charset}",
        "insert into words with recursive n(i) as (select 1 union all select i + 1 from n where i < 900) "
        "select concat(char(65 + i % 26), i, if(i % 3 = 0, 'é', '')), i % 4 - 2, concat('v', i) from n",
    )
    table = copied.copy("words")
    assert copied.verify(table).equal
    copied.target.execute("update words set w = lower(w) where n = 1 and v like '%1'")  # the same key to the source
    copied.target.execute("update words set v = v || ' ' where v like '%7'")
    copied.target.execute("delete from words where v like '%33'")
    copied.target.execute("insert into words values ('', 0, null), ('Z ', 0, ''), ('日本', 1, 'x')")
    agree(copied, table, copied.verify(table, max_keys=1000))


def test_a_large_table_with_keys_of_texts_is_summed_in_parts(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_pipelines.replication.databases.mysql.checksum._ROWS_PER_QUERY", 100)
    copied.run(
        "create table words (w varchar(40) primary key, v text)",
        "insert into words with recursive n(i) as (select 1 union all select i + 1 from n where i < 900) "
        "select concat(char(65 + i % 26), i), i from n",
        "analyze table words",
    )
    table = copied.copy("words")
    assert table.source.rows_estimate > 100, "or the table is not cut at all"
    assert copied.verify(table).equal
    copied.target.execute("delete from words where v like '%00'")
    agree(copied, table, copied.verify(table))


def test_keys_of_other_types(copied: Copied) -> None:
    copied.run(
        "create table stays (day date, at time(3), id binary(4), kind enum('b','a'), flag tinyint(1), "
        "price decimal(9,3), y year, bits bit(5), v int, primary key (day, at, id, kind, flag, price, y, bits))",
        "insert into stays with recursive n(i) as (select 1 union all select i + 1 from n where i < 500) "
        "select '2024-01-01' + interval i % 9 day, sec_to_time(i % 7 - 3), unhex(lpad(hex(i), 8, '0')), 1 + i % 2, "
        "i % 2, i / 8, 2000 + i % 3, i % 32, i from n",
    )
    table = copied.copy("stays")
    assert copied.verify(table).equal
    copied.target.execute("update stays set v = -v where v % 50 = 0")
    copied.target.execute("update stays set flag = 1 - flag where v = 77")
    copied.target.execute("delete from stays where v = 99")
    result = copied.verify(table, max_keys=1000)
    kinds = sorted(d.kind for d in result.differences)
    assert kinds == ["differs"] * 10 + ["extra", "missing", "missing"]
    assert result.difference_count == plain(copied, table).count


def test_tables_without_a_key_are_compared_as_multisets(copied: Copied) -> None:
    copied.run(
        "create table log (a int, b varchar(20), j json)",
        "insert into log with recursive n(i) as (select 1 union all select i + 1 from n where i < 600) "
        "select i % 20, concat('b', i % 30), if(i % 2, null, '{\"x\": 1e16}') from n",
        "insert into log values (null, null, null), (null, null, null), (null, '', null)",
    )
    table = copied.copy("log")
    assert copied.verify(table).equal, "1e16 is written otherwise by PostgreSQL, and the same number"
    assert plain(copied, table).equal
    copied.target.execute("delete from log where ctid in (select ctid from log where a = 3 limit 2)")
    copied.target.execute("insert into log select * from log where a = 4 limit 3")
    copied.target.execute("update log set b = null where b = ''")
    copied.target.execute("insert into log values (1, 'new', '{\"x\": 10000000000000000.1}')")
    agree(copied, table, copied.verify(table, max_keys=1000))
