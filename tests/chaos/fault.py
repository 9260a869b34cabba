"""What a fault is."""

from collections.abc import Callable
from random import Random

from tests.chaos.arena import Arena

Fault = Callable[[Arena, Random], None]
