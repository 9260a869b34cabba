"""A short, seeded campaign in every run of the suite; `make chaos` is the long one.

It has a target's server of its own, which it kills. Replay by hand, on a whole stack of its own and with more to see:

    python -m tests.chaos.campaign --source mysql-gtid --seed 5 --faults 8 --only "…"
"""

import pytest

from cdc_pipelines.stack.settings import StackSettings
from tests.chaos.arena import arena
from tests.chaos.campaign import Plan, campaign
from tests.chaos.score import Score
from tests.chaos.sources import SOURCES
from tests.command_server import CommandServer

SEED = 5
QUICK = [  # without those after which Debezium looks for its source only once a minute
    "kill -9 consumer", "kill -9 agent", "kill -9 target", "target cut off", "binlog rotated", "connector restarts",
    "connector's offset set back", "kill -9 copy",
]  # fmt: skip


@pytest.mark.timeout(900)
def test_nothing_is_lost_or_doubled_under_quick_faults(
    stack: StackSettings, command_server: CommandServer,
) -> None:
    score = Score()
    with arena(SOURCES["mysql-gtid"], command_server, only_target=True) as place:
        campaign(place, SEED, Plan(QUICK, faults=len(QUICK), pause_s=0.2, together=2, rest_s=1), score)
    print(score.table())
    replay = f"python -m tests.chaos.campaign --source mysql-gtid --seed {SEED} --faults {len(QUICK)}"
    assert not score.problems, "\n".join([*score.problems, f'replay: {replay} --only "{",".join(QUICK)}"'])
    assert sum(line.times for name, line in score.lines.items() if name in QUICK) >= len(QUICK)
    assert min(score.looks, score.transactions) > 100
    assert score.comparisons >= 1
