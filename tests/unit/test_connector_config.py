"""The connector's configuration, and the errors that stand for its failures."""

import json
import re

import pytest

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import CdcError, ConfigurationError, ResyncRequiredError, RetryableError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.connector import (
    captures,
    connector_class,
    connector_config,
    quote_regex,
    validate_extra,
)
from cdc_pipelines.replication.stream.connector_failures import failure, first_lines, misread_table, unknown_table
from cdc_pipelines.replication.stream.connector_seal import foreign_owner, require_sealed, seal_is_broken, sealed


def pipeline(*, kind: str = "mysql", source: dict | None = None, **sections: object) -> Pipeline:
    return Pipeline.model_validate({
        "name": "shop", "client": 1, "config": 4,
        "source": {"type": kind, "host": "db", "port": 3306, "database": "sh.op", "user": "cdc",
                   "password": "${env:SHOP_PASSWORD}"} | (source or {}),
        "target": {"type": "postgres", "host": "pg", "port": 5432, "database": "shop", "user": "cdc",
                   "password": "${env:PG_PASSWORD}"},
        "kafka": {"bootstrap_servers": "kafka:9092"},
    } | sections)


def table(name: str, *columns: str, left_out: tuple[str, ...] = ()) -> MappedTable:
    every = tuple(Column(c, "int", "int") for c in (*columns, *left_out))
    mapped = tuple(MappedColumn(c, c.name, "integer") for c in every if c.name not in left_out)
    return MappedTable(Table("sh.op", name, every, ("id",)), "public", name, mapped, whole=not left_out)


def config(spec: Pipeline | None = None, *tables: MappedTable, **options: object) -> dict[str, str]:
    settings: dict = {"generation": 17, "log_topic": "p.g17.log", "history_topic": "p.g17.history.2",
                      "snapshot_mode": "recovery"} | options
    return connector_config(spec or pipeline(), tables or (table("orders", "id"),), **settings)


def lists(text: str) -> list[re.Pattern[str]]:
    """A list of expressions as Debezium takes it: split at bare commas, whole names, any case."""
    return [re.compile(part, re.IGNORECASE) for part in re.split(r"(?<!\\),", text)]


def test_every_value_is_text() -> None:
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in config().items())


def test_the_password_stands_there_as_a_reference_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2hunter2")
    assert config()["database.password"] == "${env:SHOP_PASSWORD}"
    assert "hunter2" not in json.dumps(config())
    in_a_file = pipeline(source={"password": "${file:/run/secrets/shop}"})
    assert config(in_a_file)["database.password"] == "${directory:/run/secrets:shop}"
    elsewhere = pipeline(source={"connect_password": "${vault:secret/shop:password}"})
    assert config(elsewhere)["database.password"] == "${vault:secret/shop:password}"


def test_a_literal_password_for_the_worker_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        config(pipeline(source={"connect_password": "hunter2hunter2"}))
    assert "hunter2" not in str(caught.value)


def test_we_know_our_own_connector_again() -> None:
    position = MySqlPosition("binlog.000004", 157, "u:1-7", "u")
    made = config(start=position)
    assert (made["cdc.pipeline"], made["cdc.generation"]) == ("shop", "17")
    assert MySqlPosition.from_json(made["cdc.start"]) == position


def test_what_exactness_rests_on() -> None:
    wanted = {
        "topic.prefix": "client_1_db_4",
        "snapshot.mode": "recovery",
        "snapshot.locking.mode": "none",
        "transforms.one.replacement": "p.g17.log",
        "schema.history.internal.kafka.topic": "p.g17.history.2",
        "exactly.once.support": "required",
        "provide.transaction.metadata": "true",
        "include.schema.changes": "true",
        "skipped.operations": "none",
        "tombstones.on.delete": "false",
        "value.converter.replace.null.with.default": "false",
        "key.converter.replace.null.with.default": "false",
        "value.converter.decimal.format": "NUMERIC",
        "value.converter.schemas.enable": "false",
        "tasks.max": "1",
        # What can't be read stops the connector; each of these has a setting that skips it instead.
        "errors.tolerance": "none",
        "event.processing.failure.handling.mode": "fail",
        "inconsistent.schema.handling.mode": "fail",
    }
    made = config()
    assert {key: made.get(key) for key in wanted} == wanted
    # A sub-setting of a converter counts only beside the converter itself.
    assert made["value.converter"] == made["key.converter"] == "org.apache.kafka.connect.json.JsonConverter"


