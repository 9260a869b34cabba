"""The catalogue of deliberate breaks is current: each can be made, each names tests that exist, no rule is without."""

import ast
import subprocess
import sys
from functools import cache

import pytest

from tests.mutants.__main__ import judge
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import PACKAGE, PROJECT, RULES, Mutant
from tests.mutants.trial import Outcome


@cache
def functions(file: str) -> set[str]:
    """The names of a test file's functions."""
    return {n.name for n in ast.walk(ast.parse((PROJECT / file).read_text())) if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_break_can_be_made_and_its_tests_are_there(mutant: Mutant) -> None:
    text = (PACKAGE / mutant.file).read_text(encoding="utf-8")
    broken = mutant.broken(text)  # raises where the text is not there exactly once
    assert broken != text
    ast.parse(broken)  # what can't even be read proves nothing
    assert mutant.ids
    for test in mutant.ids:
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in functions(file), test


def test_pytest_knows_every_named_test() -> None:
    """Parameters included."""
    ids = sorted({test for mutant in MUTANTS for test in mutant.ids})
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *ids], cwd=PROJECT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, "\n".join(line for line in found.stdout.splitlines() if "not found" in line)


def test_every_rule_is_broken_and_no_name_is_given_twice() -> None:
    assert {mutant.rule for mutant in MUTANTS} == set(RULES)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_text_that_is_not_there_once_is_told() -> None:
    mutant = Mutant("m", RULES[0], "position.py", "x", "y", ())
    assert mutant.broken("a x") == "a y"
    for text in ("a", "x x"):
        with pytest.raises(ValueError, match="bring tests/mutants/ up to date"):
            mutant.broken(text)


@pytest.mark.parametrize(
    ("failed", "broke", "passed", "code", "verdict"),
    [
        (("t",), (), 0, 1, "noticed"),
        ((), (), 1, 0, "SURVIVED"),
        ((), ("t",), 0, 1, "NOT RUN"),  # a server that is not there notices nothing
        ((), (), 0, 4, "NOT RUN"),
        ((), (), 0, 0, "NOT RUN"),
    ],
)
def test_only_a_test_that_ran_and_failed_has_noticed(
    failed: tuple[str, ...], broke: tuple[str, ...], passed: int, code: int, verdict: str
) -> None:
    assert judge(Outcome(code, failed, broke, passed, 1.0, ""))[0] == verdict
