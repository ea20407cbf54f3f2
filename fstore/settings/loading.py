"""Gathers the settings; the only reader of the process environment.

An argument wins over the environment, the environment over the file, the file
over a running local stack, the stack over the default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fstore.errors import ConfigurationError
from fstore.settings.layers import (
    CONFIG_VARIABLE,
    OWN_FILE,
    PREFIX,
    Layer,
    from_environment,
    from_file,
    from_mapping,
    merge,
)
from fstore.settings.rules import broken_rules
from fstore.settings.schema import NOT_GIVEN, Settings
from fstore.settings.values import masked, written


def gather_settings(
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config_file: Path | None = None,
    stack: Mapping[str, Any] | None = None,
) -> Settings:
    """Gather the settings from all layers and check them.

    Raises ``ConfigurationError`` with all faults at once, those of the rules
    that tie several settings together included.
    """
    environ = os.environ if environ is None else environ
    fields = tuple(Settings.model_fields)
    layers = [from_mapping(overrides or {}, fields, "argument"), from_environment(environ, fields)]
    if config_file is None and environ.get(CONFIG_VARIABLE):
        config_file = Path(environ[CONFIG_VARIABLE])
    elif config_file is None and OWN_FILE.is_file():
        config_file = OWN_FILE
    if config_file is not None:
        layers.append(from_file(Path(config_file), fields))
    layers.append(from_mapping(stack or {}, fields, "running stack"))
    return _checked(merge(layers))


def find_celery_overrides(environ: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Find variables by which Celery would replace fstore's broker without a word; values are masked."""
    environ = os.environ if environ is None else environ
    urls = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")
    names = (*urls, "CELERY_CONFIG_MODULE", "CELERY_LOADER", "CELERY_CUSTOM_WORKER_POOL")
    return {name: masked(environ[name]) for name in names if environ.get(name)}


def child_environment(settings: Settings, *, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build the environment of a process to start: this one's, and every setting that is not a default.

    Inherited ``FEATURE_STORE_*`` variables are replaced, so that the child sees
    exactly the settings its parent has. Secrets are in it, in clear.
    """
    environ = os.environ if environ is None else environ
    inherited = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    chosen = {
        f"{PREFIX}{name.upper()}": written(getattr(settings, name))
        for name, origin in settings.origins.items()
        if origin != NOT_GIVEN
    }
    return inherited | {name: text for name, text in chosen.items() if text}


def read_secret_anew(settings: Settings, name: str) -> str | None:
    """Return a secret, one that came from a ``*_FILE`` as that file is now.

    Somebody may have renewed it.
    """
    given = getattr(settings, name)
    variable = settings.origins[name].removeprefix("environment ")
    if variable.endswith("_FILE") and (path := os.environ.get(variable)):
        try:
            return Path(path).expanduser().read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError, RuntimeError):
            pass  # as it was read at the start
    return None if given is None else str(given.get_secret_value())


def _checked(merged: Layer) -> Settings:
    faults = list(merged.faults)
    refused: dict[str, str] = {}
    values = dict(merged.values)
    try:
        settings = Settings(**values)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False):
            # Of a field of several kinds each kind has its say; the first one is the kind that is meant.
            refused.setdefault(str(error["loc"][0]), error["msg"].removeprefix("Value error, "))
        faults += [f"{name} ({merged.origins[name]}): {fault}" for name, fault in refused.items()]
        # The rules still speak about the fields that were right.
        settings = Settings(**{name: value for name, value in values.items() if name not in refused})
    faults += broken_rules(settings, untrusted=refused)
    if faults:
        raise ConfigurationError(tuple(dict.fromkeys(faults)))
    settings._origins.update(merged.origins)
    return settings
