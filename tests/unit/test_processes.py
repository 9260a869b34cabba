"""Processes are told apart by more than their pids."""

import os
import socket
import subprocess
import sys

import pytest

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.errors import ConfigurationError


def test_a_process_keeps_its_mark_for_life() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        born = processes.birth(child.pid)
        assert born == processes.birth(child.pid)
        assert processes.alive(child.pid)
        assert processes.alive(child.pid, born)
        assert not processes.alive(child.pid, "ticks 1")  # another process of that pid
    finally:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.alive(child.pid)  # a zombie: nobody has asked for its end yet
    child.wait()
    assert not processes.alive(child.pid)
    assert processes.birth(child.pid) is None


def test_all_processes_here_share_a_place() -> None:
    code = "from cdc_pipelines.replication import processes; print(processes.place())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == processes.place()
    assert processes.place().startswith(processes.machine())


def test_a_host_is_called_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDC_HOST", raising=False)
    assert processes.host() == socket.gethostname()
    monkeypatch.setenv("CDC_HOST", "cdc-agent-7f9c.db_1")
    assert processes.host() == "cdc-agent-7f9c.db_1"
    monkeypatch.setenv("CDC_HOST", "two words")
    with pytest.raises(ConfigurationError, match="CDC_HOST='two words'"):
        processes.host()
