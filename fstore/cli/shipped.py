"""Files for running fstore that are installed beside the code: from a checkout, or from what a wheel put into ``share``."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from fstore.errors import ConfigurationError

SHARE = "share/fstore/"
TOP = ("docker-compose.yml", ".env.example")
LEFT_OUT = ("ops/bench/",)


def shipped_files() -> dict[str, Path]:
    """Return the files by their name relative to a project's folder; raises ``ConfigurationError`` when there are none."""
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
    paths = [home / name for name in TOP] + [p for p in (home / "ops").rglob("*") if "__pycache__" not in p.parts]
    named = {path.relative_to(home).as_posix(): path for path in paths if path.is_file()}
    return {name: path for name, path in named.items() if not name.startswith(LEFT_OUT)}


def _of_wheel() -> dict[str, Path]:
    try:
        files = metadata.files("intraday-fstore") or []
    except metadata.PackageNotFoundError:
        return {}
    found = {}
    for file in files:
        _, share, name = file.as_posix().partition(SHARE)
        if share:
            found[name] = Path(str(file.locate()))
    return found