def test_no_record_fits_the_producer_but_not_the_topic() -> None:
    made = config(pipeline(kafka={"max_message_bytes": 2_000_000}))
    assert int(made["producer.override.max.request.size"]) <= int(made["topic.creation.default.max.message.bytes"])
    assert int(made["producer.override.buffer.memory"]) >= 2_000_000


def test_the_worker_may_see_the_servers_under_other_names() -> None:
    made = config(pipeline(
        source={"connect_host": "db.inside", "connect_port": 3307},
        kafka={"bootstrap_servers": "127.0.0.1:9092", "connect_bootstrap_servers": "kafka.inside:9092"},
    ))
    assert (made["database.hostname"], made["database.port"]) == ("db.inside", "3307")
    assert made["schema.history.internal.kafka.bootstrap.servers"] == "kafka.inside:9092"


def test_dialects() -> None:
    assert config()["connector.class"] == connector_class("mysql") == "io.debezium.connector.mysql.MySqlConnector"
    maria = config(pipeline(kind="mariadb"))
    assert maria["connector.class"] == "io.debezium.connector.mariadb.MariaDbConnector"
    assert maria["database.ssl.mode"] == "disable"
    assert config()["database.ssl.mode"] == "preferred"
    strict = {"tls": {"mode": "verify_identity", "ca": "/ca.pem"}}
    assert config(pipeline(source=strict))["database.ssl.mode"] == "verify_identity"
    assert config(pipeline(kind="mariadb", source=strict))["database.ssl.mode"] == "verify-full"


def test_table_names_are_quoted_and_match_themselves_alone() -> None:
    names = ["orders", "a.b", "x$y", "comma,comma", "p|q", "sp ace", "größe", "(br)", "a+b", "back\\slash", "x-y"]
    made = config(pipeline(tables=names), *(table(name, "id") for name in names))
    patterns = lists(made["table.include.list"])
    assert len(patterns) == len(names)
    for pattern, name in zip(patterns, names, strict=True):
        assert pattern.fullmatch(f"sh.op.{name}"), name
        assert not pattern.fullmatch(f"shXop.{name}")
        assert not pattern.fullmatch(f"sh.op.{name}2")
    assert not any(pattern.fullmatch("sh.op.aXb") for pattern in patterns)
    assert not any(pattern.fullmatch("sh.op.p") for pattern in patterns)
    assert quote_regex("plain_1") == "plain_1"
    assert all(captures(made, "sh.op", name) for name in names)
    assert not captures(made, "sh.op", "other")


def test_of_all_tables_those_that_are_made_later_are_captured_too() -> None:
    made = config(pipeline(exclude=["not, this", "nor.this"]))
    assert all(captures(made, "sh.op", name) for name in ("orders", "made_later", "not, this one", "norXthis"))
    assert not any(captures(made, "sh.op", name) for name in ("not, this", "nor.this"))
    assert not captures(made, "other", "orders")
    key = "schema.history.internal.store.only.captured.tables.ddl"
    assert made[key] == config(pipeline(kind="mariadb"))[key] == "false"
    # Debezium's MariaDB parser fails on some types; where it may not look at all tables, new ones are not followed.
    kept_away = config(pipeline(kind="mariadb", exclude=["strange"]))
    assert kept_away[key] == "true"
    assert not captures(kept_away, "sh.op", "made_later")


def test_columns_are_listed_only_where_some_are_left_out() -> None:
    assert "column.include.list" not in config()
    made = config(None, table("orders", "id", "total"), table("people", "id", "na.me", left_out=("secret",)))
    patterns = lists(made["column.include.list"])
    taken = {name for name in ("orders.id", "orders.later", "people.id", "people.na.me", "people.naXme",
                               "people.secret", "people.later")
             if any(p.fullmatch(f"sh.op.{name}") for p in patterns)}
    assert taken == {"orders.id", "orders.later", "people.id", "people.na.me"}


