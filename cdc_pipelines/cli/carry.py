"""`cdc carry`: indexes, foreign keys and the like, made on the target as the source has them."""

import click

from cdc_pipelines.cli.output import console, emit_json, holder


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
def carry(name: str, as_json: bool) -> None:
    """Bring what pipeline NAME carries in line with its source, and set the sequences of its identities.

    Makes what is missing, also what was given up before; drops what the source has no more. Beside the stream.
    """
    from cdc_pipelines.replication.operations.carried_outcome import WORDS, words
    from cdc_pipelines.replication.operations.carrying import carry as carry_all
    from cdc_pipelines.replication.operations.runtime import Runtime

    with Runtime.open(name) as rt, rt.store.lease(name, holder(), "carry"):
        asked = bool(rt.pipeline.carry.kinds)
        outcome = carry_all(rt, again=True)
    if as_json:
        emit_json(outcome.facts())
        return
    if not asked:
        console.print(f"{name}: its file asks for nothing under `carry`", markup=False)
    there = ", ".join(f"{count} {WORDS[kind]}" for kind, count in outcome.there.items())
    console.print(f"{name}: {outcome}; the target has {there or 'none'}", markup=False)
    for each in outcome.rest:
        console.print(f"  not {words(each)}: {each.why}", markup=False)
    for column, largest in outcome.sequences.items():
        console.print(f"  the sequence of {column} goes on behind {largest}", markup=False)
