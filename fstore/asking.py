"""From a trainer's request to a key: fingerprint, canonical config, code version."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fstore import features, fingerprint, keys, rawdata
from fstore.errors import ManifestUnavailable
from fstore.features import Feature
from fstore.fingerprint import Identified, Origin
from fstore.messages import ComputeRequest, RawReference
from fstore.model import Fingerprint, HashMethod, KeyParts, ParquetSource
from fstore.resources import Resources

log = logging.getLogger("fstore.asking")

_warned: set[tuple[str, str, str]] = set()
_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class Question:
    """What a trainer wants to know, with the key that commits to all of it; ``raw`` stays what it was when that was made."""

    key: str
    parts: KeyParts
    feature: Feature
    raw: Any
    taken: Fingerprint

    def request(self, reference: RawReference) -> ComputeRequest:
        """Return the message that asks a worker for it."""
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
        )


def ask(
    resources: Resources, symbol: str, raw_data: object, config: Mapping[str, Any], compute_func: object
) -> Question:
    """Build the question: resolve the feature, canonicalise the config, take the fingerprint of every byte.

    Raises ``UnhashableInput``, ``FeatureNotRegistered``, ``InvalidRequest``,
    ``SourceNotAllowed``; nothing is written before the key is known.
    """
    symbol = keys.check_symbol(symbol)
    feature = features.resolve(compute_func)
    canonical = keys.canonical_config(config)
    held = rawdata.hold(raw_data)
    return question(symbol, held, canonical, feature, identify(resources, held))


def question(symbol: str, raw_data: object, canonical: str, feature: Feature, identified: Identified) -> Question:
    """Put the parts of a question together."""
    taken = identified.fingerprint
    parts = KeyParts(symbol, feature.name, feature.version, canonical, str(taken))
    return Question(keys.key_of(parts), parts, feature, raw_data, taken)


def identify(resources: Resources, raw_data: object) -> Identified:
    """Take the fingerprint of raw data, and count when it came without a scan."""
    chosen = resources.settings
    if isinstance(raw_data, ParquetSource) and chosen.data_roots:
        rawdata.allowed_path(str(raw_data.path), resources.files, chosen)  # before a long scan, not after it
    began = time.monotonic()
    found = fingerprint.identify(
        raw_data, threshold_bytes=chosen.threshold_bytes, policy=chosen.hash_policy, memo=resources.memo
    )
    resources.recorder.took("fingerprint_seconds", time.monotonic() - began)
    if found.origin in (Origin.FOOTER, Origin.MEMO):
        resources.recorder.count("hash_optimizations")
    if found.fingerprint.method is HashMethod.FOOTER:
        resources.recorder.count("footer_hash_optimizations")
    return found


def warn_if_source_changed(resources: Resources, asked: Question) -> None:
    """Warn once when an explicit version was published before with other source code than this process runs.

    The results stay apart only if the version is raised: that is the author's call.
    """
    feature = asked.feature
    mark = (feature.name, feature.version, feature.source_digest)
    if not feature.explicit or not feature.source_digest:
        return
    with _guard:
        if mark in _warned:
            return
        _warned.add(mark)
    try:
        other = resources.manifest.other_source_digest(*mark)
    except ManifestUnavailable:
        return
    if other is not None:
        log.warning(
            "the source of %s changed but its version is still %r: results of the old and the new code share their keys; "
            "raise version= if they differ in numbers",
            feature.name,
            feature.version,
        )
