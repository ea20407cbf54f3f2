"""Every error fstore raises on purpose. Its arguments go to the base class: it survives pickling.

::

    FeatureStoreError
    ├── ConfigurationError         settings contradict each other or cannot be read
    ├── InvalidRequest             symbol, config or message outside the documented limits
    │   └── ResultNotTrusted       a trainer's own result of a worker's feature, which is not stored
    ├── UnhashableInput            raw data or config that has no faithful digest
    ├── FeatureNotRegistered       the compute function is not known to this process
    ├── VersionMismatch            trainer and worker run different code for one feature
    ├── SourceNotAllowed           a path outside DATA_ROOTS and the store
    ├── SourceChanged              raw data differ from what was fingerprinted
    ├── ComputeFailed              the feature function raised
    ├── ComputeDead                the computation killed its worker three times
    ├── ComputeTimeout             no result before the caller's deadline
    ├── BrokerUnavailable          Redis or the task broker does not answer
    ├── ManifestUnavailable        Postgres does not answer
    │   ├── ManifestBusy           Postgres answers, the manifest lock could not be had
    │   └── NotPermitted           Postgres answers, this process's role may not do that
    ├── StorageUnavailable         the store folder cannot be read or written
    │   └── StorageFull            no space, quota reached or read-only
    ├── EntryCorrupt               a cached file is not what was written
    ├── StoreMismatch              folder and database belong to different stores
    └── UpkeepRefused              garbage collection would remove suspiciously much
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


class FeatureStoreError(Exception):
    """Base of all that fstore raises on purpose; ``symbol`` and ``feature`` name its request, if any."""

    symbol: str | None = None
    feature: str | None = None

    def __repr__(self) -> str:
        """Say what it says in a line, without the traceback of a worker."""
        told = list(self.faults) if isinstance(self, ConfigurationError) else str(self).partition("\n")[0]
        return f"{type(self).__name__}({told!r})"

    def _what(self, key: str) -> str:
        return key[:12] if self.symbol is None else f"{self.feature} of {self.symbol} ({key[:12]})"


class ConfigurationError(FeatureStoreError):
    """Settings are missing, unreadable or contradict each other; ``faults`` lists all of them."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        told = "\n".join([f"{len(self.faults)} faults in the settings:", *(f"  - {f}" for f in self.faults)])
        return self.faults[0] if len(self.faults) == 1 else told


class InvalidRequest(FeatureStoreError):
    """A request is outside the documented limits; ``field`` names the part to change."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field, self.reason = field, reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class ResultNotTrusted(InvalidRequest):
    """A trainer computed a workers' feature itself; its caller gets the result, nobody else does."""


class UnhashableInput(FeatureStoreError):
    """Something in the raw data or the config has no faithful digest; ``where`` names it."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where, self.reason = where, reason

    def __str__(self) -> str:
        return f"cannot build a key: {self.where}: {self.reason}"


class FeatureNotRegistered(FeatureStoreError):
    """The compute function is not registered where it has to be found."""

    def __init__(self, feature: str, hint: str) -> None:
        super().__init__(feature, hint)
        self.feature, self.hint = feature, hint

    def __str__(self) -> str:
        return f"feature {self.feature!r} is not registered: {self.hint}"


class VersionMismatch(FeatureStoreError):
    """The worker's code for a feature is not the trainer's; deploy the same version to both.

    Where both versions are equal the source is not: ``codes`` are what is known of the caller's and of the worker's
    (``source_digest``, ``source_time`` in seconds since 1970, ``input``), kept as ``asked_code`` and ``found_code``.
    """

    def __init__(self, feature: str, asked: str, found: str, *codes: Mapping[str, Any]) -> None:
        super().__init__(feature, asked, found, *codes)
        self.feature, self.asked, self.found = feature, asked, found
        self.asked_code, self.found_code = codes if len(codes) == 2 else ({}, {})

    def __str__(self) -> str:
        name, ages = f"feature {self.feature!r}", _ages(self.found_code, self.asked_code)
        if self.asked != self.found:
            asked, found = f"the caller asked for version {self.asked!r}", f"this worker runs {self.found!r}{ages}"
            return f"{name}: {asked}, {found}; deploy the same code to trainers and workers"
        inputs, what = [self.found_code.get("input"), self.asked_code.get("input")], "its source is not the caller's"
        if None not in inputs and inputs[0] != inputs[1]:
            what = "it takes input={!r}, the caller's input={!r}".format(*inputs)
        return (
            f"{name}: this worker's has the caller's version {self.asked!r}, but {what}{ages}; deploy the same code to both "
            "and restart the older one; raise version= if the numbers differ, or set FEATURE_STORE_ON_SOURCE_CHANGE=warn "
            "to go on with this worker's"
        )


class SourceNotAllowed(FeatureStoreError):
    """A raw data path lies outside ``DATA_ROOTS`` and the store folder."""

    def __init__(self, path: str, roots: Sequence[str]) -> None:
        self.path, self.roots = path, tuple(roots)
        super().__init__(path, self.roots)

    def __str__(self) -> str:
        where = (
            "FEATURE_STORE_DATA_ROOTS, here and where the workers start ('fstore up' hands on what it was started with)"
        )
        return (
            f"{self.path} is outside the allowed folders ({', '.join(self.roots) or 'none'}); add its folder to {where}"
        )


class SourceChanged(FeatureStoreError):
    """Raw data differ from what was fingerprinted, or are gone; ask again with the present data."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"raw data {self.path}: {self.reason}"


