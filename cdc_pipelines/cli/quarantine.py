"""`cdc quarantine|deadletters`: tables that the target refused a change of, and the changes."""

import json
import sys

import click

from cdc_pipelines.cli.output import console, emit_json, grid, holder, step_log
from cdc_pipelines.cli.tables import joined_facts

_json = click.option("--json", "as_json", is_flag=True)


@click.group()
def quarantine() -> None:
    """Tables that stand still because the target refused a change of them."""


@quarantine.command("list")
@click.argument("name")
@_json
def list_(name: str, as_json: bool) -> None:
    """The tables of pipeline NAME that are in quarantine, why, and since when. Exit code 3 where there are any."""
    from cdc_pipelines.replication.operations.dead_letters import quarantined
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt:
        found = quarantined(rt)
    if as_json:
        emit_json(found)
    elif not found:
        console.print(f"{name}: no table is in quarantine")
    else:
        grid(
            ["table", "since", "changes passed by", "reason"],
            [[each["table"], each["since"], each["skipped"], each["reason"]] for each in found],
        )
        console.print(
            f"mend the target's table or the source's row, then run `cdc quarantine release {name} TABLE`", markup=False
        )
    sys.exit(3 if found else 0)


@quarantine.command()
@click.argument("name")
@click.argument("table")
@_json
def release(name: str, table: str, as_json: bool) -> None:
    """Give TABLE back to the stream of pipeline NAME: it is copied again, and its dead letters are settled."""
    from cdc_pipelines.cli.progress import telling_progress
    from cdc_pipelines.replication.lanes.release import release as give_back
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt, telling_progress(quiet=as_json) as progress:
        joined = give_back(rt, table, step_log(name, quiet=as_json), holder=holder(), progress=progress)
    if as_json:
        emit_json(joined_facts(name, joined))
    else:
        console.print(f"{name}: table {table} follows the stream again", markup=False)


@click.group()
def deadletters() -> None:
    """Changes that the target refused, kept whole."""


@deadletters.command("list")
@click.argument("name")
@click.option("--table", help="Only this table's.")
@click.option("--all", "settled", is_flag=True, help="Also those that were skipped, or settled by a new copy.")
@_json
def list_letters(name: str, table: str | None, settled: bool, as_json: bool) -> None:
    """The dead letters of pipeline NAME that are held, the newest first."""
    from cdc_pipelines.replication.operations import dead_letters
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt:
        found = dead_letters.letters(rt, table=table, settled=settled)
    if as_json:
        emit_json([dead_letters.as_facts(letter) for letter in found])
    elif not found:
        console.print(f"{name}: no dead letter is held")
    else:
        grid(
            ["id", "table", "change", "key", "state", "at (UTC)", "error"],
            [
                [
                    str(each.id), each.table, dead_letters.OPERATIONS[each.op], each.key or "", each.state,
                    f"{each.created_at:%Y-%m-%d %H:%M:%S}", each.error.splitlines()[0],
                ]
                for each in found
            ],
        )


@deadletters.command()
@click.argument("name")
@click.argument("letter_id", metavar="ID", type=int)
@_json
def show(name: str, letter_id: int, as_json: bool) -> None:
    """Dead letter ID of pipeline NAME, whole: images, place in the source's log, what the target said."""
    from cdc_pipelines.replication.operations import dead_letters
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt:
        facts = dead_letters.as_facts(dead_letters.letter(rt, letter_id))
    if as_json:
        emit_json(facts)
        return
    for field, value in facts.items():
        if value is not None:
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
            console.print(f"{field + ':':<13}{text}", markup=False)


@deadletters.command()
@click.argument("name")
@click.argument("letter_id", metavar="ID", type=int)
@_json
def retry(name: str, letter_id: int, as_json: bool) -> None:
    """Try whether the target would take dead letter ID of pipeline NAME now; nothing is kept. Exit code 3: no.

    The row itself comes with `cdc quarantine release`, which copies the whole table again.
    """
    from cdc_pipelines.replication.operations import dead_letters
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt:
        table = dead_letters.letter(rt, letter_id).table
        why = dead_letters.retry(rt, letter_id)
    if as_json:
        emit_json({"pipeline": name, "id": letter_id, "accepted": not why, "error": why or None})
    elif why:
        console.print(f"dead letter {letter_id}: still refused: {why}", markup=False)
    else:
        console.print(
            f"dead letter {letter_id}: the target would take it now; run `cdc quarantine release {name} {table}`",
            markup=False,
        )
    sys.exit(3 if why else 0)


@deadletters.command()
@click.argument("name")
@click.argument("letter_id", metavar="ID", type=int)
@click.option("--note", required=True, help="Why it may be left as it is; kept with it.")
@_json
def skip(name: str, letter_id: int, note: str, as_json: bool) -> None:
    """Accept that dead letter ID of pipeline NAME was not applied. Its table stays in quarantine until it is released.
    """
    from cdc_pipelines.replication.operations import dead_letters
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt:
        facts = dead_letters.as_facts(dead_letters.skip(rt, letter_id, note))
        rt.store.record(name, "skip dead letter", holder(), "done", f"{letter_id} (table {facts['table']}): {note}")
    emit_json(facts) if as_json else console.print(f"dead letter {letter_id}: skipped", markup=False)
