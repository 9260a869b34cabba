"""A consumer as the agent sees one: a process that lives, says something, and ends as it was told.

`python tests/stand_in_consumer.py FOLDER consume NAME`. It notes every start in FOLDER/NAME.starts and every end by
SIGTERM in FOLDER/NAME.terms. FOLDER/NAME.does may hold {"exit": code, "after": seconds, "say": text, "deaf": true}.
Only the standard library: it starts in no time.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

folder, name = Path(sys.argv[1]), sys.argv[3]


def note(kind: str, **facts: object) -> None:
    with (folder / f"{name}.{kind}").open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts | {"pid": os.getpid(), "at": time.monotonic()}) + "\n")


def end(*_: object) -> None:
    note("terms")
    sys.exit(0)


try:
    does = json.loads((folder / f"{name}.does").read_text())
except FileNotFoundError:
    does = {}
signal.signal(signal.SIGTERM, signal.SIG_IGN if does.get("deaf") else end)
mark = json.loads(os.environ.get("CDC_CONSUMER_MARK", "{}"))
print(does.get("say", "at work"), flush=True)
note("starts", group=mark.get("group"), store=mark.get("store"), url=os.environ.get("CDC_CONTROL_URL"),
     session=os.getsid(0))
time.sleep(does.get("after", 0) if "exit" in does else 3600)
sys.exit(does.get("exit", 0))
