"""What Postgres and its driver say, in fstore's words."""

from __future__ import annotations

import psycopg2

from fstore.errors import ConfigurationError, FeatureStoreError, ManifestBusy, ManifestUnavailable, NotPermitted

_BUSY = {"55P03", "40P01", "40001", "57014"}  # lock timeout, deadlock, serialisation, our statement timeout
_GONE = {"57P01", "57P02", "57P03", "53300"}  # terminated, crashed, starting up, too many connections
_NO_SCHEMA = {"42P01", "42703", "42883", "3F000"}
_DENIED = "42501"


def translated(error: psycopg2.Error, action: str) -> FeatureStoreError:
    """Turn a driver's error into the one to raise; the message keeps the server's own words."""
    code = error.pgcode
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if code in _BUSY:
        return ManifestBusy(action, text)
    if code == _DENIED:
        return NotPermitted(action, text)
    if code in _NO_SCHEMA:
        return ConfigurationError([f"the database has no fstore tables of this version ({text}); run 'fstore migrate'"])
    if code in _GONE or (
        code is None and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError | psycopg2.DatabaseError)
    ):
        return ManifestUnavailable(action, text)
    if isinstance(error, psycopg2.OperationalError):
        return ManifestUnavailable(action, text)
    return FeatureStoreError(f"Postgres refused a statement: {text} (SQLSTATE {code})")
