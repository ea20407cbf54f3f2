"""From a trainer's request to a key and an answer: fingerprint, canonical config, code version."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from fstore.compute import (
    allowed_path,
    are_comparable,
    format_of,
    hold_raw,
    own_raw,
)
from fstore.errors import FeatureStoreError, ManifestUnavailable
from fstore.features import Feature, canonical_config, check_symbol, find_feature, key_of, source_format
from fstore.fingerprint import Origin, RawInput, identify, open_raw
from fstore.model import Entry, Fingerprint, HashMethod, Job, JobState, KeyParts, Locator, Status
from fstore.postgres import Manifest
from fstore.resources import Resources

if TYPE_CHECKING:
    from fstore.broker import ComputeRequest, RawReference
    from fstore.client.partitions.pieces import Cutter, Pieces
    from fstore.compute import SegmentTask

log = logging.getLogger("fstore.asking")

# What was said or looked for already: feature, version, the digest here and the other one. No lock: a fork may come any time.
_warned: dict[tuple[str, str, str, str], object] = {}


OnSourceChange = Literal["refuse", "warn"]


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A trainer's request with its key; ``raw_data`` stay what they were when that was made."""

    key: str
    parts: KeyParts
    feature: Feature
    raw_data: RawInput
    fingerprint: Fingerprint
    task: SegmentTask | None = None  # of a part of a feature that declares partitions
    pieces: Pieces | None = None  # of all of it,
    segments: tuple[KeyedRequest, ...] = ()  # which is asked for in these parts

    def message(self, reference: RawReference, *, on_source_change: OnSourceChange = "refuse") -> ComputeRequest:
        """Return the message that asks a worker for it, with what the worker's code is compared with."""
        from fstore.broker import ComputeRequest, SegmentReference  # noqa: PLC0415 a hit asks nobody

        feature = self.feature
        return ComputeRequest(
            symbol=self.parts.symbol,
            feature=feature.name,
            raw_data=reference,
            feature_version=feature.version,
            key=self.key,
            fingerprint=str(self.fingerprint),
            hash_method=self.fingerprint.method.value,
            canonical_config=self.parts.config,
            waits=False,
            source_digest=feature.source_digest or None,
            source_format=source_format() if feature.source_digest else None,
            source_time=feature.source_time,
            input=feature.input,
            on_source_change="warn" if on_source_change == "warn" else None,
            queue=feature.queue,
            time_limit_s=feature.timeout_s,
            segment=SegmentReference.of(self.task.assigned) if self.task is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request was answered: by an entry that is still to be read, a result, or an error.

    ``not_stored`` tells why a result that was computed here has no entry.
    """

    request: KeyedRequest
    status: Status
    entry: Locator | None = None
    result: Any = None
    error: FeatureStoreError | None = None
    not_stored: FeatureStoreError | None = None


def prepare(
    resources: Resources, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object
) -> KeyedRequest:
    """Give one request its key; see ``Preparation.prepare``."""
    return Preparation(resources).prepare(symbol, raw_data, config, compute_func)


class Preparation:
    """Gives requests their keys while they are taken.

    With ``shares`` raw data of several requests are fingerprinted once: for those whose
    owner runs no code between two of them. Otherwise raw data are looked at for each,
    and with ``copies`` what will be computed from is copied at once, since a buffer may
    be filled again before the next request; equal data are copied once. Without ``holds``
    nothing will be computed, so that raw data need not stay what they are now.
    """

    def __init__(self, resources: Resources, *, shares: bool = False, copies: bool = False, holds: bool = True) -> None:
        self._resources = resources
        self._shares, self._copies, self._holds = shares, copies, holds
        self._shared: dict[int, tuple[object, RawInput, Fingerprint]] = {}
        self._copied: dict[str, RawInput] = {}
        self._held: dict[int, tuple[object, RawInput]] = {}
        self._cutter: Cutter | None = None

    def prepare(self, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object) -> KeyedRequest:
        """Resolve the feature, canonicalise the config, take the fingerprint of every byte.

        Raises ``UnhashableInput``, ``FeatureNotRegistered``, ``InvalidRequest``,
        ``SourceNotAllowed``; nothing is written before the key is known.
        """
        try:
            return self._prepare(symbol, raw_data, config, compute_func)
        except FeatureStoreError as error:
            concerning(error, str(symbol), _name_of(compute_func))
            raise

    def _prepare(self, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object) -> KeyedRequest:
        """In one piece, as every hit goes through it."""
        feature = find_feature(compute_func, self._resources.settings.on_unregistered)
        symbol, canonical = check_symbol(symbol), canonical_config(config)
        if feature.partitioning is not None:
            return self._in_pieces(symbol, raw_data, canonical, feature)
        if self._shares and id(raw_data) in self._shared:
            _, held, fingerprint = self._shared[id(raw_data)]
        else:
            settings, recorder = self._resources.settings, self._resources.recorder
            if self._holds or type(raw_data) is not pd.DataFrame:
                held = hold_raw(raw_data, settings)
            else:
                held = open_raw(raw_data)
            if settings.data_roots and held.path is not None:
                allowed_path(str(held.path), self._resources.staging, settings)  # before a long scan, not after it
            began = time.monotonic()
            found = identify(
                held, threshold_bytes=settings.threshold_bytes, policy=settings.hash_policy, memo=self._resources.memo
            )
            recorder.took("fingerprint_seconds", time.monotonic() - began)
            fingerprint = found.fingerprint
            if found.origin in (Origin.FOOTER, Origin.MEMO):
                recorder.count("hash_optimizations")
            if fingerprint.method is HashMethod.FOOTER:
                recorder.count("footer_hash_optimizations")
            if self._copies and held.path is None:
                held = self._copy_of(held, str(fingerprint))
            if self._shares:  # ``raw_data`` is kept, so that its id stays its own
                self._shared[id(raw_data)] = raw_data, held, fingerprint
        parts = KeyParts(symbol, feature.name, feature.version, canonical, str(fingerprint))
        return KeyedRequest(key_of(parts), parts, feature, held, fingerprint)

    def _in_pieces(self, symbol: str, raw_data: object, canonical: str, feature: Feature) -> KeyedRequest:
        """Give each segment of a feature with partitions a key of its own, and the whole a name."""
        settings, recorder = self._resources.settings, self._resources.recorder
        _, held = self._held.get(id(raw_data)) or (None, hold_raw(raw_data, settings))
        if settings.data_roots and held.path is not None:
            allowed_path(str(held.path), self._resources.staging, settings)
        if self._shares:
            self._held[id(raw_data)] = raw_data, held
        elif self._copies and held.path is None:
            held = own_raw(held)
        from fstore.client.partitions.pieces import Cutter  # noqa: PLC0415 most features declare no partitions

        self._cutter = self._cutter or Cutter(
            keeps=self._shares, memo=self._resources.partition_memo, pins=settings.pin_numerics
        )
        began = time.monotonic()
        pieces = self._cutter.cut(held, feature, canonical)
        recorder.took("fingerprint_seconds", time.monotonic() - began)
        whole = KeyParts(symbol, feature.name, feature.version, canonical, str(pieces.fingerprint))
        segments = []
        for at, (task, raw) in enumerate(zip(pieces.tasks, pieces.raw, strict=True)):
            taken = pieces.fingerprint_of(at)
            parts = replace(whole, fingerprint=str(taken))
            segments.append(KeyedRequest(key_of(parts), parts, feature, raw, taken, task))
        return KeyedRequest(
            key_of(whole), whole, feature, held, pieces.fingerprint, pieces=pieces, segments=tuple(segments)
        )

    def _copy_of(self, held: RawInput, fingerprint: str) -> RawInput:
        if fingerprint not in self._copied:
            self._copied[fingerprint] = own_raw(held)
        return self._copied[fingerprint]


def concerning(error: FeatureStoreError, symbol: str, feature: str) -> FeatureStoreError:
    """Return an error as that of one request, said in a note; a copy if it is another's already."""
    if error.symbol is not None:
        if (error.symbol, error.feature) == (symbol, feature):
            return error
        cause, error = error.__cause__, copy(error)
        error.__cause__, error.__notes__ = cause, []
    error.symbol, error.feature = symbol, feature
    error.add_note(f"symbol {symbol!r}, feature {feature!r}")
    return error


def _name_of(compute_func: object) -> str:
    """Name a function as its feature would be named, also where it is none."""
    if isinstance(compute_func, str):
        return compute_func
    func = compute_func.func if isinstance(compute_func, Feature) else compute_func
    return f"{getattr(func, '__module__', '')}:{getattr(func, '__qualname__', type(func).__qualname__)}"


def is_refused_to_another(request: KeyedRequest, job: Job | None, on_source_change: OnSourceChange) -> bool:
    """Tell whether the failure in a job's row is a worker's refusal of somebody else's source code."""
    if job is None or job.failure is None or job.state is not JobState.FAILED:
        return False
    from fstore.broker import RawReference  # noqa: PLC0415 a hit asks nobody
    from fstore.compute import is_anothers_refusal  # noqa: PLC0415

    own = request.message(RawReference(kind="caller", path="-"), on_source_change=on_source_change)
    return is_anothers_refusal(job.failure, own)


def warn_if_source_changed(manifest: Manifest, feature: Feature) -> None:
    """Warn if an explicit version was published with other source code than runs here; looks once."""
    mark = (feature.name, feature.version, feature.source_digest, "")
    if not feature.explicit or not feature.source_digest or not _is_news(mark):
        return
    try:
        other = manifest.other_source(*mark[:3], source_format())
    except ManifestUnavailable:
        _warned.pop(mark, None)
        return
    if other is not None:
        warn_of_other_source(manifest, feature, other)


def warn_of_other_source(manifest: Manifest, feature: Feature, found: Locator | Entry) -> None:
    """Warn once a process when other source code computed an entry that answers for ``feature``.

    Its version says that the numbers are the same, and that is the author's call;
    what cannot be compared is passed over, ``explain`` tells of it.
    """
    other, own = found.source_digest, feature.source_digest
    if not are_comparable(other, own) or other == own:
        return
    mark = (feature.name, feature.version, own, other)
    if not _is_news(mark):
        return
    try:
        entry = found if isinstance(found, Entry) else manifest.find_entry(found.key)
    except ManifestUnavailable:
        entry = None
    if entry is None or entry.source_digest != other:  # gone meanwhile; the next one is looked at again
        _warned.pop(mark, None)
        return
    if format_of(entry) != source_format():
        return
    written = feature.source_time
    log.warning(
        "the source of %s changed but its version is still %r: entry %s was computed at %s by other source than this "
        "process runs%s; results of both share their keys: raise version= if they differ in numbers, or take back the "
        "others' with: fstore invalidate --feature %s",
        feature.name,
        feature.version,
        entry.key[:12],
        f"{entry.created_ts.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        f" (its file is of {datetime.fromtimestamp(written, UTC):%Y-%m-%d %H:%M:%S} UTC)"
        if written is not None
        else "",
        feature.name,
    )


def _is_news(mark: tuple[str, str, str, str]) -> bool:
    token = object()
    return _warned.setdefault(mark, token) is token
