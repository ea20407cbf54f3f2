"""The secrets of a production stack, one file each: made once, never overwritten."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from fstore.errors import ConfigurationError

POSTGRES_ROLES = ("owner", "trainer", "worker", "upkeep", "monitor")
REDIS_USERS = ("trainer", "worker", "upkeep", "monitor", "flower")
S3_USERS = ("owner", "trainer", "worker", "upkeep")
SINGLE = ("flower_cookie", "signing_key", "grafana_password")
ACL = "redis_users.acl"


def init_secrets(
    folder: Path, rules: str, *, postgres: str = "postgres:5432/fstore", redis: str = "redis:6379/0"
) -> list[Path]:
    """Write every secret that ``folder`` lacks, and return the new files; what is there stays as it is.

    ``rules`` is the text of ``ops/redis/users.acl``, which gets the passwords'
    digests. ``postgres`` and ``redis`` are the places the URLs lead to. The folder
    is private to its owner and the files in it can be read by all: containers see
    single files of it, under users of their own.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        made: list[Path] = []
        _Writer(folder, made).write_all(rules, postgres, redis)
    except OSError as error:
        raise ConfigurationError([f"cannot write secrets to {folder}: {error}; name another folder"]) from error
    return made


class _Writer:
    def __init__(self, folder: Path, made: list[Path]) -> None:
        self._folder, self._made = folder, made

    def write_all(self, rules: str, postgres: str, redis: str) -> None:
        for role in POSTGRES_ROLES:
            password = self._kept(f"postgres_{role}_password", _password)
            user = "fstore" if role == "owner" else f"fstore_{role}"
            self._kept(f"postgres_{role}_url", lambda u=user, p=password: f"postgresql://{u}:{p}@{postgres}")  # type: ignore[misc]
        passwords = {user: self._kept(f"redis_{user}_password", _password) for user in REDIS_USERS}
        for user, password in passwords.items():
            self._kept(f"redis_{user}_url", lambda u=user, p=password: f"redis://{u}:{p}@{redis}")  # type: ignore[misc]
        self._kept(ACL, lambda: with_passwords(rules, passwords))
        self._kept("flower_auth", lambda: f"fstore:{_password()}")
        for user in S3_USERS:
            self._kept(f"s3_{user}_key_id", lambda: secrets.token_hex(10).upper())
            self._kept(f"s3_{user}_secret", _password)
        for name in SINGLE:
            self._kept(name, _password)

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        path = self._folder / name
        if path.exists():
            return path.read_text(encoding="utf-8").strip()
        value = make()
        partial = path.with_name(f".{name}.part")
        partial.write_text(value + "\n", encoding="utf-8")
        partial.chmod(0o444)
        partial.replace(path)
        self._made.append(path)
        return value


def with_passwords(rules: str, passwords: Mapping[str, str]) -> str:
    """Add to every user of an ACL file the digest of its password.

    Users without one, such as ``default``, stay as they are.
    """
    lines = []
    for line in rules.split("\n"):
        words = line.split()
        password = passwords.get(words[1]) if len(words) > 1 else None
        digest = hashlib.sha256(password.encode()).hexdigest() if password is not None else None
        lines.append(line if digest is None else line.replace(" on ", f" on #{digest} ", 1))
    return "\n".join(lines).strip()


def _password() -> str:
    return secrets.token_hex(24)
