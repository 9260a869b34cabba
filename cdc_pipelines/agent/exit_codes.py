"""What a consumer's exit code asks of the agent."""

STOPPED = 0
RETRY = 10
NEEDS_PERSON = 20
FENCED = 30
BAD_USE = 2  # of the command line, or a configuration that was refused before the consumer began

# Starting again would end the same way; only a new word (`cdc start`, `cdc restart`) changes that.
HOLD = frozenset({NEEDS_PERSON, FENCED, BAD_USE})


def explain(exit_code: int | None) -> str:
    """The code in words."""
    if exit_code is None:
        return "it ended while no agent watched"
    if exit_code < 0:
        return f"it was ended by signal {-exit_code}"
    words = {
        STOPPED: "it stopped as asked",
        RETRY: "something was out of reach",
        NEEDS_PERSON: "a person is needed",
        FENCED: "something newer took over",
        BAD_USE: "its configuration was refused",
    }
    return f"{words.get(exit_code, 'it failed')} (exit code {exit_code})"
