"""`python -m tests.mutants`: break the package in one place at a time, and see that a test notices.

    --only NAME         just this one (may be given several times)
    --fast              only those whose tests need no server
    --check-unbroken    run all the named tests on an unbroken copy: they must pass
    --list              the names, nothing is run
"""

import argparse
import sys
import time

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.trial import Outcome, copied, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="deliberate breaks")
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("--fast", action="store_true", help="only those whose tests need no server")
    parser.add_argument("--check-unbroken", action="store_true")
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args()
    mutants = [m for m in MUTANTS if not chosen.only or m.name in chosen.only]
    unknown = set(chosen.only or ()) - {m.name for m in MUTANTS}
    if unknown:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}; --list shows all")
    if chosen.fast:
        mutants = [m for m in mutants if all(test.startswith("unit/") for test in m.tests)]
    if chosen.list:
        for mutant in mutants:
            print(f"{mutant.rule:26} {mutant.name}")
        return 0
    return unbroken(mutants) if chosen.check_unbroken else broken(mutants)


def unbroken(mutants: list[Mutant]) -> int:
    """All their tests pass as long as nothing is broken: else a failure would prove nothing."""
    tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.ids))
    with copied(None) as tree:
        outcome = run(tree, tests, stop_at_first=False)
    if not outcome.all_passed:
        print(outcome.output)
        return 1
    print(f"{outcome.passed} tests of {len(mutants)} mutants pass on the unbroken package ({outcome.seconds:.0f} s)")
    return 0


def broken(mutants: list[Mutant]) -> int:
    """Each must be noticed. Prints a line for each, and what the tests said of those that were not."""
    began, survivors = time.monotonic(), []
    for mutant in mutants:
        with copied(mutant) as tree:
            outcome = run(tree, mutant.ids, stop_at_first=True)
        verdict, by = judge(outcome)
        print(f"| {mutant.rule} | {mutant.name} | {verdict} | {by} | {outcome.seconds:.0f} s |", flush=True)
        if verdict != "noticed":
            survivors.append((mutant, outcome))
    for mutant, outcome in survivors:
        print(f"\n--- {mutant.name}: not noticed by {', '.join(mutant.tests)}\n{outcome.output[-3000:]}")
    print(f"\n{len(mutants) - len(survivors)} of {len(mutants)} breaks noticed, in {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


def judge(outcome: Outcome) -> tuple[str, str]:
    """(verdict, the test). A fixture that fails, or nothing that runs, notices nothing."""
    if outcome.failed:
        return "noticed", outcome.failed[0]
    if outcome.all_passed:
        return "SURVIVED", ""
    return "NOT RUN", ", ".join(outcome.broke) or f"pytest ended with {outcome.code}"


if __name__ == "__main__":
    sys.exit(main())
