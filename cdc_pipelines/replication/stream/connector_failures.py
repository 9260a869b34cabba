"""Why a connector's task failed, told as an error that says what to do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cdc_pipelines.replication.errors import CdcError, ConfigurationError, ResyncRequiredError, RetryableError
from cdc_pipelines.replication.secrets import redact

_RESYNC = "run `cdc start NAME --force-resync`."
_LINES, _CHARS = 6, 1200
_EXPECTED = re.compile(r"expecting \{.*")  # a parser names every word of its language
HISTORY_GONE = "the connector's schema history is gone"


@dataclass(frozen=True)
class _Cause:
    """A text in the trace (the first that is found counts), what it means, and what to do about it."""

    pattern: str
    error: type[CdcError]
    meaning: str
    next_step: str


_CAUSES = (
    _Cause(
        r"same server_(uuid|id)", ConfigurationError,
        "another replica reads the source under the same server id",
        "give connect.server_id a number in the pipeline's file that no other replica of the source uses.",
    ),
    _Cause(
        r"no longer available on the server|Could not find first log file name|purged|"
        r"which is not in the master's binlog|requested to start from GTID",
        ResyncRequiredError,
        "the source no longer has the log from the position on that the connector needs (purged or reset)",
        f"{_RESYNC} Let the source keep its log longer (binlog_expire_logs_seconds).",
    ),
    _Cause(
        r"internal schema size", ResyncRequiredError,
        "the connector has other columns of a table than the rows in the source's log",
        "where self-healing is on, the table is set apart, learnt anew and copied again; else run `cdc heal NAME`. "
        "Where that does not do, as of a table with system versioning, put the table under `exclude`, `cdc configure "
        f"FILE`, `cdc start NAME`; or {_RESYNC}",
    ),
    _Cause(
        r"schema isn't known to this connector|Trying to change column|which does not exist",
        ResyncRequiredError,
        "a captured table's definition changed between the position and the hand-over",
        _RESYNC,
    ),
    _Cause(
        r"no viable alternative at input|ParsingException|mismatched input|extraneous input",
        ConfigurationError,
        "Debezium can't parse a statement of the source",
        "in connect.config set schema.history.internal.skip.unparseable.ddl: 'true', `cdc configure FILE`, `cdc start "
        "NAME`, and take it out again. If the statement changed columns of a replicated table, see docs/"
        "troubleshooting.md (a statement that Debezium can't parse); if it is about another table, also exclude that.",
    ),
    _Cause(
        r"db history topic is missing|history topic .*(missing|not exist)|is fully or partially missing",
        RetryableError,
        HISTORY_GONE,
        "run `cdc start NAME`: it makes the connector anew, from the applied position.",
    ),
    _Cause(
        r"Could not find existing redo log information", RetryableError,
        "the connector found no offset to start from",
        "run `cdc start NAME`: it makes the connector anew, from the applied position.",
    ),
    _Cause(
        r"RecordTooLarge|when serialized which is larger|message size larger than", ConfigurationError,
        "an event is larger than kafka.max_message_bytes",
        "raise kafka.max_message_bytes in the pipeline's file, `cdc configure` it, then `cdc start NAME`: the change "
        "log's topic is raised along, and the connector goes on with that event.",
    ),
    _Cause(
        r"Access denied|1045|1227|authentication", ConfigurationError,
        "the source refuses the connector's user",
        "see that the worker's environment (or file) holds the password that the pipeline refers to, that the worker "
        "has that config provider, and that the user has SELECT, REPLICATION SLAVE and REPLICATION CLIENT.",
    ),
    _Cause(
        r"Communications link failure|Connection refused|UnknownHost|Unable to connect|Failed to connect|timed out|"
        r"EOFException|SocketException|Socket error", RetryableError,
        "the connector can't reach the source",
        "see that the source runs and that the Connect worker reaches it (source.connect_host, source.connect_port).",
    ),
)


def failure(connector: str, trace: str) -> CdcError:
    """The error that stands for a failed task's trace; a RetryableError where the cause is not known."""
    lines = first_lines(trace)
    for cause in _CAUSES:
        if re.search(cause.pattern, trace, re.IGNORECASE):
            return cause.error(
                f"connector {connector}: its task failed: {cause.meaning}{_table(trace)}:\n{lines}", cause.next_step
            )
    return RetryableError(
        f"connector {connector}: its task failed:\n{lines}",
        "look at the Connect worker's log; run the same command again when the cause is mended.",
    )


def unknown_table(trace: str, database: str) -> str | None:
    """What the connector met rows of in the source's log and does not know."""
    found = re.search(rf"change event for table {re.escape(database)}\.(.+?) whose schema isn't known", trace)
    return found[1] if found else None


def misread_table(trace: str, tables: Iterable[str]) -> str | None:
    """Which of the tables has rows in the source's log that are not as wide as the connector takes them to be."""
    return next((name for name in tables if f"processing row in {name}, internal schema size" in trace), None)


def first_lines(trace: str) -> str:
    """What a trace says without its stack: the exception and its causes, secrets masked, indented."""
    said = [line.strip() for line in trace.splitlines() if line.strip() and not re.match(r"\s*(at |\.\.\. )", line)]
    unique = list(dict.fromkeys(_EXPECTED.sub("expecting …", line.removeprefix("Caused by: ")) for line in said))
    return redact("\n".join(f"    {line}" for line in unique[:_LINES]))[:_CHARS]


def _table(trace: str) -> str:
    found = re.search(r"(?:table|in) ([\w$.`\"]+\.[\w$`\"]+)(?: whose|,)", trace)
    return f" (table {found[1]})" if found else ""