class ComputeFailed(FeatureStoreError):
    """The feature function raised; asking again within 30 s returns this same error.

    ``detail`` is the message of the original error, ``traceback_text`` its traceback as the worker saw it.
    """

    def __init__(self, key: str, error_type: str, detail: str, traceback_text: str = "") -> None:
        super().__init__(key, error_type, detail, traceback_text)
        self.key, self.error_type, self.detail, self.traceback_text = key, error_type, detail, traceback_text

    def __str__(self) -> str:
        text = f"computing {self._what(self.key)} failed: {self.error_type}: {self.detail}"
        return f"{text}\n\nIn the worker:\n{self.traceback_text}" if self.traceback_text else text


class ComputeDead(FeatureStoreError):
    """The computation ended its worker ``starts`` times; it is not started again by itself."""

    def __init__(self, key: str, starts: int, last_owner: str) -> None:
        super().__init__(key, starts, last_owner)
        self.key, self.starts, self.last_owner = key, starts, last_owner

    def __str__(self) -> str:
        return (
            f"computing {self._what(self.key)} was started {self.starts} times and never ended (last on "
            f"{self.last_owner or 'an unknown worker'}): each time its process ended without an error to tell: it crashes or exits "
            "at once (os._exit, a signal), or runs out of memory or time. Mend the feature or its input, "
            f"then 'fstore invalidate --key {self.key[:12]}' lets it start again"
        )


class ComputeTimeout(FeatureStoreError):
    """No result before the caller's deadline; the computation itself goes on."""

    def __init__(self, key: str, seconds: float, state: str) -> None:
        super().__init__(key, seconds, state)
        self.key, self.seconds, self.state = key, seconds, state

    def __str__(self) -> str:
        state = f"{self.seconds:.1f} s (job {self.state})"
        return f"no result for {self._what(self.key)} within {state}; ask again to go on waiting"


class BrokerUnavailable(FeatureStoreError):
    """Redis does not answer within its deadline."""

    def __init__(self, action: str, reason: str) -> None:
        super().__init__(action, reason)
        self.action, self.reason = action, reason

    def __str__(self) -> str:
        advice = _mistrust(self.reason, "ssl_ca_certs") or "check FEATURE_STORE_REDIS_URL or run 'fstore doctor'"
        return f"Redis is not available ({self.action}): {self.reason}; {advice}"


class ManifestUnavailable(FeatureStoreError):
    """Postgres does not answer within its deadline."""

    def __init__(self, action: str, reason: str) -> None:
        super().__init__(action, reason)
        self.action, self.reason = action, reason

    def __str__(self) -> str:
        advice = _mistrust(self.reason, "sslrootcert") or "check FEATURE_STORE_POSTGRES_URL or run 'fstore doctor'"
        return f"Postgres is not available ({self.action}): {self.reason}; {advice}"


class ManifestBusy(ManifestUnavailable):
    """The manifest lock, or a row lock, could not be had within the bounded retries."""

    def __str__(self) -> str:
        return f"the manifest is busy ({self.action}): {self.reason}; nothing was lost, ask again"


class NotPermitted(ManifestUnavailable):
    """The database role of this process may not do what was asked; nothing was changed."""

    def __str__(self) -> str:
        advice = "use the URL of a role that may: workers publish, upkeep deletes (ops/postgres/README.md)"
        return f"the database role of this process may not do that ({self.action}): {self.reason}; {advice}"


class StorageUnavailable(FeatureStoreError):
    """The store folder cannot be read or written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"cannot use {self.path}: {self.reason}"


class StorageFull(StorageUnavailable):
    """No space is left, a quota is reached or the folder is read-only."""

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.reason}; free space or run 'fstore gc', readers are not affected"


class EntryCorrupt(FeatureStoreError):
    """A cached file is missing or is not what was written; the entry is computed again when asked for."""

    def __init__(self, key: str, path: str, fault: str) -> None:
        super().__init__(key, path, fault)
        self.key, self.path, self.fault = key, path, fault

    def __str__(self) -> str:
        return f"entry {self.key[:12]} ({self.path}): {self.fault}"


class StoreMismatch(FeatureStoreError):
    """The folder's ``STORE_ID`` is not the database's; one of the two settings points elsewhere."""

    def __init__(self, root: str, folder_id: str, database_id: str) -> None:
        super().__init__(root, folder_id, database_id)
        self.root, self.folder_id, self.database_id = root, folder_id, database_id

    def __str__(self) -> str:
        told = f"{self.root} carries store id {self.folder_id or 'none'}, the database {self.database_id or 'none'}"
        return f"{told}: FEATURE_STORE_PATH and FEATURE_STORE_POSTGRES_URL belong to different stores"


class UpkeepRefused(FeatureStoreError):
    """Garbage collection stopped before it removed anything, because the plan looks wrong."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason, advice)
        self.reason, self.advice = reason, advice

    def __str__(self) -> str:
        return f"refused: {self.reason}; {self.advice}"


def _ages(*codes: Mapping[str, Any]) -> str:
    worker, caller = (code.get("source_time") for code in codes)
    if worker is None or caller is None:
        return ""
    times = [f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC" for time in (worker, caller)]
    older = "they are equally old" if worker == caller else f"the {'worker' if worker < caller else 'caller'} is older"
    return f" (the worker's module is of {times[0]}, the caller's of {times[1]}: {older})"


def _mistrust(reason: str, parameter: str) -> str | None:
    """Say what to do when the reason is that a server could not prove who it is."""
    advice = f"give the right host and, as {parameter}=, the file of its authority (docs/security.md)"
    told = f"the server is not who the address says, or another authority vouches for it: {advice}"
    return told if "certificate" in reason.lower() else None
