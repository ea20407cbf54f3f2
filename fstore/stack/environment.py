"""What the children of a stack find in their environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import fstore
from fstore.settings import Settings, child_environment, gather_settings

# Any of these would lead a child past the stack's own servers, or Flower past its generated password.
_UNWANTED = ("CELERY_", "FLOWER_", "PG")
TOKEN_VARIABLE = "FSTORE_STACK_TOKEN"  # noqa: S105 - the name of a variable, not a secret
PACKAGES = ("fstore", "workers", "beat")


def settings_on(root: Path) -> dict[str, Path]:
    """Return the settings that put a stack on a folder.

    It is the store's root, or lies beside a bucket that is.
    """
    configured = gather_settings()
    beside = configured.folder is None and configured.stack_folder.expanduser().resolve() == root
    return {"stack_path" if beside else "path": root}


def celery_environment(settings: Settings, *, token: str, cwd: Path) -> dict[str, str]:
    """Build the environment of workers, Beat and Flower from the stack's settings.

    ``cwd`` is where the user called from: feature modules are found there, as
    they are in the user's own programs.
    """
    inherited = child_environment(settings)
    kept = {name: value for name, value in inherited.items() if not name.startswith(_UNWANTED)}
    return kept | {
        "PYTHONPATH": python_path(cwd, kept.get("PYTHONPATH", "")),
        "PYTHONUNBUFFERED": "1",
        "REMAP_SIGTERM": "SIGQUIT",
        TOKEN_VARIABLE: token,
    }


def command_environment(settings: Settings, *, cwd: Path) -> dict[str, str]:
    """Build the environment of one Celery process that somebody runs in the foreground.

    Besides the settings it makes sure that ``workers`` and ``beat`` are ours, and that
    feature modules in ``cwd`` are found.
    """
    kept = child_environment(settings)
    return kept | {"PYTHONPATH": python_path(cwd, kept.get("PYTHONPATH", ""))}


def daemon_environment(settings: Settings, *, cwd: Path) -> dict[str, str]:
    """Build the environment of a supervisor that runs on its own.

    The caller's, with settings made independent of its folder.
    """
    kept = child_environment(settings)
    return kept | {"PYTHONPATH": python_path(cwd, kept.get("PYTHONPATH", ""))}


def python_path(cwd: Path, inherited: str) -> str:
    """Return a module path on which both this very installation and the modules in ``cwd`` are found.

    The folder of the installation goes first when it is a source checkout, or
    when ``cwd`` has a package of the same name, which would otherwise hide ours.
    An installed one is left where it is: ahead of the standard library its folder
    might hide some of that.
    """
    home = Path(fstore.__file__).parent.parent
    hidden = cwd != home and any((cwd / name).exists() or (cwd / f"{name}.py").exists() for name in PACKAGES)
    first = [str(home)] if hidden or home.name not in ("site-packages", "dist-packages") else []
    entries = [*first, str(cwd), *inherited.split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(entry for entry in entries if entry))


def stack_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a child's environment that is settings."""
    return {name: value for name, value in environment.items() if name.startswith("FEATURE_STORE_")}
