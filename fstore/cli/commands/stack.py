"""``fstore up``, ``down`` and ``status``: the embedded stack."""

from __future__ import annotations

import os

import click
from rich.table import Table

from fstore import stack as embedded
from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call


@click.command(epilog=errors.codes(errors.UNAVAILABLE))
@click.option("--detach", is_flag=True, help="Return when everything is ready; 'fstore down' stops it.")
@click.option(
    "--workers", type=click.IntRange(1, 512), default=2, show_default=True, help="Computations at the same time."
)
@click.option(
    "--features",
    default="",
    metavar="MODULE,...",
    help="Modules whose features the workers serve, found from this folder.",
)
@click.option("--flower/--no-flower", default=True, show_default=True, help="Run Flower, the view on the workers.")
@click.option("--beat/--no-beat", default=True, show_default=True, help="Run Beat, which schedules upkeep.")
@common()
@pass_call
def up(call: Call, detach: bool, workers: int, features: str, flower: bool, beat: bool) -> int:
    """Start Postgres, Redis, workers, Beat and Flower on this machine, without root or Docker.

    In the foreground Ctrl-C stops everything. A stack that runs already is left as
    it is.
    """
    chosen = call.settings()
    messages = output.stderr()

    def show(state: embedded.StackState) -> None:
        found = embedded.status(chosen.path)
        call.show(found.as_dict(), *_ready(found, state))

    embedded.up(
        chosen.path,
        workers=workers,
        features=tuple(name.strip() for name in features.split(",") if name.strip()),
        detach=detach,
        flower=flower,
        beat=beat,
        on_ready=show,
        say=lambda text: messages.print(f"- {text}", style="dim", soft_wrap=True),
    )
    return errors.OK


@click.command(epilog=errors.codes(errors.UNAVAILABLE))
@common()
@pass_call
def down(call: Call) -> int:
    """Stop exactly what 'fstore up' started; the data stay. Harmless when nothing runs."""
    report = embedded.down(call.settings().path)
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


@click.command(epilog=errors.codes(errors.WRONG, wrong="no stack runs, or a part of it does not"))
@click.option("--secrets", is_flag=True, help="Show the generated passwords, for Flower and for psql.")
@common()
@pass_call
def status(call: Call, secrets: bool) -> int:
    """Show what runs on this machine for the store."""
    found = embedded.status(call.settings().path)
    document = found.as_dict(masked=not secrets)
    if not found.running:
        text = f"no stack runs on {found.root}" + (" (it was killed)" if found.phase == "killed" else "")
        call.show(document, f"{text}; 'fstore up' starts one")
        return errors.WRONG
    addresses = [(name, document[f"{name}_url"]) for name in ("postgres", "redis", "flower")]
    about = output.facts(
        [
            ("root", found.root),
            ("phase", f"{found.phase} since {found.started_ts} (process {found.pid})"),
            ("features", ", ".join(found.features)),
            *addresses,
        ]
    )
    call.show(document, about, _children(found))
    return errors.OK if found.is_healthy else errors.WRONG


def _ready(found: embedded.StackStatus, state: embedded.StackState) -> tuple[Table, str]:
    masked = found.as_dict()
    rows = [
        ("root", found.root),
        ("postgres", masked["postgres_url"]),
        ("redis", masked["redis_url"]),
        ("flower", state.flower_url or "not started"),
        ("features", ", ".join(found.features)),
    ]
    end = "Ctrl-C stops it" if state.pid == os.getpid() else "'fstore down' stops it"
    return output.facts(rows), f"ready; fstore.connect({found.root!r}) uses it, {end}"


def _children(found: embedded.StackStatus) -> Table:
    made = output.table("process", "pid", "state", "restarts", "since", "log", right=("pid", "restarts"))
    for child in found.children:
        phase = child.phase if child.alive else f"{child.phase}, dead"
        made.add_row(child.name, str(child.pid), phase, str(child.restarts), child.since, child.log)
    return made
