"""How an object store's settings are written: addresses, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from fstore.model import ObjectUrl
from fstore.settings.values import absolute_path

if TYPE_CHECKING:
    from fstore.settings.schema import Settings

DEFAULT_CACHE = Path("~/.cache/fstore")
OFF = "off"


def folder_or_url(value: Any) -> Any:
    """Read a folder, or ``s3://bucket/prefix``.

    A text with any other scheme is refused, and never taken for a path.
    """
    if isinstance(value, ObjectUrl):
        return value
    if isinstance(value, str) and ObjectUrl.is_url(value):
        return ObjectUrl.parse(value)
    return absolute_path(value)


def _endpoint(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value.strip())
        port = parts.port
    except ValueError:
        raise ValueError("expected an address such as https://host:port") from None
    bare = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or not bare:
        raise ValueError("expected an address such as https://host:port, without keys, path or query")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _cache(value: Any) -> Any:
    return OFF if isinstance(value, str) and value.strip().lower() == OFF else absolute_path(value)


def _owner(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) == 12):
        raise ValueError("expected an account's number of 12 digits")
    return value


Root = Annotated[Path | ObjectUrl, BeforeValidator(folder_or_url)]
Endpoint = Annotated[str, BeforeValidator(_endpoint)]
Cache = Annotated[Path | str, BeforeValidator(_cache)]
Owner = Annotated[str, BeforeValidator(_owner)]


def object_store_faults(s: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what is wrong with settings that go together, with their names."""
    keys = ("s3_access_key_id", "s3_secret_access_key")
    if (s.s3_access_key_id is None) != (s.s3_secret_access_key is None):
        yield (
            keys,
            "a key's id and its secret go together; set both, or none and let the environment's own credentials do",
        )
    if s.s3_session_token is not None and s.s3_access_key_id is None:
        yield (
            ("s3_session_token", *keys),
            "a session token belongs to a key; set s3_access_key_id and s3_secret_access_key",
        )
    if s.s3_endpoint_url and s.s3_endpoint_url.startswith("http:"):
        host = urlsplit(s.s3_endpoint_url).hostname or ""
        if not s.s3_allow_http and not _is_loopback(host):
            yield (
                ("s3_endpoint_url", "s3_allow_http"),
                f"http to {host} sends data in clear; use https, or set s3_allow_http=true",
            )
        if s.s3_ca_file is not None:
            yield ("s3_ca_file", "s3_endpoint_url"), "a CA file means nothing to http; use https, or take it out"
    if isinstance(s.path, ObjectUrl) and s.s3_addressing == "virtual" and "." in s.path.bucket:
        yield (
            ("s3_addressing", "path"),
            f"the bucket {s.path.bucket!r} has a dot in its name, which no certificate covers as a host; use path",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
