"""What a committed offset of the connector says about the source's log."""

import pytest

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition

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
