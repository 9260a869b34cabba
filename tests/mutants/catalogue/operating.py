"""Breaks of what surrounds the stream: prerequisites, leases, secrets."""

from tests.mutants.mutant import IDEMPOTENT, KILL, NOT_SILENT, QUOTING, SECRETS, Mutant

_STEPS = "integration/test_between_steps.py::"
_LEASES = "integration/test_control_leases.py::"
_CONTROL_PIPELINES = "integration/test_control_pipelines.py::"
_PREFLIGHT = "integration/test_mysql_preflight.py::"
_CONFIG = "unit/test_connector_config.py::"
_SERVER = "replication/databases/mysql/preflight_server.py"
_TABLES = "replication/databases/mysql/preflight_tables.py"

MUTANTS = [
    # Prerequisites
    Mutant(
        "a start goes on with prerequisites that are not met", NOT_SILENT, "replication/operations/start.py",
        "    if not all(r.ok for r in results):\n",
        "    if False:\n",
        (_STEPS + "test_nothing_is_done_where_a_prerequisite_is_not_met",),
    ),
    Mutant(
        "any log format will do", NOT_SILENT, _SERVER,
        "    wrong = [name for name, text in wanted.items() if found[name] != text]\n",
        "    wrong: list[str] = []\n",
        (_PREFLIGHT + "test_mariadb_that_logs_otherwise", _PREFLIGHT + "test_mysql_that_logs_otherwise"),
    ),
    Mutant(
        "a database that is left out of the log will do", NOT_SILENT, _SERVER,
        "    ok = (not only or name in only.split(\",\")) and name not in without.split(\",\")\n",
        "    ok = True\n",
        (_PREFLIGHT + "test_mariadb_that_logs_otherwise",),
    ),
    Mutant(
        "prepared XA transactions will do", NOT_SILENT, _SERVER,
        '"source XA transactions", not rows,',
        '"source XA transactions", True,',
        (_PREFLIGHT + "test_prepared_xa_transactions[mysql]",),
    ),
    Mutant(
        "rows that the engine changes unlogged will do", NOT_SILENT, _TABLES,
        "    found = list(acting_keys(look.conn, look.spec.database, [table.name for table in look.tables]))\n",
        "    found: list[Any] = []\n",
        (_PREFLIGHT + "test_cascades[mariadb]",),
    ),
    Mutant(
        "keys of floating-point numbers will do", NOT_SILENT, _TABLES,
        "    if floats:\n",
        "    if False:\n",
        (_PREFLIGHT + "test_float_keys[mysql]",),
    ),
    Mutant(
        "names that the connector can't read will do", NOT_SILENT, _TABLES,
        '"source names", not wrong,',
        '"source names", True,',
        (_PREFLIGHT + "test_names_that_the_connector_can_not_read[mysql-`q]",),
    ),
    Mutant(
        "tables that have no snapshot will do", NOT_SILENT, _TABLES,
        '"source engines", not wrong,',
        '"source engines", True,',
        (_PREFLIGHT + "test_tables_that_have_no_snapshot[mysql]",),
    ),
    Mutant(
        "values larger than an event may be will do", NOT_SILENT, _TABLES,
        "    if too_large:\n",
        "    if False:\n",
        (_PREFLIGHT + "test_values_larger_than_an_event_may_be[mysql]",),
    ),
    Mutant(
        "the connector may have the server's own id", NOT_SILENT, _SERVER,
        "    if own == ours:\n",
        "    if False:\n",
        (_PREFLIGHT + "test_a_server_id_in_use[mysql]",),
    ),
    Mutant(
        "the target's triggers and foreign keys will do", NOT_SILENT, "replication/databases/postgres/preflight.py",
        "    except psycopg.errors.InsufficientPrivilege:\n        user = conn.info.user",
        "    except psycopg.errors.InsufficientPrivilege:\n"
        '        return CheckResult("target triggers", True, "")\n        user = conn.info.user',
        ("integration/test_postgres_target.py::"
         "test_triggers_and_foreign_keys_need_a_right_that_is_named_and_then_enough",),
    ),
    # Leases
    Mutant(
        "a lease may be had by two", IDEMPOTENT, "replication/control/leases.py",
        "where=or_(t.c.holder == holder, t.c.expires_at <= moment),",
        "where=t.c.pipeline == pipeline,",
        (_LEASES + "test_a_held_lease_names_its_holder", _LEASES + "test_of_two_processes_one_gets_the_lease"),
    ),
    Mutant(
        "a start works beside another operation", IDEMPOTENT, "replication/operations/start.py",
        'with rt.store.lease(rt.name, holder, "start") as lease:',
        "with __import__('contextlib').nullcontext(__import__('unittest.mock').mock.Mock()) as lease:",
        (_STEPS + "test_a_start_waits_for_nobody_and_does_nothing_beside_another_operation",),
    ),
    Mutant(
        "a start goes on when its lease is lost", IDEMPOTENT, "replication/operations/start.py",
        "            step_carry(rt, log, before_stream=True)\n            lease.check()\n",
        "            step_carry(rt, log, before_stream=True)\n",
        (_STEPS + "test_a_start_that_lost_its_lease_ends_before_its_next_step",),
    ),
    Mutant(
        "a lease that was lost is not told", IDEMPOTENT, "replication/control/leases.py",
        "        if self._taken:\n",
        "        if False:\n",
        (_LEASES + "test_a_lost_lease_is_told",),
    ),
    Mutant(
        "a lease is not renewed", IDEMPOTENT, "replication/control/leases.py",
        "        while not self._ended.wait(self.ttl_s / 5):\n",
        "        while False:\n",
        (_LEASES + "test_a_lease_is_renewed_while_it_is_held",),
    ),
    Mutant(
        "a killed process keeps its lease", KILL, "replication/control/leases.py",
        "        self._bury(pipeline)\n",
        "",
        (_LEASES + "test_the_lease_of_a_killed_process_is_free_at_once",),
    ),
    Mutant(
        "an old consumer's failure is the new one's", IDEMPOTENT, "replication/control/pipelines.py",
        "            if if_revision is not None:\n",
        "            if False:\n",
        (_CONTROL_PIPELINES + "test_an_old_consumers_failure_does_not_overwrite_a_new_start",),
    ),
    # Secrets
    Mutant(
        "secrets are not masked", SECRETS, "replication/secrets.py",
        "        text = text.replace(value, MASK)\n",
        "        pass\n",
        ("unit/test_secrets.py::test_what_was_resolved_as_a_secret_is_masked",),
    ),
    Mutant(
        "a secret is not remembered", SECRETS, "replication/secrets.py",
        "        _known_values.add(value)\n",
        "        pass\n",
        ("unit/test_secrets.py::test_what_was_resolved_as_a_secret_is_masked",),
    ),
    Mutant(
        "logs show secrets", SECRETS, "replication/logs.py",
        "        record.msg, record.args = redact(record.getMessage()), ()\n",
        "        record.msg, record.args = record.getMessage(), ()\n",
        ("unit/test_logs.py::test_text_lines_name_the_pipeline_and_hide_secrets",),
    ),
    Mutant(
        "exceptions in logs show secrets", SECRETS, "replication/logs.py",
        "            record.exc_text = redact(record.exc_text)\n",
        "            pass\n",
        ("unit/test_logs.py::test_text_lines_name_the_pipeline_and_hide_secrets",
         "unit/test_logs.py::test_errors_that_nobody_catches_are_masked_too"),
    ),
    Mutant(
        "Kafka Connect is given the password", SECRETS, "replication/stream/connector.py",
        "        return secrets.for_connect(source.password)\n",
        "        return source.resolved_password()\n",
        (_CONFIG + "test_the_password_stands_there_as_a_reference_only",),
    ),
    Mutant(
        "a user may give Kafka Connect a password in clear", SECRETS, "replication/stream/connector_extra.py",
        "if _SECRET.search(key) and not _REFERENCE.search(value))",
        "if False)",
        (_CONFIG + "test_secrets_in_clear_are_refused_and_not_repeated",),
    ),
    Mutant(
        "Kafka Connect's answers show secrets", SECRETS, "replication/connect_answers.py",
        "    text = redact(text.strip())\n",
        "    text = text.strip()\n",
        ("unit/test_connect_client.py::test_secrets_in_answers_are_masked",),
    ),
    Mutant(
        "a failed task's trace shows secrets", SECRETS, "replication/stream/connector_failures.py",
        'return redact("\\n".join(f"    {line}" for line in unique[:_LINES]))[:_CHARS]',
        'return "\\n".join(f"    {line}" for line in unique[:_LINES])[:_CHARS]',
        (_CONFIG + "test_a_trace_shows_no_secret",),
    ),
    Mutant(
        "the control store holds secrets", SECRETS, "replication/control/base.py",
        "    return redact(text).replace",
        "    return text.replace",
        (_CONTROL_PIPELINES + "test_known_secrets_never_reach_the_database",),
    ),
    Mutant(
        "Dagster's events show secrets", SECRETS, "resources/failures.py",
        "raise dg.Failure(redact(message), metadata",
        "raise dg.Failure(message, metadata",
        ("unit/test_dagster_failures.py::test_secrets_are_masked_in_failures",),
    ),
    Mutant(
        "what led to a failure shows secrets in Dagster's events", SECRETS, "resources/failures.py",
        "allow_retries=False) from masked(error)",
        "allow_retries=False) from error",
        ("unit/test_dagster_failures.py::test_secrets_are_masked_in_failures",),
    ),
    Mutant(
        "a try that is not the last shows secrets in Dagster's events", SECRETS, "resources/failures.py",
        "            shown = masked(error)\n",
        "            shown = error\n",
        ("unit/test_dagster_failures.py::test_secrets_are_masked_in_failures",),
    ),
    Mutant(
        "the next step in Dagster's events shows secrets", SECRETS, "resources/failures.py",
        'metadata["next step"] = dg.MetadataValue.md(redact(error.next_step))',
        'metadata["next step"] = dg.MetadataValue.md(error.next_step)',
        ("unit/test_dagster_failures.py::test_secrets_are_masked_in_failures",),
    ),
    Mutant(
        "the command line shows secrets", SECRETS, "cli/__init__.py",
        'click.echo(f"cdc: {redact(str(error))}", err=True)',
        'click.echo(f"cdc: {error}", err=True)',
        ("unit/test_secrets.py::test_the_command_line_shows_no_secret",),
    ),
    Mutant(
        "a heartbeat shows secrets", SECRETS, "replication/stream/pulse.py",
        "        self.beat.state, self.beat.message = state, redact(message)\n",
        "        self.beat.state, self.beat.message = state, message\n",
        ("unit/test_secrets.py::test_a_heartbeat_shows_no_secret",),
    ),
    # Quoting
    Mutant(
        "a table's name for Debezium is a pattern", QUOTING, "replication/stream/connector.py",
        'return re.sub(r"[^\\w]", lambda match: "\\\\" + match[0] if match[0].isascii() else match[0], name)',
        "return name",
        (_CONFIG + "test_table_names_are_quoted_and_match_themselves_alone",),
    ),
    Mutant(
        "a connector's name is part of Kafka Connect's address as it is", QUOTING, "replication/connect.py",
        'return "/".join(["/connectors", quote(name, safe=""), *more])',
        'return "/".join(["/connectors", name, *more])',
        ("unit/test_connect_client.py::test_names_are_quoted",),
    ),
]
