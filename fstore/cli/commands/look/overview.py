"""``fstore overview``: what the store holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.tables import Column, Table
from fstore.reporting import cache_overview
from fstore.resources import Resources
from fstore.upkeep import count_orphans

MOST_SHOWN = 20
MB = 1_000_000


@click.command("overview", epilog=errors.codes(errors.UNAVAILABLE))
@common()
@pass_call
def command(call: Call) -> int:
    """Show what the store holds: entries and sizes, what is old, what is orphaned, by symbol and feature."""
    with call.resources() as resources:
        show_overview(call, resources)
    return errors.OK


def show_overview(call: Call, resources: Resources) -> None:
    """Print the overview, with a bar while the folder is looked through."""
    with output.progress(quiet=call.as_json) as tell:
        orphans = count_orphans(resources, progress=tell)
    overview = cache_overview(resources, now=datetime.now(UTC), orphaned_files=orphans)
    others = {f"other_{name}": rest(overview, f"by_{name}", shown=None) for name in ("symbol", "feature")}
    rows: tuple[tuple[str, object], ...] = (
        ("entries", overview["manifest_entries"]),
        ("size", output.size(overview["total_size_bytes"])),
        ("not used within the retention", overview["old_entries_count"]),
        ("condemned", overview["condemned_entries"]),
        ("quarantined", overview["quarantined_entries"]),
        ("orphaned files", overview["orphaned_files"]),
        ("jobs", ", ".join(f"{n} {state}" for state, n in overview["jobs"].items()) or "none"),
    )
    segments = overview["segments"]
    if segments["entries"]:
        rows += (("of them segments", f"{segments['entries']:,}, {segments['partitions']:,} partitions"),)
    tables = [_shares(overview, name) for name in ("symbol", "feature") if overview[f"by_{name}"]]
    call.show({**overview, **others}, output.facts(rows), *(part for made in tables for part in ("", made)))


def rest(overview: Mapping[str, Any], group: str, *, shown: int | None) -> dict[str, float]:
    """Return what the totals have beyond the groups that are ``shown``.

    None stands for all that are listed. A listing names the largest thousand only, so its sum may be less than the
    store.
    """
    listed = list(overview[group].values())[:shown]
    entries = overview["manifest_entries"] - sum(int(share["entries"]) for share in listed)
    size_mb = overview["total_size_mb"] - sum(share["size_mb"] for share in listed)
    return {"entries": entries, "size_mb": round(max(0.0, size_mb), 3) if entries > 0 else 0.0}


def _shares(overview: Mapping[str, Any], name: str) -> Table:
    made = output.table(Column(name, least=20), Column("entries", right=True), Column("MB", right=True))
    for title, share in list(overview[f"by_{name}"].items())[:MOST_SHOWN]:
        made.add_row(title, share["entries"], f"{share['size_mb']:.3f}")
    others = rest(overview, f"by_{name}", shown=MOST_SHOWN)
    if others["entries"]:
        made.add_row("all others", others["entries"], f"{others['size_mb']:.3f}")
    return made
