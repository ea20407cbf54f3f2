"""``fstore beat``: the schedule of upkeep in the foreground."""

from __future__ import annotations

import click

from fstore.cli import errors
from fstore.cli.celery_process import run_celery
from fstore.cli.context import Call, common, pass_call


@click.command(
    "beat", epilog=errors.codes(), context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@common(file_option=("--config",))
@pass_call
def command(call: Call, arguments: tuple[str, ...]) -> int:
    """Run Beat, which schedules upkeep, in the foreground; further arguments are Celery's.

    The same as 'celery -A beat.app beat'. Two at once do no harm: one of both does
    the work.
    """
    run_celery(call, "beat.app", ["beat", "-l", "INFO", *arguments])
