"""Faults at seeded random moments while writers are at work; afterwards both sides must be equal.

    python -m tests.chaos.campaign [--seed N] [--source mysql-gtid,…] [--minutes 85 | --faults 30] [--only "kill -9 broker,…"]

Every fault comes once before any comes again, alone or together with others; then those that came least, over all
sources. Writers rest after some faults, and all tables are compared. Prints one line per event and a table at the end;
exit code 1 where anything was lost, doubled or seen half, or did not go on. For each source a seed fixes the writes and
the order in which all faults come first; not the moments at which servers answer, nor what comes again where time
decides how many come.
"""  # noqa: E501

import argparse
import contextlib
import itertools
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos.arena import Arena, BrokenError, arena
from tests.chaos.faults import ALONE, FAULTS, unfit
from tests.chaos.score import SEVERAL, Score
from tests.chaos.sources import SOURCES
from tests.chaos.workload import Writer
from tests.command_server import CommandServer

WRITERS = 3
PATIENCE_S = 25
STALL_S = 200
AHEAD_S = 15
COMPARE_EVERY = 8


@dataclass(frozen=True)
class Plan:
    """What one source goes through: `faults` of them, or as many as begin within `seconds`."""

    names: list[str]
    faults: int | None = None
    seconds: float = 0.0
    pause_s: float = 0.1
    together: int = 3  # as many as that strike at once
    rest_s: float = 3.0  # at most, between two faults


class _PatienceOverError(Exception):
    """Patience is over, and nothing is wrong."""


def campaign(place: Arena, seed: int, plan: Plan, score: Score) -> None:
    """Run the plan. What was found wrong is in `score.problems`."""
    random = Random(f"{seed}/{place.kind.name}")
    writers = [
        Writer(n + 1, seed, place.source, pause_s=plan.pause_s, ahead=lambda: place.observer.stalls.behind_s > AHEAD_S)
        for n in range(WRITERS)
    ]
    everyone = [place.beats, place.observer, *writers]
    try:
        for thread in everyone:
            thread.start()
        _strike_all(place, random, plan, score, writers)
        _settle(place, score, writers)
        verified = place.cdc("verify", "chaos", timeout_s=600)
        if verified.code:
            raise BrokenError(f"verify: {verified.stdout[-2000:]}\n{verified.stderr[-2000:]}")
    except Exception as error:  # noqa: BLE001 (whatever it is, the table and the logs are wanted)
        text = str(error) if isinstance(error, BrokenError) else "".join(traceback.format_exception(error)[-3:])
        place.say(f"broken: {text}")
        score.problems.append(f"{place.kind.name}, seed {seed}: {text}")
        score.problems.append(f"its status: {place.status()}\n{place.logs()}")
    finally:
        for writer in writers:
            writer.stop()
        place.beats.end()
        place.observer.end()
        for writer in writers:
            writer.join(60)
        score.stalled(place.observer.stalls.longest)
        score.looks += place.observer.looks
        score.transactions += sum(w.commits for w in writers)
        score.problems += [f"writer {w.number}: {w.error!r}" for w in writers if w.error]
        score.problems += [f"the sum of all balances was {wrong}" for wrong in place.observer.wrong[:5]]


def _strike_all(place: Arena, random: Random, plan: Plan, score: Score, writers: list[Writer]) -> None:
    place.must("start", "chaos")
    if not place.observer.passed(place.beats.last + 1, STALL_S):
        raise BrokenError("nothing arrives after the start")
    place.observer.watching.set()
    place.say(f"streaming from {place.kind.name}")
    began = time.monotonic()
    struck = compared = 0
    for names in _rounds(plan, random, score):
        if struck >= plan.faults if plan.faults is not None else time.monotonic() - began > plan.seconds:
            return
        if struck - compared >= COMPARE_EVERY:
            _settle(place, score, writers)
            compared = struck
            for busy in (place.beats, *writers):
                busy.going.set()
        time.sleep(random.uniform(0, plan.rest_s))
        _strike(place, random, score, names)
        struck += len(names)
        _recover(place, score, patience_s=PATIENCE_S)
        if place.observer.wrong:
            raise BrokenError(f"the balances did not add up, after {' + '.join(names)}")


def _rounds(plan: Plan, random: Random, score: Score) -> Iterator[list[str]]:
    """What strikes at once, one after the other: every one once, then those that struck least so far."""
    order = random.sample(plan.names, len(plan.names))
    while True:
        while order:
            names = [order.pop(0)]
            if names[0] not in ALONE:
                names += [name for name in order if name not in ALONE][: random.randrange(plan.together)]
            order = [name for name in order if name not in names]
            yield names
        least = min(score.times(name) for name in plan.names)
        order = [name for name in random.sample(plan.names, len(plan.names)) if score.times(name) == least]


