"""Breaks of the initial copy: positions, chunks and their marks, what is asked before the connector is made."""

from tests.mutants.mutant import (
    EXACTLY_ONCE,
    IDEMPOTENT,
    KILL,
    NO_GAP,
    NO_TIME_TRAVEL,
    NOT_SILENT,
    QUOTING,
    Mutant,
)

_COPY = "integration/test_copy.py::"
_COPY_ERRORS = "integration/test_copy_errors.py::"
_COPY_WORKERS = "integration/test_copy_workers.py::"
_STEPS = "integration/test_between_steps.py::"
_SNAPSHOT = "integration/test_mysql_snapshot.py::"
_MOVE = "replication/copy/move.py"

MUTANTS = [
    # Positions
    Mutant(
        "the position is read after the lock is gone", NO_GAP, "replication/databases/mysql/snapshot.py",
        "        _start_all(readers)\n        return binlog_status(conn, identity)\n\n\ndef _start_all",
        "        _start_all(readers)\n    return binlog_status(conn, identity)\n\n\ndef _start_all",
        (_SNAPSHOT + "test_every_session_sees_exactly_the_position[mysql-8-0.003-2]",),
    ),
    Mutant(
        "the snapshots open after the lock is gone", NO_GAP, "replication/databases/mysql/snapshot.py",
        "        _start_all(readers)\n        return binlog_status(conn, identity)\n\n\ndef _start_all",
        "        position = binlog_status(conn, identity)\n    _start_all(readers)\n    return position\n\n\n"
        "def _start_all",
        (_SNAPSHOT + "test_every_session_sees_exactly_the_position[mysql-8-0.003-2]",),
    ),
    Mutant(
        "without the lock the position is read after the snapshots", NO_GAP,
        "replication/databases/mysql/snapshot.py",
        "    for _ in range(_AGREE_TRIES):\n        _start_all(readers)\n        after",
        "    _start_all(readers)\n    __import__('time').sleep(0.05)\n    return binlog_status(conn, identity)\n"
        "    for _ in range(_AGREE_TRIES):\n        _start_all(readers)\n        after",
        (_SNAPSHOT + "test_without_the_lock_the_snapshot_holds_all_of_its_position",),
    ),
    Mutant(
        "MariaDB's sessions need not agree", NO_GAP, "replication/databases/mysql/snapshot.py",
        "        if place != chosen:\n",
        "        if False:\n",
        (_SNAPSHOT + "test_mariadb_sessions_that_do_not_agree_by_themselves[False-mariadb]",),
    ),
    Mutant(
        "the connector begins at the latest chunk's position", NO_GAP, "replication/operations/connector.py",
        "        if first.includes(position):\n",
        "        if position.includes(first):\n",
        (_STEPS + "test_the_connector_begins_at_the_earliest_chunk",),
    ),
    Mutant(
        "a log is read from its present end on", NO_GAP, "replication/operations/connector.py",
        "state.init_offset(rt.topics.offsets(topic)[0], position.to_json())",
        "state.init_offset(rt.topics.offsets(topic)[1], position.to_json())",
        (_STEPS + "test_the_connector_begins_at_the_earliest_chunk",),
    ),
    Mutant(
        "a connector that is made again begins where the copy ended", EXACTLY_ONCE,
        "replication/operations/connector.py",
        "position = MySqlPosition.from_json(offset.position)\n",
        'position = earliest([MySqlPosition.from_json(c.position or "") for c in chunks])\n',
        (_STEPS + "test_a_stream_goes_on_from_what_was_applied",),
    ),
    Mutant(
        "a log that was made again is streamed into", NOT_SILENT, "replication/operations/connector.py",
        "rt.topics.require_same(topic, facts.log_topic_id)",
        "pass",
        (_STEPS + "test_a_log_that_was_made_again_is_not_streamed_into",),
    ),
    Mutant(
        "a connector is made while chunks are missing", NOT_SILENT, "replication/operations/connector.py",
        'if facts is None or not chunks or (not early and any(c.state != "done" for c in chunks)):',
        "if facts is None or not chunks:",
        (_STEPS + "test_no_connector_before_the_copy_is_complete",),
    ),
    # One position where keys can't be compared
    Mutant(
        "every key can be compared in Python", NO_TIME_TRAVEL, "replication/databases/mysql/ranges.py",
        "return bool(source.key) and all(source.column(name).type in _INTEGERS for name in source.key)",
        "return bool(source.key)",
        ("unit/test_ranges.py::test_only_integer_keys_are_exact",),
    ),
    Mutant(
        "a table that needs one position is not taken", NO_TIME_TRAVEL, _MOVE,
        "                    mover.take_table(table)\n",
        "                    pass\n",
        (_COPY + "test_a_table_that_needs_one_position_starts_anew_under_another[mysql]",),
    ),
    Mutant(
        "two readers share a table that needs one position", NO_TIME_TRAVEL, _MOVE,
        "if not exact and found.position != self._position:",
        "if False:",
        (_COPY + "test_of_two_readers_of_such_a_table_the_later_one_takes_it[mysql]",),
    ),
    # Chunks and marks
    Mutant(
        "rows are committed before their chunk's mark", KILL, _MOVE,
        "        return msgspec.structs.replace(done, copied_at=self._state.finish_chunk(done))",
        '        self._conn.execute("commit")\n        self._conn.execute("begin")\n'
        "        return msgspec.structs.replace(done, copied_at=self._state.finish_chunk(done))",
        (_COPY_ERRORS + "test_a_mark_that_can_not_be_written_takes_its_rows_with_it[mysql]",),
    ),
    Mutant(
        "a copying worker does not look at the epoch", EXACTLY_ONCE, _MOVE,
        "        started = time.monotonic()\n        self._state.require_epoch(self._epoch, self._generation)\n",
        "        started = time.monotonic()\n",
        (_COPY_WORKERS + "test_a_worker_of_an_old_epoch_writes_nothing_more[mysql]",),
    ),
    Mutant(
        "a chunk is not locked", IDEMPOTENT, "replication/databases/postgres/chunk_store.py",
        "pipeline = %s and table_name = %s and ordinal = %s for update",
        "pipeline = %s and table_name = %s and ordinal = %s",
        (_COPY_WORKERS + "test_a_second_worker_waits_for_the_first_ones_chunk[mysql]",),
    ),
    Mutant(
        "a chunk that is done is copied again", IDEMPOTENT, _MOVE,
        "        if found.done:\n",
        "        if False:\n",
        (_COPY + "test_running_it_again_changes_nothing[mysql]",),
    ),
    Mutant(
        "what lies in a planned range stays", KILL, _MOVE,
        "            ddl.delete_range(self._conn, table, found.lower, found.upper)\n",
        "            pass\n",
        (_COPY + "test_whatever_lies_in_a_planned_range_is_replaced[mysql]",),
    ),
    Mutant(
        "a chunk of another definition is copied", NO_GAP, _MOVE,
        "if found.fingerprint is not None and found.fingerprint != fingerprint:",
        "if False:",
        (_COPY_WORKERS + "test_another_definition_than_the_planned_one_is_refused[mysql]",),
    ),
    Mutant(
        "a reader's error is the end of its rows", NOT_SILENT, "replication/databases/postgres/load.py",
        "        pipe.finish(error)\n",
        "        pipe.finish(None)\n",
        (_COPY_ERRORS + "test_a_readers_error_leaves_no_part_of_a_chunk[mysql]",),
    ),
    Mutant(
        "rows that the target swallows are not missed", NOT_SILENT, "replication/databases/postgres/load.py",
        "    if taken != rows:\n",
        "    if False:\n",
        ("integration/test_postgres_load.py::test_a_trigger_that_swallows_rows_is_noticed",),
    ),
    Mutant(
        "a byte that passes for a separator is loaded", NOT_SILENT, "replication/databases/postgres/load.py",
        "    if (raw.count(_FIELD), raw.count(_NULL), raw.count(_ROW)) != (",
        "    if False and () != (",
        ("unit/test_load_render.py::test_a_byte_that_would_pass_for_a_separator_is_refused",),
    ),
    Mutant(
        "a backslash in a value is COPY's own", NOT_SILENT, "replication/databases/postgres/load.py",
        'raw.replace(b"\\\\", b"\\\\\\\\").replace(b"\\t"',
        'raw.replace(b"\\t"',
        ("unit/test_load_render.py::test_what_is_rendered_reads_back_the_same",),
    ),
    # Planning
    Mutant(
        "a range holds its upper bound's row too", NO_GAP, "replication/databases/mysql/ranges.py",
        '(where.upper, "<", "<")',
        '(where.upper, "<", "<=")',
        ("unit/test_ranges.py::test_condition_is_the_order_of_tuples",),
    ),
    Mutant(
        "the last range ends at the last bound", NO_GAP, "replication/databases/mysql/ranges.py",
        "edges = [None, *bounds, None]",
        "edges = [None, *bounds] if bounds else [None, None]",
        ("unit/test_ranges.py::test_ranges_cover_every_key_once_and_are_not_too_many",),
    ),
    Mutant(
        "a missing chunk is no matter", NOT_SILENT, "replication/operations/copying.py",
        "        if missing or without:\n",
        "        if False:\n",
        (_STEPS + "test_a_chunk_that_is_missing_is_named",),
    ),
    Mutant(
        "a table that was never planned is no matter", NOT_SILENT, "replication/operations/copying.py",
        "        if missing or without:\n",
        "        if missing:\n",
        (_STEPS + "test_a_chunk_that_is_missing_is_named",),
    ),
    Mutant(
        "other rows than were copied are no matter", NOT_SILENT, "replication/operations/copying.py",
        "                if found != rows:\n",
        "                if False:\n",
        (_STEPS + "test_other_rows_than_were_copied_are_told",),
    ),
    Mutant(
        "a second start copies everything again", IDEMPOTENT, "replication/operations/generation.py",
        "        if facts is None or force_resync:\n",
        "        if True:\n",
        (_STEPS + "test_a_second_start_goes_on_with_what_is_there",),
    ),
    Mutant(
        "a table with rows of somebody else is emptied", NOT_SILENT, "replication/operations/generation.py",
        "    if strange:\n",
        "    if False:\n",
        (_STEPS + "test_a_table_with_rows_of_somebody_else_is_not_emptied",),
    ),
    # Quoting
    Mutant(
        "a name on the source may end its quotes", QUOTING, "replication/databases/mysql/sql.py",
        'return "`" + name.replace("`", "``") + "`"',
        'return "`" + name + "`"',
        ("unit/test_mysql_sql.py::test_names", "unit/test_ranges.py::test_names_are_quoted_and_values_are_not_text"),
    ),
    Mutant(
        "a text on the source may end its quotes", QUOTING, "replication/databases/mysql/sql.py",
        "return f\"'{value.translate(_ESCAPES)}'\"",
        "return f\"'{value}'\"",
        ("unit/test_mysql_sql.py::test_texts_come_back",),
    ),
    Mutant(
        "a percent sign in a name is a placeholder", QUOTING, "replication/databases/mysql/sql.py",
        'r"""`(?:[^`]|``)*`            # a quoted name',
        'r"""`never`            # a quoted name',
        ("unit/test_mysql_sql.py::test_a_percent_sign_is_only_itself",),
    ),
    Mutant(
        "the names of a chunk's key are not quoted", QUOTING, "replication/databases/mysql/ranges.py",
        "_compare([quote(c) for c in where.columns], bound, strict, last)",
        "_compare(list(where.columns), bound, strict, last)",
        ("unit/test_ranges.py::test_names_are_quoted_and_values_are_not_text",),
    ),
]
