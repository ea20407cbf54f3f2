"""How a setting is written and shown: sizes, lists, folders, addresses, schedules, secrets."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BeforeValidator, ByteSize, SecretStr, TypeAdapter, ValidationError

from fstore.model import ObjectUrl
from fstore.settings.data_roots import NamedRoot, split_name

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def refuse_bool(value: Any) -> Any:
    """Refuse true and false where a number is meant; Python would read them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("expected a number, not true or false")  # noqa: TRY004 pydantic collects ValueError
    return value


def parse_size(value: Any) -> int:
    """Read a number of bytes, with a unit perhaps: 500MB counts by thousands, 2GiB by 1024."""
    if isinstance(refuse_bool(value), int):
        return int(value)
    try:
        return int(_byte_size().validate_python(value))  # a plain number, for which a field's bounds hold
    except (ValidationError, OverflowError):
        raise ValueError("expected a size such as 50000000, 500MB or 2GiB") from None


@functools.cache
def _byte_size() -> TypeAdapter[ByteSize]:
    return TypeAdapter(ByteSize)  # made when the first size is written as a text, which few are


def absolute_path(value: Any) -> Any:
    """Expand ``~`` and make a path absolute, so that it means the same after a change of folder."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("expected a path, found an empty text")
    if not isinstance(value, (str, Path)):
        raise ValueError(f"expected a path, found {type(value).__name__}")  # noqa: TRY004 see refuse_bool
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as exc:
        raise ValueError(f"cannot expand it: {exc}") from exc


def split_list(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Iterable) and not isinstance(value, (bytes, dict)):
        return tuple(value)
    raise ValueError("expected a list, or one text with commas")


def _module_names(value: Any) -> Any:
    names = split_list(value)
    for name in names:
        if not isinstance(name, str) or not _MODULE.fullmatch(name):
            raise ValueError(f"{name!r} is not a module name; expected for example 'mypkg.features,fstore.intraday'")
    return tuple(dict.fromkeys(names))


def _folders(value: Any) -> Any:
    folders = (
        tuple(f"{name}={folder}" for name, folder in value.items()) if isinstance(value, dict) else split_list(value)
    )
    for folder in folders:
        if "," in str(folder):
            raise ValueError(f"{str(folder)!r} has a comma in its name, which separates folders here; use a link to it")
    roots = tuple(map(_data_root, folders))
    names = [root.name for root in roots if isinstance(root, NamedRoot)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"the name {min(twice)!r} is given to two folders; each folder needs a name of its own")
    return roots


def _data_root(given: Any) -> Any:
    if isinstance(given, NamedRoot | ObjectUrl):
        return given
    if ObjectUrl.is_url(given):
        return ObjectUrl.parse(given)
    parts = split_name(given) if isinstance(given, str) else None
    return absolute_path(given) if parts is None else NamedRoot(parts[0], absolute_path(parts[1]))


def _schedule(value: Any) -> Any:
    """Tell what is no schedule at all.

    Whether Celery can follow it, Beat and the doctor see (``broker.schedules``).
    """
    if not isinstance(value, str):
        return value
    fields = value.split()
    if len(fields) != 5:
        raise ValueError(
            f"expected five fields (minute hour day month weekday), for example '0 2 * * *'; found {len(fields)}"
        )
    if re.search("[A-Za-z]", "".join(fields[:4])):
        # Celery would take 'mon' for a number in any field, and so for January.
        raise ValueError("only weekdays, the last field, have names")
    return " ".join(fields)


def _with_scheme(value: Any, schemes: tuple[str, ...], example: str) -> Any:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        return value
    try:
        scheme = urlsplit(text).scheme
    except ValueError:
        scheme = ""
    if scheme not in schemes or "://" not in text:
        raise ValueError(f"expected an address such as {example}")
    return value


def _postgres_url(value: Any) -> Any:
    return _with_scheme(value, ("postgresql",), "postgresql://user:password@host:5432/fstore")


def _redis_url(value: Any) -> Any:
    checked = _with_scheme(value, ("redis", "rediss"), "redis://:password@host:6379/0")
    text = checked.get_secret_value() if isinstance(checked, SecretStr) else checked
    if isinstance(text, str) and text.startswith("rediss:") and "ssl_cert_reqs=" not in text:
        # Celery takes no address without it, and clients differ in what its absence means.
        return f"{text}{'&' if '?' in text else '?'}ssl_cert_reqs=required"
    return checked


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _signing_key(value: Any) -> Any:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and min((len(key) for key in split_keys(text)), default=0) < 16:
        raise ValueError("expected keys of 16 characters or more each; 'openssl rand -hex 32' makes one")
    return value


Size = Annotated[int, BeforeValidator(parse_size)]
Whole = Annotated[int, BeforeValidator(refuse_bool)]
Real = Annotated[float, BeforeValidator(refuse_bool)]
Folder = Annotated[Path, BeforeValidator(absolute_path)]
DataRoots = Annotated[tuple[Path | NamedRoot | ObjectUrl, ...], BeforeValidator(_folders)]
ModuleNames = Annotated[tuple[str, ...], BeforeValidator(_module_names)]
Schedule = Annotated[str, BeforeValidator(_schedule)]
PostgresUrl = Annotated[SecretStr, BeforeValidator(_postgres_url)]
RedisUrl = Annotated[SecretStr, BeforeValidator(_redis_url)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
SigningKey = Annotated[SecretStr, BeforeValidator(_signing_key)]


def shown(value: Any) -> str:
    """Write a value for people to read, secrets masked."""
    return masked(value.get_secret_value()) if isinstance(value, SecretStr) else written(value)


def written(value: Any) -> str:
    """Write a value as the environment would give it, lists with commas."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() else repr(value)
    return "" if value is None else str(value)


def masked(secret: str) -> str:
    """Keep of an address what says where it leads; hide everything else."""
    try:
        parts = urlsplit(secret)
        # An '@' behind the host means that an unquoted password was cut in the wrong place.
        if not parts.scheme or "://" not in secret or "@" in parts.path + parts.query + parts.fragment:
            return "********"
        host = parts.netloc.rpartition("@")[2]
        user = f"{parts.username or ''}:********@" if "@" in parts.netloc else ""
        query = "&".join(
            item if item.startswith(("host=", "port=")) else f"{item.partition('=')[0]}=********"
            for item in parts.query.split("&")
            if item
        )
        return urlunsplit((parts.scheme, user + host, parts.path, query, ""))
    except ValueError:
        return "********"


def split_keys(secret: str) -> list[str]:
    """Return the keys that a setting holds, the signing one first."""
    return [key for key in re.split(r"[,\s]+", secret) if key]
