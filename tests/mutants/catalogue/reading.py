"""Breaks of what reads the change log: grammar, repetitions, overlap with the copy, barriers."""

from tests.mutants.mutant import EXACTLY_ONCE, NO_TIME_TRAVEL, NOT_SILENT, PROOF, WHOLE, Mutant

_READER = "unit/test_log_reader.py::"
_REPEATS = "unit/test_log_repeats.py::"
_STOPS = "unit/test_log_stops.py::"
_GRAMMAR = "replication/stream/grammar.py"

MUTANTS = [
    # Rule 2
    Mutant(
        "overlap is never asked", NO_TIME_TRAVEL, "replication/stream/intake.py",
        "if not self._overlap.passed and self._overlap.covers(codec.name, key, message.place()):",
        "if False:",
        (_READER + "test_what_a_chunk_holds_is_not_applied_again",),
    ),
    Mutant(
        "a changed unique key leaves its old row", NOT_SILENT, "replication/changes/rows.py",
        "self.splits_key_changes = bool(table.key_indexes) and table.source.primary",
        "self.splits_key_changes = bool(table.key_indexes)",
        (_READER + "test_a_changed_unique_key_that_the_connector_does_not_take_for_the_key_leaves_no_old_row",),
    ),
    Mutant(
        "a text that the log has lost passes", NOT_SILENT, "replication/values/charsets.py",
        "        if _UNKNOWN in text:\n", "        if False:\n",
        ("unit/test_values.py::test_what_the_log_lost_of_a_text_is_an_error_that_names_the_column",),
    ),
    Mutant(
        "texts are taken as the connector decodes them", NOT_SILENT, "replication/values/charsets.py",
        "        return text.translate(table) if table else text\n", "        return text\n",
        ("unit/test_values.py::test_every_character_that_debezium_reads_otherwise_is_set_right",),
    ),
    Mutant(
        "a key on a chunk's border is the chunk's before it", NO_TIME_TRAVEL, "replication/stream/overlap.py",
        "self.positions[bisect_right(self._lowers, key)]",
        "self.positions[__import__('bisect').bisect_left(self._lowers, key)]",
        (_READER + "test_what_a_chunk_holds_is_not_applied_again",),
    ),
    Mutant(
        "the overlap ends with the first chunk that is passed", NO_TIME_TRAVEL, "replication/stream/overlap.py",
        "self.passed = not any(",
        "self.passed = not all(",
        (_READER + "test_what_a_chunk_holds_is_not_applied_again",),
    ),
    Mutant(
        "a truncate empties chunks that were copied after it", NO_TIME_TRAVEL, "replication/stream/overlap.py",
        "ranges = [b for b, p in zip(self._bounds, self.positions, strict=True) if not p.covers(place)]",
        "ranges = self._bounds",
        (_READER + "test_a_truncate_reaches_only_chunks_copied_before_it",),
    ),
    Mutant(
        "a position does not cover the event that stands at it", NO_TIME_TRAVEL,
        "replication/databases/mysql/position.py",
        "return (log_file_number(place.file), place.pos) <= (log_file_number(self.file), self.pos)",
        "return (log_file_number(place.file), place.pos) < (log_file_number(self.file), self.pos)",
        (_REPEATS + "test_a_transaction_that_comes_again_without_gtids_is_dropped",),
    ),
    # Duplicates, level 1
    Mutant(
        "transactions applied before are not known by their GTID", EXACTLY_ONCE, "replication/stream/run.py",
        "return place.gtid in self.applied",
        "return False",
        (_REPEATS + "test_transactions_applied_before_are_dropped",),
    ),
    Mutant(
        "transactions applied before are not known by their place", EXACTLY_ONCE, "replication/stream/run.py",
        "return MySqlPosition(self._place.file, self._place.pos).covers(place)",
        "return False",
        (_REPEATS + "test_a_transaction_that_comes_again_without_gtids_is_dropped",),
    ),
    Mutant(
        "the reader does not remember the GTIDs that it reads", EXACTLY_ONCE, "replication/stream/run.py",
        "            self.applied.add(gtid)\n",
        "            pass\n",
        (_REPEATS + "test_a_repeated_transaction_and_end_are_dropped",),
    ),
    Mutant(
        "the reader does not remember the places that it reads", EXACTLY_ONCE, "replication/stream/run.py",
        "                self._place, self._begin, self._within = place, begin, within\n",
        "                pass\n",
        (_REPEATS + "test_a_transaction_that_comes_again_without_gtids_is_dropped",),
    ),
    Mutant(
        "a repeated transaction takes the applied place back", EXACTLY_ONCE, "replication/stream/run.py",
        "        if not repeated:\n            if place is not None",
        "        if True:\n            if place is not None",
        (_REPEATS + "test_a_stretch_of_transactions_that_comes_again_without_gtids_is_dropped_to_its_end",),
    ),
    Mutant(
        "a MariaDB domain's high-water mark may fall", EXACTLY_ONCE, "replication/databases/mysql/gtid.py",
        "if domain not in self._last or sequence > self._last[domain][0]:",
        "if True:",
        ("unit/test_gtid.py::test_mariadb_never_goes_back",),
    ),
    # Duplicates, level 2
    Mutant(
        "rows that come again with their numbers are applied", EXACTLY_ONCE, _GRAMMAR,
        "                if order <= current.last_order:\n                    return True\n",
        "                if order <= current.last_order:\n                    return False\n",
        (_REPEATS + "test_a_stretch_sent_twice_inside_a_transaction_is_dropped",),
    ),
    Mutant(
        "rows that come again under new numbers are applied", EXACTLY_ONCE, _GRAMMAR,
        "            if source.pos >= last.pos:\n                return False\n",
        "            return False\n",
        (_REPEATS + "test_rows_that_come_again_under_new_numbers",),
    ),
    Mutant(
        "MariaDB's new numbers after a restart are taken for repeated rows", NOT_SILENT, _GRAMMAR,
        "if order and not self._restarts_count:",
        "if order:",
        (_REPEATS + "test_mariadb_numbers_the_rows_of_a_transaction_anew_after_a_restart",),
    ),
    Mutant(
        "MariaDB's rows that come again are applied", EXACTLY_ONCE, _GRAMMAR,
        "        if last is not None and (seen[:3] < last[:3] or "
        "(seen[:3] == last[:3] and not (last[3] == \"d\" != seen[3]))):\n            return True\n",
        "",
        (_REPEATS + "test_mariadb_numbers_the_rows_of_a_transaction_anew_after_a_restart",),
    ),
    Mutant(
        "MariaDB: the second half of a key change is taken for the first one's repetition", NOT_SILENT, _GRAMMAR,
        "(seen[:3] == last[:3] and not (last[3] == \"d\" != seen[3]))",
        "seen[:3] == last[:3]",
        (_REPEATS + "test_mariadb_numbers_the_rows_of_a_transaction_anew_after_a_restart",),
    ),
    # Whole transactions
    Mutant(
        "a run ends wherever the log pauses", WHOLE, "replication/stream/intake.py",
        "if self.reached or self._grammar.half_read:",
        "if self.reached:",
        (_STOPS + "test_a_pause_inside_a_transaction_ends_no_run",),
    ),
    Mutant(
        "a run ends where it is large enough", WHOLE, "replication/stream/run.py",
        "part.size >= self._most_bytes:\n            self.flush_part()",
        "part.size >= self._most_bytes:\n            self.send(force=True)",
        (_READER + "test_a_large_transaction_goes_out_in_parts_and_one_commit",),
    ),
    Mutant(
        "a record inside a transaction moves the boundary", WHOLE, "replication/stream/intake.py",
        "        if self._grammar.between and not self.reached:\n            self._run.boundary = offset + 1",
        "        if not self.reached:\n            self._run.boundary = offset + 1",
        (_STOPS + "test_the_begin_of_a_transaction_alone_moves_nothing",),
    ),
    Mutant(
        "the end of the log inside a transaction moves the boundary", WHOLE, "replication/stream/intake.py",
        "        if self._grammar.between:\n            self._run.boundary = max",
        "        if True:\n            self._run.boundary = max",
        (_STOPS + "test_the_begin_of_a_transaction_alone_moves_nothing",),
    ),
    Mutant(
        "fewer rows than END says are enough", WHOLE, _GRAMMAR,
        "if message.event_count is not None and current.rows < message.event_count:",
        "if False:",
        (_STOPS + "test_fewer_rows_than_announced_stop_the_stream",),
    ),
    Mutant(
        "an END whose rows never came is taken for a repeated one", NOT_SILENT, _GRAMMAR,
        "if message.event_count and not repeated:",
        "if False:",
        (_STOPS + "test_an_end_alone_of_a_transaction_that_was_not_applied_stops_the_stream",),
    ),
    Mutant(
        "a hole in a transaction's numbers is passed over", NOT_SILENT, _GRAMMAR,
        "            if order != current.last_order + 1:",
        "            if order <= current.last_order:",
        (_STOPS + "test_a_hole_in_the_rows_of_a_transaction_stops_the_stream",),
    ),
    Mutant(
        "a transaction that never ends is complete", WHOLE, _GRAMMAR,
        "if current.began and current.rows and not ended and not current.repeated:",
        "if False:",
        (_STOPS + "test_rows_that_never_end_stop_the_stream",),
    ),
    Mutant(
        "a transaction that broke off is given up for repeated ones", WHOLE, _GRAMMAR,
        "                self.waiting = current\n",
        "                pass\n",
        (_REPEATS + "test_a_transaction_that_broke_off_comes_again",
         _REPEATS + "test_a_transaction_that_broke_off_and_never_comes_again_stops_the_stream"),
    ),
    Mutant(
        "a torn key change is complete", WHOLE, _GRAMMAR,
        "if current.torn_key and not current.repeated:",
        "if False:",
        (_READER + "test_a_torn_key_change_stops_the_stream",),
    ),
    Mutant(
        "a torn key change is forgotten over the next row", WHOLE, _GRAMMAR,
        '        if current.torn_key and op != "c":\n            self._close()  # raises\n',
        "",
        (_READER + "test_a_torn_key_change_stops_the_stream",),
    ),
    # Barriers
    Mutant(
        "the reader runs past a barrier", PROOF, "replication/stream/intake.py",
        "if self._stop_at is None or self._stop_at.covers(place):",
        "if True:",
        (_READER + "test_the_reader_stops_exactly_at_a_barrier",),
    ),
    Mutant(
        "the reader stops short of a barrier's transaction", PROOF, "replication/stream/intake.py",
        "        self._run.send(force=True)\n        self._run.put(AtBarrier())",
        "        self._run.put(AtBarrier())",
        (_READER + "test_the_reader_stops_exactly_at_a_barrier",),
    ),
    # Schema changes and what can't be read
    Mutant(
        "an event's unknown column is left out", NOT_SILENT, "replication/changes/rows.py",
        "forbid_unknown_fields=True",
        "forbid_unknown_fields=False",
        (_STOPS + "test_an_event_with_an_unknown_column_stops_the_stream",),
    ),
    Mutant(
        "an event's missing column is null", NOT_SILENT, "replication/changes/rows.py",
        '= [(f"c{i}", form.json | None) for i, form in enumerate(self._read_forms)]',
        '= [(f"c{i}", form.json | None, None) for i, form in enumerate(self._read_forms)]',
        (_STOPS + "test_an_event_without_one_of_the_columns_stops_the_stream",),
    ),
    Mutant(
        "rows of an XA transaction are applied when it is prepared", NOT_SILENT, "replication/stream/intake.py",
        "            if transaction is None:\n                raise",
        "            if False:\n                raise",
        (_STOPS + "test_rows_of_an_xa_transaction_stop_the_stream",),
    ),
    Mutant(
        "a record that is none of ours is passed over", NOT_SILENT, "replication/stream/messages.py",
        "    except (msgspec.DecodeError, msgspec.ValidationError) as error:\n        raise IntegrityError(",
        "    except (msgspec.DecodeError, msgspec.ValidationError) as error:\n"
        "        return Message()\n        raise IntegrityError(",
        (_STOPS + "test_a_record_that_can_not_be_read_stops_the_stream",),
    ),
    Mutant(
        "what was read before an error goes on, and the error is lost", NOT_SILENT, "replication/stream/reader.py",
        "            self._run.put(Failed(error))\n",
        "",
        (_STOPS + "test_fewer_rows_than_announced_stop_the_stream",),
    ),
    # The client of the log
    Mutant(
        "records of transactions that Connect took back are read", EXACTLY_ONCE, "replication/stream/log_client.py",
        '"isolation.level": "read_committed",',
        '"isolation.level": "read_uncommitted",',
        ("integration/test_log_topics.py::test_what_the_connector_took_back_is_not_read",),
    ),
    Mutant(
        "a lost offset is begun anew at the log's end", NOT_SILENT, "replication/stream/log_client.py",
        '"auto.offset.reset": "error",',
        '"auto.offset.reset": "latest",',
        ("integration/test_log_topics.py::test_a_lost_offset_is_told",),
    ),
]
