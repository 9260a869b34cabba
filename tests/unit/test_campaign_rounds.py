"""Which faults of a campaign strike when."""

import itertools
from random import Random

from tests.chaos.campaign import Plan, _rounds
from tests.chaos.faults import ALONE, FAULTS
from tests.chaos.score import Score


def struck(plan: Plan, score: Score, seed: int, faults: int) -> list[list[str]]:
    """Rounds until so many faults struck, as a campaign takes them."""
    taken: list[list[str]] = []
    for names in _rounds(plan, Random(seed), score):
        score.struck(*names)
        taken.append(names)
        if sum(map(len, taken)) >= faults:
            return taken
    raise AssertionError("no more rounds")


def test_every_fault_comes_once_before_any_comes_again() -> None:
    sizes = set[int]()
    for seed in range(20):
        first = struck(Plan(list(FAULTS), together=3), Score(), seed, len(FAULTS))
        assert sorted(itertools.chain(*first)) == sorted(FAULTS)
        assert all(len(names) == 1 for names in first if ALONE & set(names))
        sizes |= {len(names) for names in first if not ALONE & set(names)}
    assert sizes == {1, 2, 3}, "what can come with others comes alone, too"


def test_then_those_come_that_came_least_on_all_sources() -> None:
    score, names = Score(), list(FAULTS)
    for seed in (1, 2, 3):
        struck(Plan(names), score, seed, 25)  # the time of these sources was over soon
    assert max(map(score.times, names)) - min(map(score.times, names)) > 1
    struck(Plan(names), score, 4, 3 * len(names))
    assert max(map(score.times, names)) - min(map(score.times, names)) <= 1


def test_one_at_a_time_where_only_one_may() -> None:
    assert all(len(names) == 1 for names in struck(Plan(list(FAULTS), together=1), Score(), 3, 60))
