"""``fstore verify``: compare the files with the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import RenderableType

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.upkeep import verify_entries


@click.command(
    "verify",
    epilog=errors.codes(
        errors.WRONG,
        errors.UNAVAILABLE,
        errors.UPKEEP_REFUSED,
        wrong="an entry, or a source with --sources, is not what it was",
    ),
)
@click.option(
    "--all", "everything", is_flag=True, help="Read every entry; without it as much as one scheduled run would."
)
@click.option("--repair", is_flag=True, help="Quarantine what is wrong and have it computed again.")
@click.option("--sources", is_flag=True, help="Read the raw data of live entries too, where they lie in users' files.")
@click.option("--force", is_flag=True, help="Repair although so much is missing that the folder looks wrong.")
@common()
@pass_call
def command(call: Call, everything: bool, repair: bool, sources: bool, force: bool) -> int:
    """Read cached files to their last byte and compare them with the manifest.

    The longest unverified come first.
    """
    with call.resources() as resources, output.progress(quiet=call.as_json) as tell:
        report = verify_entries(
            resources, everything=everything, repair=repair, sources=sources, force=force, progress=tell
        )
    if "skipped" in report:
        call.show(report, f"nothing was verified: {report['skipped']}")
        return errors.UPKEEP_REFUSED
    call.show(report, *_integrity(report))
    return errors.OK if report["integrity_ok"] and not report["source_issues"] else errors.WRONG


def _integrity(report: Mapping[str, Any]) -> tuple[RenderableType, ...]:
    parts: list[RenderableType] = []
    if report["issues"]:
        made = output.table("key", "fault", output.Column("detail", least=16), output.Column("file", least=24, leave=1))
        for issue in report["issues"]:
            made.add_row(issue["key"][:12], issue["kind"], issue["detail"], issue["path"])
        parts.append(made)
    if report["source_issues"]:
        made = output.table(
            output.Column("source", least=24),
            output.Column("entries", right=True),
            output.Column("what is wrong", least=20),
        )
        for issue in report["source_issues"]:
            made.add_row(issue["path"], str(issue["entries"]), issue["reason"])
        parts.append(made)
    verdict = "all right" if report["integrity_ok"] else f"{len(report['issues'])} wrong"
    if report["repair"]:
        verdict += f", {report['quarantined']} quarantined, {report['recomputing']} being computed again"
    rest = "" if report["complete"] else "; not all entries were reached, use --all"
    parts.append(f"{report['checked']} entries, {output.size(report['bytes_read'])} read: {verdict}{rest}")
    return tuple(parts)
