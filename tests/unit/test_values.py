"""Values of events as the target's text, without any server."""

import re
from typing import Any

import msgspec
import pytest

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.databases.mysql.introspect import column_of
from cdc_pipelines.replication.errors import ConfigurationError, UnsupportedChangeError
from cdc_pipelines.replication.value_rules import ValueRules
from cdc_pipelines.replication.values import form_for, heeded
from tests.value_cases import EVENTS, MARIADB_ONLY, MYSQL_ONLY


def column(definition: str) -> Column:
    """The column that `v <definition>` makes, as introspection describes it."""
    kind = re.match(r"\w+", definition)[0]
    full = re.match(r"\w+(\(('([^'\\]|\\.|'')*'|[^)])*\))?( unsigned)?( zerofill)?", definition)[0]
    sizes = [int(n) for n in re.findall(r"\((\d+)(?:,(\d+))?\)", full)[0] if n] if re.search(r"\(\d", full) else []
    default = re.search(r"default ('?)(.*)\1$", definition)
    charset = re.search(r"character set (\w+)", definition)
    return column_of(
        (
            "v", kind, full, "NO" if "not null" in definition else "YES", sizes[0] if sizes else None,
            sizes[0] if sizes else None, sizes[1] if len(sizes) > 1 else 0,
            (sizes[0] if sizes else 0) if kind in ("time", "datetime", "timestamp") else None,
            charset[1] if charset else None, None,
            default[2] if default else None,
            "DEFAULT_GENERATED" if default and not default[1] else "",
        ),
        mariadb=False,
    )


def ruled(definition: str, payload: str, flavor: str = "mysql", **rules: Any) -> str | None:
    """As `text_of`, by rules of the pipeline's file."""
    form = form_for(column(definition), flavor, "postgres", "shop", ValueRules(**rules))
    value: Any = msgspec.json.decode(payload, type=form.json | None)
    return value if value is None or form.text is None else form.text(value)


def text_of(definition: str, payload: str, flavor: str = "mysql") -> str | None:
    form = form_for(column(definition), flavor, "postgres")
    value: Any = msgspec.json.decode(payload, type=form.json | None)
    return None if value is None else value if form.text is None else form.text(value)


@pytest.mark.parametrize(
    ("definition", "payload", "expected"),
    [
        ("bigint unsigned", "18446744073709551615", "18446744073709551615"),
        ("bigint", "-9223372036854775808", "-9223372036854775808"),
        ("int(6) zerofill", "42", "42"),
        ("tinyint(1)", "1", "1"),
        ("tinyint(1)", "2", "2"),
        ("decimal(65,30)", '"-1.000000000000000000000000000000"', "-1.000000000000000000000000000000"),
        ("float", "1.4E-45", "1.4e-45"),
        ("double", "4.9E-324", "5e-324"),
        ("double", "-0.0", "-0.0"),
        ("varchar(20)", '"\\uD83D\\uDE00é"', "😀é"),
        ("varchar(20)", "null", None),
        ("char(10)", '""', ""),
        ("enum('a','b,c')", '"b\\\\,c"', "b,c"),
        ("enum('a','h\\\\,i')", '"h\\\\\\\\\\\\,i"', "h\\,i"),
        ("enum('a','k\\nl')", '"k\\\\nl"', "k\nl"),
        ("enum('a','b')", '""', ""),
        ("set('x','y\\\\z')", '"x,y\\\\\\\\z"', "x,y\\z"),
        ("binary(4)", '"AP8="', "\\x00ff0000"),
        ("binary(4)", '""', "\\x00000000"),
        ("varbinary(10)", '"AP8="', "\\x00ff"),
        ("blob", '""', "\\x"),
        ("bit(1)", "true", "1"),
        ("bit(10)", '"qwI="', "1010101011"),
        ("bit(10)", '"AAA="', "0000000000"),
        ("bit(64)", '"AAAAAAAAAIA="', "1" + "0" * 63),
        ("year", "1900", "0"),
        ("year", "2155", "2155"),
        ("date", "-719162", "0001-01-01"),
        ("date", "2932896", "9999-12-31"),
        ("date", "-1", "1969-12-31"),
        ("datetime", "-62135593077000000", "0001-01-01 01:02:03.000000"),
        ("datetime(6)", "-1", "1969-12-31 23:59:59.999999"),
        ("datetime(6)", "253402300799999999", "9999-12-31 23:59:59.999999"),
        ("timestamp", '"2038-01-19T03:14:07Z"', "2038-01-19T03:14:07Z"),
        ("timestamp", '"1970-01-01T00:00:00Z"', None),
        ("time", "-3020399000000", "-838:59:59.000000"),
        ("time(6)", "-1", "-0:00:00.000001"),
        ("time(6)", "999999", "0:00:00.999999"),
        ("json", '"{\\"a\\":1}"', '{"a":1}'),
    ],
)
def test_text_of_an_event_value(definition: str, payload: str, expected: str | None) -> None:
    assert text_of(definition, payload) == expected


