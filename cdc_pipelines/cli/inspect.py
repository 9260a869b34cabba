"""`cdc list|verify`: what is there, whether both sides are equal."""

import sys
from typing import TYPE_CHECKING

import click

from cdc_pipelines.cli.output import console, emit_json, grid, holder, step_log

if TYPE_CHECKING:
    from cdc_pipelines.replication.verify.report import Difference


@click.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_(as_json: bool) -> None:
    """All configured pipelines."""
    from cdc_pipelines.replication.control.store import ControlStore

    records = ControlStore.open().list()
    if as_json:
        emit_json(
            [
                {
                    "name": r.name,
                    "id": r.config,
                    "status": r.status,
                    "is_active": r.is_active,
                    "tables": len(r.tables),
                    "message": r.message,
                }
                for r in records
            ]
        )
    else:
        grid(
            ["pipeline", "id", "status", "tables", "message"],
            [[r.name, r.config, r.status, len(r.tables), r.message or ""] for r in records],
        )


def _named(table: str, difference: "Difference") -> str:
    return f"{table} {difference.key}: {difference.kind} {', '.join(difference.columns)}"


@click.command()
@click.argument("name")
@click.option("--table", "tables", multiple=True, help="Only this table; may be given several times.")
@click.option("--max-keys", default=20, show_default=True, help="Differing keys named per table.")
@click.option("--repair", is_flag=True, help="Write the rows that differ anew, as the source has them; compare again.")
@click.option(
    "--rows-per-second", type=click.IntRange(min=1),
    help="Read no faster than this. Holds for tables with a key of integers; others are read in one go.",
)
@click.option("--json", "as_json", is_flag=True)
def verify(
    name: str, tables: tuple[str, ...], max_keys: int, repair: bool, rows_per_second: int | None, as_json: bool
) -> None:
    """Compare both sides of pipeline NAME completely, at one source position. Exit code 3 where they differ.

    The stream goes on meanwhile. With --repair it stands still for as long as each portion of rows takes.
    """
    from cdc_pipelines.replication.operations.runtime import Runtime
    from cdc_pipelines.replication.verify import verify as compare
    from cdc_pipelines.replication.verify.report import MALFORMED

    with Runtime.open(name) as rt, rt.store.lease(name, holder(), "verify"):
        report = compare(
            rt, step_log(name, quiet=as_json), tables=list(tables) or None, max_keys=max_keys, repair=repair,
            rows_per_second=rows_per_second,
        )
    if as_json:
        emit_json(report.to_dict())
    else:
        grid(
            ["table", "source rows", "target rows", "differences", "seconds"],
            [
                [t.table, t.rows_source, t.rows_target, t.difference_count, round(t.seconds, 2)]
                for t in report.tables if not t.left_out
            ],
        )
        for table in report.tables:
            if table.left_out:
                console.print(f"  {table.table}: not compared, it {table.left_out}", markup=False)
            if table.malformed:
                console.print(f"  {MALFORMED % (table.table, table.malformed)}", markup=False)
            if table.repaired is not None:
                done = table.repaired
                console.print(
                    f"  {table.table}: {done.differences} difference(s) repaired: {done.rows_removed} row(s) of the "
                    f"target removed, {done.rows_written} written as the source has them", markup=False,
                )
                for difference in done.listed:
                    console.print(f"  repaired: {_named(table.table, difference)}", markup=False)
            for difference in table.differences:
                console.print(f"  {_named(table.table, difference)}", markup=False)
        unequal = any(not table.equal and not table.left_out for table in report.tables)
        console.print("equal" if report.equal else "DIFFERENT" if unequal else "INCOMPLETE")
    sys.exit(0 if report.equal else 3)