def _strike(place: Arena, random: Random, score: Score, names: list[str]) -> None:
    place.say(" + ".join(names))
    score.struck(*names, *([SEVERAL] if len(names) > 1 else []))
    place.observer.stalls.during = names[0] if len(names) == 1 else SEVERAL
    errors: list[BaseException] = []

    def strike(name: str, seed: float, after_s: float) -> None:
        try:
            time.sleep(after_s)
            FAULTS[name](place, Random(seed))
        except BaseException as error:  # noqa: BLE001 (raised below)
            errors.append(error)

    threads = [
        threading.Thread(target=strike, args=(name, random.random(), random.uniform(0, 3) if number else 0.0))
        for number, name in enumerate(names)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    place.up()
    place.agent()


def _recover(place: Arena, score: Score, *, number: int | None = None, patience_s: float = float("inf")) -> None:
    """Wait until what is committed now is on the target; as long as it takes, while the stream goes on.

    With patience for so many seconds only: a source that was lost is looked for by Debezium once a minute, and what
    strikes meanwhile is welcome.

    A connector whose task failed is started again, as `cdc status` asks its operator to; that is counted.
    """
    wanted, began = number or place.beats.last + 1, time.monotonic()
    seen: object = None
    look_at = began + 10

    def moves() -> object:
        """Behind a large transaction the target stands still while the log is read. Looked at once in a second."""
        nonlocal seen, look_at
        if time.monotonic() < look_at:
            return seen
        trace = place.connector_failure()
        if trace is not None:
            place.say(f"mended by `cdc start`: {trace}")
            score.mended(place.observer.stalls.during)
            place.must("start", "chaos")
        if time.monotonic() - began > patience_s:
            raise _PatienceOverError
        seen, look_at = place.progress(), time.monotonic() + 1
        return seen

    with contextlib.suppress(_PatienceOverError):
        if not place.observer.passed(wanted, STALL_S, moves=moves):
            raise BrokenError(f"nothing moves for {STALL_S} s")


def _settle(place: Arena, score: Score, writers: list[Writer]) -> None:
    """With the writers at rest: everything is on the target, and all tables are equal."""
    for writer in writers:
        writer.pause()
    _recover(place, score, number=place.beats.last_words())
    found = place.differences()
    score.compared(found)
    place.say(f"compared: {found or 'equal'}")
    if found:
        raise BrokenError("\n".join(f"{d.table}: {d.text}" for d in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--source", default=",".join(SOURCES))
    parser.add_argument("--minutes", type=float, default=84.0, help="for all sources together")
    parser.add_argument("--faults", type=int, help="per source, instead of minutes")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path, help="a file for the table")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of servers and processes")
    arguments = parser.parse_args()
    sources, names = _list(arguments.source, SOURCES, parser), _list(arguments.only, FAULTS, parser)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this leaves no servers behind
    score, started, commands = Score(), time.monotonic(), CommandServer()
    for number, kind in enumerate(sources):
        left = arguments.minutes * 60 - (time.monotonic() - started)
        out = unfit(kind)
        fit = [name for name in names or FAULTS if name not in out]
        for name, reason in out.items():
            print(f"{kind}: without `{name}`: {reason}")
        with arena(SOURCES[kind], commands, keep=arguments.logs and arguments.logs / kind) as place:
            # What it takes to start, to compare and to end is counted too.
            plan = Plan(fit, arguments.faults, left / (len(sources) - number) - 75)
            campaign(place, arguments.seed, plan, score)
    commands.close()
    facts = {"seed": arguments.seed, "sources": sources, "seconds": round(time.monotonic() - started)}
    print("\n" + "\n".join(f"{key} {value}" for key, value in facts.items()))
    print(f"{score.transactions} transactions, {score.comparisons} comparisons, {score.looks} looks at the balances\n")
    print(score.table() + "\n")
    if arguments.json:
        score.write(arguments.json, **facts)
    for problem in score.problems:
        print(f"WRONG  {problem}")
    print("equal" if not score.problems else f"replay: python -m tests.chaos.campaign {' '.join(_replay(arguments))}")
    sys.exit(1 if score.problems else 0)


def _list(text: str, known: dict[str, object], parser: argparse.ArgumentParser) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = set(names) - set(known)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return names


def _replay(arguments: argparse.Namespace) -> Iterator[str]:
    given = vars(arguments) | {"json": None, "logs": None}
    return itertools.chain.from_iterable(
        (f"--{name}", repr(value) if " " in str(value) else str(value)) for name, value in given.items() if value
    )


if __name__ == "__main__":
    main()
