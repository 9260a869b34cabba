"""Which of the server's errors are a refusal: of a row, or for what the table is, not for how the server does now."""

import psycopg

_CLASSES = {
    "21",  # one statement would touch a row twice
    "22",  # a value that the column can't hold
    "23",  # a constraint
    "38",  # a trigger's function
    "39",
    "44",  # a view's check option
}
_STATES = {
    "P0001",  # raised by a trigger
    "54000",  # a value that is too large for an index
    "3F000", "42P01",  # the schema or the table is gone
    "42703",  # a column is gone
    "42804",  # a column has another type
    "42809",  # something else has the table's name
    "42P10",  # the key's unique index is gone
    "428C9", "55000",  # a column or a view that can't be written to
}  # fmt: skip


def is_refusal(error: psycopg.Error) -> bool:
    """Whether the same change would be refused again and again, and changes of other tables would not.

    Missing rights are none: they come with the user, and so seldom alone. What the driver itself can't put into a
    statement (the character NUL in a text) has no SQLSTATE.
    """
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.DataError)
    return state[:2] in _CLASSES or state in _STATES


def reason(error: psycopg.Error) -> str:
    """The server's message in one line of bounded length, without the row's values that its details tell."""
    text = " ".join((error.diag.message_primary or str(error)).split())
    state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
    return (text if len(text) <= 300 else text[:299] + "…") + state
