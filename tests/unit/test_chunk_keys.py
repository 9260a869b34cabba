"""Key bounds survive being kept as text."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipelines.replication.chunk import key_from_json, key_to_json

values = (
    st.integers()
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.floats(allow_nan=False)
    | st.none()
    | st.booleans()
)


@given(st.lists(values, min_size=1, max_size=3).map(tuple))
def test_a_key_comes_back_equal_and_of_the_same_types(key):
    back = key_from_json(key_to_json(key))
    assert back == key
    assert [type(v) for v in back] == [type(v) for v in key]


def test_text_is_plain_enough_to_be_stored_anywhere():
    text = key_to_json(("a\0\ud800", b"\xff", Decimal("1.50"), date(1, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)))
    assert text.isascii()
    assert "\0" not in text


def test_no_bound_stays_none():
    assert key_to_json(None) is None
    assert key_from_json(None) is None


def test_a_type_that_has_no_text_is_refused():
    with pytest.raises(TypeError, match="object"):
        key_to_json((object(),))


def test_microseconds_are_exact_for_long_spans():
    key = (timedelta(days=-34, seconds=3661, microseconds=1),)
    assert key_from_json(key_to_json(key)) == key
