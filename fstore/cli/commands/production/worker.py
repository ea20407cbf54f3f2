"""``fstore worker``: a Celery worker in the foreground."""

from __future__ import annotations

import click

from fstore.broker import compute_queue
from fstore.cli import errors
from fstore.cli.celery_process import run_celery
from fstore.cli.context import Call, common, pass_call

QUEUES = ("compute", "write", "upkeep")


@click.command(
    "worker", epilog=errors.codes(), context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option("-Q", "--queues", help="The queues to serve, as Celery calls them, without 'fstore.', or as a feature calls its own.  [default: all]")  # fmt: skip
@click.option("-c", "--concurrency", type=click.IntRange(1, 512), help="Tasks at the same time.  [default: processors]")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@common(file_option=("--config",))
@pass_call
def command(call: Call, queues: str | None, concurrency: int | None, arguments: tuple[str, ...]) -> int:
    """Run a Celery worker in the foreground; further arguments are Celery's.

    The same as 'celery -A workers.app worker -Q ...', but a folder with a package
    called workers of its own is no obstacle, and feature modules are found in the
    folder of the call.
    """
    names = [name.strip() for name in (queues or "").split(",") if name.strip()]
    chosen = ("-Q", ",".join(map(_full_name, names))) if names else ()
    slots = ("-c", str(concurrency)) if concurrency else ()
    run_celery(call, "workers.app", ["worker", *chosen, *slots, "-l", "INFO", *arguments])


def _full_name(name: str) -> str:
    if name.startswith("fstore."):
        return name
    return f"fstore.{name}" if name in QUEUES else compute_queue(name)
