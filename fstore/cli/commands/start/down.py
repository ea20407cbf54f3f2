"""``fstore down``: stop the local stack."""

from __future__ import annotations

import click

from fstore.cli import errors
from fstore.cli.context import Call, common, pass_call
from fstore.stack import down


@click.command("down", epilog=errors.codes(errors.UNAVAILABLE))
@common()
@pass_call
def command(call: Call) -> int:
    """Stop exactly what 'fstore up' started; the data stay. Harmless when nothing runs."""
    report = down(call.settings().stack_folder)
    document = {
        "root": report.root,
        "was_running": report.was_running,
        "stopped": list(report.stopped),
        "forced": report.forced,
        "seconds": report.seconds,
    }
    if not report.was_running and not report.stopped:
        call.show(document, f"nothing runs on {report.root}")
        return errors.OK
    how = ", some had to be killed" if report.forced else ""
    call.show(document, f"stopped {', '.join(report.stopped)} on {report.root} in {report.seconds:.1f} s{how}")
    return errors.OK