def test_a_users_settings_join_ours() -> None:
    made = config(pipeline(connect={"config": {"poll.interval.ms": "50", "database.connectionTimeZone": "UTC"}}))
    assert made["poll.interval.ms"] == "50"
    assert made["database.connectionTimeZone"] == "UTC"


def test_settings_that_the_hand_over_depends_on_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        validate_extra({"snapshot.mode": "initial", "transforms": "x", "poll.interval.ms": "5",
                        "table.include.list": ".*"})
    message = caught.value.message
    assert "snapshot.mode, table.include.list, transforms" in message
    assert "poll.interval.ms" not in message


def test_every_setting_of_ours_is_refused_or_meant_to_be_tuned() -> None:
    """A setting that is added to the configuration must be put on one side or the other."""
    tunable = {
        "poll.interval.ms", "max.batch.size", "max.queue.size", "max.queue.size.in.bytes",
        "producer.override.batch.size", "producer.override.buffer.memory", "producer.override.compression.type",
        "retriable.restart.connector.wait.ms", "schema.history.internal.kafka.query.timeout.ms",
        "schema.history.internal.store.only.captured.databases.ddl",
        "schema.history.internal.store.only.captured.tables.ddl",
    }
    free = set()
    for key, value in config(start=MySqlPosition("b.000001", 4), offsets_topic="o").items():
        try:
            validate_extra({key: value})
        except ConfigurationError:
            continue
        free.add(key)
    assert free == tunable


def test_secrets_in_clear_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        validate_extra({"database.ssl.truststore.password": "hunter2"})
    assert "database.ssl.truststore.password" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    validate_extra({
        "database.ssl.truststore.password": "${file:/etc/tls.properties:truststore}",
        "producer.override.sasl.jaas.config": 'org.x.Login required username="u" password="${env:KAFKA_PASSWORD}";',
        "schema.history.internal.consumer.security.protocol": "SASL_SSL",
    })


TRACES = [
    ("io.debezium.DebeziumException: The connector is trying to read change stream starting at binlog.000003 12, but "
     "this is no longer available on the server.", ResyncRequiredError, "purged"),
    ("connecting slave requested to start from GTID 0-9-99999999, which is not in the master's binlog. Error code: "
     "1236; SQLSTATE: HY000.", ResyncRequiredError, "purged or reset"),
    ("A slave with the same server_uuid/server_id as this slave has connected to the master; the first event. Error "
     "code: 1236; SQLSTATE: HY000.", ConfigurationError, "server id"),
    ("io.debezium.DebeziumException: Error processing row in t, internal schema size 3, but row size 2 , restart "
     "connector with schema recovery mode.", ResyncRequiredError, "other columns"),
    ("DebeziumException: Encountered change event for table ha.u whose schema isn't known to this connector",
     ResyncRequiredError, "ha.u"),
    ("IllegalArgumentException: Trying to change column a in ha.t table, which does not exist",
     ResyncRequiredError, "definition changed"),
    ("io.debezium.text.ParsingException: DDL statement couldn't be parsed: no viable alternative at input 'CREATE "
     "TABLE x (u inet6'", ConfigurationError, "exclude"),
    ("The db history topic is missing. You may attempt to recover it by reconfiguring the connector to recovery.",
     RetryableError, "history"),
    ("org.apache.kafka.common.errors.RecordTooLargeException: The message is 2797082 bytes when serialized which is "
     "larger than 1048576", ConfigurationError, "kafka.max_message_bytes"),
    ("java.sql.SQLException: Access denied for user 'cdc'@'127.0.0.1' (using password: YES)", ConfigurationError,
     "refuses"),
    ("com.mysql.cj.jdbc.exceptions.CommunicationsException: Communications link failure", RetryableError, "reach"),
    ("java.lang.NullPointerException: something new", RetryableError, "something new"),
]


