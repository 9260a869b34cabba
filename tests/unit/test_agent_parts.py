"""Delays between starts, bounded log files."""

import os
from pathlib import Path

import pytest

from cdc_pipelines.agent import exit_codes, log_files
from cdc_pipelines.agent.backoff import Backoff


def test_delays_double_up_to_a_minute_and_begin_anew_after_a_healthy_minute() -> None:
    clock = [100.0]
    backoff = Backoff(clock=lambda: clock[0])
    assert backoff.due()
    assert [backoff.failed(0.1) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert not backoff.due()
    clock[0] += 59.9
    assert not backoff.due()
    clock[0] += 0.2
    assert backoff.due()
    assert backoff.failed(59.9) == 60
    assert backoff.failed(60) == 1
    assert backoff.failed(0) == 2


def test_exit_codes_are_those_of_the_command() -> None:
    from cdc_pipelines.cli import consume

    assert (exit_codes.STOPPED, exit_codes.RETRY, exit_codes.NEEDS_PERSON, exit_codes.FENCED) == (
        consume.STOPPED, consume.RETRY, consume.NEEDS_PERSON, consume.FENCED,
    )
    assert {20, 30} <= exit_codes.HOLD
    assert not {0, 1, 10, -9} & exit_codes.HOLD


def test_a_log_that_grew_too_large_is_moved_while_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "MOST_BYTES", 100)
    file = tmp_path / "shop.log"
    assert not log_files.bound(file)
    with file.open("ab", buffering=0) as writer:
        for number in range(1, 6):
            writer.write(f"part {number} ".encode() + b"x" * 100 + b"\n")
            assert log_files.bound(file)
        writer.write(b"after\n")
    assert file.read_bytes() == b"after\n"
    kept = sorted(os.listdir(tmp_path))
    assert kept == ["shop.log", "shop.log.1", "shop.log.2", "shop.log.3"]
    assert [(tmp_path / name).read_text()[:6] for name in kept[1:]] == ["part 5", "part 4", "part 3"]


def test_the_tail_begins_where_the_process_did(tmp_path: Path) -> None:
    file = tmp_path / "shop.log"
    assert log_files.tail(file) == ""
    file.write_text("of an earlier process\n")
    start = file.stat().st_size
    with file.open("a") as writer:
        writer.writelines(f"line {number}\n" for number in range(40))
    lines = log_files.tail(file, start).splitlines()
    assert lines == [f"line {number}" for number in range(20, 40)]
    file.write_text("cut\n")
    assert log_files.tail(file, start) == "cut"