@pytest.mark.parametrize("payload", ['"1970-01-01T00:00:00Z"', '"1970-01-01T00:00:00.000000Z"'])
def test_mariadb_writes_a_zero_timestamp_as_1970(payload: str) -> None:
    assert text_of("timestamp", payload, "mariadb") is None
    assert text_of("timestamp not null", payload, "mariadb") is None


@pytest.mark.parametrize("payload", ['"1970-01-01T00:00:01Z"', '"1970-01-01T00:00:00.5Z"', '"2024-01-01T00:00:00Z"'])
def test_a_real_timestamp_stays_on_mariadb(payload: str) -> None:
    assert text_of("timestamp", payload, "mariadb") == payload.strip('"')


def test_every_recorded_event_can_be_decoded_and_rendered() -> None:
    for definition, events in EVENTS.items():
        for _, *payloads in events:
            for flavor, payload in zip(("mysql", "mariadb"), (payloads[0], payloads[-1]), strict=True):
                if definition not in (MYSQL_ONLY if flavor == "mariadb" else MARIADB_ONLY):
                    text = text_of(definition, payload, flavor)
                    assert text is None or isinstance(text, str)


@pytest.mark.parametrize(
    ("definition", "payload"),
    [("int", '"1"'), ("int", "1.5"), ("bigint", "1e30"), ("varchar(3)", "5"), ("bit(1)", '"AQ=="'), ("double", '"x"')],
)
def test_a_value_of_another_type_is_an_error(definition: str, payload: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        text_of(definition, payload)


def test_plain_labels_cost_nothing() -> None:
    assert form_for(column("enum('a','b c')"), "mysql", "postgres").text is None
    assert form_for(column("enum('a','b,c')"), "mysql", "postgres").text is not None


@pytest.mark.parametrize("definition", ["inet4", "inet6", "xmltype"])
def test_a_type_without_a_form_is_refused_by_name(definition: str) -> None:
    with pytest.raises(ConfigurationError, match=r"shop\.v") as caught:
        form_for(column(definition), "mysql", "postgres", "shop")
    assert "leave it out" in caught.value.next_step


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("tinyint(1)", "smallint"), ("tinyint", "smallint"), ("tinyint unsigned", "smallint"),
        ("smallint unsigned", "integer"), ("mediumint unsigned", "integer"), ("int unsigned", "bigint"),
        ("bigint unsigned", "numeric(20)"), ("decimal(10,0)", "numeric(10,0)"), ("float", "real"),
        ("float(7,3)", "real"), ("double(10,3)", "double precision"), ("char(10)", "varchar(10)"),
        ("binary(4)", "bytea"), ("bit(10)", "bit(10)"), ("year", "smallint"), ("datetime(3)", "timestamp(3)"),
        ("timestamp", "timestamptz(0)"), ("time(6)", "interval(6)"), ("json", "jsonb"), ("enum('a')", "text"),
    ],
)
def test_target_types(definition: str, expected: str) -> None:
    assert form_for(column(definition), "mysql", "postgres").target_type == expected


def test_a_default_that_is_no_date_is_not_written_into_sql() -> None:
    form = form_for(column("date not null default '2001-02-03; drop table x'"), "mariadb", "postgres")
    assert "drop" not in form.read
    assert "1970-01-01" in form.read


