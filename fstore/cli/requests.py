"""Requests as commands take them.

A Parquet file, a feature, a config in JSON; or many of them in a file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from fstore.errors import InvalidRequest
from fstore.model import ObjectUrl, ParquetSource, Request

_NAMES = {"symbol", "symbols", "raw", "feature", "features", "config", "configs"}


def source_of(raw: str, *, folder: Path | None = None) -> ParquetSource:
    """Return the raw data that a path or an address stands for.

    Raises ``InvalidRequest`` when no file is there. A path is one below ``folder`` unless it is absolute. What lies
    in a bucket shows when it is read.
    """
    if ObjectUrl.is_url(raw):
        return ParquetSource(raw)
    path = (folder or Path()) / raw
    if not path.exists():
        raise InvalidRequest("raw", f"there is no {path}; give a Parquet file or a folder of them")
    return ParquetSource(path)


def config_of(text: str) -> dict[str, Any]:
    """Read a feature's config; raises ``click.BadParameter`` that says what is wrong."""
    try:
        config = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--config") from error
    if not isinstance(config, dict):
        raise click.BadParameter(
            f"expected a JSON object such as '{{\"window\": 20}}', found {text!r:.60}", param_hint="--config"
        )
    return config


def read_requests(path: Path) -> list[Request]:
    """Read a file of requests (YAML or JSON); raises ``InvalidRequest`` that names the place.

    The file is a list; each item has ``raw`` (a path in which ``{symbol}`` stands for
    the symbol, relative to the file), ``symbol`` or ``symbols``, ``feature`` or
    ``features``, and may have ``config`` or ``configs``: every combination is asked for.
    """
    try:
        items = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidRequest("requests", f"cannot read {path}: {error}") from error
    if not isinstance(items, list) or not items:
        raise InvalidRequest("requests", f"{path} holds no list of requests")
    return [
        request for number, item in enumerate(items) for request in _requests(item, f"requests.{number}", path.parent)
    ]


def _requests(item: object, place: str, folder: Path) -> Iterator[Request]:
    if not isinstance(item, Mapping) or not {str(name) for name in item} <= _NAMES:
        raise InvalidRequest(place, f"expected a mapping with some of {', '.join(sorted(_NAMES))}, found {item!r:.120}")
    if not isinstance(item.get("raw"), str):
        raise InvalidRequest(f"{place}.raw", "is missing; give the path of a Parquet file or a folder of them")
    symbols, features = _one_or_many(item, "symbol", place), _one_or_many(item, "feature", place)
    configs = _one_or_many(item, "config", place, otherwise={})
    for symbol, feature, config in itertools.product(symbols, features, configs):
        if not isinstance(config, Mapping):
            raise InvalidRequest(f"{place}.config", f"expected a mapping, found {config!r:.60}")
        raw = source_of(item["raw"].replace("{symbol}", str(symbol)), folder=folder)
        yield Request(str(symbol), raw, config, str(feature))


def _one_or_many(item: Mapping[str, Any], name: str, place: str, *, otherwise: object = None) -> list[Any]:
    one, many = item.get(name), item.get(f"{name}s")
    if many is not None and (one is not None or not isinstance(many, list) or not many):
        raise InvalidRequest(f"{place}.{name}s", f"expected a list, and no {name} beside it")
    found = many if many is not None else [otherwise if one is None else one]
    if None in found:
        raise InvalidRequest(f"{place}.{name}", f"is missing; give {name} or {name}s")
    return list(found)
