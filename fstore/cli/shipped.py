"""Files for running fstore that are installed beside the code.

From a checkout, or from what a wheel put into ``share``.
"""

from __future__ import annotations

import sysconfig
from importlib import metadata
from pathlib import Path

from fstore.errors import ConfigurationError

SHARE = "share/fstore/"
TOP = ("docker-compose.yml", ".env.example")
LEFT_OUT = ("ops/bench/",)


def shipped_files() -> dict[str, Path]:
    """Return the files by their name relative to a project's folder.

    Raises ``ConfigurationError`` when there are none.
    """
    files = _of_checkout() or _of_wheel()
    if not files:
        raise ConfigurationError(["this installation lacks docker-compose.yml and ops/; install it anew from a wheel"])
    return dict(sorted(files.items()))


def shipped_file(name: str) -> Path:
    """Return one of them."""
    return shipped_files()[name]


def _of_checkout() -> dict[str, Path]:
    home = Path(__file__).resolve().parents[2]
    if not (home / "pyproject.toml").exists() or not (home / "ops").is_dir():
        return {}
    paths = [home / name for name in TOP if (home / name).is_file()] + _files_below(home / "ops")
    named = {path.relative_to(home).as_posix(): path for path in paths}
    return {name: path for name, path in named.items() if not name.startswith(LEFT_OUT)}


def _of_wheel() -> dict[str, Path]:
    beside = Path(sysconfig.get_path("data")) / SHARE
    if beside.is_dir():
        return {path.relative_to(beside).as_posix(): path for path in _files_below(beside)}
    try:  # installed for one user, or into a folder of its own
        files = metadata.files("intraday-fstore") or []
    except metadata.PackageNotFoundError:
        return {}
    named = {file.as_posix().partition(SHARE)[2]: Path(str(file.locate())) for file in files}
    return {name: path for name, path in named.items() if name and "__pycache__" not in path.parts}


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
