"""Breaks of tables that keep their history: versions that are lost, made twice, or lie over each other."""

from tests.mutants.mutant import EXACTLY_ONCE, IDEMPOTENT, NOT_SILENT, PROOF, WHOLE, Mutant

_READ = "unit/test_histories.py::"
_TABLE = "integration/test_history.py::"
_PIPELINES = "e2e/test_histories.py::"
_OUTLIVE = "e2e/test_histories_outlive.py::test_versions_outlive_resyncs_repairs_and_schema_changes[mysql]"
_HISTORY = "replication/databases/postgres/history.py"
_APPLY = "replication/databases/postgres/history_apply.py"
_VERSIONS_END = _TABLE + "test_versions_end_where_the_next_begin"

MUTANTS = [
    Mutant(
        "each change of a transaction is a version", WHOLE, "replication/changes/batches.py",
        "if found and found[-1][0] == transaction:",
        "if False:",
        (_READ + "test_each_transaction_leaves_one_version_of_a_row_with_the_time_of_its_commit",),
    ),
    Mutant(
        "all transactions of a run are one version", NOT_SILENT, "replication/stream/histories.py",
        "            self._transaction += 1\n",
        "            pass\n",
        (_READ + "test_each_transaction_leaves_one_version_of_a_row_with_the_time_of_its_commit",),
    ),
    Mutant(
        "parts of a transaction do not know of each other", EXACTLY_ONCE, "replication/stream/histories.py",
        "                batch.went_before = self._transaction\n",
        "                pass\n",
        (_READ + "test_a_transaction_in_several_parts_has_one_time_and_its_parts_know_of_each_other",),
    ),
    Mutant(
        "a part leaves the version of the part before", EXACTLY_ONCE, _APPLY,
        "if batch.went_before is not None:",
        "if False:",
        (_TABLE + "test_a_transaction_in_several_parts_leaves_one_version",),
    ),
    Mutant(
        "a change of what the target does not have is a version", PROOF, "replication/stream/shaping.py",
        "if codec.may_repeat and was is not None and codec.texts(was) == codec.texts(now):",
        "if False:",
        (_READ + "test_a_change_of_what_the_target_does_not_have_is_no_version",),
    ),
    Mutant(
        "a version ends when the log says so, before it began", PROOF, _APPLY,
        '"update {table} h set {valid_to} = greatest($1::timestamptz, {valid_from}) where {same} and "',
        '"update {table} h set {valid_to} = $1::timestamptz where {same} and "',
        (_TABLE + "test_a_version_never_ends_before_it_begins",),
    ),
    Mutant(
        "versions of a large batch are numbered from 1 on", EXACTLY_ONCE, _APPLY,
        "select s.*, coalesce(b.version, 0) as version,",
        "select s.*, 0 as version,",
        (_VERSIONS_END,),
    ),
    Mutant(
        "a truncate leaves versions open", NOT_SILENT, "replication/stream/live_tables.py",
        "                history.close_range(self._conn, table, item.at_ms, lower, upper)\n",
        "                pass\n",
        (_PIPELINES + "test_versions_of_all_kinds_of_changes_and_of_a_killed_consumer[mysql]",),
    ),
    Mutant(
        "a chunk makes a version of every row", IDEMPOTENT, _HISTORY,
        "not exists (select 1 from {rows} s where {key} and {same})",
        "true",
        (_TABLE + "test_a_copied_chunk_goes_on_with_the_versions_that_are_right",),
    ),
    Mutant(
        "rows that the copy did not bring stay open", NOT_SILENT, "replication/operations/copying.py",
        "            history.end_unseen(conn, table)\n",
        "            pass\n",
        (_OUTLIVE,),
    ),
    Mutant(
        "a resync of all empties a table with a history", NOT_SILENT, "replication/operations/generation.py",
        "if table.rows.history and (kept := history.kept_by(conn, table, before)) is not None:",
        "if False:",
        (_TABLE + "test_a_resync_of_the_whole_pipeline_begins_with_all_versions_there",),
    ),
    Mutant(
        "a lane's table takes the place of one with a history", NOT_SILENT, "replication/databases/postgres/shadow.py",
        "        return _give_versions(conn, shadow, live, before, kept)\n",
        "        pass\n",
        (_TABLE + "test_a_lane_keeps_the_history",),
    ),
    Mutant(
        "old and new versions of another key are mixed", PROOF, _HISTORY,
        "    if wanted not in keys:\n",
        "    if False:\n",
        (_TABLE + "test_a_history_of_another_key_is_refused_before_anything_is_copied",),
    ),
    Mutant(
        "verify looks at open versions alone", PROOF, "replication/verify/tables.py",
        "        malformed = history.malformed(target, table)\n",
        "        malformed = 0\n",
        (_OUTLIVE,),
    ),
    Mutant(
        "closed versions are compared", PROOF, "replication/catalog.py",
        "return self.deleted_column if self.soft else self.valid_to if self.history else",
        "return self.deleted_column if self.soft else",
        (_TABLE + "test_a_resync_of_the_whole_pipeline_begins_with_all_versions_there",),
    ),
]
