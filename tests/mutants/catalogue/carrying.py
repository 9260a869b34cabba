"""Breaks of what is carried beside columns and rows: it must hold, be finished, and never be in the stream's way."""

from tests.mutants.mutant import IDEMPOTENT, KILL, NOT_SILENT, QUOTING, WHOLE, Mutant

_CARRY = "integration/test_carry.py::"
_APPLIER = "integration/test_applier.py::"
_WORDS = "unit/test_carry.py::"
_E2E = ("e2e/test_carry.py::test_what_a_table_has_beside_its_rows_comes_along",)
_WORK = "replication/operations/carry_work.py"
_TARGET = "replication/databases/postgres/carried.py"

MUTANTS = [
    Mutant(
        "a unique index that is being made is not known to the applier", NOT_SILENT,
        "replication/stream/live_tables.py",
        "unique = self._state.is_to_be_unique(name)",
        "unique = False",
        (_APPLIER + "test_a_unique_index_that_is_being_made_is_known_before_it_is_seen",),
    ),
    Mutant(
        "a row that a carried constraint refuses is refused for good", NOT_SILENT, "replication/stream/streaming.py",
        "            gave_way = applier.give_way(refusal)\n",
        "            gave_way = False\n",
        _E2E,
    ),
    Mutant(
        "a constraint of the target's own gives way", NOT_SILENT, _TARGET,
        "    if found is None:\n        return None\n",
        "    if found is None:\n        return store.all()[0] if store.all() else None\n",
        (_CARRY + "test_a_row_that_is_refused_moves_what_refuses_it",),
    ),
    Mutant(
        "a unique index does not wait for one state of the source", WHOLE, _WORK,
        "        if len(positions) <= 1 and None not in positions:\n",
        "        if True:\n",
        (_CARRY + "test_what_must_hold_of_all_rows_waits_for_the_stream",),
    ),
    Mutant(
        "what a killed build left counts as made", KILL, _TARGET,
        '"select i.indisvalid and i.indisunique = %s from',
        '"select i.indisunique = %s from',
        (_CARRY + "test_what_a_process_died_over_is_finished",),
    ),
    Mutant(
        "constraints are not validated", NOT_SILENT, _WORK,
        "        carried.validate(self._conn, row)\n",
        "",
        (_CARRY + "test_what_does_not_hold_is_told_and_tried_again_when_asked",),
    ),
    Mutant(
        "an index of the target's own is taken for ours", NOT_SILENT, _WORK,
        "            if not carried.is_taken(self._conn, row):\n",
        "            if True:\n",
        (_CARRY + "test_what_is_there_stays_and_what_is_missing_comes",),
    ),
    Mutant(
        "a new copy is made under the old one's indexes", IDEMPOTENT, "replication/operations/generation.py",
        "    drop_all(conn, rt.name)\n",
        "",
        (_CARRY + "test_a_new_copy_finds_the_tables_without_them",),
    ),
    Mutant(
        "texts are compared as the target does it", NOT_SILENT, "replication/carry/expressions.py",
        '        if family not in ("number", "moment", "exact text")',
        '        if family not in ("number", "moment", "exact text", "text")',
        (_WORDS + "test_others_are_told",),
    ),
    Mutant(
        "a column's name is not quoted in what is carried", QUOTING, "replication/carry/expressions.py",
        """    return '"' + name.replace('"', '""') + '"'\n""",
        """    return '"' + name + '"'\n""",
        (_WORDS + "test_comparisons_that_mean_the_same_are_written_for_the_target",),
    ),
    Mutant(
        "foreign keys do not rest while rows are merged", NOT_SILENT, "replication/lanes/joining.py",
        "    take_replica_role(conn)\n",
        "",
        _E2E,
    ),
]
