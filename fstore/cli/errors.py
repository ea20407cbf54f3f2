"""Errors as the command line shows them: a message, an exit code, a JSON form; never a traceback."""

from __future__ import annotations

import inspect
from typing import Any

from fstore.errors import (
    BrokerUnavailable,
    ConfigurationError,
    FeatureStoreError,
    ManifestUnavailable,
    StorageUnavailable,
    StoreMismatch,
    UpkeepRefused,
)

OK = 0
WRONG = 1
USAGE = 2
CONFIGURATION = 3
UNAVAILABLE = 4
REFUSED = 5
UPKEEP_REFUSED = 6
INTERNAL = 70
INTERRUPTED = 130

MEANINGS = {
    OK: "done, all is well",
    WRONG: "something is wrong that the command was asked to look at",
    USAGE: "wrong arguments",
    CONFIGURATION: "settings missing or contradictory, or folder and database of different stores",
    UNAVAILABLE: "Postgres, Redis or the store folder does not answer",
    REFUSED: "the request itself cannot be served: no such key, unknown feature, data that cannot be read or hashed",
    UPKEEP_REFUSED: "upkeep refused to run, nothing was changed",
    INTERNAL: "a bug in fstore",
    INTERRUPTED: "interrupted",
}

_CODES: tuple[tuple[type[FeatureStoreError], int], ...] = (
    (ConfigurationError, CONFIGURATION),
    (StoreMismatch, CONFIGURATION),
    (BrokerUnavailable, UNAVAILABLE),
    (ManifestUnavailable, UNAVAILABLE),
    (StorageUnavailable, UNAVAILABLE),
    (UpkeepRefused, UPKEEP_REFUSED),
)


def exit_code(error: FeatureStoreError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), REFUSED)


def as_document(error: FeatureStoreError) -> dict[str, Any]:
    """Return the JSON form: the type, the message and every field the error carries."""
    names = list(inspect.signature(type(error).__init__).parameters)[1:]
    fields = {name: getattr(error, name) for name in names if hasattr(error, name) and name != "args"}
    return {"error": {"type": type(error).__name__, "message": str(error), **fields}}


def document(kind: str, message: str) -> dict[str, Any]:
    """Return the JSON form of an error that is not fstore's own."""
    return {"error": {"type": kind, "message": message}}


def codes(*used: int, **instead: str) -> str:
    """Write the exit codes of a command for its help; ``wrong=...`` says what code 1 means there."""
    meanings = {**MEANINGS, **({WRONG: instead["wrong"]} if "wrong" in instead else {})}
    shown = sorted({OK, USAGE, CONFIGURATION, *used})
    return "\b\nExit codes:\n" + "\n".join(f"  {code}  {meanings[code]}" for code in shown)
