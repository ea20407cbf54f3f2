"""From a trainer's request to a key: fingerprint, canonical config, code version."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from fstore.broker.messages import ComputeRequest, RawReference
from fstore.compute.failures import is_anothers_refusal
from fstore.compute.publishing import are_comparable, format_of
from fstore.compute.raw_data import allowed_path, hold_raw
from fstore.errors import ManifestUnavailable
from fstore.features import keys
from fstore.features.registry import Feature
from fstore.features.source.digest import source_format
from fstore.features.unregistered import find_feature
from fstore.fingerprint.identification import Identified, Origin
from fstore.fingerprint.identification import identify as identify_raw
from fstore.fingerprint.raw_input import RawInput
from fstore.model import Entry, Fingerprint, HashMethod, JobState, KeyParts, Locator
from fstore.postgres.jobs import View
from fstore.resources import Resources

log = logging.getLogger("fstore.asking")

# What was said or looked for already: feature, version, the digest here and the other one. No lock: a fork may come any time.
_warned: dict[tuple[str, str, str, str], object] = {}


@dataclass(frozen=True, slots=True)
class Question:
    """What a trainer wants to know, with the key that commits to all of it; ``raw`` stays what it was when that was made."""

    key: str
    parts: KeyParts
    feature: Feature
    raw: RawInput
    taken: Fingerprint

    def request(
        self, reference: RawReference, *, on_source_change: Literal["refuse", "warn"] = "refuse"
    ) -> ComputeRequest:
        """Return the message that asks a worker for it, with what the worker's code is compared with."""
        feature = self.feature
        return ComputeRequest(
            symbol=self.parts.symbol,
            feature=self.feature.name,
            raw_data=reference,
            feature_version=self.feature.version,
            key=self.key,
            fingerprint=str(self.taken),
            hash_method=self.taken.method.value,
            canonical_config=self.parts.config,
            waits=False,
            source_digest=feature.source_digest or None,
            source_format=source_format() if feature.source_digest else None,
            source_time=feature.source_time,
            input=feature.input,
            on_source_change="warn" if on_source_change == "warn" else None,
        )


def ask(
    resources: Resources, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object
) -> Question:
    """Build the question: resolve the feature, canonicalise the config, take the fingerprint of every byte.

    Raises ``UnhashableInput``, ``FeatureNotRegistered``, ``InvalidRequest``,
    ``SourceNotAllowed``; nothing is written before the key is known.
    """
    symbol = keys.check_symbol(symbol)
    feature = find_feature(compute_func, resources.settings.on_unregistered)
    canonical = keys.canonical_config(config)
    held = hold_raw(raw_data, resources.settings)
    return question(symbol, held, canonical, feature, identify(resources, held))


def question(symbol: str, raw_data: RawInput, canonical: str, feature: Feature, identified: Identified) -> Question:
    """Put the parts of a question together."""
    taken = identified.fingerprint
    parts = KeyParts(symbol, feature.name, feature.version, canonical, str(taken))
    return Question(keys.key_of(parts), parts, feature, raw_data, taken)


def identify(resources: Resources, raw_data: RawInput) -> Identified:
    """Take the fingerprint of raw data, and count when it came without a scan."""
    chosen = resources.settings
    if raw_data.path is not None and chosen.data_roots:
        allowed_path(str(raw_data.path), resources.files, chosen)  # before a long scan, not after it
    began = time.monotonic()
    found = identify_raw(
        raw_data, threshold_bytes=chosen.threshold_bytes, policy=chosen.hash_policy, memo=resources.memo
    )
    resources.recorder.took("fingerprint_seconds", time.monotonic() - began)
    if found.origin in (Origin.FOOTER, Origin.MEMO):
        resources.recorder.count("hash_optimizations")
    if found.fingerprint.method is HashMethod.FOOTER:
        resources.recorder.count("footer_hash_optimizations")
    return found


def is_refused_to_another(resources: Resources, asked: Question, view: View) -> bool:
    """Tell whether the failure in a job's row is a worker's refusal of somebody else's source code."""
    if view.job is None or view.job.failure is None or view.job.state is not JobState.FAILED:
        return False
    own = asked.request(RawReference(kind="caller", path="-"), on_source_change=resources.settings.on_source_change)
    return is_anothers_refusal(view.job.failure, own)


def warn_if_source_changed(resources: Resources, asked: Question) -> None:
    """Look once whether an explicit version was published before with other source code than this process runs, and warn."""
    feature = asked.feature
    mark = (feature.name, feature.version, feature.source_digest, "")
    if not feature.explicit or not feature.source_digest or not _is_news(mark):
        return
    try:
        other = resources.manifest.other_source(*mark[:3], source_format())
    except ManifestUnavailable:
        _warned.pop(mark, None)
        return
    if other is not None:
        warn_of_other_source(resources, feature, other)


def warn_of_other_source(resources: Resources, feature: Feature, found: Locator | Entry) -> None:
    """Warn once a process when an entry that answers for ``feature`` was computed by other source code than is here.

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
        entry = found if isinstance(found, Entry) else resources.manifest.find_entry(found.key)
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
