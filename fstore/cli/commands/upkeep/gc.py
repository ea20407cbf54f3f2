"""``fstore gc``: collect garbage by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType

from fstore.cli import errors, output
from fstore.cli.commands.look.overview import show_overview
from fstore.cli.context import Call, common, pass_call
from fstore.errors import InvalidRequest
from fstore.settings import parse_size
from fstore.upkeep import GarbagePolicy, collect_garbage, list_runs


def _size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    "gc",
    epilog=errors.codes(
        errors.WRONG, errors.UNAVAILABLE, errors.UPKEEP_REFUSED, wrong="some files could not be removed"
    ),
)
@click.option(
    "--cache-root", type=click.Path(path_type=Path), metavar="P", help="The store's folder; the same as --root."
)
@click.option(
    "--retention-weeks",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Give up what was not used for N weeks.",
)
@click.option(
    "--max-bytes",
    callback=_size,
    metavar="B",
    help="Above this size give up the least recently used (500MB, 2GiB, ...).",
)
@click.option("--dry-run", is_flag=True, help="Only show the plan.")
@click.option("--verbose", is_flag=True, help="Name every entry and file, with its reason.")
@click.option(
    "--output-json",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the full report to FILE.",
)
@click.option("--overview-only", is_flag=True, help="Show the overview instead; the same as 'fstore overview'.")
@click.option("--history", is_flag=True, help="Show the last runs instead.")
@click.option("--force", is_flag=True, help="Run although the plan looks wrong or the grace is too short.")
@common()
@pass_call
def command(
    call: Call,
    cache_root: Path | None,
    retention_weeks: float | None,
    max_bytes: int | None,
    dry_run: bool,
    verbose: bool,
    output_json: Path | None,
    overview_only: bool,
    history: bool,
    force: bool,
) -> int:
    """Give up what the policy no longer keeps: hide it now, delete it after the grace period.

    Orphans are swept up as well. Refuses when folder and database seem to belong
    to different stores. A run beside Beat's is harmless: one of both does the work.
    """
    if cache_root is not None:
        call.root = cache_root
    with call.resources() as resources:
        if history:
            _show_history(call, list_runs(resources))
            return errors.OK
        if overview_only:
            show_overview(call, resources)
            return errors.OK
        policy = GarbagePolicy.from_settings(resources.settings, retention_weeks=retention_weeks, max_bytes=max_bytes)
        with output.progress(quiet=call.as_json) as tell:
            report = collect_garbage(
                resources,
                policy,
                dry_run=dry_run,
                force=force,
                detail=verbose or output_json is not None,
                progress=tell,
            )
    if output_json is not None:
        _write(output_json, report)
    shown = report if verbose else {name: value for name, value in report.items() if name != "details"}
    call.show(shown, *_garbage(report, verbose=verbose))
    return errors.WRONG if report.get("faults") else errors.OK


def _garbage(report: Mapping[str, Any], *, verbose: bool) -> tuple[RenderableType, ...]:
    if report.get("skipped"):
        return (f"nothing was done: {report['skipped']}",)
    plan, summary = report["plan"], report["summary"]
    store = plan["found"]
    rows: list[tuple[str, object]] = [
        ("store", f"{store['live_entries']} live entries, {output.size(store['live_bytes'])}; {store['files']} files, {output.size(store['file_bytes'])}"),
        ("left alone", f"{store['foreign']} files that are not fstore's"),
    ]  # fmt: skip
    if store["packs"]:
        packs, dead = output.size(store["pack_bytes"]), output.size(store["dead_pack_bytes"])
        rows.insert(
            1, ("packs", f"{store['packs']} of these files hold several entries, {packs}; {dead} of it are of none")
        )
    if plan["postponed"]:
        rows.append(("postponed", plan["postponed"]))
    made = output.table("step", "reason", "planned", "bytes", "done", right=("planned", "bytes", "done"))
    for name, title in (("revive", "take back"), ("reap", "delete, condemned long ago"), ("condemn", "hide"), ("lost", "hide, file is gone"), ("strays", "delete, no row")):  # fmt: skip
        planned, phase = plan[name], report["phases"][name]
        done = "-" if report["dry_run"] else str(phase["count"])
        made.add_row(title, "", str(planned["count"]), output.size(planned.get("bytes", 0)), done)
        for reason, share in planned.get("by_reason", {}).items():
            made.add_row("", reason, str(share["count"]), output.size(share["bytes"]), "")
    parts: list[RenderableType] = [output.facts(rows), "", made]
    if verbose:
        parts.append(_details(report.get("details", {})))
    parts += [f"cannot remove: {fault}" for fault in report["faults"]]
    if report["dry_run"]:
        parts.append("dry run: nothing was changed")
    else:
        parts.append(
            f"{summary['total_files_deleted']} files deleted, {output.size(summary['total_bytes_freed'])} freed, "
            f"{summary['entries_condemned']} entries condemned, in {summary['seconds']:.1f} s"
        )
    return tuple(parts)


def _details(details: Mapping[str, list[dict[str, Any]]]) -> RenderableType:
    made = output.table(
        "step",
        output.Column("what", least=24),
        output.Column("bytes", right=True),
        output.Column("reason", leave=1),
        output.Column("last used", leave=2),
    )
    for step, things in details.items():
        for thing in things:
            size = output.size(thing["bytes"]) if "bytes" in thing else ""
            made.add_row(
                step, thing.get("path", thing.get("key")), size, thing.get("reason", ""), thing.get("last_used_ts", "")
            )
    return made


def _show_history(call: Call, runs: list[dict[str, Any]]) -> None:
    made = output.table(
        output.Column("run", right=True),
        "started",
        output.Column("finished", leave=1),
        output.Column("what", least=12),
        output.Column("deleted", right=True),
        output.Column("freed", right=True),
    )
    for run in runs:
        report = run["report"] or {}
        summary = report.get("summary") or {}
        what = report.get("message") or (
            "dry run" if report.get("dry_run") else "done" if run["finished_ts"] else "running, or killed"
        )
        deleted, freed = summary.get("total_files_deleted", 0), output.size(summary.get("total_bytes_freed", 0))
        made.add_row(
            str(run["id"]), run["started_ts"][:19], (run["finished_ts"] or "-")[:19], what, str(deleted), freed
        )
    call.show({"runs": runs}, made if runs else "garbage was not collected yet")


def _write(path: Path, report: Mapping[str, Any]) -> None:
    try:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(
            "--output-json", f"cannot write {path}: {error.strerror or error}; the run itself was done"
        ) from error
