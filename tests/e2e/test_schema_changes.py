"""Schema changes while the stream runs: one pipeline, many tables, rows before, between and behind them."""



from tests.ddl_corpus import cases
from tests.e2e.conftest import Pipe
from tests.plain_compare import plain_compare


def flavor(pipe: Pipe) -> str:
    return "mariadb" if "mariadb" in pipe.source_rows("select lower(version())")[0][0] else "mysql"


def names(rows: list[tuple]) -> list[str]:
    return sorted(row[0] for row in rows)


def test_what_can_be_followed_ends_equal(shared: Pipe) -> None:
    pipe, kind = shared, flavor(shared)
    corpus = list(cases(kind))
    for case in corpus:
        pipe.run(*case.before)
    pipe.configure()
    pipe.start()
    for case in corpus:
        pipe.run(*case.burst)
    report = pipe.equal()
    tables = names(pipe.source_rows("select table_name from information_schema.tables where table_schema = database() "
                                    "and table_type = 'BASE TABLE'"))
    assert names(pipe.rows("select table_name from _cdc.mapped_table")) == tables
    assert sorted(t["table"] for t in report["tables"]) == tables
    for table in tables:
        key = names(pipe.source_rows("select column_name from information_schema.key_column_usage where "
                                     f"table_schema = database() and table_name = '{table}' and "
                                     "constraint_name = 'PRIMARY'"))
        found = plain_compare(pipe.mysql, pipe.target, table, table, key)
        assert found.equal, (table, found)
    assert pipe.status()["overall"] == "healthy"
