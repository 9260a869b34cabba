"""COPY text and the thread that makes it."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_pipelines.replication.databases.postgres.load import _Pipe, render
from cdc_pipelines.replication.errors import IntegrityError

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
nasty = st.sampled_from(
    ["", "\\", "\\N", "\\.", "\t", "\n", "\r\n", "\\\t", "a\\", "é", "ý", "þ", "ÿ", "💥", "\x7f", "\ufeff"]
)
values = st.none() | texts.map(str.encode) | nasty.map(str.encode)
batches = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[values] * width), min_size=1, max_size=8))

ESCAPES = {b"\\\\": b"\\", b"\\t": b"\t", b"\\n": b"\n", b"\\r": b"\r"}


def parse(text: bytes) -> list[tuple[bytes | None, ...]]:
    """COPY's text format read byte by byte, as its documentation says."""
    rows, row, field = [], [], bytearray()
    null = False
    i = 0
    while i < len(text):
        byte = text[i : i + 1]
        if byte == b"\\":
            pair = text[i : i + 2]
            if pair == b"\\N":
                null = True
            else:
                field += ESCAPES[pair]
            i += 2
            continue
        if byte in (b"\t", b"\n"):
            assert not (null and field)
            row.append(None if null else bytes(field))
            field, null = bytearray(), False
            if byte == b"\n":
                rows.append(tuple(row))
                row = []
        else:
            assert byte != b"\r"
            field += byte
        i += 1
    assert not row
    assert not field
    return rows


@settings(max_examples=400)
@given(batches)
def test_what_is_rendered_reads_back_the_same(batch):
    assert parse(render(batch)) == batch


def test_no_rows_are_no_text():
    assert render([]) == b""


@pytest.mark.parametrize("byte", [b"\xfd", b"\xfe", b"\xff"])
@pytest.mark.parametrize("template", [b"%b", b"a%bz", b"%b%b"])
def test_a_byte_that_would_pass_for_a_separator_is_refused(byte, template):
    value = template.replace(b"%b", byte)
    with pytest.raises(IntegrityError, match="no UTF-8 text has"):
        render([(b"1", value), (b"2", None)])


@given(st.binary(max_size=6))
def test_raw_bytes_are_refused_or_left_as_they_are(value):
    """Never altered: what the server gets is what was read, or nothing is sent."""
    try:
        text = render([(b"1", value, None)])
    except IntegrityError:
        assert any(byte >= 0xFD for byte in value)
    else:
        assert parse(text) == [(b"1", value, None)]


def test_pipe_hands_batches_on_in_order_and_then_ends():
    pipe = _Pipe()
    for n in range(3):
        assert pipe.put(n, b"x" * n)
    pipe.finish(None)
    assert list(pipe) == [(0, b""), (1, b"x"), (2, b"xx")]


def test_pipe_raises_the_readers_error_even_with_batches_left():
    pipe = _Pipe()
    pipe.put(1, b"x")
    pipe.finish(OSError("source gone"))
    with pytest.raises(OSError, match="source gone"):
        list(pipe)


def test_pipe_holds_back_a_fast_reader_and_lets_go_when_closed():
    pipe = _Pipe()
    big = b"x" * (17 << 20)
    assert pipe.put(1, big)  # one batch always fits, however large
    answers = []
    thread = threading.Thread(target=lambda: answers.append(pipe.put(1, b"y")))
    thread.start()
    time.sleep(0.1)
    assert thread.is_alive()
    pipe.close()
    thread.join(5)
    assert answers == [False]
