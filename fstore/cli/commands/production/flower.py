"""``fstore flower``: the view on workers and tasks in the foreground."""

from __future__ import annotations

import click

from fstore.cli import errors
from fstore.cli.celery_process import run_celery
from fstore.cli.context import Call, common, pass_call
from fstore.cli.shipped import shipped_file

_CONF = "ops/flowerconfig.py"


@click.command(
    "flower", epilog=errors.codes(), context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@common(file_option=("--config",))
@pass_call
def command(call: Call, arguments: tuple[str, ...]) -> int:
    """Run Flower, the view on workers and tasks, with the shipped settings.

    Further arguments are Celery's. It asks for a login: FEATURE_STORE_FLOWER_AUTH (or ..._FILE) holds
    user:password.
    """
    run_celery(call, "workers.app", ["flower", f"--conf={shipped_file(_CONF)}", *arguments])
