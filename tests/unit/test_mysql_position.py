"""What a committed offset of the connector says about the source's log."""

import pytest

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.position import Place

SERVER = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
END = MySqlPosition("binlog.000012", 5000, f"{SERVER}:1-90", SERVER)


@pytest.mark.parametrize(
    ("file", "pos", "last", "read"),
    [
        ("binlog.000012", 4700, 90, True),  # its GTIDs say so
        ("binlog.000012", 5000, 89, True),  # behind a last transaction that is not ours: its place says so
        ("binlog.000012", 4999, 89, False),
        ("binlog.000012", 4, 89, False),  # just connected
        ("binlog.000013", 4, 89, False),  # another file's places prove nothing
        ("binlog.000011", 9000, 89, False),
    ],
)  # fmt: skip
def test_a_connector_has_read_what_its_offset_covers(file: str, pos: int, last: int, read: bool) -> None:
    offset = {"file": file, "pos": pos, "gtids": f"{SERVER}:1-{last}", "server_id": 1, "event": 2}
    committed = MySqlPosition.from_connect_offset(offset, END)
    assert committed.has_read(END) is read
    assert not committed.exact


def test_the_offset_of_a_position_says_all_that_debezium_goes_by() -> None:
    """On a server with GTIDs it goes by them alone: without, it would read the log from its very begin."""
    assert END.connect_offset() == {"file": "binlog.000012", "pos": 5000, "gtids": f"{SERVER}:1-90"}
    assert MySqlPosition("binlog.000012", 5000).connect_offset() == {"file": "binlog.000012", "pos": 5000}


def test_a_position_covers_what_stands_at_or_before_it() -> None:
    plain = MySqlPosition("binlog.000012", 5000)
    for file, pos, covered in (("binlog.000012", 5000, True), ("binlog.000012", 5001, False),
                               ("binlog.000011", 9000, True), ("binlog.000013", 4, False),
                               ("binlog.1000000", 4, False)):  # fmt: skip
        assert plain.covers(Place(None, file, pos)) is covered
    for number, covered in ((90, True), (91, False)):
        assert END.covers(Place(f"{SERVER}:{number}", "binlog.000001", 4)) is covered, "GTIDs count before places"
