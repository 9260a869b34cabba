"""Logging of our processes: lines that people read or JSON that machines do, and never a secret in either.

Further facts of a record go in by `extra`, or for all records of a part of the work by `About`: pipeline, table, and
position, the place in the source's log.
"""

import json as json_module
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from cdc_pipelines.replication.secrets import redact

FIELDS = ("pipeline", "table", "position")

_HANDLER = "cdc"
_JSON_FORMAT, _TEXT_FORMAT = "json", "text"


def setup_logging(
    json: bool | None = None, *, level: str | None = None, stream: TextIO | None = None,
    text: logging.Formatter | None = None,
) -> None:
    """Send the root logger to `stream` (stderr by default), in place of what an earlier call set up.

    `json` by default is whether the environment's CDC_LOG_FORMAT says `json`; `level` is CDC_LOG_LEVEL, else INFO.
    `text` formats the lines for people, by default a `TextFormatter`.
    Errors that nobody catches, in any thread, are logged as well: Python alone would print them unmasked.
    """
    if json is None:
        json = os.environ.get("CDC_LOG_FORMAT", _TEXT_FORMAT).strip().lower() == _JSON_FORMAT
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.set_name(_HANDLER)
    handler.setFormatter(JsonFormatter() if json else text or TextFormatter())
    handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    for old in [h for h in root.handlers if h.get_name() == _HANDLER]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # else it tells every plugin of its own
    root.setLevel((level or os.environ.get("CDC_LOG_LEVEL") or "INFO").upper())
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


class About(logging.LoggerAdapter[logging.Logger]):
    """A log whose records tell some facts, beside those that a call gives: `About(log, table="orders")`.

    Python's own adapter does not let a call give any, before 3.13.
    """

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger], **facts: str) -> None:
        super().__init__(log, facts)  # type: ignore[arg-type]  # it may stand on another one

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


class RedactingFilter(logging.Filter):
    """Masks known secrets in whatever a record may print: message, fields, stack, exception with its causes."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        for name in FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                setattr(record, name, redact(str(value)))
        return True


class TextFormatter(logging.Formatter):
    """`2026-11-24T18:00:00.123Z INFO cdc.consumer [shop] what happened (table=orders)`, UTC.

    What the message says itself is not told twice.
    """

    def format(self, record: logging.LogRecord) -> str:
        pipeline, message = getattr(record, "pipeline", None), record.getMessage()
        told = {name: getattr(record, name, None) for name in FIELDS[1:]}
        facts = [f"{name}={value}" for name, value in told.items() if value is not None and not _says(message, value)]
        parts = [
            _moment(record),
            record.levelname,
            record.name,
            *([f"[{pipeline}]"] if pipeline else []),
            message,
            *([f"({', '.join(facts)})"] if facts else []),
        ]
        return "\n".join([" ".join(parts), *[t for t in (record.exc_text, record.stack_info) if t]])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields that are there, the exception."""

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        values |= {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}
        if record.exc_text:
            values["exception"] = record.exc_text
        if record.stack_info:
            values["stack"] = record.stack_info
        return json_module.dumps(values, ensure_ascii=False)


def _says(message: str, value: Any) -> bool:
    return re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", message) is not None


def _moment(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("cdc").critical("ended by an error that nobody caught", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    name = args.thread.name if args.thread else "?"
    what = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger("cdc").critical("thread %s ended by an error that nobody caught", name, exc_info=what)