@pytest.mark.parametrize(
    ("definition", "payload", "rules", "expected"),
    [
        ("tinyint(1)", "true", {"tinyint1": "boolean"}, "1"),
        ("varchar(9)", '"a\\u0000b\\u0000"', {"nul": "remove"}, "ab"),
        ("varchar(9)", '"a\\u0000b"', {"nul": "replace"}, "a\ufffdb"),
        ("varchar(9)", '"a\\u0000b"', {}, "a\0b"),  # refused by the target
        ("json", r'"[\"\\u0000a\\\\u0000\"]"', {"nul": "remove"}, r'["a\\u0000"]'),
        ("json", r'"\"\\u0000\\u0000\""', {"nul": "replace"}, '"\ufffd\ufffd"'),
        ("varchar(9) character set latin1", '"a\ufffd"', {"undecodable": "replace"}, "a\ufffd"),
        ("varchar(9) character set cp1251", '"a\ufffd"', {"undecodable": "replace"}, "a?"),
        ("varchar(9) character set koi8u", '"\u2555"', {"undecodable": "replace", "nul": "remove"}, "і"),
    ],
)
def test_a_rule_changes_the_text_of_an_event(
    definition: str, payload: str, rules: dict[str, str], expected: str
) -> None:
    assert ruled(definition, payload, **rules) == expected


@pytest.mark.parametrize("charset", ["latin1", "cp1251", "sjis", "euckr", "gb18030"])
def test_what_the_log_lost_of_a_text_is_an_error_that_names_the_column(charset: str) -> None:
    with pytest.raises(UnsupportedChangeError, match=rf"shop\.v: a text in {charset}") as caught:
        ruled(f"varchar(9) character set {charset}", '"a\ufffd"')
    assert "utf8mb4" in caught.value.next_step
    assert ("undecodable" in caught.value.next_step) == (charset in ("latin1", "cp1251"))


@pytest.mark.parametrize("charset", ["utf8mb4", "utf8mb3", "utf16", "ucs2", "utf32"])
def test_the_replacement_character_itself_is_text(charset: str) -> None:
    assert ruled(f"varchar(9) character set {charset}", '"a\ufffd"') == "a\ufffd"


@pytest.mark.parametrize(("charset", "flavor"), [("eucjpms", "mysql"), ("eucjpms", "mariadb"), ("cp932", "mariadb")])
def test_a_character_set_that_the_log_confuses_has_no_form(charset: str, flavor: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"shop\.v has type .* in {charset}, whose characters"):
        form_for(column(f"varchar(9) character set {charset}"), flavor, "postgres", "shop")
    assert form_for(column("varchar(9) character set cp932"), "mysql", "postgres").target_type == "varchar(9)"


@pytest.mark.parametrize(
    ("definition", "rule", "expected"),
    [
        ("date not null default '0000-00-00'", "as_null", None),
        ("date not null default '0000-00-00'", "as_logged", "1970-01-01"),
        ("date not null", "as_null", "1970-01-01"),
        ("date", "as_null", "1970-01-01"),
    ],
)
def test_the_stand_in_counts_as_none_where_the_default_is_none(
    definition: str, rule: str, expected: str | None
) -> None:
    assert ruled(definition, "0", "mariadb", zero_dates=rule) == expected
    assert ruled(definition, "0", "mysql", zero_dates=rule) == expected


def test_rules_that_a_type_does_not_heed_make_no_difference() -> None:
    rules = ValueRules(tinyint1="boolean", nul="remove", undecodable="replace", time="time", bigint_unsigned="bigint")
    assert heeded(column("int"), rules) == ValueRules()
    assert heeded(column("tinyint(1)"), rules) == ValueRules(tinyint1="boolean")
    assert heeded(column("bigint unsigned"), rules) == ValueRules(bigint_unsigned="bigint")
    assert heeded(column("varchar(3)"), rules) == ValueRules(nul="remove")
    assert heeded(column("varchar(3) character set latin1"), rules) == ValueRules(nul="remove", undecodable="replace")
    assert heeded(column("time"), rules) == ValueRules(time="time")


@pytest.mark.parametrize(
    ("charset", "event", "text"),
    [("koi8u", "\u2553\u2555", "єі"), ("sjis", "—＼", "―\\"), ("greek", "‘’", "ʽʼ"), ("gbk", "€\ue4c6", "??"),
     ("gb18030", "龴\ue81e", "\ue81e龴"), ("swe7", "@[", "ÉÄ"), ("latin1", "é€", "é€")],
)
def test_every_character_that_debezium_reads_otherwise_is_set_right(charset: str, event: str, text: str) -> None:
    assert ruled(f"text character set {charset}", msgspec.json.encode(event).decode()) == text
