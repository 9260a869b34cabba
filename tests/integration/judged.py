"""What a comparison says, held against a plain comparison of the same two tables."""

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.verify.report import TableVerified
from tests.copied import Copied
from tests.plain_compare import Found, plain_compare


def plain(copied: Copied, table: MappedTable) -> Found:
    return plain_compare(
        copied.admin, copied.target, table.name, table.target_name, table.source.key, copied.renames
    )


def agree(copied: Copied, table: MappedTable, result: TableVerified) -> None:
    """What the comparison says is what the plain comparison says, key by key and column by column."""
    found = plain(copied, table)
    assert result.difference_count == found.count
    assert result.equal == found.equal
    assert len(result.differences) == result.difference_count, "ask for enough keys in tests"
    keys = {kind: [tuple(d.key.values()) for d in result.differences if d.kind == kind]
            for kind in ("missing", "extra", "differs")}
    if table.source.key:
        text = {kind: sorted(map(_text, keys[kind])) for kind in keys}
        assert text["missing"] == sorted(_text(k) for k in found.missing.elements())
        assert text["extra"] == sorted(_text(k) for k in found.extra.elements())
        assert {_text(tuple(d.key.values())): d.columns for d in result.differences if d.kind == "differs"} == {
            _text(k): v for k, v in found.differs.items()
        }
    else:
        assert len(keys["missing"]) == found.missing.total()
        assert len(keys["extra"]) == found.extra.total()
        assert not keys["differs"]


def _text(key: tuple[object, ...]) -> tuple[str, ...]:
    return tuple(value.hex().upper() if isinstance(value, bytes) else str(value) for value in key)


_WIDE = """create table wide (
    id bigint unsigned primary key, a varchar(100) null, b varchar(100) null, t text, d double, f float,
    n decimal(20,4), moment datetime(6), stamp timestamp(6) null, span time(3), raw varbinary(20), j json,
    flag tinyint(1), bits bit(9), e enum('x','y'), dt date
) character set utf8mb4"""


def wide(copied: Copied, rows: int = 5000) -> MappedTable:
    copied.run(
        "set cte_max_recursion_depth = 1000000", _WIDE,
        "insert into wide with recursive n(i) as (select 1 union all select i + 1 from n where i < "
        f"{rows}) select i * 10, concat('a', i), if(i % 5 = 0, null, concat('b', i)), repeat('t', i % 200), i / 7e0, "
        "i / 7e0, i / 3, '2024-01-01' + interval i second, '2024-01-01' + interval i * 7 microsecond, "
        "sec_to_time(i - 2500), unhex(hex(i)), json_object('i', i, 'x', 'y'), i % 2, i % 512, 1 + i % 2, "
        "'2000-01-01' + interval i day from n",
    )
    return copied.copy("wide")
