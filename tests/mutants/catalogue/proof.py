"""Breaks of the comparison: of the meeting at one position, of the checksums, of the judge."""

from tests.mutants.mutant import PROOF, QUOTING, Mutant

_VERIFY = "integration/test_verify.py::"
_KEYS = "integration/test_verify_keys.py::"
_BARRIER = "integration/test_verify_barrier.py::"
_REPAIR = "e2e/test_repair.py::"
_JUDGE = "unit/test_verify_judge.py::"
_CHECKSUM = "replication/databases/checksum.py"
_MEETING = "replication/verify/barrier.py"

MUTANTS = [
    # Checksums
    Mutant(
        "the salt is no secret", PROOF, "replication/verify/tables.py",
        'return Salt(separator="\\x1f" + secrets.token_hex(2), null="\\x1e" + secrets.token_hex(2))',
        'return Salt(separator="\\x1f", null="\\x1e")',
        (_VERIFY + "test_rows_with_the_separator_in_them_are_told_apart",),
    ),
    Mutant(
        "NULL is an empty text", PROOF, _CHECKSUM,
        'return f"coalesce({text}, {self._literal(self._salt.null)})" if column.source.nullable else text',
        'return f"coalesce({text}, {self._literal(str())})" if column.source.nullable else text',
        (_VERIFY + "test_every_kind_of_difference_is_found_and_named",),
    ),
    Mutant(
        "the last column is not compared", PROOF, _CHECKSUM,
        "self._row_number = self._number(self._joined(fields))",
        "self._row_number = self._number(self._joined(fields[:-1]))",
        (_VERIFY + "test_more_than_a_hundred_columns", _VERIFY + "test_every_kind_of_difference_is_found_and_named"),
    ),
    Mutant(
        "equal numbers of rows are equal rows", PROOF, "replication/verify/walk.py",
        "                if ours != theirs:\n",
        "                if ours.rows != theirs.rows:\n",
        (_VERIFY + "test_every_kind_of_difference_is_found_and_named",),
    ),
    Mutant(
        "buckets that only the target has are not looked into", PROOF, "replication/verify/compare.py",
        "    return {b for b in ours.keys() | theirs.keys() if ours.get(b) != theirs.get(b)}",
        "    return {b for b in ours if ours.get(b) != theirs.get(b)}",
        (_KEYS + "test_keys_of_texts", _KEYS + "test_tables_without_a_key_are_compared_as_multisets"),
    ),
    Mutant(
        "the source's rows behind the target's last one are not read", PROOF, "replication/verify/walk.py",
        "        yield Span(lower, span.upper if upper is None else upper)\n        if upper is None:\n",
        "        if upper is not None:\n            yield Span(lower, upper)\n        if upper is None:\n",
        (_VERIFY + "test_every_kind_of_difference_is_found_and_named",),
    ),
    Mutant(
        "a target that lost its key is walked by it", PROOF, "replication/verify/tables.py",
        "ranges = has_ranges(table) and key_is_sound(found, table)",
        "ranges = has_ranges(table)",
        (_VERIFY + "test_a_target_that_lost_its_key_is_compared_as_it_is",),
    ),
    # The judge
    Mutant(
        "all documents are alike", PROOF, "replication/verify/judge.py",
        "source is not None and target is not None and same_document(source, target)",
        "source is not None and target is not None",
        (_JUDGE + "test_rows_are_paired_by_key",),
    ),
    Mutant(
        "rows that only the target has are no difference", PROOF, "replication/verify/judge.py",
        'return found + [self._found("extra", row) for rows in candidates.values() for row in rows]',
        "return found",
        (_JUDGE + "test_rows_are_paired_by_key",),
    ),
    Mutant(
        "rows are a set", PROOF, "replication/verify/judge.py",
        "        if spare[told]:\n            spare[told] -= 1\n",
        "        if told in spare:\n",
        (_JUDGE + "test_a_key_that_is_there_twice_is_counted", _JUDGE + "test_rows_without_a_key_are_a_multiset"),
    ),
    Mutant(
        "a comparison that was given up is equal", PROOF, "replication/verify/report.py",
        "return self.complete and self.difference_count == 0 and self.rows_source == self.rows_target",
        "return self.difference_count == 0 and self.rows_source == self.rows_target",
        (_JUDGE + "test_a_report_is_equal_only_if_all_of_it_is",),
    ),
    # The meeting
    Mutant(
        "the consumer's arrival is not waited for", PROOF, _MEETING,
        '        request.wait_for("reached")\n',
        "",
        (_BARRIER + "test_a_running_consumer_stands_still_at_the_sources_position",),
    ),
    Mutant(
        "the target is read as it is now", PROOF, _MEETING,
        "    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ\n",
        "",
        (_BARRIER + "test_changes_behind_the_meeting_are_not_seen",),
    ),
    Mutant(
        "the target's snapshot opens when it is first read", PROOF, _MEETING,
        '            target.execute("select 1 from _cdc.format").fetchone()\n',
        "            pass\n",
        (_BARRIER + "test_changes_behind_the_meeting_are_not_seen",),
    ),
    Mutant(
        "a target at rest need not have all of the source", PROOF, _MEETING,
        "    if not (applied.includes(position) or rt.source.is_unchanged(applied, position)):\n",
        "    if False:\n",
        (_BARRIER + "test_without_a_consumer_both_must_stand_at_one_state",),
    ),
    Mutant(
        "the log's end need not hold the position", PROOF, _MEETING,
        'if offset is not None and offset.get("file") and rt.source.has_told(offset, known, position):',
        'if offset is not None and offset.get("file"):',
        (_BARRIER + "test_a_connector_that_does_not_get_there_is_given_up",),
    ),
    Mutant(
        "all that the connector has not read is of other databases", PROOF,
        "replication/databases/mysql/log_stretch.py",
        "        of_another = not any(name in info.casefold() for name in names)\n",
        "        of_another = True\n",
        ("integration/test_mysql_history.py::test_what_other_databases_write_is_nothing_to_wait_for",),
    ),
    Mutant(
        "a statement that was applied last is waited for", PROOF, "replication/databases/mysql/log_stretch.py",
        "    first = after.pos + 1 if applied and not after.exact else after.pos\n",
        "    first = after.pos\n",
        ("e2e/test_idle_source.py::test_nothing_is_waited_for[mariadb]",),
    ),
    Mutant(
        "a transaction that only began is waited for", PROOF, "replication/stream/intake.py",
        "        return self._run.events > 0 or self._grammar.half_read is not None\n",
        "        return self._run.events > 0 or not self._grammar.between\n",
        ("e2e/test_idle_source.py::test_nothing_is_waited_for[mariadb]",),
    ),
    Mutant(
        "two comparisons share a barrier", PROOF, "replication/verify/request.py",
        "                \"where b.expires_at < clock_timestamp() or b.state = 'released'\",",
        '                "where true",',
        (_BARRIER + "test_two_comparisons_do_not_share_a_barrier",),
    ),
    Mutant(
        "a barrier is not kept alive", PROOF, "replication/verify/request.py",
        "                self._update(\"expires_at = clock_timestamp() + %s * interval '1 second'\", self._ttl_s)\n",
        "                pass\n",
        (_BARRIER + "test_a_long_wait_keeps_the_barrier_alive",),
    ),
    Mutant(
        "columns that the stream added are not compared", PROOF, "replication/verify/run.py",
        "table = current.get(name)",
        "table = {t.name: t for t in chosen}.get(name)",
        (_BARRIER + "test_a_column_that_the_stream_added_is_compared",),
    ),
    # Repair and background
    Mutant(
        "rows are repaired while the stream goes on", PROOF, "replication/verify/repair.py",
        "with meet(rt, [table.source], hold=True) as meeting:",
        "with meet(rt, [table.source]) as meeting:",
        (_REPAIR + "test_what_was_changed_on_the_target_is_mended_under_load",),
    ),
    Mutant(
        "rows that the target has too many are not repaired", PROOF, "replication/verify/repair.py",
        "            removed = theirs.delete(conn, picks)\n",
        "            removed = 0\n",
        (_REPAIR + "test_what_was_changed_on_the_target_is_mended_under_load",),
    ),
    Mutant(
        "rows in flight are differences where snapshots have no exact position", PROOF,
        "replication/verify/recheck.py",
        "    for look in range(_LOOKS):\n",
        "    for look in range(0):\n",
        (_REPAIR + "test_without_a_lock_rows_in_flight_are_no_differences",),
    ),
    Mutant(
        "the background begins each slice at a table's start", PROOF, "replication/verify/background.py",
        "        start = walk.next_key if walk is not None and len(walk.next_key) == len(table.key) else None\n",
        "        start = None\n",
        ("e2e/test_background.py::test_a_table_is_walked_in_slices_while_writers_are_at_work",),
    ),
    Mutant(
        "what was verified lately is verified again at once", PROOF, "replication/verify/background.py",
        "if at.get(t.name, never) <= limit)",
        "if True)",
        ("unit/test_verify_background.py::test_what_was_never_verified_comes_first_then_what_waited_longest",),
    ),
    Mutant(
        "names on the target are not quoted when it is compared", QUOTING,
        "replication/databases/postgres/checksum.py",
        'return Identifier(*names).as_string(self._conn).replace("%", "%%")',
        'return ".".join(names).replace("%", "%%")',
        (_KEYS + "test_names_that_need_quoting",),
    ),
]
