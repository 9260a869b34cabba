"""Breaks of the hand-over: where the connector begins, what it rests on, what the source is asked before."""

from tests.mutants.mutant import EXACTLY_ONCE, IDEMPOTENT, KILL, NO_GAP, NOT_SILENT, WHOLE, Mutant

_HANDOVER = "integration/test_handover.py::"
_HANDOVER_LOSSES = "integration/test_handover_losses.py::"
_HANDOVER_AGAIN = "integration/test_handover_again.py::"
_STEPS = "unit/test_connector_steps.py::"
_CONFIG = "unit/test_connector_config.py::"
_HISTORY = "integration/test_mysql_history.py::"
_SOURCE_HISTORY = "replication/databases/mysql/history.py"
_CONNECTOR_STEPS = "replication/stream/connector_steps.py"

MUTANTS = [
    # Where it begins
    Mutant(
        "the connector begins at now", NO_GAP, "replication/stream/handover.py",
        '{"server": pipeline.topic_prefix}, position.connect_offset(), log,',
        '{"server": pipeline.topic_prefix}, source.position().connect_offset(), log,',
        (_HANDOVER + "test_from_exactly_the_position_in_commit_order[mysql]",),
    ),
    Mutant(
        "the connector is told no GTIDs", NO_GAP, "replication/databases/mysql/position.py",
        '            offset["gtids"] = self.gtids\n',
        "            pass\n",
        ("unit/test_mysql_position.py::test_the_offset_of_a_position_says_all_that_debezium_goes_by",),
    ),
    Mutant(
        "an offset that did not take is not seen", NO_GAP, _CONNECTOR_STEPS,
        "        if self.offset(found) != self.position:\n",
        "        if False:\n",
        (_STEPS + "test_an_offset_that_did_not_take_is_seen",),
    ),
    Mutant(
        "a connector is switched within its schema's snapshot", NO_GAP, _CONNECTOR_STEPS,
        '        if offset is None or "snapshot" in offset:\n            # `no_data`',
        "        if offset is None:\n            # `no_data`",
        (_STEPS + "test_from_within_its_schemas_snapshot_it_is_not_switched",),
    ),
    Mutant(
        "recovery is over within its snapshot", NO_GAP, _CONNECTOR_STEPS,
        'return offset is not None and "snapshot" not in offset and offset != self.position',
        "return offset is not None and offset != self.position",
        (_STEPS + "test_recovery_is_over_when_an_offset_of_its_own_is_committed",),
    ),
    Mutant(
        "recovery is over with the offset that it was given", NO_GAP, _CONNECTOR_STEPS,
        'return offset is not None and "snapshot" not in offset and offset != self.position',
        'return offset is not None and "snapshot" not in offset',
        (_STEPS + "test_recovery_is_over_when_an_offset_of_its_own_is_committed",),
    ),
    Mutant(
        "RUNNING is proof", NO_GAP, _CONNECTOR_STEPS,
        "elif self._log_end() >= before + _PROOF_RECORDS:",
        "elif runs(status):",
        (_STEPS + "test_running_is_no_proof_that_changes_flow",),
    ),
    Mutant(
        "a connector without an offset is kept", NO_GAP, "replication/stream/handover.py",
        '        return offset is not None and "snapshot" not in offset\n\n    def _has_lost',
        "        return True\n\n    def _has_lost",
        (_HANDOVER_LOSSES + "test_offsets_lost_behind_our_back_do_not_start_it_at_now[mysql]",),
    ),
    # Torn key changes
    Mutant(
        "a transaction torn within a key change is not sent again", WHOLE, _CONNECTOR_STEPS,
        "        if self.is_torn():\n",
        "        if False:\n",
        (_STEPS + "test_a_transaction_torn_within_a_key_change_is_sent_again_from_its_start",),
    ),
    Mutant(
        "a torn transaction is sent again from its middle", WHOLE, _CONNECTOR_STEPS,
        '_TRANSACTION_START = ("file", "pos", "gtids", "ts_sec", "server_id")',
        '_TRANSACTION_START = ("file", "pos", "gtids", "ts_sec", "server_id", "event", "row", "transaction_id")',
        (_STEPS + "test_a_transaction_torn_within_a_key_change_is_sent_again_from_its_start",),
    ),
    # Definitions
    Mutant(
        "definitions are not compared", NO_GAP, "replication/stream/held_definitions.py",
        "        if other:\n            raise ResyncRequiredError(\n",
        "        if False:\n            raise ResyncRequiredError(\n",
        (_HANDOVER + "test_a_changed_definition_asks_for_a_resync[mysql-alter table note add column later int]",),
    ),
    Mutant(
        "the order of columns is no part of a definition", NO_GAP, "replication/catalog.py",
        "facts = [[(c.name, c.full_type, c.nullable, c.charset, c.generated) for c in self.columns], self.key]",
        "facts = [sorted((c.name, c.full_type) for c in self.columns), self.key]",
        ("integration/test_mysql_source.py::"
         "test_a_changed_definition_has_another_fingerprint[mysql-modify b varchar(9) after id]",),
    ),
    Mutant(
        "nothing holds the definitions still", NO_GAP, "replication/databases/mysql/source.py",
        "            touch(reader, tables)\n",
        "            pass\n",
        ("integration/test_mysql_lock.py::test_ddl_waits_while_a_snapshot_or_a_guard_is_open[mysql]",),
    ),
    # What the source is asked
    Mutant(
        "another server's log is the source's", NOT_SILENT, _SOURCE_HISTORY,
        "if position.server and position.server != identity:",
        "if False:",
        (_HISTORY + "test_places_that_no_log_has[gtid]",),
    ),
    Mutant(
        "a log that was reset is taken for the old one", NOT_SILENT, _SOURCE_HISTORY,
        "    _require_not_reset(conn, files, position, often=often)\n",
        "",
        (_HISTORY + "test_a_reset_log_is_never_taken_for_the_old_one[gtid]",),
    ),
    Mutant(
        "a reset log that has grown beyond the old place is taken for it", NOT_SILENT, _SOURCE_HISTORY,
        "        _require_same_log(conn, position)\n\n\ndef _gtids",
        "        pass\n\n\ndef _gtids",
        (_HISTORY + "test_a_reset_log_is_never_taken_for_the_old_one[gtid]",),
    ),
    Mutant(
        "a purged log is no matter", NOT_SILENT, _SOURCE_HISTORY,
        "    if not MySqlGtidSet(position.gtids).filled().includes(purged):\n",
        "    if False:\n",
        (_HISTORY + "test_the_life_of_a_position[gtid]",),
    ),
    Mutant(
        "a file that was purged is no matter without GTIDs", NOT_SILENT, _SOURCE_HISTORY,
        "    if not position.gtids:\n        raise _purged(",
        "    if not position.gtids:\n        return\n        raise _purged(",
        (_HISTORY + "test_the_life_of_a_position[plain]",),
    ),
    Mutant(
        "MariaDB's purged log is no matter", NOT_SILENT, _SOURCE_HISTORY,
        "    if begin is None or not MariaDbGtidSet(position.gtids).includes(begin):\n",
        "    if False:\n",
        (_HISTORY + "test_the_life_of_a_position[mariadb]",),
    ),
    Mutant(
        "a new connector does not ask whether the log still reaches back", NOT_SILENT, "replication/stream/handover.py",
        "        self.source.require_reachable(self.position)\n        self.definitions.compare()\n",
        "        self.definitions.compare()\n",
        (_HANDOVER_LOSSES + "test_a_purged_log_asks_for_a_resync[mysql]",),
    ),
    Mutant(
        "a kept connector does not ask whether the log still reaches back", NOT_SILENT,
        "replication/stream/handover.py",
        "            self.source.require_reachable(self._connector_position())\n",
        "            pass\n",
        (_HANDOVER_LOSSES + "test_a_purged_log_asks_for_a_resync[mysql]",),
    ),
    # Whose connector, which topics
    Mutant(
        "somebody else's connector is ours", NOT_SILENT, "replication/stream/connector_seal.py",
        "    if found != pipeline.name:\n",
        "    if False:\n",
        (_HANDOVER_AGAIN + "test_somebody_elses_connector_is_left_alone[mysql]",),
    ),
    Mutant(
        "a newer generation's connector is ours", EXACTLY_ONCE, "replication/stream/connector_life.py",
        "    if found > generation:\n",
        "    if False:\n",
        (_HANDOVER_AGAIN + "test_somebody_elses_connector_is_left_alone[mysql]",),
    ),
    Mutant(
        "topics that another connector uses are deleted", NOT_SILENT, "replication/stream/connector_life.py",
        "if ours.fullmatch(t) and t not in used]",
        "if ours.fullmatch(t)]",
        (_STEPS + "test_a_topic_that_another_connector_uses_is_not_ours_to_delete",),
    ),
    Mutant(
        "the healer resumes what a person has stopped", IDEMPOTENT, "replication/stream/connector_life.py",
        '    if state == "STOPPED":\n        raise ConfigurationError(f"connector {name} is STOPPED", '
        'f"run `cdc start {pipeline.name}`.")\n    if state == "PAUSED":',
        '    if state in ("STOPPED", "PAUSED"):',
        (_HANDOVER_AGAIN + "test_the_healer_resumes_what_is_paused_and_leaves_what_is_stopped[mysql]",),
    ),
    Mutant(
        "the change log's topic loses old records", NOT_SILENT, "replication/stream/log_topic.py",
        '"retention.ms": "-1"',
        '"retention.ms": "604800000"',
        ("integration/test_log_topics.py::test_nothing_in_the_log_expires",),
    ),
    Mutant(
        "a topic's settings are not looked at", NOT_SILENT, "replication/stream/log_topic.py",
        "        if wrong:\n",
        "        if False:\n",
        ("integration/test_log_topics.py::test_settings_that_would_lose_records_are_refused",),
    ),
    Mutant(
        "the change log may have several partitions", WHOLE, "replication/stream/log_topic.py",
        "        if len(metadata.partitions) != 1:\n",
        "        if False:\n",
        ("integration/test_log_topics.py::test_a_second_partition_is_refused",),
    ),
    # What Debezium is told
    Mutant(
        "truncates are left out", NOT_SILENT, "replication/stream/connector.py",
        '"skipped.operations": "none"',
        '"skipped.operations": "t"',
        (_CONFIG + "test_what_exactness_rests_on",),
    ),
    Mutant(
        "a NULL becomes its column's default", NOT_SILENT, "replication/stream/connector.py",
        '(".replace.null.with.default", "false")',
        '(".replace.null.with.default", "true")',
        (_CONFIG + "test_what_exactness_rests_on",),
    ),
    Mutant(
        "records that Connect can't convert are left out", NOT_SILENT, "replication/stream/connector.py",
        '"errors.tolerance": "none"',
        '"errors.tolerance": "all"',
        (_CONFIG + "test_what_exactness_rests_on",),
    ),
    Mutant(
        "events that Debezium can't read are left out", NOT_SILENT, "replication/stream/connector.py",
        '"event.processing.failure.handling.mode": "fail"',
        '"event.processing.failure.handling.mode": "warn"',
        (_CONFIG + "test_what_exactness_rests_on",),
    ),
    Mutant(
        "events of tables that Debezium does not know are left out", NOT_SILENT, "replication/stream/connector.py",
        '"inconsistent.schema.handling.mode": "fail"',
        '"inconsistent.schema.handling.mode": "skip"',
        (_CONFIG + "test_what_exactness_rests_on",),
    ),
    Mutant(
        "the producer takes larger records than the topic", NOT_SILENT, "replication/stream/connector.py",
        '"producer.override.max.request.size": limit,',
        '"producer.override.max.request.size": str(2 * kafka.max_message_bytes),',
        (_CONFIG + "test_no_record_fits_the_producer_but_not_the_topic",),
    ),
    Mutant(
        "a user may take such settings back", NOT_SILENT, "replication/stream/connector_extra.py",
        "    if mistakes:\n",
        "    if False:\n",
        (_CONFIG + "test_settings_that_the_hand_over_depends_on_are_refused_all_at_once",),
    ),
    Mutant(
        "a purged log is worth another try", NOT_SILENT, "replication/stream/connector_failures.py",
        "        ResyncRequiredError,\n        \"the source no longer has the log",
        "        RetryableError,\n        \"the source no longer has the log",
        (_CONFIG + "test_a_failed_task_says_what_to_do",),
    ),
    # Done twice, broken off
    Mutant(
        "a request that took effect in spite of its answer is made again", IDEMPOTENT, "replication/connect.py",
        "if attempt.retry_state.attempt_number > 1 and done is not None and done():",
        "if False:",
        ("unit/test_connect_client.py::test_a_500_that_took_effect_is_not_said_again",),
    ),
    Mutant(
        "a hand-over that was broken off begins anew", KILL, "replication/stream/handover.py",
        "        if self._may_continue(found):\n",
        "        if False:\n",
        (_HANDOVER + "test_killed_after_any_step_it_is_run_again[placed-mysql]",),
    ),
    Mutant(
        "a stopped pipeline's connector is stopped, not paused", WHOLE, "replication/stream/connector_life.py",
        '    if not client.pause(name):\n        return False\n    client.wait_state(name, "PAUSED"',
        '    client.stop(name)\n    client.wait_state(name, "STOPPED"',
        (_HANDOVER_AGAIN + "test_pause_and_resume[mysql]",),
    ),
]
