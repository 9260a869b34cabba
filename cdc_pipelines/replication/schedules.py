"""The `schedules` of a pipeline's file: at which times it is copied anew, and at which it is verified."""

import re
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, CroniterError, croniter
from pydantic import Field, field_validator

from cdc_pipelines.replication.strict import Strict

# What every cron knows: numbers, names, `*`, ranges, lists, steps. Left out are the extensions that the croniter of one
# version reads and that of another doesn't: a time that Dagster refuses would take all pipelines out of its UI.
_VALUE = r"(\d{1,2}|[A-Za-z]{3})"
_PART = rf"(\*|{_VALUE}(-{_VALUE})?)(/\d{{1,2}})?"
_FIELD = re.compile(rf"{_PART}(,{_PART})*")
_FIELDS = "minute (0-59), hour (0-23), day of month (1-31), month (1-12, JAN-DEC), day of week (0-7, SUN-SAT)"
_EXAMPLE = 'e.g. "0 3 * * SUN", Sundays at 03:00'


class Schedule(Strict):
    """A time that comes again and again."""

    cron: str = Field(description=f"When, as five fields: {_FIELDS}; {_EXAMPLE}.")
    timezone: str = Field("UTC", description="The IANA time zone that `cron` is read in, e.g. `Europe/Berlin`.")
    late_minutes: int = Field(
        60, ge=1,
        description="By how many minutes it may be late, where Dagster was down at its time. Beyond that it is left "
        "out, which the tick says.",
    )

    @field_validator("cron")
    @classmethod
    def _cron_is_right(cls, value: str) -> str:
        fields = value.split()
        if len(fields) != 5:
            raise ValueError(f'"{value}" has {len(fields)} field(s) instead of five, {_FIELDS}; {_EXAMPLE}')
        strange = [field for field in fields if not _FIELD.fullmatch(field)]
        if strange:
            raise ValueError(
                f'"{value}": {", ".join(strange)} has more in it than numbers, names, *, ranges (1-5), lists (1,15) '
                f"and steps (*/10); {_EXAMPLE}"
            )
        try:
            croniter(value).get_next()
        except CroniterBadDateError:
            raise ValueError(f'"{value}" never comes: there is no such date; {_EXAMPLE}') from None
        except CroniterError:
            raise ValueError(f'"{value}" is not a time; its fields are {_FIELDS}; {_EXAMPLE}') from None
        return " ".join(fields)

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # unknown; not a name at all; a folder of names, as `Europe`
            near = get_close_matches(value, sorted(available_timezones()), n=1)
            meant = f"; did you mean {near[0]}?" if near else ", such as Europe/Berlin or UTC"
            raise ValueError(f'"{value}" is not a time zone of the IANA database{meant}') from None
        return value


class ResyncSchedule(Schedule):
    """When tables are copied again."""

    tables: list[str] = Field(
        default_factory=list,
        description="Tables to copy again, by their names on the source: by `resync_tables`, one after the other, "
        "beside the stream; readers never see them empty. Without any the whole pipeline is copied again, by "
        "`start_replication` with `force_resync`: target tables are empty meanwhile.",
    )


class VerifySchedule(Schedule):
    """When both sides are compared, by `verify_replication`, and how."""

    tables: list[str] = Field(
        default_factory=list, description="Tables to compare, by their names on the source. Empty: all."
    )
    repair: bool = Field(False, description="Write the rows that differ anew, as the source has them.")
    rows_per_second: int | None = Field(
        None, ge=1, description="Read no faster than this, to spare the source. `null`: as fast as it goes."
    )


class Schedules(Strict):
    """What Dagster does by itself at set times, while the pipeline runs. Nothing, unless it is said here."""

    resync: ResyncSchedule | None = Field(None, description="See `schedules.resync` below.")
    verify: VerifySchedule | None = Field(None, description="See `schedules.verify` below.")
