"""Breaks of how people are told."""

from tests.mutants.mutant import IDEMPOTENT, KILL, NOT_SILENT, SECRETS, Mutant

_CHANNELS = "unit/test_alert_channels.py::"
_DUE = "unit/test_alert_due.py::"
_SENSORS = "unit/test_alert_sensors.py::"
_TELLING = "unit/test_alert_telling.py::"
_STORE = "replication/control/alerts.py"
_TELLER = "replication/alerts/telling.py"

MUTANTS = [
    Mutant(
        "a message is told by everybody who looks", IDEMPOTENT, _STORE,
        "where=t.c.told_at.is_(None) & (t.c.busy_until <= at),",
        "where=t.c.tries > 0,",
        (_TELLING + "test_of_many_tellers_at_once_one_tells",),
    ),
    Mutant(
        "what a teller that died had claimed is never told", KILL, _STORE,
        "where=t.c.told_at.is_(None) & (t.c.busy_until <= at),",
        "where=t.c.tries < 0,",
        (_TELLING + "test_a_teller_that_died_while_telling_is_replaced",),
    ),
    Mutant(
        "a message that no channel took counts as told", NOT_SILENT, _TELLER,
        "        if any(not each.error for each in outcomes):\n",
        "        if outcomes:\n",
        (_TELLING + "test_nobody_heard_is_tried_again_with_growing_pauses",),
    ),
    Mutant(
        "a failed run is forgotten while the control store is away", NOT_SILENT, "sensors/alerts.py",
        "        raise TryAgainError(",
        "        return\n        raise TryAgainError(",
        (_SENSORS + "test_a_store_out_of_reach_loses_no_run",),
    ),
    Mutant(
        "an incident whose run is not seen is not told", NOT_SILENT, "replication/alerts/due.py",
        "    return run_seen or (now - incident.raised_at).total_seconds() >= GRACE_S\n",
        "    return run_seen\n",
        (_DUE + "test_an_incident_is_told_once_its_run_failed_or_was_not_seen_in_time",
         _TELLING + "test_where_its_run_is_never_seen_people_are_told_all_the_same"),
    ),
    Mutant(
        "an incident that becomes worse is not told again", NOT_SILENT, "replication/alerts/due.py",
        '    if incident.severity == "failed" and not any(each.severity == "failed" for each in told):\n',
        "    if False:\n",
        (_DUE + "test_what_becomes_worse_is_told_once",),
    ),
    Mutant(
        "after retries the reason is that there were retries", NOT_SILENT, "sensors/failed_runs.py",
        "    while error.cls_name in _WRAPPERS and error.cause is not None:\n",
        "    while False:\n",
        (_SENSORS + "test_the_real_reason_is_told_also_after_retries",),
    ),
    Mutant(
        "a redirect counts as a delivery", NOT_SILENT, "replication/alerts/channels.py",
        "    if not 200 <= status < 300:\n",
        "    if not 200 <= status < 400:\n",
        (_CHANNELS + "test_a_refused_message_is_tried_once_more",),
    ),
    Mutant(
        "libraries log the addresses of chats", SECRETS, "replication/alerts/private.py",
        "        if complaints is None:\n            return True\n",
        "        if True:\n            return True\n",
        (_CHANNELS + "test_no_part_of_an_address_reaches_a_log",),
    ),
    Mutant(
        "reasons repeat parts of the address", SECRETS, "replication/alerts/private.py",
        "        text = text.replace(part, MASK)\n",
        "        pass\n",
        (_CHANNELS + "test_no_part_of_an_address_reaches_a_log",),
    ),
    Mutant(
        "a message repeats the password that a run's error held", SECRETS, "replication/alerts/private.py",
        "                resolve_secret(reference)\n",
        "                pass\n",
        (_TELLING + "test_what_a_run_said_of_a_password_is_not_repeated",),
    ),
    Mutant(
        "the address of a chat may stand in the file", SECRETS, "replication/alerts/settings.py",
        "    return AfterValidator(lambda value: require_reference(value, field))\n",
        "    return AfterValidator(lambda value: value)\n",
        ("unit/test_pipeline_file.py::test_an_address_of_people_is_a_reference_and_is_not_repeated",),
    ),
    Mutant(
        "a mistake under alerts shows the address that it is", SECRETS, "replication/pipeline_file.py",
        '    if location[:1] == ["alerts"]:',
        "    if False:",
        ("unit/test_pipeline_file.py::test_an_address_of_people_is_a_reference_and_is_not_repeated",),
    ),
]
