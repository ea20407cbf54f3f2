"""``fstore status``: what runs on this machine for the store."""

from __future__ import annotations

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.tables import Column, Table
from fstore.stack import StackStatus, status


@click.command("status", epilog=errors.codes(errors.WRONG, wrong="no stack runs, or a part of it does not"))
@click.option("--secrets", is_flag=True, help="Show the generated passwords, for Flower and for psql.")
@common()
@pass_call
def command(call: Call, secrets: bool) -> int:
    """Show what runs on this machine for the store."""
    stack = status(call.settings().stack_folder)
    document = stack.as_dict(masked=not secrets)
    if not stack.running:
        text = f"no stack runs on {stack.root}" + (" (it was killed)" if stack.phase == "killed" else "")
        call.show(document, f"{text}; 'fstore up' starts one")
        return errors.WRONG
    addresses = [(name, document[f"{name}_url"]) for name in ("postgres", "redis", "flower")]
    about = output.facts(
        [
            ("root", stack.root),
            ("phase", f"{stack.phase} since {stack.started_ts} (process {stack.pid})"),
            ("features", ", ".join(stack.features)),
            *addresses,
        ]
    )
    call.show(document, about, "", _processes(stack))
    return errors.OK if stack.is_healthy else errors.WRONG


def _processes(stack: StackStatus) -> Table:
    columns = ("process", Column("pid", right=True), "state", Column("restarts", right=True, leave=1))
    made = output.table(*columns, Column("since", leave=2), Column("log", least=24, leave=3))
    for child in stack.children:
        phase = child.phase if child.alive else f"{child.phase}, dead"
        made.add_row(child.name, child.pid, phase, child.restarts, child.since, child.log)
    return made
