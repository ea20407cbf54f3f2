"""From a message to a key.

What a worker derives itself, and checks against what the caller claims to know.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fstore.broker import ComputeRequest
from fstore.compute.provenance import versions_of
from fstore.compute.raw_data import source_of
from fstore.compute.segments import SegmentTask, task_of
from fstore.errors import InvalidRequest, VersionMismatch
from fstore.features import (
    Feature,
    canonical_config,
    check_symbol,
    key_of,
    resolve_feature,
    restore_config,
    source_format,
)
from fstore.fingerprint import identify
from fstore.model import ComputedFacts, Fingerprint, HashMethod, KeyParts
from fstore.resources import Resources

log = logging.getLogger("fstore.planning")

_said: dict[tuple[str, str, str | None, str], object] = {}


@dataclass(frozen=True, slots=True)
class Computation:
    """One key to compute: what it commits to, the function with its config, and the job row's request."""

    key: str
    parts: KeyParts
    feature: Feature
    config: Mapping[str, Any]
    fingerprint: Fingerprint
    request: ComputeRequest
    segment: SegmentTask | None = None

    def facts(self, seconds: float) -> ComputedFacts:
        """Return what is known of its result once it took so long."""
        return ComputedFacts(
            key=self.key,
            parts=self.parts,
            hash_method=self.fingerprint.method,
            source_digest=self.feature.source_digest,
            source=self.request.raw_data.model_dump(exclude_none=True),
            compute_seconds=seconds,
            library_versions=versions_of(self.feature),
        )


def plan(resources: Resources, request: ComputeRequest) -> Computation:
    """Derive the key from what this worker knows, and check whatever the caller claims to know.

    Raises ``VersionMismatch`` when the worker would run other code than the caller's
    key commits to, or, unless one of both sides accepts that, than the caller's own
    under the same version.
    """
    feature = resolve_feature(request.feature)
    _compare_code(request, feature, warn_only=resources.settings.on_source_change == "warn")
    text = request.canonical_config if request.canonical_config is not None else canonical_config(request.config)
    config = restore_config(text)  # refuses any text that is not in canonical form
    segment = task_of(request, feature, config)
    taken = _claimed_fingerprint(request) or _taken_fingerprint(resources, request)
    parts = KeyParts(check_symbol(request.symbol), feature.name, feature.version, text, str(taken))
    key = key_of(parts)
    if request.key is not None and request.key != key:
        raise InvalidRequest(
            "key", "is not the key of the other fields; trainer and worker run different versions of fstore"
        )
    known = request.model_copy(
        update={
            "key": key,
            "feature_version": feature.version,
            "canonical_config": text,
            "config": {},
            "fingerprint": str(taken),
            "hash_method": taken.method.value,
            "queue": feature.queue,
            "time_limit_s": feature.timeout_s,
        }
    )
    return Computation(key, parts, feature, config, taken, known, segment)


def _compare_code(request: ComputeRequest, feature: Feature, *, warn_only: bool) -> None:
    asked_version = request.feature_version if request.feature_version is not None else feature.version
    mismatch = VersionMismatch(
        feature.name,
        asked_version,
        feature.version,
        _code(request.source_digest, request.source_time, request.input),
        _code(feature.source_digest, feature.source_time, feature.input),
    )
    if asked_version != feature.version:
        raise mismatch
    if _is_other_code(request, feature):
        if not warn_only and request.on_source_change != "warn":
            raise mismatch
        if _is_news(request, feature):
            log.warning("computed all the same, as on_source_change=warn asks: %s", mismatch)
    elif (reason := _why_not_compared(request, feature)) is not None and _is_news(request, feature):
        log.warning(
            "computed without knowing whether version %r of %s is the caller's code: its source %s",
            feature.version,
            feature.name,
            reason,
        )


def _is_other_code(request: ComputeRequest, feature: Feature) -> bool:
    """Tell whether a caller runs other code, as far as he says what he runs."""
    if request.input not in (None, feature.input):
        return True
    if request.source_digest is None or request.source_format not in (None, source_format()):
        return False
    return bool(feature.source_digest) and request.source_digest != feature.source_digest


def _why_not_compared(request: ComputeRequest, feature: Feature) -> str | None:
    if request.input is None:
        return None  # a plain client, who runs nothing
    if not feature.source_digest:
        return "cannot be read by this worker; install the module with its source"
    if request.source_digest is None:
        return "cannot be read by the caller"
    return None if request.source_format == source_format() else "is digested in another way by the caller's fstore"


def _code(digest: str | None, time: float | None, kind: str | None) -> dict[str, Any]:
    known = {"source_digest": digest or None, "source_time": time, "input": kind}
    return {name: value for name, value in known.items() if value is not None}


def _is_news(request: ComputeRequest, feature: Feature) -> bool:
    token = object()
    return (
        _said.setdefault((feature.name, feature.version, request.source_digest, feature.source_digest), token) is token
    )


def _claimed_fingerprint(request: ComputeRequest) -> Fingerprint | None:
    if request.fingerprint is None or request.hash_method is None:
        return None
    space, _, digest = request.fingerprint.rpartition(":")
    taken = Fingerprint(HashMethod(request.hash_method), digest, space if request.segment is not None else None)
    if str(taken) != request.fingerprint:
        raise InvalidRequest("fingerprint", f"{request.fingerprint!r} is not of this version's form ({taken})")
    return taken


def _taken_fingerprint(resources: Resources, request: ComputeRequest) -> Fingerprint:
    if request.raw_data.kind == "staged":
        raise InvalidRequest("fingerprint", "staged raw data need the fingerprint they were staged under")
    chosen = resources.settings
    taken = identify(
        source_of(request.raw_data, resources.staging, chosen),
        threshold_bytes=chosen.threshold_bytes,
        policy=chosen.hash_policy,
        memo=resources.memo,
    )
    return taken.fingerprint
