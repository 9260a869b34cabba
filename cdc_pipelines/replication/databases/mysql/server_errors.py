"""Errors of a MySQL or MariaDB server in our own tree: what the caller should do, in words a person can act on."""

from typing import Any

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.errors import CdcError, ConfigurationError, RetryableError

ACCESS_DENIED = {1044, 1045, 1698, 1820, 1862, 3118, 4151}
NOT_GRANTED = {1142, 1143, 1227, 1370}
UNKNOWN_DATABASE = 1049
NO_SUCH_TABLE = 1146
UNKNOWN_OBJECT = {1054, NO_SUCH_TABLE}
TLS_FAILED = 2026
LOCK_WAIT_TIMEOUT = 1205
QUERY_KILLED = {1317, 1969, 3024}
TABLE_CHANGED = 1412
OUT_OF_RANGE = 1690  # how our own SQL says that a binary value is too long to be rendered
_OUT_OF_REACH = {1040, 1053, 1077, 1129, 1130, 1158, 1159, 1160, 1161, 1203, 1226, 1927, 2002, 2003, 2005, 2006, 2013,
                 2055, 3169, 4031}
_TRANSIENT = {LOCK_WAIT_TIMEOUT, 1213, TABLE_CHANGED, 1615, *QUERY_KILLED}


def code_and_text(error: BaseException) -> tuple[int, str]:
    """The server's (or client's) error number, 0 if there is none, and its text, with secrets masked."""
    number = getattr(error, "errno", None)
    text: Any = getattr(error, "msg", None)
    if not isinstance(number, int):
        first = error.args[0] if error.args else None
        number = first if isinstance(first, int) else 0
        text = error.args[1] if number and len(error.args) > 1 else str(error)
    return number, secrets.redact(str(text or error))


def is_missing(error: CdcError) -> bool:
    """Whether a statement failed because a table is not there."""
    cause = error.__cause__
    return cause is not None and code_and_text(cause)[0] == NO_SUCH_TABLE


def translate(error: BaseException, doing: str, where: str) -> CdcError:
    """Our error for a driver's one. `doing` says what was tried, `where` is user@host:port."""
    number, text = code_and_text(error)
    message = f"{doing} on {where} failed: {text} (error {number})" if number else f"{doing} on {where} failed: {text}"
    if number in ACCESS_DENIED:
        return ConfigurationError(
            message, "check source.user, source.password and source.database; the password is read anew at each start."
        )
    if number in NOT_GRANTED:
        return ConfigurationError(message, "grant the missing privilege; `cdc check` prints the exact statement.")
    if number == UNKNOWN_DATABASE:
        return ConfigurationError(message, "correct source.database in the pipeline's file.")
    if number in UNKNOWN_OBJECT:
        return ConfigurationError(
            message, "the table or column is gone or was renamed; run `cdc discover` and correct the pipeline's file."
        )
    if number == TLS_FAILED:
        return ConfigurationError(message, "correct source.tls (mode, ca, cert, key) or the server's certificate.")
    if number == OUT_OF_RANGE:
        return ConfigurationError(
            message, "a binary value is longer than half of the server's max_allowed_packet and can't be rendered: "
            "raise that (SET GLOBAL max_allowed_packet = …, and in its configuration), or leave the column out."
        )
    if number == TABLE_CHANGED:
        return RetryableError(message, "the table was altered while the snapshot opened; a new snapshot is needed.")
    if number in _TRANSIENT:
        return RetryableError(message, "try again; if it lasts, look for long transactions on the source.")
    if number in _OUT_OF_REACH or number == 0 or 2000 <= number < 3000:
        return RetryableError(message, "check that the server runs and can be reached from here, then try again.")
    return ConfigurationError(message, "the server refused the statement; see its message.")
