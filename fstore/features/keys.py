"""The key of a result: canonical config, checked symbol, one digest over all parts.

A config has one canonical text. Keys are sorted; tuples are lists; NumPy
scalars are Python's; an enum is its value. Values JSON has no form for are
tagged, ``{"$date": "2024-01-02"}``, so that a date never equals the same text.
20, 20.0 and true stay three different values, -0.0 is not 0.0.

A feature function is always given the config restored from that text, in a
worker and in the calling process alike: two configs with one text cannot be
told apart by any function. So tuples arrive as lists, enums as their values,
datetimes as ``pandas.Timestamp``, timedeltas as ``pandas.Timedelta``.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import fields
from json.encoder import encode_basestring_ascii
from typing import Any

from blake3 import blake3

from fstore.errors import InvalidRequest, UnhashableInput
from fstore.features.config.values import restored, simplified
from fstore.model import KeyParts

MAX_CONFIG_BYTES = 64 * 1024
MAX_SYMBOL_CHARACTERS = 256
_KEY_FORMAT = "fstore-key-1"


def canonical_config(config: Mapping[str, Any]) -> str:
    """Write a config as the JSON text that enters its key.

    Raises ``UnhashableInput`` that names the place, ``config['bands'][2]``, for
    what has no faithful form: NaN, infinities, sets, arrays, other objects, keys
    that are not strings, more than 32 levels, more than 64 KiB.
    """
    if not isinstance(config, Mapping):
        raise UnhashableInput("config", f"expected a mapping of names to values, found {type(config).__name__}")
    if type(config) is dict and not config:
        return "{}"
    text = config_text(simplified(config, "config"))
    size = len(text.encode("utf-8"))
    if size > MAX_CONFIG_BYTES:
        raise UnhashableInput("config", f"{size} bytes are more than {MAX_CONFIG_BYTES}; pass large data as raw data")
    return text


def config_text(decoded: Any) -> str:
    """Write decoded canonical JSON as its text again.

    What Postgres' ``jsonb`` gave back becomes what went in.
    """
    return _write(decoded)


def restore_config(text: str) -> dict[str, Any]:
    """Build the config a feature function is given, from its canonical text; a new one at each call.

    Raises ``InvalidRequest`` for any text that ``canonical_config`` would not have written.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise InvalidRequest("config", f"more than {MAX_CONFIG_BYTES} bytes")
    try:
        config = restored(_read(text))
    except (ValueError, TypeError, ArithmeticError, LookupError, OSError, RecursionError) as exc:
        raise InvalidRequest("config", f"not a canonical config: {exc}") from exc
    try:
        is_canonical = isinstance(config, dict) and canonical_config(config) == text
    except UnhashableInput as exc:
        raise InvalidRequest("config", f"not a canonical config: {exc}") from exc
    if not is_canonical:
        raise InvalidRequest("config", "not a canonical config; write it with fstore.features.keys.canonical_config")
    return dict(config)


def check_symbol(symbol: Any) -> str:
    """Return the symbol as plain text.

    Raises ``InvalidRequest`` unless it has 1 to 256 printable characters. It may hold
    slashes and dots: no path is ever made of it.
    """
    if not isinstance(symbol, str):
        raise InvalidRequest("symbol", f"expected a text, found {type(symbol).__name__}")
    if not 1 <= len(symbol) <= MAX_SYMBOL_CHARACTERS:
        raise InvalidRequest("symbol", f"expected 1 to {MAX_SYMBOL_CHARACTERS} characters, found {len(symbol)}")
    if str.isascii(symbol) and str.isprintable(symbol):  # nearly all are, and hold none of these
        return str.__str__(symbol)
    for position, character in enumerate(symbol):
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}:
            raise InvalidRequest("symbol", f"control character {character!a} at position {position}")
    return str.__str__(symbol)


def key_of(parts: KeyParts) -> str:
    """Digest everything a result depends on into 64 hex digits; an equal key means equal parts."""
    named = (_KEY_FORMAT, parts.symbol, parts.feature, parts.feature_version, parts.config, parts.fingerprint)
    # A JSON list of texts is unambiguous: no part can flow over into its neighbour. What ``json.dumps`` calls for each
    # of them is called here: for a few texts it takes twice as long to get there.
    return blake3(f"[{','.join(map(encode_basestring_ascii, named))}]".encode("ascii")).hexdigest()


def differing_parts(a: KeyParts, b: KeyParts) -> tuple[str, ...]:
    """Name the parts in which two keys differ, in the order of ``KeyParts``; none when they are one key."""
    return tuple(part.name for part in fields(KeyParts) if getattr(a, part.name) != getattr(b, part.name))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Made once: ``json`` makes a new one of each for options of one's own, which takes longer than a small config.
_write = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_read = json.JSONDecoder(parse_constant=_refuse_constant).decode
