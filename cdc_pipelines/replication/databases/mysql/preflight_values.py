"""Looks for values that the target can't hold: those that a rule refuses, and those that it changes."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable
from cdc_pipelines.replication.databases.mysql.preflight_server import Look
from cdc_pipelines.replication.databases.mysql.preflight_tables import LOOK_BYTES, look_briefly, named
from cdc_pipelines.replication.databases.mysql.sql import quote, quote_table
from cdc_pipelines.replication.errors import CheckResult
from cdc_pipelines.replication.values import charsets, mysql_moments, mysql_numbers
from cdc_pipelines.replication.values.form import Case

_ALL_SECONDS = 30  # for all tables together: a start must not wait for this any longer
_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_FEBRUARY_30 = "day({c})>day(last_day({c}))"


class Question(NamedTuple):
    """SQL that is true of values of `{c}` which are `what`; `refused`, and what helps, or else changed."""

    sql: str
    what: str
    refused: bool
    fix: str = ""


def questions(column: MappedColumn, table: MappedTable, flavor: str) -> Iterator[Question]:
    """What to ask of a column's values."""
    case = Case(column.source, column.rules, flavor, f"{table.name}.{column.source.name}")  # type: ignore[arg-type]
    kind, rules = column.source.type, column.rules
    is_key = column.source.name in table.source.key
    if column.shape.hash is not None:
        return  # whatever it holds
    if kind in _TEXTS:
        text = "{c}" if column.source.charset in ("utf8mb4", "utf8mb3") else "convert({c} using utf8mb4)"
        yield Question(
            f"instr(cast({text} as binary),x'00')>0", "the character NUL", rules.nul == "error",
            "give these rows another key" if is_key else "values.nul: remove (or replace)",
        )
        if column.shape.type in ("json", "jsonb"):
            yield Question("not json_valid({c})", "no JSON", True, "leave the column a text: no `type` under `shape`")
        undecodable = charsets.undecodable(column.source.charset)
        if undecodable:
            replaces = rules.undecodable == "replace"
            yield Question(
                undecodable, f"bytes that are no text in {column.source.charset}, or are lost in the change log",
                not replaces, "convert the column to utf8mb4"
                + ("; or values.undecodable: replace"
                   if charsets.heeds_replace(column.source.charset) and not is_key else ""),
            )
    elif kind == "json":
        yield Question(
            r"cast({c} as char) regexp '(?<!\\\\)(\\\\\\\\)*\\\\u0000'", "the character NUL", rules.nul == "error",
            "values.nul: remove (or replace)",
        )
        yield Question(
            "not {c}<=>cast(cast({c} as char) as json)",
            "documents with dates, times or bytes of SQL's own (the change log writes them otherwise)", False,
        )
    elif kind == "enum" and "" in column.source.labels and is_key:
        yield Question("{c}+0=0", "the value that is no label, which reads as the label ''", True,
                       "give these rows a label")
    elif kind in ("date", "datetime", "timestamp"):
        yield from _of_dates(case, is_key=is_key)
    elif mysql_numbers.is_tinyint1(column.source) and rules.tinyint1 == "boolean":
        yield Question("{c} not in (0,1)", "beside 0 and 1", True, "values.tinyint1: smallint")
    elif rules.bigint_unsigned == "bigint":
        yield Question("{c}>9223372036854775807", "from 2⁶³ on", True, "values.bigint_unsigned: numeric")
    elif rules.time == "time":
        yield Question("{c}<0 or {c}>'24:00:00'", "no times of a day", True, "values.time: interval")


def _of_dates(case: Case, *, is_key: bool) -> Iterator[Question]:
    rule = case.rules.zero_dates
    untold = mysql_moments.has_stand_in(case) and not mysql_moments.means_none(case) and rule != "as_logged"
    if is_key:
        fix = "give these rows real dates, or the table another key"
    elif untold:
        fix = ("let the column be NULL or have a zero date for its default, so that they become NULL; or "
               "values.zero_dates: as_logged")
    else:
        fix = "values.zero_dates: as_null"
    yield Question(mysql_moments.NO_DATE, "zero dates", rule == "error" or is_key or untold, fix)
    if case.column.type != "timestamp":
        yield Question(_FEBRUARY_30, "days that no calendar has", True, "give these rows real dates: the connector "
                       "fails at them")
    if mysql_moments.means_none(case):
        yield Question("{c}='1970-01-01'", "1970-01-01, which counts as a zero date", False)


def values(look: Look) -> CheckResult:
    """Only of tables that a scan answers for within seconds: the others are named."""
    refused: list[str] = []
    changed: list[str] = []
    unseen: list[str] = []
    fixes: dict[str, None] = {}
    until = time.monotonic() + _ALL_SECONDS
    for table in look.chosen:
        if not isinstance(table, MappedTable):
            continue
        asked = [(c, question) for c in table.columns for question in questions(c, table, look.spec.type)]
        if not asked:
            continue
        counts = _counts(look, table, asked) if time.monotonic() < until else None
        if counts is None:
            unseen.append(table.name)
            continue
        for (column, question), count in zip(asked, counts, strict=True):
            if count:
                found = f"{table.name}.{column.source.name}: {question.what} ({count} rows)"
                (refused if question.refused else changed).append(found)
                if question.refused:
                    fixes[f"{table.name}.{column.source.name}: {question.fix}"] = None
    notes = [f"; become what the rules say: {named(changed)}"] if changed else []
    notes += [f"; not looked into: {named(unseen)}"] if unseen else []
    return CheckResult(
        "source values", not refused,
        (f"the target can't hold {named(refused)}" if refused else "the target can hold what was looked at")
        + "".join(notes),
        "\n".join(list(fixes)[:10]),
    )


def _counts(look: Look, table: MappedTable, asked: list[tuple[MappedColumn, Question]]) -> list[int] | None:
    """Rows per question; None where that takes too long."""
    source = table.source
    if source.data_bytes > LOOK_BYTES:
        return None
    sums = ", ".join(f"coalesce(sum({question.sql.format(c=quote(c.source.name))}), 0)" for c, question in asked)
    found = look_briefly(look, f"{sums} from {quote_table(source.schema, source.name)}")
    return None if found is None else [int(count) for count in found]
