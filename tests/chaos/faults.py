"""Every fault by its name. Each leaves everything running again, or for `cdc agent` to start."""

from tests.chaos.fault import Fault
from tests.chaos.faults_clock import CLOCK
from tests.chaos.faults_environment import ENVIRONMENT
from tests.chaos.faults_operations import OPERATIONS
from tests.chaos.faults_processes import LONG, PROCESSES

FAULTS: dict[str, Fault] = PROCESSES | ENVIRONMENT | OPERATIONS | CLOCK | LONG

# What a person or a program does at the same time may fail for the other's sake: these strike alone.
ALONE = frozenset(OPERATIONS | CLOCK | LONG) | {"disk of target full", "binlog purged", "control store gone"}


def fitting(kind: str) -> list[str]:
    """The faults that make sense on this kind of source.

    Where transactions are compressed, all events of one stand at one place: what comes twice after a connection that
    Debezium renewed by itself can't be told there (see docs), so the broker is not frozen for so long.
    """
    return [name for name in FAULTS if not (kind == "mysql-compressed" and name in LONG)]
