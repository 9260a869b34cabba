"""Breaks of what follows the source's schema."""

from tests.mutants.mutant import NOT_SILENT, PROOF, WHOLE, Mutant

_SCHEMA = "unit/test_schema_changes.py::"
_STATEMENTS = "unit/test_schema_statements.py::"

MUTANTS = [
    Mutant(
        "a change of a table that was never described is none of our business", NOT_SILENT,
        "replication/stream/schema_changes.py",
        "        if known is None or change.table is None:\n            return [self",
        "        if known is None or change.table is None:\n            return []\n            return [self",
        (_STATEMENTS + "test_a_table_that_was_never_described_can_not_be_judged",),
    ),
    Mutant(
        "a dropped column goes on the target as well", NOT_SILENT, "replication/stream/alteration.py",
        'drops=self.policies.drop_column == "apply"',
        "drops=True",
        (_SCHEMA + "test_a_dropped_column_is_kept_unless_the_file_wants_it_dropped",),
    ),
    Mutant(
        "a type that converts values is none of our business", NOT_SILENT, "replication/stream/alteration.py",
        "            if asked is None or is_generated(text):\n",
        "            if asked is None:\n                continue\n            if is_generated(text):\n",
        (_SCHEMA + "test_a_type_that_converts_values_needs_a_copy",),
    ),
    Mutant(
        "the target is not asked whether values were converted", NOT_SILENT,
        "replication/databases/postgres/alter.py",
        "    if not change.questions:\n",
        "    if True:\n",
        ("integration/test_alter.py::test_a_type_is_followed_where_it_converts_no_value",),
    ),
    Mutant(
        "another key is none of our business", NOT_SILENT, "replication/stream/columns.py",
        "    found.key_changes = origins_of_key != list(before.primaryKeyColumnNames or [])\n",
        "",
        (_SCHEMA + "test_another_key_is_taken_over",),
    ),
    Mutant(
        "a dropped table is none of our business", NOT_SILENT, "replication/stream/definitions.py",
        'if change.type == "DROP":\n            return',
        'if change.type == "DROP":\n            return []\n            return',
        (_STATEMENTS + "test_a_dropped_table_is_left_as_it_is",),
    ),
    Mutant(
        "rows from a table that is not replicated are taken for known ones", NOT_SILENT,
        "replication/stream/definitions.py",
        '            return [judge.stay_behind(there, "rename_table", what, relearn=True)] if there else []\n',
        "            return []\n",
        (_STATEMENTS + "test_rows_from_a_table_that_is_not_replicated_or_to_one_need_a_copy",),
    ),
    Mutant(
        "rows that a partition took along are none of our business", NOT_SILENT, "replication/stream/definitions.py",
        "            if statement.moves_rows and (ours := self._ours(moved)):\n",
        "            if False and (ours := self._ours(moved)):\n",
        (_STATEMENTS + "test_rows_that_were_moved_out_of_sight_need_a_copy",),
    ),
    Mutant(
        "a dropped database is none of our business", NOT_SILENT, "replication/stream/definitions.py",
        '        if statement.verb == "drop_database" and',
        "        if False and",
        (_STATEMENTS + "test_a_dropped_database_takes_its_tables_along",),
    ),
    Mutant(
        "a column that is made anew is the old one", NOT_SILENT, "replication/stream/alteration.py",
        "        same = change.after == table and not found.added and not found.dropped\n",
        "        same = change.after == table\n",
        (_SCHEMA + "test_the_text_tells_what_became_of_each_column",),
    ),
    Mutant(
        "a column whose values the source computes is null", NOT_SILENT, "replication/stream/new_columns.py",
        "    if not (value[0].kind == \"text\" or number) or",
        "    if False and",
        (_SCHEMA + "test_columns_whose_values_the_log_does_not_tell_need_a_copy",),
    ),
    Mutant(
        "of statements at one place only the first is applied", NOT_SILENT, "replication/stream/schema_event.py",
        "        if at != self._place:\n            if repeats:\n                return False\n",
        "        if repeats:\n            return False\n        if at != self._place:\n",
        (_STATEMENTS + "test_names_that_are_swapped_come_as_three_statements_at_one_place",),
    ),
    Mutant(
        "the rows of CREATE TABLE … SELECT pass for repeated ones", NOT_SILENT, "replication/stream/intake.py",
        "            if rows_follow and not self._restarts_count:\n                return",
        "            if False:\n                return",
        (_STATEMENTS + "test_the_rows_of_create_table_select_are_one_transaction_with_it",),
    ),
    Mutant(
        "a new table is called as the statement writes it", NOT_SILENT, "replication/stream/definitions.py",
        "self._folds = any(table.source.folded for table in tables)",
        "self._folds = False",
        ("unit/test_names.py::test_a_server_that_keeps_names_in_lower_case",),
    ),
    Mutant(
        "a new column's name is cut by the target", WHOLE, "replication/stream/alteration.py",
        "columns.append(self._mapped(source, self._name(source.name), None))",
        "columns.append(self._mapped(source, source.name, None))",
        ("unit/test_names.py::test_a_new_column_is_named_by_the_rule_of_the_file",),
    ),
    Mutant(
        "a column is added before the rows that stand before it", WHOLE, "replication/stream/run.py",
        "        self.whole = False\n        self.flush_part()\n        self.put(item)",
        "        self.whole = False\n        self.put(item)",
        (_SCHEMA + "test_a_column_added_in_the_log_is_added_between_the_rows_around_it",),
    ),
    Mutant(
        "texts of a new table are read in the character set that the log supposes", NOT_SILENT,
        "replication/stream/schema_changes.py",
        "return [c.name for c in columns if c.charset and now.get(c.name, c.charset) != c.charset]",
        "return []",
        (_STATEMENTS + "test_texts_of_a_new_table_are_not_read_in_a_character_set_that_only_the_log_supposes",),
    ),
    Mutant(
        "a table that is gone keeps the others from being compared", PROOF, "replication/verify/barrier.py",
        "            tables = [table for table in tables if table.name in there]\n",
        "",
        ("integration/test_verify_barrier.py::test_a_table_that_is_gone_unseen_keeps_no_other_from_being_compared",),
    ),
]
