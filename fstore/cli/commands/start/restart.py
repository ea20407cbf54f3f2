"""``fstore restart``: processes of the local stack begin anew, with code as it is now."""

from __future__ import annotations

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.stack import restart


@click.command("restart", epilog=errors.codes(errors.UNAVAILABLE))
@click.argument("names", nargs=-1, metavar="[compute|write|upkeep|beat|flower]...")
@common()
@pass_call
def command(call: Call, names: tuple[str, ...]) -> int:
    """Restart processes of the running stack; without names the workers, with your code as it is now.

    Feature modules are imported once on trial first: if that fails nothing is
    restarted. What a worker was computing is put back and taken over.
    """
    root = call.settings().stack_folder
    restarted = restart(root, names, say=lambda text: output.say(f"- {text}", style="dim"))
    call.show({"root": str(root), "restarted": list(restarted)}, f"restarted {', '.join(restarted)} on {root}")
    return errors.OK
