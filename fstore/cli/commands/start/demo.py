"""``fstore demo``: the main job on real servers, checked frame by frame."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.demo.incremental import run_incremental
from fstore.cli.demo.run import run_demo
from fstore.cli.demo.sandbox import DemoOptions

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "demo",
    epilog=errors.codes(
        errors.WRONG,
        errors.UNAVAILABLE,
        errors.REFUSED,
        wrong="a request failed, a frame was wrong, or a key was computed twice",
    ),
)
@click.option(
    "--trainers",
    type=click.IntRange(1, 200),
    default=20,
    show_default=True,
    help="Processes that ask at the same time.",
)
@click.option(
    "--requests", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Requests of each trainer."
)
@click.option(
    "--data",
    "files",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="A Parquet file of ticks, quotes, bars or orders; repeatable. Without it data are made up.",
)
@click.option("--keep", is_flag=True, help="Leave the stack running and the files in place, to look around.")
@click.option("--object-store", is_flag=True, help="Keep entries in a bucket, on an object store that the demo starts.")
@click.option(
    "--incremental",
    is_flag=True,
    help="Show instead how a new day computes one day: 20 symbols, 120 days, a day appended, a tick corrected.",
)
@common()
@pass_call
def command(
    call: Call,
    trainers: int,
    requests: int,
    files: tuple[Path, ...],
    keep: bool,
    object_store: bool,
    incremental: bool,
) -> int:
    """Run the main job: trainers share one cache through real workers, Postgres and Redis.

    Starts a stack of its own in a temporary folder (or in the empty folder given
    with --root), lets the trainers ask, compares every frame with a direct call of
    the feature, collects garbage, verifies every byte, and cleans up. Other stores
    are not touched, whatever the settings say. With --incremental histories grow
    instead, and what is computed, copied and read is told beside a full compute.
    """
    if keep and object_store:
        raise click.UsageError("--keep and --object-store exclude each other: the object store ends with the demo")
    if incremental and (files or (trainers, requests) != (20, 10)):
        raise click.UsageError(
            "--incremental has data and requests of its own; leave --data, --trainers and --requests out"
        )
    options = DemoOptions(trainers, requests, files, call.root, keep, object_store)
    messages = output.stderr()
    run, tables = (run_incremental, _steps) if incremental else (run_demo, _tables)
    with output.progress(quiet=call.as_json, console=messages) as tell:

        def say(text: str) -> None:
            if not call.as_json:
                messages.print(f"- {text}", style="dim", soft_wrap=True)
            tell("working", 0, 0)

        outcome = run(options, say=say, on_answer=lambda done, total: tell("requests answered", done, total))
    call.show(dict(outcome.report), *tables(outcome.report, keep=keep))
    for trouble in dict.fromkeys(outcome.troubles):
        output.say(f"WRONG: {trouble}", style="red")
    if not call.as_json:
        output.stdout().print(_closing(outcome.root, keep=keep, well=not outcome.troubles), soft_wrap=True)
    return errors.WRONG if outcome.troubles else errors.OK


def _tables(report: Mapping[str, Any], *, keep: bool) -> tuple[RenderableType, ...]:
    summary = report["gc"]["summary"] or {}
    integrity = report["integrity"]
    rows = (
        ("requests", f"{report['requests']} by {report['trainers']} trainers: {report['succeeded']} succeeded, {report['failed']} failed"),
        ("frames", f"every one compared with a direct call: {report['wrong_results']} wrong"),
        ("keys", f"{report['unique_keys']} asked for, {report['computed']} computed, {report['manifest_rows']} manifest rows"),
        ("answers", f"{report['hits']} hits, {report['computed']} computed, {report['coalesced']} waited for another's compute"),
        ("hit", _latency(report["hit_ms"])),
        *([("the same by joblib", _latency(report["joblib_hit_ms"]))] if report["joblib_hit_ms"] else []),
        ("miss", _latency(report["miss_ms"])),
        ("garbage collection", f"{summary.get('total_files_deleted', 0)} files deleted, {output.size(summary.get('total_bytes_freed', 0))} freed"),
        ("integrity", f"{integrity['checked']} entries, {output.size(integrity['bytes_read'])} read: {'all right' if integrity['integrity_ok'] else integrity['issues']}"),
        ("time", f"{report['seconds']} s, servers included"),
        *([("flower", report["flower_url"])] if keep else []),
    )  # fmt: skip
    return ("", output.facts(rows, title="The main job"), "")


def _steps(report: Mapping[str, Any], *, keep: bool) -> tuple[RenderableType, ...]:
    made = output.table(
        output.Column("step", least=20),
        *(output.Column(name, right=True) for name in ("days", "computed", "copied", "read", "seconds", "full / this")),
    )
    full = report["steps"][-1]["seconds"]
    for step in report["steps"]:
        gain = f"{full / step['seconds']:.1f}" if step["seconds"] else "-"
        numbers = (f"{step[name]:,}" for name in ("days", "computed", "copied", "read"))
        made.add_row(step["what"], *numbers, f"{step['seconds']:.2f}", gain)
    rows = (
        ("feature", f"{report['feature']}, {report['symbols']} symbols"),
        ("frames", f"every one compared with a full compute, to the bit: {report['wrong_results']} wrong"),
        ("time", f"{report['seconds']} s, servers included"),
        *([("flower", report["flower_url"])] if keep else []),
    )
    return ("", made, "", output.facts(rows, title="A new day computes one day"), "")


def _latency(found: Mapping[str, float | None]) -> str:
    if found["p50"] is None:
        return "none"
    return f"{found['p50']:.1f} ms median, {found['p99']:.1f} ms at the 99th percentile"


def _closing(root: Path, *, keep: bool, well: bool) -> str:
    if keep:
        place = shlex.quote(str(root))
        return (
            f"The stack still runs: 'fstore ls --root {place}', 'fstore stats --root {place}', "
            f"fstore.connect({str(root)!r}) in Python; 'fstore down --root {place}' stops it."
        )
    if well:
        return "Everything was stopped and removed. Next: 'fstore demo --keep' to look around, or 'fstore up' for a store of your own."
    return "Everything was stopped and removed; run again with --keep to look at what is left."
