"""Breaks of what the file asks of rows: which of them are replicated, and which stay when they are deleted."""

from tests.mutants.mutant import NOT_SILENT, PROOF, Mutant

_ROWS = "unit/test_shaped_rows.py::"
_FILTER = "integration/test_row_filter.py::test_sql_and_python_agree_on_any_row[mysql]"
_SOFT = "integration/test_soft_deletes.py::"
_ROWS_THAT_COUNT = "integration/test_row_filter.py::test_copy_and_comparison_see_the_rows_that_count"
_SHAPING = "replication/stream/shaping.py"

MUTANTS = [
    Mutant(
        "a filter compares by the source's collation", PROOF, "replication/databases/mysql/row_filter.py",
        'return f"cast({self._canonical(name)} as binary)"',
        "return self._canonical(name)",
        (_FILTER,),
    ),
    Mutant(
        "what is unknown is false to a filter", PROOF, "replication/row_filter/evaluate.py",
        "return None if value is None else compare(value, literal)",
        "return False if value is None else compare(value, literal)",
        ("unit/test_row_filter.py::test_null_is_unknown_as_in_sql",),
    ),
    Mutant(
        "a row that leaves the filter stays", NOT_SILENT, _SHAPING,
        'return Change("d", was, None)',
        "return None",
        (_ROWS + "test_a_row_enters_and_leaves_the_filter",),
    ),
    Mutant(
        "a row that leaves the filter is kept as it is outside", PROOF, "replication/stream/intake.py",
        "after = deleted(codec, before, message)\n",
        "after = deleted(codec, codec.row(message.after if message.op == 'u' else message.before), message)\n",
        (_ROWS + "test_a_row_that_leaves_the_filter_is_kept_as_it_was_in_it",),
    ),
    Mutant(
        "rows outside the filter are copied", PROOF, "replication/databases/mysql/read.py",
        'where = f"({condition}) and {only}" if only else condition',
        "where = condition",
        (_ROWS_THAT_COUNT,),
    ),
    Mutant(
        "deleted rows are compared", PROOF, "replication/databases/checksum.py",
        'return f"({where}) and {self._only}" if self._only else where',
        "return where",
        (_ROWS_THAT_COUNT,),
    ),
    Mutant(
        "a table that takes another's place has no deleted rows", NOT_SILENT,
        "replication/databases/postgres/shadow.py",
        "        soft_deletes.carry_over(conn, live, shadow, was.deleted_column)\n",
        "        pass\n",
        (_SOFT + "test_a_lane_keeps_deleted_rows",),
    ),
    Mutant(
        "a resync of all empties a table with deleted rows", NOT_SILENT, "replication/operations/generation.py",
        "if table.rows.soft and soft_deletes.keeps_deleted(conn, table):",
        "if False:",
        (_SOFT + "test_a_resync_of_the_whole_pipeline_begins_with_all_rows_there",),
    ),
    Mutant(
        "rows that a chunk does not bring stay live", NOT_SILENT, "replication/databases/postgres/soft_deletes.py",
        "        mark_range(conn, table, time.time_ns() // 1_000_000, lower, upper)\n",
        "        pass\n",
        (_SOFT + "test_a_chunk_brings_rows_back_and_marks_the_others",),
    ),
]
