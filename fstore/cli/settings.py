"""``fstore config``: every setting, its value, and where that value was written."""

from __future__ import annotations

import click

from fstore.cli import errors, output
from fstore.cli.call import Call, common, pass_call


@click.command(epilog=errors.codes())
@click.option("--changed", is_flag=True, help="Only what is not a default.")
@common()
@pass_call
def config(call: Call, changed: bool) -> int:
    """Show every setting with its value and origin; secrets are masked.

    An argument wins over the environment, that over the file, that over a running
    stack, that over the default. All faults are reported at once.
    """
    rows = [row for row in call.settings().describe() if not (changed and row.origin == "default")]
    made = output.table("setting", "value", "origin", "meaning")
    for row in rows:
        made.add_row(
            row.name, row.value or "-", row.origin, row.meaning, style="dim" if row.origin == "default" else None
        )
    call.show({"settings": [row._asdict() for row in rows]}, made)
    return errors.OK
