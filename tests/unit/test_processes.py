"""Processes are told apart by more than their pids."""

import os
import subprocess
import sys

from cdc_pipelines.replication import processes


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
