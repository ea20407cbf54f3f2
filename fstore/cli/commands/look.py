"""``fstore ls``, ``show``, ``explain``, ``stats`` and ``overview``: look, and change nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.entries import SHOWN_DIGITS, entry_document, full_key, job_document
from fstore.client.explanation import differences
from fstore.errors import InvalidRequest
from fstore.features.registry import registered_features
from fstore.model import Entry, EntryState, ParquetSource
from fstore.reporting.stats import cache_overview
from fstore.resources import Resources
from fstore.upkeep.api import count_orphans


@click.command(epilog=errors.codes(errors.UNAVAILABLE))
@click.option("--symbol", help="Only entries of this symbol.")
@click.option("--feature", metavar="MODULE:FUNCTION", help="Only entries of this feature.")
@click.option("--state", type=click.Choice([str(state) for state in EntryState]), help="Only entries in this state.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many, the newest first."
)
@common()
@pass_call
def ls(call: Call, symbol: str | None, feature: str | None, state: str | None, limit: int) -> int:
    """List entries, the newest first."""
    with call.resources() as resources:
        found = resources.manifest.list_entries(
            symbol=symbol, feature=feature, state=EntryState(state) if state else None, limit=limit
        )
        total = sum(n for n, _ in resources.manifest.count_by_state().values())
    made = output.table(
        "key",
        "symbol",
        "feature",
        "version",
        "config",
        "rows",
        "size",
        "state",
        "created (UTC)",
        right=("rows", "size"),
    )
    for entry in found:
        made.add_row(*_line(entry))
    document = {"entries": [entry_document(entry) for entry in found], "shown": len(found), "in_store": total}
    call.show(document, made, f"{len(found)} shown of {total} in the store")
    return errors.OK


@click.command(epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.argument("key")
@common()
@pass_call
def show(call: Call, key: str) -> int:
    """Show everything known about one KEY, or its first digits (6 or more): entry, usage, job."""
    with call.resources() as resources:
        whole = full_key(resources, key)
        entry, job = resources.manifest.find_entry(whole), resources.jobs.find(whole)
        usage = resources.usage.of_entry(whole)
    other = differences(entry, registered_features().get(entry.parts.feature)) if entry else {}
    document: dict[str, Any] = {
        "key": whole,
        "entry": entry_document(entry) if entry else None,
        "usage": {"hits": usage[0], "last_accessed_ts": usage[1].isoformat()} if usage else None,
        "job": job_document(job) if job else None,
        "differs_from_here": {name: asdict(both) for name, both in other.items()},
    }
    tables: list[RenderableType] = []
    if entry is not None:
        shown = {**entry_document(entry), "file_size_bytes": output.size(entry.file_size_bytes)}
        used = f"{usage[0]} hits, last {output.moment(usage[1])}" if usage else "not yet, or less than a minute ago"
        here = [(f"{name} here", both.here or "none") for name, both in other.items()]
        tables.append(output.facts([*_lines(shown), *here, ("used", used)], title="entry"))
    if job is not None:
        shown = job_document(job)
        note = shown.pop("failure")
        failure = f"{note['type']}: {note['message']}\n{note['traceback']}".strip() if note else None
        tables.append(output.facts([*_lines(shown), *([("failure", failure)] if failure else [])], title="job"))
    call.show(document, *tables)
    return errors.OK


@click.command(epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.argument("symbol")
@click.argument("raw", type=click.Path(path_type=Path))
@click.option("--feature", required=True, metavar="MODULE:FUNCTION", help="The feature that would be asked for.")
@click.option("--config", "config_text", default="{}", show_default=True, metavar="JSON", help="The feature's config.")
@common(file_option=("-c", "--settings"))
@pass_call
def explain(call: Call, symbol: str, raw: Path, feature: str, config_text: str) -> int:
    """Tell whether a request hits and why not: every part of its key, the nearest earlier entry, who computes it.

    RAW is a Parquet file or a folder of them. Computes nothing. The file with
    fstore's own settings is given by -c here, as --config is the feature's.
    """
    if not raw.exists():
        raise InvalidRequest("raw", f"there is no {raw}; give a Parquet file or a folder of them")
    with call.store() as store:
        found = store.explain(symbol, ParquetSource(raw), _config(config_text), feature)
    call.show(found.as_dict(), str(found))
    return errors.OK


@click.command(epilog=errors.codes(errors.UNAVAILABLE))
@common()
@pass_call
def stats(call: Call) -> int:
    """Show the counters since the store was made: hits, misses, computations, degraded answers, garbage collected."""
    with call.store() as store:
        counted = store.get_cache_stats()
    asked = counted["cache_hits"] + counted["cache_misses"]
    share = f"{100 * counted['cache_hits'] / asked:.1f} % of {asked} requests" if asked else "no requests yet"
    call.show(dict(counted), output.facts([*counted.items(), ("hit rate", share)]))
    return errors.OK


@click.command(epilog=errors.codes(errors.UNAVAILABLE))
@common()
@pass_call
def overview(call: Call) -> int:
    """Show what the store holds: entries and sizes, what is old, what is orphaned, by symbol and feature."""
    with call.resources() as resources:
        show_overview(call, resources)
    return errors.OK


def show_overview(call: Call, resources: Resources) -> None:
    """Print the overview, with a bar while the folder is looked through."""
    with output.progress(quiet=call.as_json) as tell:
        orphans = count_orphans(resources, progress=tell)
    found = cache_overview(resources, now=datetime.now(UTC), orphaned_files=orphans)
    rows = (
        ("entries", found["manifest_entries"]),
        ("size", output.size(found["total_size_bytes"])),
        ("not used within the retention", found["old_entries_count"]),
        ("condemned", found["condemned_entries"]),
        ("quarantined", found["quarantined_entries"]),
        ("orphaned files", found["orphaned_files"]),
        ("jobs", ", ".join(f"{n} {state}" for state, n in found["jobs"].items()) or "none"),
    )
    call.show(found, output.facts(rows), _shares("symbol", found["by_symbol"]), _shares("feature", found["by_feature"]))


def _shares(name: str, shares: Mapping[str, Mapping[str, float]]) -> RenderableType:
    made = output.table(name, "entries", "MB", right=("entries", "MB"))
    for title, share in list(shares.items())[:20]:
        made.add_row(title, str(share["entries"]), f"{share['size_mb']:.3f}")
    if len(shares) > 20:
        made.add_row(f"... and {len(shares) - 20} more", "", "")
    return made if shares else ""


def _config(text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--config") from error
    if not isinstance(config, dict):
        raise click.BadParameter(
            f"expected a JSON object such as '{{\"window\": 20}}', found {text!r:.60}", param_hint="--config"
        )
    return config


def _line(entry: Entry) -> tuple[str, ...]:
    config = entry.parts.config if len(entry.parts.config) <= 60 else f"{entry.parts.config[:57]}..."
    return (
        entry.key[:SHOWN_DIGITS],
        entry.parts.symbol,
        entry.parts.feature,
        entry.parts.feature_version,
        config,
        str(entry.rows),
        output.size(entry.file_size_bytes),
        str(entry.state),
        output.moment(entry.created_ts),
    )


def _lines(document: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [
        (name, json.dumps(value) if isinstance(value, dict | list) else value)
        for name, value in document.items()
        if value not in (None, "")
    ]
