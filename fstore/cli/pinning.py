"""What ``fstore pin`` and ``fstore unpin`` share."""

from __future__ import annotations

import click

from fstore.cli import errors, output
from fstore.cli.context import Call
from fstore.cli.entries import SHOWN_DIGITS, full_key
from fstore.upkeep import chosen_entries


def change_pins(
    call: Call, key: str | None, symbol: str | None, feature: str | None, *, wanted: bool, dry_run: bool
) -> int:
    """Pin or unpin what fits all conditions, and show it."""
    if key is None and symbol is None and feature is None:
        raise click.UsageError("name a KEY, a --symbol or a --feature")
    with call.store() as store:
        whole = full_key(store.resources, key) if key is not None else None
        entries = chosen_entries(store.resources, whole, symbol, feature, pinned=not wanted)
        keys = [entry.key for entry in entries]
        changed = set() if dry_run else store.resources.manifest.pin(keys, wanted=wanted)
    did = "pinned" if wanted else "unpinned"
    document = {
        "dry_run": dry_run,
        did: len(changed),
        "entries": [
            {"key": e.key, "symbol": e.parts.symbol, "feature": e.parts.feature, "changed": e.key in changed}
            for e in entries
        ],
    }
    made = output.table("key", output.Column("symbol", least=8), output.Column("feature", least=16))
    for entry in entries[:20]:
        made.add_row(entry.key[:SHOWN_DIGITS], entry.parts.symbol, entry.parts.feature)
    count = output.number_of(len(entries), "entry", "entries")
    said = f"would look at {count}" if dry_run else f"{did} {len(changed)} of {count}"
    if not entries:
        said = "no live entry fits" if wanted else "no pinned entry fits"
    more = f" ({len(entries) - 20} more not shown)" if len(entries) > 20 else ""
    call.show(document, *([made] if entries else []), f"{said}{more}")
    return errors.OK
