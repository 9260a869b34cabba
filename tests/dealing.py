"""How the tests are dealt to pytest's workers: whole files, the longest first, what needs a Dagster to one worker.

A file's tests share what is made once for it. Starting Dagster costs as much as some tests that use it.
"""

from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_DAGSTER = "dagster"
_FAMILIES = dict.fromkeys(
    (
        "test_dagster_start", "test_dagster_resume", "test_dagster_health", "test_dagster_alerts",
        "test_dagster_pages", "test_dagster_schedules", "test_web",
    ),
    _DAGSTER,
)
# By what they take where workers share two cores, those apart that take all of the machine (a campaign's servers,
# a million rows, lanes): each of them would make the others miss their times.
_LONGEST = (
    _DAGSTER, "test_broken_source", "test_broken_worlds", "test_handover", "test_key_changes", "test_lifecycle",
    "test_lanes", "test_names_and_keys", "test_schema_changes", "test_zombies", "test_repair", "test_changes",
    "test_change_log", "test_limits", "test_histories_outlive", "test_histories", "test_campaign", "test_demo",
    "test_health", "test_background", "test_any_values", "test_handover_losses", "test_handover_again",
    "test_engine_effects", "test_standby", "test_large_tables", "test_mysql_snapshot", "test_online_tools",
    "test_idle_source", "test_kill", "test_session_settings", "test_carry", "test_column_shapes",
)  # fmt: skip


# Marked `long`: the same once more on another kind of server, where that takes a minute or more of one worker and the
# code under test differs least. `make test` leaves them out, `make test-all` runs all.
_LONG = {
    "e2e/test_histories_outlive.py::test_versions_outlive_resyncs_repairs_and_schema_changes[mariadb]",
    "e2e/test_key_changes.py::test_restarts_amid_key_changes[mariadb]",
    "e2e/test_key_changes.py::test_a_torn_key_change_is_read_again[plain]",
    "e2e/test_lanes.py::test_tables_are_taken_in_and_left_out_while_all_streams[mariadb]",
    "e2e/test_broken_source.py::test_the_log_is_reset_and_purged[gtid]",
    "e2e/test_engine_effects.py::test_an_xa_transaction_on_a_replicated_table_stops_the_stream[gtid-commit]",
    "integration/test_handover.py::test_killed_again_and_again[mariadb]",
}


def family(nodeid: str) -> str:
    """What is dealt together: the file, or the name of several files' family."""
    file = nodeid.split("::")[0]
    return _FAMILIES.get(PurePath(file).stem, file)


def _rank(item: pytest.Item) -> int:
    name = PurePath(family(item.nodeid)).stem
    return _LONGEST.index(name) if name in _LONGEST else len(_LONGEST)


class _ByFamily(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return family(nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left with one while the others are done."""
    for item in items:
        if item.nodeid.removeprefix("tests/") in _LONG:
            item.add_marker("long")
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Takes the place of xdist's own choice, `--dist`."""
    return _ByFamily(config, log)
