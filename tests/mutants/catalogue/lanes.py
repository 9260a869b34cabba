"""Breaks of single tables' ways beside the stream."""

from tests.mutants.mutant import EXACTLY_ONCE, KILL, NOT_SILENT, Mutant

_LANES = "e2e/test_lanes.py::"
_RESYNC = (_LANES + "test_tables_are_copied_again_while_all_streams_and_everybody_reads",)
_KILLED = (_LANES + "test_killed_or_frozen_anywhere_it_is_finished_by_the_next",)
_JOINING = "replication/lanes/joining.py"

MUTANTS = [
    Mutant(
        "a lane joins wherever it is", EXACTLY_ONCE, _JOINING,
        "                follower.go_to(offset.next_offset, quick=True)\n",
        "                pass\n",
        _RESYNC,
    ),
    Mutant(
        "a consumer goes on with the tables it knew", NOT_SILENT, "replication/stream/streaming.py",
        "        if self.applier.is_outdated():\n",
        "        if False:\n",
        _RESYNC,
    ),
    Mutant(
        "a shadow's rows are compared by value", NOT_SILENT, "replication/databases/postgres/shadow.py",
        "operator(pg_catalog.*=)",
        "is not distinct from",
        ("integration/test_shadow.py::test_a_table_on_which_something_hangs_gets_the_rows",),
    ),
    Mutant(
        "a table is replaced whatever hangs on it", NOT_SILENT, "replication/databases/postgres/shadow.py",
        "    if swap and not reasons:\n",
        "    if swap:\n",
        ("integration/test_shadow.py::test_a_table_on_which_something_hangs_gets_the_rows",),
    ),
    Mutant(
        "the name of an index is not kept", NOT_SILENT, "replication/databases/postgres/shadow.py",
        "        _rename_indexes(conn, live, indexes)\n",
        "",
        ("integration/test_shadow.py::test_a_table_on_which_nothing_hangs_is_replaced",),
    ),
    Mutant(
        "a frozen worker's lane is not fenced off", KILL, "replication/lanes/runtime.py",
        "        TargetState(conn, self.name).require_epoch(self.epoch)\n",
        "        pass\n",
        _KILLED,
    ),
    Mutant(
        "what a lane still needs is trimmed from the log", NOT_SILENT, "replication/databases/postgres/state.py",
        "or starts_with(o.pipeline, p.name || '/')",
        "",
        ("integration/test_lane_state.py::test_the_log_is_kept_for_the_slowest_reader",),
    ),
    Mutant(
        "a new generation leaves lanes at work", KILL, "replication/databases/postgres/state.py",
        "        LaneStore(self._conn, self._name).close_all()\n",
        "",
        ("integration/test_lane_state.py::test_a_new_generation_ends_all_lanes",),
    ),
    Mutant(
        "a table is read beyond the consumer's place", EXACTLY_ONCE, "replication/stream/reader.py",
        "        if self._end is None or self._intake.reached or offset < self._end:\n",
        "        if True:\n",
        ("unit/test_log_reader.py::test_a_reader_ends_where_it_is_told_to",),
    ),
    Mutant(
        "what was captured otherwise before the copy is decoded", NOT_SILENT, "replication/stream/intake.py",
        "self._overlap.covers_all(table, message.place())",
        "False",
        ("unit/test_log_reader.py::test_what_came_before_a_table_was_copied_may_have_other_columns",),
    ),
]
