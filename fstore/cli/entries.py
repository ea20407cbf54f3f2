"""Entries and keys as commands name and show them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from fstore.errors import InvalidRequest
from fstore.model import Entry, Job
from fstore.records import flat
from fstore.resources import Resources

SHORTEST_PREFIX = 6
SHOWN_DIGITS = 12
_PREFIX = re.compile(rf"[0-9a-f]{{{SHORTEST_PREFIX},64}}")


def full_key(resources: Resources, text: str) -> str:
    """Return the one key that starts with ``text``.

    Raises ``InvalidRequest`` when there is none, or more than one.
    """
    prefix = text.strip().lower()
    if not _PREFIX.fullmatch(prefix):
        raise InvalidRequest("key", f"{text!r:.80} is no key: give {SHORTEST_PREFIX} to 64 hex digits, see 'fstore ls'")
    keys = {entry.key for entry in resources.manifest.find_by_prefix(prefix, limit=6)}
    keys |= set(resources.jobs.find_by_prefix(prefix, limit=6))
    if not keys:
        raise InvalidRequest("key", f"no entry and no job starts with {prefix}; see 'fstore ls' and 'fstore jobs'")
    if len(keys) > 1:
        some = ", ".join(key[: len(prefix) + 6] for key in sorted(keys)[:5])
        raise InvalidRequest("key", f"{prefix} is not unique: {some}; give more digits")
    return keys.pop()


def short(text: str, most: int = 60) -> str:
    """Return the beginning of a text, with three dots where it was cut."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON."""
    return {**flat(entry), "config": json.loads(entry.parts.config)}


def job_document(job: Job) -> dict[str, Any]:
    """Return a job as JSON, with what was asked for."""
    request = job.request or {}
    config = request.get("canonical_config")
    return {
        "key": job.key,
        "state": str(job.state),
        "symbol": request.get("symbol"),
        "feature": request.get("feature"),
        "feature_version": request.get("feature_version"),
        "config": json.loads(config) if config is not None else request.get("config"),
        "raw_data": request.get("raw_data"),
        "attempt": job.attempt,
        "starts": job.starts,
        "stops": job.stops,
        "owner": job.owner,
        "lapsed": job.lapsed,
        "requested_ts": _iso(job.requested_ts),
        "started_ts": _iso(job.started_ts),
        "finished_ts": _iso(job.finished_ts),
        "failure": None
        if job.failure is None
        else {"type": job.failure.error_type, "message": job.failure.detail, "traceback": job.failure.traceback_text},
    }


def _iso(ts: datetime | None) -> str | None:
    return None if ts is None else ts.isoformat()
