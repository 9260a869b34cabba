"""Faults at seeded random moments while writers are at work; afterwards both sides must be equal.

    python -m tests.chaos.campaign [--seed N] [--faults 30] [--only "kill -9 broker,…"]

Prints one line per event and a table at the end; exit code 1 where anything was lost, doubled or seen half.
"""

import argparse
import sys
import time
from collections import Counter
from random import Random

from tests.chaos.arena import Arena, Observer, arena
from tests.chaos.faults import FAULTS
from tests.chaos.workload import Writer

WRITERS = 3
STALL_S = 150


def campaign(place: Arena, seed: int, count: int, names: list[str], *, pause_s: float = 0.05) -> list[str]:
    """Run `count` faults; what was found wrong, empty for nothing. Raises AssertionError where nothing goes on."""
    random = Random(seed)
    writers = [Writer(n + 1, seed, place.source, pause_s=pause_s) for n in range(WRITERS)]
    observer = Observer(place)
    observer.start()
    for writer in writers:
        writer.start()
    try:
        started = place.cdc("start", "chaos")
        assert started.returncode == 0, started.stderr[-3000:]
        observer.watching.set()
        place.say("streaming")
        # Every kind once before any comes again.
        order: list[str] = []
        while len(order) < count:
            order += random.sample(names, len(names))
        for name in order[:count]:
            time.sleep(random.uniform(1, 5))
            place.say(name)
            FAULTS[name](place, random)
            place.up()
            place.agent()
        time.sleep(random.uniform(1, 5))
    finally:
        for writer in writers:
            writer.stop()
    for writer in writers:
        writer.join(60)
    problems = [f"writer {w.number}: {w.error!r}" for w in writers if w.error]
    place.say(f"{sum(w.commits for w in writers)} transactions committed; waiting for the target")
    problems += settled(place)
    observer.end()
    place.say(f"{observer.seen} looks at the balances")
    problems += [f"the sum of all balances was {wrong}" for wrong in observer.wrong[:5]]
    problems += place.differences()
    return problems


def settled(place: Arena) -> list[str]:
    """Wait, as long as the stream goes on, until the target has all; then what a verification finds."""
    seen, since = None, time.monotonic()
    while True:
        now = place.status()
        if (now.get("lag") or {}).get("seconds") == 0:
            break
        at = now.get("position"), (now.get("lag") or {}).get("messages")
        if at != seen:
            seen, since = at, time.monotonic()
        if time.monotonic() - since > STALL_S:
            return [f"nothing moves for {STALL_S} s: {now}\n{place.logs()}"]
        time.sleep(2)
    verified = place.cdc("verify", "chaos", timeout_s=600)
    return [] if verified.returncode == 0 else [f"verify: {verified.stdout[-2000:]}\n{verified.stderr[-2000:]}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    names = [name.strip() for name in arguments.only.split(",") if name.strip()] or list(FAULTS)
    unknown = set(names) - set(FAULTS)
    if unknown:
        parser.error(f"no fault is called {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    with arena() as place:
        problems = campaign(place, arguments.seed, arguments.faults, names)
        counted = Counter(line.partition(" s  ")[2] for line in place.log)
        print(f"\nseed {arguments.seed}: " + ", ".join(f"{name} × {counted[name]}" for name in names if counted[name]))
        for problem in problems:
            print(f"WRONG  {problem}")
        if problems:
            print(place.logs(60))
    print("equal" if not problems else f"replay: python -m tests.chaos.campaign --seed {arguments.seed}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
