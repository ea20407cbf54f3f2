"""Why a request hits or misses: the parts of its key, the nearest earlier entry, and who is at work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Unpack, overload

from fstore import lazy
from fstore.client.batches.requests import peek, peek_many
from fstore.client.read_through import load_answered
from fstore.client.request import KeyedRequest, prepare
from fstore.compute import are_comparable, differing_versions, format_of
from fstore.entries import in_form
from fstore.features import Feature, differing_parts, source_format
from fstore.model import Entry, EntryState, Job, KeyParts, Request
from fstore.projection import Part, checked_selection
from fstore.resources import Resources
from fstore.results import Arrow, Pandas, Polars, Returns, check_returns

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from fstore.client.partitions.composition import Composition, Partitions, partitions_of
    from fstore.client.partitions.pieces import Pieces
else:  # most features declare no partitions
    globals().update(lazy.functions("fstore.client.partitions.composition", "partitions_of"))


@dataclass(frozen=True, slots=True)
class Nearest:
    """The entry whose key shares most parts with the one asked for, and the parts that differ."""

    key: str
    differs_in: tuple[str, ...]
    parts: KeyParts
    created_ts: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """What an entry was computed by, and what is in this process instead; None for a library that is not."""

    entry: str
    here: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about one request.

    ``expected_s`` is the median of the feature's last computations, ``stops`` how often
    its worker was stopped in good order, as a deploy does, before it was done;
    ``differs_from_here`` tells what the entry was computed by that is another here.
    """

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
    source_digest: str = ""
    differs_from_here: Mapping[str, Difference] = field(default_factory=dict)
    stops: int = 0
    partitions: Partitions | None = None  # of a feature that declares them

    @property
    def same_source(self) -> bool | None:
        """Whether this process runs the source code that computed the entry; None when nobody can tell."""
        if self.entry is None or "source" in self.differs_from_here:
            return None if self.entry is None else False
        return True if self.source_digest and self.entry.source_digest == self.source_digest else None

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
            "stops": self.stops,
            "source_digest": self.source_digest or None,
            "entry_source_digest": self.entry.source_digest or None if self.entry else None,
            "same_source": self.same_source,
            "library_versions": dict(self.entry.library_versions) if self.entry else None,
            "differs_from_here": {name: asdict(both) for name, both in self.differs_from_here.items()},
            "partitions": self.partitions.as_dict() if self.partitions is not None else None,
        }

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show in a notebook what ``print`` shows."""
        printer.text(str(self))

    def __str__(self) -> str:
        said = self.partitions
        met = "hit" if self.hit else "partial" if said is not None and said.hit + said.copied else "miss"
        lines = [f"{met}: {self.key} ({self.state})"]
        lines += [f"  {line}" for line in (said.text.splitlines() if said is not None else ())]
        lines += [f"  {name}: {value}" for name, value in _parts(self.parts).items()]
        if self.nearest is not None and not self.hit:
            lines.append(
                f"  nearest earlier entry {self.nearest.key[:12]} differs in: {', '.join(self.nearest.differs_in)}"
            )
        lines += [f"  {line}" for line in self._code()]
        if self.owner:
            lines.append(f"  computed by {self.owner}, attempt {self.attempt}, for {self.elapsed_s or 0:.1f} s")
        if self.stops:
            lines.append(
                f"  begun anew after {self.stops} orderly stop{'s' * (self.stops > 1)} of its worker: "
                "it takes longer than workers live between deploys"
            )
        if self.expected_s is not None:
            lines.append(f"  a computation usually takes {self.expected_s:.2f} s")
        if self.failure:
            lines.append(f"  last failure: {self.failure}")
        return "\n".join(lines)

    def _code(self) -> Iterator[str]:
        if self.entry is None:
            return
        if self.same_source is None:
            yield "the source it was computed by cannot be compared with this process's"
        for name, both in self.differs_from_here.items():
            if name == "source":
                yield f"computed by other source: {both.entry}, this process runs {both.here}"
            else:
                yield f"computed by {name} {both.entry}, here is {both.here or 'none'}"


def differences(entry: Entry, feature: Feature | None) -> dict[str, Difference]:
    """Return what of the code that computed an entry differs; what is unknown is left out."""
    found: dict[str, Difference] = {}
    own = feature.source_digest if feature is not None and feature.version == entry.parts.feature_version else ""
    is_other = are_comparable(entry.source_digest, own) and entry.source_digest != own
    if is_other and format_of(entry) == source_format():
        found["source"] = Difference(entry.source_digest, own)
    return found | {name: Difference(*both) for name, both in differing_versions(entry).items()}


def explain(resources: Resources, request: KeyedRequest) -> Explanation:
    """Tell what a request would meet now; computes nothing and changes nothing."""
    if request.pieces is not None:
        return _explained_in_parts(resources, request, request.pieces)
    entry = resources.manifest.find_entry(request.key)
    job = resources.jobs.find(request.key)
    live = entry is not None and entry.state is EntryState.LIVE
    return Explanation(
        key=request.key,
        hit=live,
        state=str(entry.state if entry is not None else job.state if job is not None else "unknown"),
        parts=request.parts,
        hash_method=str(request.fingerprint.method),
        entry=entry,
        nearest=None if live else _nearest(resources, request),
        owner=(job.owner or None) if job else None,
        attempt=job.attempt if job else None,
        elapsed_s=_elapsed(job),
        expected_s=resources.manifest.expected_seconds(request.parts.feature),
        failure=f"{job.failure.error_type}: {job.failure.detail}" if job and job.failure else None,
        source_digest=request.feature.source_digest,
        differs_from_here=differences(entry, request.feature) if entry is not None else {},
        stops=job.stops if job else 0,
    )


def _explained_in_parts(resources: Resources, request: KeyedRequest, pieces: Pieces) -> Explanation:
    """Say it of the segments of a feature with partitions together; the first at work stands for them."""
    said = partitions_of(resources, request, pieces)
    views = resources.jobs.look([each.key for each in request.segments])
    busy = [view.job for view in views.values() if view.entry is None and view.job is not None]
    job = resources.jobs.find(busy[0].key) if busy else None
    is_hit = said.hit == said.total
    entry = resources.manifest.find_entry(request.segments[0].key) if len(request.segments) == 1 else None
    return Explanation(
        key=request.key,
        hit=is_hit,
        state="live" if is_hit else str(job.state) if job is not None else "partial" if said.hit else "unknown",
        parts=request.parts,
        hash_method=str(request.fingerprint.method),
        entry=entry,
        nearest=_nearest(resources, request) if said.missing and not said.hit + said.copied else None,
        owner=(job.owner or None) if job else None,
        attempt=job.attempt if job else None,
        elapsed_s=_elapsed(job),
        expected_s=resources.manifest.expected_seconds(request.parts.feature),
        failure=f"{job.failure.error_type}: {job.failure.detail}" if job and job.failure else None,
        source_digest=request.feature.source_digest,
        differs_from_here=differences(entry, request.feature) if entry is not None else {},
        stops=job.stops if job else 0,
        partitions=said,
    )


def _nearest(resources: Resources, request: KeyedRequest) -> Nearest | None:
    others = [entry for entry in resources.manifest.nearest_entries(request.parts) if entry.key != request.key]
    compared = [(_differing(request, entry), entry) for entry in others]
    if not compared:
        return None
    differs, entry = min(compared, key=lambda found: len(found[0]))  # of equals the first: the newest
    if not differs:
        return None
    return Nearest(entry.key, differs, entry.parts, entry.created_ts)


def _differing(request: KeyedRequest, entry: Entry) -> tuple[str, ...]:
    """Name the parts that differ; a request in segments has no fingerprint that an entry could have."""
    differs = differing_parts(request.parts, entry.parts)
    return tuple(name for name in differs if name != "fingerprint") if request.pieces is not None else tuple(differs)


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


class StoreLooks:
    """The part of a store that only looks."""

    _resources: Resources

    def peek(
        self, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object
    ) -> Entry | Composition | None:
        """Return the live entry that would answer, or those of several segments, or None; computes nothing."""
        return peek(self._resources, prepare(self._resources, symbol, raw_data, config, compute_func))

    def peek_many(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Entry | Composition | None]]:
        """Yield each request with what ``peek`` gives for it, in their order; computes nothing.

        All requests are taken at once. Raw data that several requests of a list share are
        fingerprinted once.
        """
        return peek_many(self._resources, requests)

    def explain(self, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object) -> Explanation:
        """Tell whether this hits, why not, which earlier entry is nearest, and who is computing it."""
        return explain(self._resources, prepare(self._resources, symbol, raw_data, config, compute_func))

    @overload
    def load(self, answer: Mapping[str, Any], *, returns: Pandas = "pandas", **part: Unpack[Part]) -> pd.DataFrame: ...
    @overload
    def load(self, answer: Mapping[str, Any], *, returns: Arrow, **part: Unpack[Part]) -> pa.Table: ...
    @overload
    def load(self, answer: Mapping[str, Any], *, returns: Polars, **part: Unpack[Part]) -> pl.DataFrame: ...
    def load(self, answer: Mapping[str, Any], *, returns: Returns = "pandas", **part: Unpack[Part]) -> Any:
        """Load the frame that a plain Celery call of ``fstore.get_or_compute`` answered with, verified."""
        key, path, wanted = str(answer["key"]), str(answer.get("path")), checked_selection(**part)
        return in_form(load_answered(self._resources, key, path, wanted), check_returns(returns))
