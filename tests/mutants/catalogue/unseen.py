"""Breaks of what guards against things that the log does not tell, or that no connector can read."""

from tests.mutants.mutant import NOT_SILENT, Mutant

_MAPPING = "unit/test_mapping.py::"
_GONE = "unit/test_gone_tables.py::"
_CASCADES = "unit/test_unlogged_cascades.py::"
_UNREADABLE = _MAPPING + "test_a_table_that_no_connector_can_read_is_told_whatever_is_replicated_of_it"

MUTANTS = [
    Mutant(
        "a key may lose characters", NOT_SILENT, "replication/values/__init__.py",
        "(rules.of_key() if is_key else rules)",
        "(rules)",
        (_MAPPING + "test_no_value_rule_makes_one_key_of_two",),
    ),
    Mutant(
        "a column that may lose characters comes into the key", NOT_SILENT, "replication/stream/alteration.py",
        "            if name in key and column.rules != column.rules.of_key():\n",
        "            if False:\n",
        ("unit/test_shaped_schema_changes.py::"
         "test_a_column_whose_values_may_be_changed_does_not_come_into_the_key",),
    ),
    Mutant(
        "a versioned table is captured", NOT_SILENT, "replication/uncapturable.py",
        "    if table.versioned:\n",
        "    if False:\n",
        (_UNREADABLE,),
    ),
    Mutant(
        "a column that no connector can read is captured", NOT_SILENT, "replication/uncapturable.py",
        "    if not unknown:\n",
        "    if True:\n",
        (_UNREADABLE,),
    ),
    Mutant(
        "versioned tables are not seen", NOT_SILENT, "replication/databases/mysql/introspect.py",
        "_KINDS = \"('BASE TABLE', 'SYSTEM VERSIONED')\"\n",
        "_KINDS = \"('BASE TABLE')\"\n",
        ("e2e/test_limits.py::test_tables_that_no_connector_can_read_are_refused_and_harm_no_other[mariadb]",),
    ),
    Mutant(
        "a table that was moved away is not missed", NOT_SILENT, "replication/stream/gone_tables.py",
        "        return sorted(name for name in missed & before.keys() & still if passed[before[name]])\n",
        "        return []\n",
        (_GONE + "test_a_table_is_told_at_the_second_look_and_no_more_once_it_is_back",),
    ),
    Mutant(
        "a table whose drop is still in the log is missed", NOT_SILENT, "replication/stream/gone_tables.py",
        "& still if passed[before[name]])\n",
        "& still)\n",
        (_GONE + "test_nor_is_one_to_whose_drop_the_stream_has_not_come_yet",),
    ),
    Mutant(
        "a schema change makes nobody look for cascades", NOT_SILENT, "replication/stream/cascades.py",
        "        if changes != self._changes or self._found or",
        "        if self._changes is None or self._found or",
        (_CASCADES + "test_it_is_looked_for_after_a_schema_change_and_until_it_is_mended",),
    ),
    Mutant(
        "a cascade is not told", NOT_SILENT, "replication/health/judge.py",
        "        if key.child in ours:\n",
        "        if False:\n",
        (_CASCADES + "test_the_problem_names_both_tables_and_what_to_do",),
    ),
]
