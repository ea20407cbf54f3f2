"""``fstore up``: start the local stack, or let a running one serve more features."""

from __future__ import annotations

import os
import shlex

import click
from rich.console import RenderableType

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.model import ObjectUrl
from fstore.stack import StackState, StackStatus, status, up


@click.command("up", epilog=errors.codes(errors.UNAVAILABLE))
@click.option("--detach", is_flag=True, help="Return when everything is ready; 'fstore down' stops it.")
@click.option("--workers", type=click.IntRange(1, 512), help="Computations at the same time.  [default: 2]")
@click.option(
    "--features",
    default="",
    metavar="MODULE,...",
    help="Modules whose features the workers serve, found from this folder; a running stack is told, and restarts its workers.",
)
@click.option(
    "--reload/--no-reload",
    default=None,
    help="Restart the workers whenever a file of a feature module is saved; for development.",
)
@click.option("--flower/--no-flower", default=True, show_default=True, help="Run Flower, the view on the workers.")
@click.option("--beat/--no-beat", default=True, show_default=True, help="Run Beat, which schedules upkeep.")
@common()
@pass_call
def command(
    call: Call, detach: bool, workers: int | None, features: str, reload: bool | None, flower: bool, beat: bool
) -> int:
    """Start Postgres, Redis, workers, Beat and Flower on this machine, without root or Docker.

    In the foreground Ctrl-C stops everything. A stack that runs already goes on
    running; --features and --reload change it.
    """
    root = call.settings().stack_folder

    def show(state: StackState) -> None:
        stack = status(root)
        call.show(stack.as_dict(), *_ready(call, stack, state))

    up(
        root,
        workers=workers,
        features=tuple(name.strip() for name in features.split(",") if name.strip()),
        reload=reload,
        detach=detach,
        flower=flower,
        beat=beat,
        on_ready=show,
        say=lambda text: output.say(f"- {text}", style="dim"),
    )
    return errors.OK


def _ready(call: Call, stack: StackStatus, state: StackState) -> tuple[RenderableType, ...]:
    masked = stack.as_dict()
    path = call.settings().path
    place = str(path) if isinstance(path, ObjectUrl) else stack.root  # of a bucket's store the stack lies elsewhere
    rows = [
        ("root", place),
        ("postgres", masked["postgres_url"]),
        ("redis", masked["redis_url"]),
        ("flower", state.flower_url or "not started"),
        ("features", ", ".join(stack.features)),
    ]
    stop = "fstore down" if call.root is None else f"fstore down --root {shlex.quote(str(call.root))}"
    end = "Ctrl-C stops it" if state.pid == os.getpid() else f"'{stop}' stops it"
    return output.facts(rows), f"ready; fstore.connect({place!r}) uses it, {end}"
