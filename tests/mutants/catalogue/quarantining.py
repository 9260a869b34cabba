"""Breaks of what sets a table apart: finding the refused change, leaving nothing of it, telling of it."""

from tests.mutants.mutant import KILL, NOT_SILENT, PROOF, WHOLE, Mutant

_UNIT = "unit/test_quarantine.py::"
_REAL = "integration/test_quarantine.py::"
_READER = "unit/test_log_reader.py::"
_APART = _REAL + "test_a_table_is_set_apart_from_the_transaction_that_is_refused_and_the_others_go_on"
_LARGE = _REAL + "test_the_refused_row_of_a_large_transaction_is_found_and_none_of_its_parts_stays"

MUTANTS = [
    Mutant(
        "a refused change leaves no letter", NOT_SILENT, "replication/stream/applying.py",
        "            self._state.hold_letter(letter(refusal, self.live.codec(refusal.table)))\n",
        "",
        (_APART,),
    ),
    Mutant(
        "the letter is committed before the rows", KILL, "replication/stream/applying.py",
        "                self._detach()\n",
        "                self._detach()\n                self.conn.commit()\n",
        (_REAL + "test_a_consumer_that_dies_between_leaves_the_table_as_it_was",),
    ),
    Mutant(
        "of two refused tables the first is forgotten", NOT_SILENT, "replication/stream/applying.py",
        "self._log, [*self._quarantine, *quarantine], alone",
        "self._log, [*quarantine][:1] or [*self._quarantine], alone",
        (_REAL + "test_two_tables_are_refused_in_one_transaction",),
    ),
    Mutant(
        "earlier parts of a refused transaction stay", WHOLE, "replication/stream/streaming.py",
        "        self.close()\n        self.applier = applier.renewed(pending)\n",
        "        applier.in_run = False\n        self.close()\n        self.applier = applier.renewed(pending)\n",
        (_LARGE,),
    ),
    Mutant(
        "transactions before the refused one are lost with it", WHOLE, "replication/stream/run.py",
        "or (self.careful and self.events):",
        "or False:",
        (_UNIT + "test_a_stretch_that_was_refused_comes_as_single_transactions_with_their_events", _APART),
    ),
    Mutant(
        "a disk that is full is a matter of the row", NOT_SILENT, "replication/databases/postgres/refusals.py",
        "    return state[:2] in _CLASSES or state in _STATES\n",
        "    return True\n",
        (_UNIT + "test_only_what_would_be_refused_again_and_again_is_a_refusal",
         _REAL + "test_a_target_that_can_not_just_now_is_no_reason_to_set_a_table_apart"),
    ),
    Mutant(
        "the row behind the refused one is taken for it", NOT_SILENT, "replication/stream/poison.py",
        "    return refused - 1\n",
        "    return passes - 1 if passes else 0\n",
        (_UNIT + "test_the_first_of_those_that_are_refused_is_found_in_few_tries",),
    ),
    Mutant(
        "rows that make room are not taken out for a trial", NOT_SILENT, "replication/stream/poison.py",
        "if unique or row is None]",
        "if row is None]",
        (_LARGE,),
    ),
    Mutant(
        "a trial stays", WHOLE, "replication/stream/poison.py",
        "conn.transaction(force_rollback=not keep)",
        "conn.transaction()",
        (_REAL + "test_a_letter_is_tried_again_without_being_kept_and_accepted",),
    ),
    Mutant(
        "stages that were rolled back are taken to be there", WHOLE, "replication/databases/postgres/apply.py",
        "        self._staged = False\n\n    def _prepare",
        "        pass\n\n    def _prepare",
        ("integration/test_apply.py::test_a_large_batch_after_one_that_was_rolled_back",),
    ),
    Mutant(
        "any number of tables is set apart", NOT_SILENT, "replication/stream/quarantine.py",
        "if len(self._times) == MOST_TABLES and now",
        "if False and now",
        (_UNIT + "test_many_tables_at_once_are_no_matter_of_their_rows",),
    ),
    Mutant(
        "the last table is set apart too", NOT_SILENT, "replication/stream/quarantine.py",
        "        if live <= 1:\n",
        "        if False:\n",
        (_UNIT + "test_it_stops_where_it_may_not_or_nothing_would_go_on",),
    ),
    Mutant(
        "a table that stands apart is written to", NOT_SILENT, "replication/stream/applying.py",
        "            if name in self.live.detached:  # since the reader handed it over\n                continue\n",
        "",
        ("integration/test_applier.py::test_a_table_that_stands_apart_is_not_written_to",),
    ),
    Mutant(
        "rows that pass by are not counted", NOT_SILENT, "replication/stream/run.py",
        "self._part.counts.setdefault(table, Counts()).skipped += 1",
        "self._part.counts.setdefault(table, Counts())",
        (_READER + "test_a_table_that_stands_apart_is_passed_by_and_its_changes_are_counted",),
    ),
    Mutant(
        "a table that stands apart is compared", PROOF, "replication/verify/run.py",
        "    if apart is not None:\n",
        "    if False:\n",
        ("integration/test_verify_barrier.py::test_a_table_that_stands_apart_is_left_out_and_told",),
    ),
    Mutant(
        "nobody is told of a table in quarantine", NOT_SILENT, "replication/health/judge.py",
        'if apart and apart["kind"] == "quarantined":',
        "if False:",
        (_UNIT + "test_the_owner_is_told_of_tables_in_quarantine_and_of_letters_that_are_held",),
    ),
]
