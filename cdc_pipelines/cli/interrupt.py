"""Ctrl-C, for commands that go on until it comes."""

import signal
import threading


def on_interrupt() -> threading.Event:
    """Set at SIGINT, which is raised as ever, also where the process was begun with it ignored, as in the background.

    Where it strikes in a destructor, Python drops what is raised there: so whoever loops looks at the event as well.
    """
    ended = threading.Event()

    def interrupt(*_: object) -> None:
        ended.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    return ended
