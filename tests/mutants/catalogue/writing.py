"""Breaks of what writes into the target: applying, the epoch and the offset, the consumer's life."""

from tests.mutants.mutant import EXACTLY_ONCE, IDEMPOTENT, KILL, NOT_SILENT, PROOF, QUOTING, WHOLE, Mutant

_APPLIER = "integration/test_applier.py::"
_TABLES = "integration/test_apply.py::"
_STATE = "integration/test_postgres_state.py::"
_EPOCH = "integration/test_postgres_epoch.py::"
_CONSUMER = "integration/test_consumer.py::"
_LEAD = "integration/test_lead.py::"
_CONTROL_AGENTS = "integration/test_control_agents.py::"
_APPLY = "replication/databases/postgres/apply.py"

# The two halves of applying a small batch
_GONE = """\
            if gone:
                cursor.executemany(self._delete_key, [self._codec.key_texts(key) for key in gone])
"""
_ROWS = """\
            if rows:
                statement = self._insert_values if self._unique else self._upsert_values
                cursor.executemany(statement, [self._codec.texts(row) for row in rows])
"""

MUTANTS = [
    # Offset and rows, epoch
    Mutant(
        "the offset is committed after the rows", EXACTLY_ONCE, "replication/stream/applying.py",
        "        self._state.advance_offset(\n",
        "        self.conn.commit()\n        self._state.advance_offset(\n",
        (_APPLIER + "test_rows_and_offset_stand_or_fall_together",),
    ),
    Mutant(
        "each part is committed by itself", WHOLE, "replication/stream/applying.py",
        "        self._tally.add(part.counts, self.live.detached)\n",
        "        self._tally.add(part.counts, self.live.detached)\n        self.conn.commit()\n",
        (_APPLIER + "test_a_run_is_seen_as_a_whole_with_its_offset",),
    ),
    Mutant(
        "the offset is not compared before it is swapped", EXACTLY_ONCE, "replication/databases/postgres/state.py",
        '"updated_at = clock_timestamp() where pipeline = %s and lane = %s and next_offset = %s",',
        '"updated_at = clock_timestamp() where pipeline = %s and lane = %s and %s >= 0",',
        (_STATE + "test_offsets_are_compared_and_swapped", _APPLIER + "test_rows_and_offset_stand_or_fall_together"),
    ),
    Mutant(
        "an offset that was not swapped is no matter", EXACTLY_ONCE, "replication/databases/postgres/state.py",
        "        if cursor.rowcount != 1:\n            found = self.offset(lane)",
        "        if False:\n            found = self.offset(lane)",
        (_STATE + "test_offsets_are_compared_and_swapped",),
    ),
    Mutant(
        "the applier does not look at the epoch", EXACTLY_ONCE, "replication/stream/applying.py",
        "                self._state.require_epoch(self.facts.epoch)\n",
        "",
        (_APPLIER + "test_a_consumer_of_an_old_epoch_writes_nothing",),
    ),
    Mutant(
        "any epoch is ours", EXACTLY_ONCE, "replication/databases/postgres/state.py",
        "if row[0] != epoch or (generation is not None and row[1] != generation):",
        "if False:",
        (_EPOCH + "test_old_epoch_and_generation_are_fenced",),
    ),
    Mutant(
        "the epoch is looked at, not held", EXACTLY_ONCE, "replication/databases/postgres/state.py",
        "from _cdc.pipeline where name = %s for key share",
        "from _cdc.pipeline where name = %s",
        (_EPOCH + "test_whoever_raises_the_epoch_waits_for_a_short_transaction",),
    ),
    Mutant(
        "an epoch is used again after a teardown", EXACTLY_ONCE, "replication/databases/postgres/state.py",
        "\"update _cdc.pipeline set epoch = nextval('_cdc.epoch'), generation = %s, source_identity = %s, \"",
        '"update _cdc.pipeline set epoch = epoch + 1, generation = %s, source_identity = %s, "',
        (_EPOCH + "test_epochs_are_not_used_again_after_a_teardown",),
    ),
    Mutant(
        "two pipelines may have one table", NOT_SILENT, "replication/databases/postgres/state.py",
        "        if taken:\n            raise ConfigurationError(",
        "        if False:\n            raise ConfigurationError(",
        (_EPOCH + "test_two_pipelines_cannot_have_one_table",),
    ),
    Mutant(
        "an offset that is there is begun anew", IDEMPOTENT, "replication/databases/postgres/state.py",
        '"insert into _cdc.log_offset (pipeline, lane, next_offset, position) values (%s, %s, %s, %s) "\n'
        '            "on conflict do nothing",',
        '"insert into _cdc.log_offset (pipeline, lane, next_offset, position) values (%s, %s, %s, %s) "\n'
        '            "on conflict (pipeline, lane) do update set next_offset = excluded.next_offset",',
        (_STATE + "test_offsets_are_compared_and_swapped",),
    ),
    # How a batch is applied
    Mutant(
        "upserts come before deletes", WHOLE, _APPLY,
        _GONE + _ROWS,
        _ROWS + _GONE,
        (_TABLES + "test_swapped_values_of_a_secondary_unique_key",),
    ),
    Mutant(
        "rows of a table with a unique index are not taken out first", WHOLE, _APPLY,
        "if row is None or self._unique]",
        "if row is None]",
        (_TABLES + "test_swapped_values_of_a_secondary_unique_key",),
    ),
    Mutant(
        "rows of a large batch are not taken out first", WHOLE, _APPLY,
        "            if self._unique:  # as above\n",
        "            if False:\n",
        (_TABLES + "test_swapped_values_of_a_secondary_unique_key",),
    ),
    Mutant(
        "the target's unique indexes are not looked for", WHOLE, "replication/databases/postgres/appliers.py",
        "unique = bool(existing.unique_indexes(conn, codec.table)) or to_be_unique",
        "unique = to_be_unique",
        (_APPLIER + "test_unique_values_change_hands",),
    ),
    Mutant(
        "new rows that are there already are left as they are", EXACTLY_ONCE, _APPLY,
        "            self._pessimism = _RETRY_FRESH_AFTER\n            return False\n",
        "            return True\n",
        (_TABLES + "test_rows_that_are_there_already_though_they_came_as_new",),
    ),
    Mutant(
        "a keyless change that hits nothing is passed over", NOT_SILENT, _APPLY,
        "if cursor.rowcount != 1:",
        "if False:",
        (_TABLES + "test_a_table_without_a_key_changes_one_row_per_event",),
    ),
    Mutant(
        "a keyless change takes all rows that are alike", NOT_SILENT, _APPLY,
        "where ctid = (select ctid from {0} where {1} limit 1)",
        "where {1}",
        (_TABLES + "test_a_table_without_a_key_changes_one_row_per_event",),
    ),
    Mutant(
        "large deletes are left out", NOT_SILENT, _APPLY,
        "            self._conn.execute(self._delete_gone)\n",
        "",
        (_TABLES + "test_large_deletes_and_upserts_of_one_batch",),
    ),
    Mutant(
        "the stage of keys is not emptied", EXACTLY_ONCE, _APPLY,
        'self._conn.execute(sql.SQL("truncate {}").format(self._gone))',
        "pass",
        (_TABLES + "test_large_deletes_and_upserts_of_one_batch",),
    ),
    Mutant(
        "the stage of rows is not emptied", EXACTLY_ONCE, _APPLY,
        'self._conn.execute(sql.SQL("truncate {}").format(self._stage))',
        "pass",
        (_TABLES + "test_large_deletes_and_upserts_of_one_batch",),
    ),
    Mutant(
        "values that are too long are cut", NOT_SILENT, _APPLY,
        'values = sql.SQL(", ").join([sql.SQL(f"${n}") for n in range(1, len(self._columns) + 1)])',
        'values = sql.SQL(", ").join([sql.SQL(f"${n}::text::{t.as_string()}") '
        "for n, t in enumerate(self._types, 1)])",
        (_TABLES + "test_a_value_too_long_is_refused_not_cut",),
    ),
    Mutant(
        "the target's table is emptied under its readers", WHOLE, "replication/stream/live_tables.py",
        "ddl.delete_range(self._conn, table, lower, upper)",
        "ddl.truncate(self._conn, table)",
        (_APPLIER + "test_a_truncate_is_not_seen_by_who_reads_an_older_state",),
    ),
    Mutant(
        "a truncate reaches all of the table", NOT_SILENT, "replication/stream/live_tables.py",
        "for lower, upper in item.ranges or [(None, None)]:",
        "for lower, upper in [(None, None)]:",
        (_APPLIER + "test_a_truncate_reaches_the_ranges_that_it_names",),
    ),
    Mutant(
        "an abandoned run stays open", EXACTLY_ONCE, "replication/stream/applying.py",
        "                self.conn.rollback()\n            self.live.undone",
        "                pass\n            self.live.undone",
        (_APPLIER + "test_an_abandoned_run_leaves_nothing_and_comes_again",),
    ),
    Mutant(
        "a stream begins on a copy that lacks chunks", NOT_SILENT, "replication/stream/live_tables.py",
        "if not chunks or len(positions) < len(chunks):",
        "if not chunks:",
        (_APPLIER + "test_a_copy_that_lacks_a_chunk_is_not_streamed_into",),
    ),
    Mutant(
        "names on the target are not quoted", QUOTING, _APPLY,
        "self._columns = [sql.Identifier(name) for name, _ in table.landing]",
        "self._columns = [sql.SQL(name) for name, _ in table.landing]",
        (_TABLES + "test_a_value_too_long_is_refused_not_cut", _TABLES + "test_folded_batches_equal_single_steps"),
    ),
    # The consumer
    Mutant(
        "a log that was made again is read on", NOT_SILENT, "replication/stream/log_topic.py",
        "if found is None or found != topic_id:",
        "if found is None:",
        (_CONSUMER + "test_a_log_that_was_made_again_is_refused",),
    ),
    Mutant(
        "an offset that the log does not hold is read on", NOT_SILENT, "replication/stream/streaming.py",
        "topics.require_offset(topic, applier.offset)",
        "pass",
        (_CONSUMER + "test_an_offset_that_the_log_does_not_hold_is_refused",),
    ),
    Mutant(
        "a consumer of an older generation goes on", EXACTLY_ONCE, "replication/stream/consumer.py",
        "if facts.generation != self._record.generation:",
        "if False:",
        (_CONSUMER + "test_a_consumer_of_another_generation_ends",),
    ),
    Mutant(
        "any number of consumers lead", EXACTLY_ONCE, "replication/stream/lead.py",
        '"select pg_try_advisory_lock(hashtextextended(%s, 0))"',
        '"select hashtextextended(%s, 0) is not null"',
        (_LEAD + "test_the_lead_stays[has it not]", _CONSUMER + "test_one_consumer_leads"),
    ),
    Mutant(
        "a frozen host keeps the lead", KILL, "replication/stream/lead.py",
        "        if leader is not None and holds():\n",
        "        if False:\n",
        (_LEAD + "test_the_host_that_has_the_pipeline_takes_the_lead_from_another",),
    ),
    Mutant(
        "whoever comes takes the lead", EXACTLY_ONCE, "replication/stream/lead.py",
        "        if leader is not None and holds():\n",
        "        if leader is not None:\n",
        (_LEAD + "test_the_lead_stays[has it not]",),
    ),
    Mutant(
        "the heartbeat of a host that was overtaken counts", KILL, "replication/control/beats.py",
        "and not self._may_speak(connection, heartbeat):",
        "and False:",
        (_CONTROL_AGENTS + "test_a_consumer_whose_pipeline_another_host_has_is_not_heard",),
    ),
    Mutant(
        "after an outage of the store pipelines are anybody's", KILL, "replication/control/assignments.py",
        "if take_over else t.c.host == host,",
        "if True else t.c.host == host,",
        (_CONTROL_AGENTS + "test_a_host_that_comes_back_from_an_outage_lets_the_others_come_first",),
    ),
    Mutant(
        "what stops the reader does not stop the consumer", NOT_SILENT, "replication/stream/streaming.py",
        "            self.applier.abandon()\n            raise item.error",
        "            self.applier.abandon()\n            return",
        (_CONSUMER + "test_what_stops_the_reader_stops_the_consumer_before_it_does_harm",),
    ),
    Mutant(
        "the consumer goes on while it is parked", PROOF, "replication/stream/parking.py",
        "stream.open(stop_at=position)",
        "stream.open()",
        (_CONSUMER + "test_a_barrier_is_reached_exactly",),
    ),
    Mutant(
        "the consumer says that it is there before it is", PROOF, "replication/stream/parking.py",
        "arrived = self._go_to(barrier, position)",
        "arrived = True",
        (_CONSUMER + "test_a_barrier_is_reached_exactly",),
    ),
    Mutant(
        "a barrier whose requester died holds the stream", NOT_SILENT, "replication/stream/parking.py",
        "if seen is None or seen.id != barrier or seen.expired:",
        "if seen is None or seen.id != barrier:",
        (_CONSUMER + "test_a_barrier_whose_requester_died_is_left",),
    ),
]
