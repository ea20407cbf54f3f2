"""``fstore show``: everything about one key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import RenderableType

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.entries import entry_document, full_key, job_document
from fstore.client import differences
from fstore.entries import read_relative
from fstore.features import registered_features
from fstore.increments import contents_of
from fstore.model import Entry, EntryState
from fstore.resources import Resources


@click.command("show", epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.argument("key")
@common()
@pass_call
def command(call: Call, key: str) -> int:
    """Show everything known about one KEY, or its first digits (6 or more): entry, usage, job."""
    with call.resources() as resources:
        whole = full_key(resources, key)
        entry, job = resources.manifest.find_entry(whole), resources.jobs.find(whole)
        usage = resources.usage.of_entry(whole)
        held = resources.manifest.find_segment(whole) if entry is not None else None
        numerics = _numerics(resources, entry) if held is not None and entry is not None else []
        file = f"{resources.entries.capabilities.location}/{entry.path}" if entry is not None else None
    other = differences(entry, registered_features().get(entry.parts.feature)) if entry else {}
    document: dict[str, Any] = {
        "key": whole,
        "entry": entry_document(entry) if entry else None,
        "file": file,
        "usage": {"hits": usage[0], "last_accessed_ts": usage[1].isoformat()} if usage else None,
        "job": job_document(job) if job else None,
        "segment": {
            "period": held.period,
            "partitions": len(held.names),
            "series": held.series.hex(),
            "computed_by": numerics,
        }
        if held
        else None,
        "differs_from_here": {name: asdict(both) for name, both in other.items()},
    }
    parts: list[RenderableType] = []
    if entry is not None:
        shown = {**entry_document(entry), "path": file, "file_size_bytes": output.size(entry.file_size_bytes)}
        used = f"{usage[0]} hits, last {output.moment(usage[1])}" if usage else "not yet, or less than a minute ago"
        here = [(f"{name} here", both.here or "none") for name, both in other.items()]
        segment = (
            [("segment", f"{held.period}, {output.number_of(len(held.names), 'partition', 'partitions')}")]
            if held
            else []
        )
        if len(numerics) > 1:
            segment += [("computed by", _shown(each, numerics)) for each in numerics]
        parts.append(output.facts([*_rows(shown), *segment, *here, ("used", used)], title="entry"))
    if job is not None:
        shown = job_document(job)
        note = shown.pop("failure")
        failure = f"{note['type']}: {note['message']}\n{note['traceback']}".strip() if note else None
        parts.append(output.facts([*_rows(shown), *([("failure", failure)] if failure else [])], title="job"))
    call.show(document, *parts)
    return errors.OK


def _numerics(resources: Resources, entry: Entry) -> list[dict[str, Any]]:
    """Tell which libraries and processors computed a segment's partitions, and how many each.

    Read from its file, verified.
    """
    table = read_relative(resources, entry.locator) if entry.state is EntryState.LIVE else None
    contents = contents_of(table) if table is not None else None
    counted = Counter(record.numerics for record in contents.records) if contents is not None else Counter[str]()
    return [{"partitions": count, **json.loads(said)} for said, count in counted.most_common() if said]


def _shown(one: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> str:
    """Say in what one differs from the others."""
    apart = {name: text for name, text in one.items() if any(each.get(name) != text for each in others)}
    count = output.number_of(one["partitions"], "partition", "partitions")
    return f"{count}: " + ", ".join(f"{name} {text}" for name, text in apart.items() if name != "partitions")


def _rows(document: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [
        (name, json.dumps(value) if isinstance(value, dict | list) else value)
        for name, value in document.items()
        if value not in (None, "")
    ]
