"""A key that is a unique index: whether a statement may have taken that away."""

import msgspec
import pytest

from cdc_pipelines.replication.changes.batches import Detach, Note, Redefine
from tests.unit.log_reading import KEYED
from tests.unit.schema_events import changed, judged, of, without_columns


@pytest.mark.parametrize("index", ["u", ""])  # without a name: the log alone told of the key
@pytest.mark.parametrize("text", ["alter table t drop index U", "alter table t drop key `u`, add index (v)",
                                  "drop index U on t"])
def test_a_key_that_may_have_lost_its_index_needs_a_copy(text: str, index: str) -> None:
    """Debezium still gives the columns of the index as the key: rows that are alike would become one."""
    log = changed(text)
    if text.startswith("drop"):
        without_columns(log)
    table = msgspec.structs.replace(KEYED, source=msgspec.structs.replace(KEYED.source, key_index=index))
    (found,) = of(judged(log, table=table), Detach)
    assert (found.note.kind, found.note.what) == ("change_key", "may have lost the index that its key is")
    assert of(judged(log, table=table, change_key="stop"), Detach)[0].stops


@pytest.mark.parametrize(("index", "text"), [
    ("u", "alter table t drop index other"), ("u", "drop index other on t"), ("PRIMARY", "drop index u on t"),
    ("PRIMARY", "alter table t drop index u"),
])
def test_a_key_of_another_index_stays(index: str, text: str) -> None:
    log = without_columns(changed(text)) if text.startswith("drop") else changed(text)
    table = msgspec.structs.replace(KEYED, source=msgspec.structs.replace(KEYED.source, key_index=index))
    items = judged(log, table=table)
    assert not of(items, Detach)
    assert [note.done for item in of(items, Note) + of(items, Redefine) for note in item.notes] == ["nothing"]
