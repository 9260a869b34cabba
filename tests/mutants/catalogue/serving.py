"""Breaks of what guards the page and the API."""

from tests.mutants.mutant import IDEMPOTENT, NOT_SILENT, SECRETS, Mutant

_ACCESS = "unit/test_web_access.py::"
_API = "unit/test_web_api.py::"
_FILES = "unit/test_file_tables.py::"
_MEMBERS = "unit/test_web_members.py::"
_PAGES = "unit/test_web_pages.py::"
_RUNS = "unit/test_web_runs.py::"
_SECRETS = "unit/test_web_secrets.py::"
_TABLES = "unit/test_web_tables.py::"
_VIEWS = "unit/test_web_views.py::"

MUTANTS = [
    Mutant(
        "answers of the API show secrets", SECRETS, "web/answers.py",
        "    if isinstance(value, str):\n        return redact(value)\n",
        "    if isinstance(value, str):\n        return value\n",
        (_ACCESS + "test_no_secret_leaves",),
    ),
    Mutant(
        "pages show secrets", SECRETS, "web/render.py",
        "str(escape(redact(text)))",
        "str(escape(text))",
        (_PAGES + "test_names_are_text_and_secrets_are_masked",),
    ),
    Mutant(
        "dead letters show a secret with quotes", SECRETS, "web/render.py",
        "json.dumps(masked(value), ",
        "json.dumps(value, ",
        (_SECRETS + "test_no_answer_of_any_route_holds_a_secret",),
    ),
    Mutant(
        "any token will do", SECRETS, "web/access.py",
        "        return self.needed and hmac.compare_digest(*digests)\n",
        "        return self.needed\n",
        (_ACCESS + "test_guessing_is_slowed_down",),
    ),
    Mutant(
        "it listens for everybody without a token", SECRETS, "web/settings.py",
        "        if not self.token and not is_loopback(self.host):\n",
        "        if False:\n",
        (_ACCESS + "test_it_does_not_listen_for_strangers_without_a_token",),
    ),
    Mutant(
        "a rebound name reaches the page", SECRETS, "web/guard.py",
        "        self._check_host(headers)\n",
        "        pass\n",
        (_ACCESS + "test_a_rebound_name_reaches_nothing",),
    ),
    Mutant(
        "another site's page may act", SECRETS, "web/guard.py",
        "            _check_origin(headers)\n",
        "            pass\n",
        (_ACCESS + "test_another_sites_page_can_t_act",),
    ),
    Mutant(
        "forged forms are taken", SECRETS, "web/access.py",
        "        return hmac.compare_digest(self.form_proof(session).encode(), given.encode(\"utf-8\", \"replace\"))\n",
        "        return True\n",
        (_PAGES + "test_a_forged_form_does_nothing",),
    ),
    Mutant(
        "sessions are believed unsigned", SECRETS, "web/access.py",
        "            return False\n        return self._clock()",
        "            pass\n        return self._clock()",
        (_ACCESS + "test_sessions_end_and_can_t_be_made_up",),
    ),
    Mutant(
        "guessing is not slowed down", SECRETS, "web/guard.py",
        "    if wait := failures.wait_s(address):\n",
        "    if wait := 0:\n",
        (_ACCESS + "test_guessing_is_slowed_down",),
    ),
    Mutant(
        "a posted pipeline overwrites another one's file", NOT_SILENT, "replication/operations/saving.py",
        "    _refuse_others(spec, file, store)\n",
        "",
        (_API + "test_another_pipelines_file_and_name_are_safe",),
    ),
    Mutant(
        "two clicks are two runs", IDEMPOTENT, "web/launch.py",
        "                if run.job == job:\n",
        "                if False:\n",
        (_API + "test_one_operation_at_a_time",),
    ),
    Mutant(
        "a run on several tables is taken for one's own", NOT_SILENT, "web/launch.py",
        "                if run.job == job and tables == [table]:\n",
        "                if run.job == job and table in tables:\n",
        (_TABLES + "test_several_tables_in_one_run_are_not_taken_for_one",),
    ),
    Mutant(
        "a table is left out while another is taken in", IDEMPOTENT, "web/launch.py",
        " or not _COPIES & {job, run.job}):\n",
        "):\n",
        (_TABLES + "test_tables_are_taken_in_and_left_out_one_at_a_time",),
    ),
    Mutant(
        "a resync is launched without a stream to join", NOT_SILENT, "web/tables.py",
        '    if record.status != "running":\n',
        "    if False:\n",
        (_TABLES + "test_what_is_not_there_and_what_does_not_stream",),
    ),
    Mutant(
        "a name with a line end is nobody's", NOT_SILENT, "web/tables_api.py",
        '    regex = r"[\\s\\S]*"\n',
        '    regex = ".*"\n',
        (_TABLES + "test_a_table_is_reached_whatever_its_name_holds",),
    ),
    Mutant(
        "a table stays saved whose run was refused", NOT_SILENT, "web/members.py",
        "            if saved:\n                parts.store",
        "            if False:\n                parts.store",
        (_MEMBERS + "test_nothing_is_changed_by_what_is_refused",),
    ),
    Mutant(
        "somebody's own edit of a file is overwritten", NOT_SILENT, "web/members.py",
        "    if text != record.file_text:\n",
        "    if False:\n",
        (_MEMBERS + "test_a_file_that_is_not_ours_to_change_is_left_alone",),
    ),
    Mutant(
        "a file is edited that is not understood", NOT_SILENT, "replication/operations/file_tables.py",
        "if edited is not None and parse_pipeline(edited, file) == wanted else None",
        "if edited is not None else None",
        (_FILES + "test_what_can_t_be_told_is_left_alone",),
    ),
    Mutant(
        "the page follows the first run of a start alone", NOT_SILENT, "web/runs.py",
        "    going = [run for run in runs if run.status not in ENDED]\n",
        "    going = runs[-1:]\n",
        (_RUNS + "test_the_page_tells_why_a_run_failed_and_then_of_the_next",),
    ),
    Mutant(
        "a lag that is not known is drawn as a line", NOT_SILENT, "web/views.py",
        "            stretches.append([])  # not known: a gap says so\n",
        "",
        (_VIEWS + "test_the_plot_has_a_gap_where_the_lag_is_unknown",),
    ),
]
