"""From a message to a key: what a worker derives itself, and checks against what the caller claims to know."""

from __future__ import annotations

from dataclasses import dataclass

from fstore import features, fingerprint, keys, rawdata
from fstore.errors import InvalidRequest, VersionMismatch
from fstore.features import Feature
from fstore.messages import ComputeRequest
from fstore.model import Fingerprint, HashMethod, KeyParts, ParquetSource
from fstore.resources import Resources


@dataclass(frozen=True, slots=True)
class Work:
    """One key to compute: what the key commits to, the function, and the request as it stands in the job row."""

    key: str
    parts: KeyParts
    feature: Feature
    fingerprint: Fingerprint
    request: ComputeRequest


def plan(resources: Resources, request: ComputeRequest) -> Work:
    """Derive the key from what this worker knows, and check whatever the caller claims to know.

    Raises ``VersionMismatch`` when the worker would run other code than the caller's
    key commits to.
    """
    feature = features.resolve(request.feature)
    if request.feature_version is not None and request.feature_version != feature.version:
        raise VersionMismatch(feature.name, request.feature_version, feature.version)
    config = request.canonical_config if request.canonical_config is not None else keys.canonical_config(request.config)
    keys.restore_config(config)  # refuses any text that is not in canonical form
    taken = _claimed_fingerprint(request) or _taken_fingerprint(resources, request)
    parts = KeyParts(keys.check_symbol(request.symbol), feature.name, feature.version, config, str(taken))
    key = keys.key_of(parts)
    if request.key is not None and request.key != key:
        raise InvalidRequest(
            "key", "is not the key of the other fields; trainer and worker run different versions of fstore"
        )
    known = request.model_copy(
        update={
            "key": key,
            "feature_version": feature.version,
            "canonical_config": config,
            "config": {},
            "fingerprint": str(taken),
            "hash_method": taken.method.value,
        }
    )
    return Work(key, parts, feature, taken, known)


def _claimed_fingerprint(request: ComputeRequest) -> Fingerprint | None:
    if request.fingerprint is None or request.hash_method is None:
        return None
    taken = Fingerprint(HashMethod(request.hash_method), request.fingerprint.rpartition(":")[2])
    if str(taken) != request.fingerprint:
        raise InvalidRequest("fingerprint", f"{request.fingerprint!r} is not of this version's form ({taken})")
    return taken


def _taken_fingerprint(resources: Resources, request: ComputeRequest) -> Fingerprint:
    if request.raw_data.kind == "staged":
        raise InvalidRequest("fingerprint", "staged raw data need the fingerprint they were staged under")
    source = ParquetSource(rawdata.allowed_path(request.raw_data.path, resources.files, resources.settings))
    chosen = resources.settings
    taken = fingerprint.identify(
        source, threshold_bytes=chosen.threshold_bytes, policy=chosen.hash_policy, memo=resources.memo
    )
    return taken.fingerprint
