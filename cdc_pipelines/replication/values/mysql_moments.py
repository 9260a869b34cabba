"""Dates and times of MySQL and MariaDB in PostgreSQL.

The servers allow dates that are none: without a day or a month, or in the year 0. PostgreSQL has none of these, and the
change log neither: it says null where the column may be null, and a stand-in else, which is the column's default if
that is a real date, or 1970-01-01. (Debezium's ZeroDateFallbackConverter says null, but of a column's first value too.)
February 30, which ALLOW_INVALID_DATES lets in, is refused by the target and by preflight; the connector fails at it.
"""

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache

from cdc_pipelines.replication.values.form import Case, Form

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DATE = re.compile(r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)( \d\d:\d\d:\d\d(\.\d{1,6})?)?$")
_MOMENT = "date_format({c},'%Y-%m-%d %H:%i:%s.%f')"
# time_to_sec() keeps the fraction on MariaDB and drops it on MySQL.
_MICROSECONDS = "if({c}<0,-1,1)*((hour({c})*3600+minute({c})*60+second({c}))*1000000+microsecond({c}))"
# Day 366 is the first of the year 1; a zero part has no day number.
NO_DATE = "coalesce(to_days({c}),0)<366"
_ZERO_MOMENT = re.compile(r"1970-01-01T00:00:00(\.0+)?Z").fullmatch


def day(case: Case) -> Form:
    return Form(
        "date", _dated(case, "{c}", "1970-01-01"), int, _none_at_stand_in(case, _day_text),
        _dated(case, "date_format({c},'%Y-%m-%d')", "1970-01-01"), "to_char({c},'YYYY-MM-DD')",
    )


def moment(case: Case) -> Form:
    return Form(
        f"timestamp({case.column.fraction or 0})", _dated(case, "{c}", "1970-01-01 00:00:00"), int,
        _none_at_stand_in(case, _moment_text),
        _dated(case, _MOMENT, "1970-01-01 00:00:00.000000"), "to_char({c},'YYYY-MM-DD HH24:MI:SS.US')",
    )


def instant(case: Case) -> Form:
    """TIMESTAMP begins one second after 1970-01-01, which so is told from all others: it means none."""
    return Form(
        f"timestamptz({case.column.fraction or 0})", _dated(case, "concat({c},'+00')", ""), str, _zero_moment_null,
        _dated(case, _MOMENT, ""), "to_char({c} at time zone 'UTC','YYYY-MM-DD HH24:MI:SS.US')",
    )


def span(case: Case) -> Form:
    """MySQL's TIME is a span of up to ±838 hours; PostgreSQL's time ends at 24:00."""
    return Form(f"{case.rules.time}({case.column.fraction or 0})", "{c}", int, _span_text, _MICROSECONDS,
                "(extract(epoch from {c})*1000000)::bigint::text")


def has_stand_in(case: Case) -> bool:
    """Whether the change log has a real date in place of one that is none."""
    if case.column.type == "timestamp" and (case.mariadb or not _is_real(case.column.default)):
        return False  # MariaDB's connector knows no default here
    return not case.column.nullable


def means_none(case: Case) -> bool:
    """Whether that date counts as none: the column's own default says that it has such."""
    return has_stand_in(case) and case.rules.zero_dates == "as_null" and _is_no_date(case.column.default)


def _is_no_date(default: str | None) -> bool:
    found = _DATE.match(default or "")
    return found is not None and ("00" in (found["month"], found["day"]) or found["year"] == "0000")


def _is_real(default: str | None) -> bool:
    return _DATE.match(default or "") is not None and not _is_no_date(default)


def _dated(case: Case, sql: str, epoch: str) -> str:
    """`sql`, but for a date that is none what the rule and the change log have in its place.

    `epoch` is 1970-01-01 in the form that `sql` gives.
    """
    if case.rules.zero_dates == "error":
        return sql
    if means_none(case):
        return f"if({NO_DATE} or {{c}}='1970-01-01',null,{sql})"
    if not has_stand_in(case):
        return f"if({NO_DATE},null,{sql})"
    if not _is_real(case.column.default):
        return f"if({NO_DATE},'{epoch}',{sql})"
    # Digits and punctuation alone, in the column's own form and fraction
    kind = "date" if case.column.type == "date" else f"datetime({case.column.fraction or 0})"
    stand_in = f"cast('{case.column.default}' as {kind})"
    return f"if({NO_DATE},{sql.replace('{c}', stand_in)},{sql})"


def _none_at_stand_in(case: Case, text: Callable[[int], str]) -> Callable[[int], str | None]:
    return (lambda value: text(value) if value else None) if means_none(case) else text


def _zero_moment_null(value: str) -> str | None:
    return None if _ZERO_MOMENT(value) else value


@lru_cache(10_000)
def _day_text(days: int) -> str:
    return date.fromordinal(_EPOCH_DAY + days).isoformat()


@lru_cache(1440)
def _minute_text(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _moment_text(microseconds: int) -> str:
    # By parts that come again and again: three times as quick as datetime's own way.
    days, rest = divmod(microseconds, 86_400_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    seconds = f"{rest:08d}"
    return f"{_day_text(days)} {_minute_text(minutes)}:{seconds[:2]}.{seconds[2:]}"


def _span_text(microseconds: int) -> str:
    sign = "-" if microseconds < 0 else ""
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"
