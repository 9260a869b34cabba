"""Names of databases, tables and columns as the change log has them, and as the target can have them."""

import msgspec
import pytest

from cdc_pipelines.replication.changes.batches import AddTable
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.stream.ddl_statements import parse
from cdc_pipelines.replication.stream.messages import SourceBlock, TableChange
from cdc_pipelines.replication.stream.schema_event import Rules
from cdc_pipelines.replication.stream.statement import Column
from cdc_pipelines.replication.table_mapping import column_names
from tests.unit.log_reading import COLUMNS, KEYED, read
from tests.unit.log_records import Log
from tests.unit.schema_events import ALL, ID, V, W, changed, detached, everything, judged, of, redefined

LONG = "ü" * 64


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        (("shop", "t"), '"shop"."t"'), (("sh.op", "a.b"), '"sh.op"."a.b"'), (('a"b', 'c".d'), '"a""b"."c"".d"'),
        (("shop", 't"'), '"shop".t"'), (("shop", "`"), '"shop"."`"'),
    ],
)
def test_a_table_is_told_from_its_database(name: tuple[str, str], id_: str) -> None:
    change = TableChange("ALTER", id_)
    assert change.name(SourceBlock(*name)) == name
    assert change.name(SourceBlock(name[0], None)) == name


def test_names_in_quotes_as_ansi_quotes_has_them() -> None:
    statement = parse('alter table "a""b" rename column "x.y" to "z"')
    assert (statement.table, statement.columns[0].old, statement.columns[0].new) == ((None, 'a"b'), "x.y", "z")
    assert parse('alter table `"q"` add column `"` int').columns[0] == Column(None, '"', statement_rest("int"))


def statement_rest(text: str) -> tuple[object, ...]:
    return parse(f"alter table t add column c {text}").columns[0].definition


def test_a_new_column_is_named_by_the_rule_of_the_file() -> None:
    log = changed(f"alter table t add `{LONG}` int", [*COLUMNS, {**W, "name": LONG}])
    adapts = column_names(ALL.model_copy(update={"values": ALL.values.model_copy(update={"names": "adapt"})}))
    rules = Rules(column_name=adapts)
    found = of(judged(log, rules), type(redefined(log)))[0].after.columns[-1]
    assert (found.target_name, len(found.target_name.encode())) == (adapts(LONG), 63)
    with pytest.raises(ConfigurationError):
        column_names(ALL)("ctid")


def test_a_name_that_the_target_can_not_have_detaches_the_table() -> None:
    log = changed("alter table t add ctid int", [*COLUMNS, {**W, "name": "ctid"}])
    assert "can't have a column ctid" in detached(log, Rules(column_name=column_names(ALL))).note.what


def test_a_server_that_keeps_names_in_lower_case() -> None:
    """Its rows are those of `new`, whatever the statement calls it."""
    folded = msgspec.structs.replace(KEYED, source=msgspec.structs.replace(KEYED.source, folded=True))
    log = Log()
    log.ddl(2, "New", [ID, V], kind="CREATE", text="create table New (id bigint primary key, v varchar(9))")
    (made,) = of(read(log, tables=[folded], rules=Rules(new_table=everything)), AddTable)
    assert made.table.name == "new"
    assert parse("rename table Shop.A to B").folded().renames == [(("shop", "a"), (None, "b"))]


def test_a_statement_in_another_charset_makes_the_connector_learn_anew() -> None:
    log = changed("alter table t add � int", [*COLUMNS, {**W, "name": "�"}])
    assert detached(log).relearn
