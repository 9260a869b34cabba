"""A short campaign in every run of the suite. Its seed is fixed: what fails here fails again."""

from tests.chaos.arena import arena
from tests.chaos.campaign import campaign
from tests.chaos.faults import SHORT


def test_nothing_is_lost_doubled_or_seen_half_while_everything_is_killed_once() -> None:
    with arena() as place:
        problems = campaign(place, 20261128, len(SHORT), list(SHORT))
        assert not problems, "\n".join([*problems, *place.log, place.logs(60)])
