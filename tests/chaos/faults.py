"""Every fault by its name. Each leaves everything running again, or for `cdc agent` to start."""

import os

from tests.chaos.fault import Fault
from tests.chaos.faults_clock import CLOCK
from tests.chaos.faults_dagster import DAGSTER
from tests.chaos.faults_disks import DISKS
from tests.chaos.faults_environment import ENVIRONMENT
from tests.chaos.faults_operations import OPERATIONS
from tests.chaos.faults_processes import LONG, PROCESSES
from tests.chaos.faults_workers import WORKERS

FAULTS: dict[str, Fault] = PROCESSES | WORKERS | ENVIRONMENT | DISKS | OPERATIONS | DAGSTER | CLOCK | LONG

# What a person or a program does at the same time may fail for the other's sake: these strike alone.
ALONE = frozenset(WORKERS | DISKS | OPERATIONS | DAGSTER | CLOCK | LONG) | {"binlog purged", "control store gone"}


def unfit(kind: str) -> dict[str, str]:
    """The faults that make no sense on this kind of source or machine, each with the reason."""
    found = {}
    if kind == "mysql-compressed":
        # What comes twice after a connection that Debezium renewed by itself can't be told there, without a key.
        found |= dict.fromkeys(LONG, "all events of a compressed transaction stand at one place")
    if os.geteuid() != 0:
        found |= dict.fromkeys(DISKS, "only root may mount a small disk")
    return found
