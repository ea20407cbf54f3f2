"""Why a request hits or misses: the parts of its key, the nearest earlier entry, and who is at work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fstore import keys
from fstore.asking import Question
from fstore.model import Entry, EntryState, Job, KeyParts
from fstore.resources import Resources


@dataclass(frozen=True, slots=True)
class Nearest:
    """The entry whose key shares most parts with the one asked for, and the parts that differ."""

    key: str
    differs_in: tuple[str, ...]
    parts: KeyParts
    created_ts: datetime


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about one request; ``expected_s`` is the median of the feature's last computations."""

    key: str
    hit: bool
    state: str
    parts: KeyParts
    hash_method: str
    entry: Entry | None
    nearest: Nearest | None
    owner: str | None
    attempt: int | None
    elapsed_s: float | None
    expected_s: float | None
    failure: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        near = self.nearest
        return {
            "key": self.key,
            "hit": self.hit,
            "state": self.state,
            "parts": _parts(self.parts),
            "hash_method": self.hash_method,
            "path": self.entry.path if self.entry else None,
            "created_ts": self.entry.created_ts.isoformat() if self.entry else None,
            "nearest": near
            and {
                "key": near.key,
                "differs_in": list(near.differs_in),
                "parts": _parts(near.parts),
                "created_ts": near.created_ts.isoformat(),
            },
            "owner": self.owner,
            "attempt": self.attempt,
            "elapsed_s": self.elapsed_s,
            "expected_s": self.expected_s,
            "failure": self.failure,
        }

    def __str__(self) -> str:
        lines = [f"{'hit' if self.hit else 'miss'}: {self.key} ({self.state})"]
        lines += [f"  {name}: {value}" for name, value in _parts(self.parts).items()]
        if self.nearest is not None and not self.hit:
            lines.append(
                f"  nearest earlier entry {self.nearest.key[:12]} differs in: {', '.join(self.nearest.differs_in)}"
            )
        if self.owner:
            lines.append(f"  computed by {self.owner}, attempt {self.attempt}, for {self.elapsed_s or 0:.1f} s")
        if self.expected_s is not None:
            lines.append(f"  a computation usually takes {self.expected_s:.2f} s")
        if self.failure:
            lines.append(f"  last failure: {self.failure}")
        return "\n".join(lines)


def explain(resources: Resources, asked: Question) -> Explanation:
    """Tell what a request would meet now; computes nothing and changes nothing."""
    entry = resources.manifest.find_entry(asked.key)
    job = resources.jobs.find(asked.key)
    live = entry is not None and entry.state is EntryState.LIVE
    return Explanation(
        key=asked.key,
        hit=live,
        state=str(entry.state if entry is not None else job.state if job is not None else "unknown"),
        parts=asked.parts,
        hash_method=str(asked.taken.method),
        entry=entry,
        nearest=None if live else _nearest(resources, asked),
        owner=(job.owner or None) if job else None,
        attempt=job.attempt if job else None,
        elapsed_s=_elapsed(job),
        expected_s=resources.manifest.expected_seconds(asked.parts.feature),
        failure=f"{job.failure.error_type}: {job.failure.detail}" if job and job.failure else None,
    )


def _nearest(resources: Resources, asked: Question) -> Nearest | None:
    others = [entry for entry in resources.manifest.nearest_entries(asked.parts) if entry.key != asked.key]
    compared = [(len(differs := keys.differing_parts(asked.parts, entry.parts)), differs, entry) for entry in others]
    if not compared:
        return None
    _, differs, entry = min(compared, key=lambda found: found[0])  # of equals the first: the newest
    return Nearest(entry.key, differs, entry.parts, entry.created_ts)


def _elapsed(job: Job | None) -> float | None:
    if job is None:
        return None
    ended = job.finished_ts or datetime.now(UTC)
    return max(0.0, (ended - (job.started_ts or job.requested_ts)).total_seconds())


def _parts(parts: KeyParts) -> dict[str, Any]:
    return {
        "symbol": parts.symbol,
        "feature": parts.feature,
        "feature_version": parts.feature_version,
        "config": json.loads(parts.config),
        "fingerprint": parts.fingerprint,
    }
