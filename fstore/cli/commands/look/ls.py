"""``fstore ls``: the entries of the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.entries import SHOWN_DIGITS, entry_document, short
from fstore.increments import SegmentFacts
from fstore.model import Entry, EntryState


@click.command("ls", epilog=errors.codes(errors.UNAVAILABLE))
@click.option("--symbol", help="Only entries of this symbol.")
@click.option("--feature", metavar="MODULE:FUNCTION", help="Only entries of this feature.")
@click.option("--state", type=click.Choice([str(state) for state in EntryState]), help="Only entries in this state.")
@click.option("--pinned", is_flag=True, help="Only entries that garbage collection leaves alone.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many, the newest first."
)
@common()
@pass_call
def command(call: Call, symbol: str | None, feature: str | None, state: str | None, pinned: bool, limit: int) -> int:
    """List entries, the newest first."""
    with call.resources() as resources:
        entries = resources.manifest.list_entries(
            symbol=symbol, feature=feature, state=EntryState(state) if state else None, pinned=pinned, limit=limit
        )
        segments = resources.manifest.segments_of([entry.key for entry in entries])
        total = sum(n for n, _ in resources.manifest.count_by_state().values())
    made = output.table(
        "key",
        output.Column("symbol", least=8),
        output.Column("feature", least=16),
        output.Column("version", least=7, leave=2),
        output.Column("config", least=10, leave=1),
        *([output.Column("period", leave=4), output.Column("partitions", right=True, leave=4)] if segments else []),
        output.Column("rows", right=True, leave=4),
        output.Column("size", right=True, leave=3),
        output.Column("state", leave=5),
        output.Column("created (UTC)", leave=6),
    )
    for entry in entries:
        made.add_row(*_cells(entry, segments))
    document = {"entries": [_document(entry, segments) for entry in entries], "shown": len(entries), "in_store": total}
    call.show(document, made, f"{len(entries)} shown of {total} in the store")
    return errors.OK


def _document(entry: Entry, segments: Mapping[str, SegmentFacts]) -> dict[str, Any]:
    held = segments.get(entry.key)
    if held is None:
        return entry_document(entry)
    return {**entry_document(entry), "segment": {"period": held.period, "partitions": len(held.names)}}


def _cells(entry: Entry, segments: Mapping[str, SegmentFacts]) -> tuple[object, ...]:
    held = segments.get(entry.key)
    period = ((held.period, len(held.names)) if held is not None else ("", "")) if segments else ()
    return (
        entry.key[:SHOWN_DIGITS],
        entry.parts.symbol,
        entry.parts.feature,
        entry.parts.feature_version,
        short(entry.parts.config),
        *period,
        entry.rows,
        output.size(entry.file_size_bytes),
        f"{entry.state}, pinned" if entry.pinned_ts else entry.state,
        output.moment(entry.created_ts),
    )
