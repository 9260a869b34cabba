"""Which tests are dealt how."""

from pathlib import Path

from tests.dealing import _LONG, _LONGEST

TESTS = Path(__file__).resolve().parents[1]


def test_what_make_test_leaves_out_is_there_and_runs_on_another_server_all_the_same() -> None:
    for nodeid in _LONG:
        file, name = nodeid.split("::")
        function, parameter = name.removesuffix("]").split("[")
        text = (TESTS / file).read_text(encoding="utf-8")
        assert f"def {function}(" in text, nodeid
        assert parameter in ("mariadb", "gtid", "plain", "gtid-commit"), "only one of several servers is left out"
        left_out = [each for each in _LONG if each.startswith(f"{file}::{function}[")]
        assert len(left_out) == 1, f"{function} would not run at all, or hardly"


def test_the_longest_are_there() -> None:
    names = {path.stem for path in TESTS.rglob("test_*.py")}
    assert [name for name in _LONGEST if name not in names | {"dagster"}] == []