@pytest.mark.parametrize(("trace", "kind", "words"), TRACES)
def test_a_failed_task_says_what_to_do(trace: str, kind: type[CdcError], words: str) -> None:
    error = failure("cdc_1_4", f"org.apache.kafka.connect.errors.ConnectException: oops\n\tat x.Y.z(Y.java:3)\n"
                               f"Caused by: {trace}\n\t... 3 more\n")
    assert type(error) is kind
    assert words in str(error)
    assert "cdc_1_4" in error.message
    assert error.next_step


def test_what_is_no_table_is_left_out() -> None:
    made = config(pipeline(kind="mariadb"), left_out={"counter", "a,b"})
    (captured,) = lists(made["table.include.list"])
    assert {name for name in ("orders", "counter", "a,b", "counter2") if captured.fullmatch(f"sh.op.{name}")} == {
        "orders", "counter2"
    }
    assert json.loads(made["cdc.left.out"]) == ["a,b", "counter"]
    assert "cdc.left.out" not in config(pipeline(kind="mariadb"))
    trace = "DebeziumException: Encountered change event for table sh.op.counter whose schema isn't known"
    assert unknown_table(trace, "sh.op") == "counter"
    assert unknown_table(trace, "other") is None


def test_the_table_that_the_connector_has_wrong_is_told() -> None:
    trace = ("io.debezium.DebeziumException: Error processing row in order lines, internal schema size 2, but row size "
             "3 , restart connector with schema recovery mode.")
    assert misread_table(trace, ["order", "lines", "order lines"]) == "order lines"
    assert misread_table(trace, ["order"]) is None
    assert misread_table("java.lang.NullPointerException", ["order lines"]) is None


def test_a_trace_without_its_stack() -> None:
    trace = "a.B: one\n\tat a.B.c(B.java:1)\nCaused by: d.E: two\n\tat d.E.f(E.java:2)\n\t... 7 more\n"
    assert first_lines(trace) == "    a.B: one\n    d.E: two"


def test_a_seal_is_broken_by_what_changes_the_events() -> None:
    made = sealed(config())
    assert not seal_is_broken(made)
    assert not seal_is_broken(config()), "made before there were seals"
    for key, value in (
        ("table.include.list", "sh\\.op\\.orders,sh\\.op\\.others"), ("table.exclude.list", "x"),
        ("topic.prefix", "elsewhere"), ("database.hostname", "other"), ("skipped.operations", "d"),
        ("transforms", "one,two"), ("predicates", "p"), ("gtid.source.excludes", "x"),
        ("value.converter.replace.null.with.default", "true"),
    ):
        assert seal_is_broken(made | {key: value}), key
        with pytest.raises(ResyncRequiredError, match=re.escape(f"{key} is {value}")):
            require_sealed(pipeline(), made | {key: value}, made)
    with pytest.raises(ResyncRequiredError, match=r"skipped\.operations is not set"):
        require_sealed(pipeline(), {k: v for k, v in made.items() if k != "skipped.operations"}, made)
    for key, value in (
        ("snapshot.mode", "no_data"), ("max.batch.size", "1"), ("database.password", "${env:NEW}"), ("name", "c"),
        ("database.ssl.mode", "required"), ("tasks.max", "2"),
    ):
        assert not seal_is_broken(made | {key: value}), key


def test_whose_a_connector_is() -> None:
    mine = config(owner="postgres:1/2")
    assert foreign_owner(pipeline(), mine, "postgres:1/2") == ""
    assert foreign_owner(pipeline(), mine, None) == "", "the target can't be asked"
    assert foreign_owner(pipeline(), config(), "postgres:1/2") == "", "made before owners were noted"
    assert "postgres:1/2" in foreign_owner(pipeline(), mine, "postgres:1/3")
    assert foreign_owner(pipeline(name="other"), mine, "postgres:1/2") == "pipeline shop"
    assert "somebody else" in foreign_owner(pipeline(), {"connector.class": "x"}, None)


def test_a_trace_shows_no_secret() -> None:
    secrets.resolve_secret("${env:X}", {"X": "trace-secret"})
    trace = "org.apache.kafka.connect.errors.ConnectException: login with trace-secret failed\n\tat x.Y.z(Y.java:1)"
    assert "trace-secret" not in str(failure("c", trace))
    assert secrets.MASK in str(failure("c", trace))
