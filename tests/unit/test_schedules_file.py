"""The `schedules` of a pipeline's file: mistakes are told with an example, Dagster can read what is accepted."""

from pathlib import Path

import pytest
from dagster._utils.schedules import is_valid_cron_schedule
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cdc_pipelines.replication.errors import ConfigurationError, PipelineFileError
from cdc_pipelines.replication.operations.mapping import resolve
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from cdc_pipelines.replication.schedules import Schedule
from tests.unit.test_mapping import ITEMS, ORDERS
from tests.unit.test_pipeline_file import FILE, GOOD


def test_nothing_is_scheduled_unless_it_is_said() -> None:
    schedules = parse_pipeline(GOOD, FILE).schedules
    assert (schedules.resync, schedules.verify) == (None, None)


def test_what_may_be_said() -> None:
    text = GOOD + (
        "schedules:\n"
        '  resync: {cron: "0 3 * * 0", timezone: Europe/Berlin}\n'
        '  verify: {cron: "30  2 * * MON-FRI", repair: true, tables: [orders], rows_per_second: 500, late_minutes: 5}\n'
    )
    schedules = parse_pipeline(text, FILE).schedules
    assert schedules.resync is not None
    assert schedules.verify is not None
    assert (schedules.resync.cron, schedules.resync.timezone, schedules.resync.late_minutes) == (
        "0 3 * * 0", "Europe/Berlin", 60
    )  # fmt: skip
    assert schedules.verify.model_dump() == {
        "cron": "30 2 * * MON-FRI", "timezone": "UTC", "late_minutes": 5, "tables": ["orders"], "repair": True,
        "rows_per_second": 500,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("resync", "words"),
    [
        ('{cron: "0 3 * *"}', ["schedules.resync.cron", '"0 3 * *"', "4 field(s) instead of five"]),
        ('{cron: "0 0 3 * * 0"}', ['"0 0 3 * * 0"', "6 field(s) instead of five"]),
        ('{cron: "@daily"}', ['"@daily"', "1 field(s)"]),
        ('{cron: "61 3 * * 0"}', ['"61 3 * * 0"', "is not a time", "minute (0-59)"]),
        ('{cron: "0 3 * * SON"}', ['"0 3 * * SON"', "is not a time", "SUN-SAT"]),
        ('{cron: "0 0 30 2 *"}', ['"0 0 30 2 *"', "never comes"]),
        ('{cron: "0 0 31 4,6 *"}', ["never comes"]),
        ('{cron: "0 3 L * *"}', ["L has more in it than"]),
        ('{cron: "h h * * *"}', ["h, h has more in it than"]),
    ],
)
def test_a_wrong_cron_is_told(resync: str, words: list[str]) -> None:
    text = told(f"schedules: {{resync: {resync}}}\n")
    for word in [*words, '"0 3 * * SUN"']:  # an example every time
        assert word in text


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("Europe", "is not a time zone"),
        ("../etc/passwd", "such as Europe/Berlin or UTC"),
        ("''", "such as Europe/Berlin or UTC"),
    ],
)
def test_a_wrong_time_zone_is_told(zone: str, words: str) -> None:
    text = told(f'schedules: {{verify: {{cron: "0 3 * * 0", timezone: {zone}}}}}\n')
    assert "schedules.verify.timezone" in text
    assert f'"{zone.strip(chr(39))}" is not a time zone of the IANA database' in text
    assert words in text


def test_what_there_is_no_setting_for_is_told() -> None:
    assert "schedules.resync.repair" in told('schedules: {resync: {cron: "0 3 * * 0", repair: true}}\n')
    assert "schedules.teardown" in told('schedules: {teardown: {cron: "0 3 * * 0"}}\n')
    assert "schedules.verify.late_minutes" in told('schedules: {verify: {cron: "0 3 * * 0", late_minutes: 0}}\n')


def test_tables_to_verify_or_copy_again_must_be_replicated() -> None:
    schedules = 'schedules: {verify: {cron: "0 3 * * 0", tables: [orders, order]}}\n'
    with pytest.raises(ConfigurationError, match=r"schedules\.verify\.tables: order is no table of this pipeline"):
        resolve(parse_pipeline(GOOD + schedules, Path("p.yaml")), [ORDERS, ITEMS])
    both = schedules.replace("verify", "resync")
    with pytest.raises(ConfigurationError, match=r"schedules\.resync\.tables: order is no table of this pipeline"):
        resolve(parse_pipeline(GOOD + both, Path("p.yaml")), [ORDERS, ITEMS])
    with pytest.raises(ConfigurationError, match=r"schedules\.verify\.tables: orders is no table"):
        resolve(parse_pipeline(GOOD + schedules + "exclude: [orders]\n", Path("p.yaml")), [ORDERS, ITEMS])


def field(last: int, *names: str) -> st.SearchStrategy[str]:
    """One field of a cron; most are right."""
    value = st.one_of(st.integers(0, last).map(str), st.sampled_from(names or ("*",)))
    span = st.one_of(st.just("*"), value, value, st.tuples(value, value).map("-".join))
    part = st.one_of(span, span, st.tuples(span, st.integers(1, last).map(str)).map("/".join))
    return st.lists(part, min_size=1, max_size=2).map(",".join)


crons = st.tuples(
    field(59, "R", "?"), field(23), field(31, "L", "1W"), field(12, "JAN", "dec"), field(7, "SUN", "mon", "L5", "1#2")
).map(" ".join)


@given(crons)
def test_dagster_takes_every_cron_that_is_accepted(cron: str) -> None:
    """One that it refused would take all pipelines out of the UI."""
    try:
        accepted = Schedule(cron=cron).cron
    except ValidationError:
        return
    assert is_valid_cron_schedule(accepted), accepted


def told(more: str) -> str:
    with pytest.raises(PipelineFileError) as caught:
        parse_pipeline(GOOD + more, FILE)
    return str(caught.value)
