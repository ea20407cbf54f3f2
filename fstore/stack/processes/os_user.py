"""The account the servers run as: Postgres refuses root, so root lends it an unprivileged one."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fstore.errors import ConfigurationError

try:
    import pwd
except ImportError:  # not a POSIX system, where 'fstore up' refuses before anybody asks here
    pwd = None  # type: ignore[assignment]

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account that root may run servers as."""

    name: str
    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        """Tell whether the account reaches ``folder``, by trying it.

        Modes alone do not show ACLs and squashed roots.
        """
        return self._may(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)])

    def can_run(self, program: Path) -> bool:
        """Tell whether the account can run ``program``, again by trying."""
        return self._may([str(program), "--version"])

    def _may(self, argv: list[str]) -> bool:
        try:
            done = subprocess.run(  # noqa: S603 - our own argument list, no shell parsing of paths
                argv,
                cwd="/",
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def server_account(existing_data: Path | None = None) -> Account | None:
    """Choose the account for the servers; None means: the present one.

    Data written by an earlier run decide: whoever owns them goes on owning them.
    """
    if os.geteuid() != 0:
        if not _has_name(os.geteuid()):
            raise ConfigurationError(
                [
                    f"user number {os.geteuid()} has no name on this host, and Postgres runs as users with a name only; "
                    "run 'fstore up' as one of those (a line in /etc/passwd, also in a container), or name a Postgres and a "
                    "Redis that run elsewhere (FEATURE_STORE_POSTGRES_URL, FEATURE_STORE_REDIS_URL)"
                ]
            )
        return None
    if existing_data is not None:
        owner = existing_data.stat()
        if owner.st_uid != 0:
            return Account(_name_of(owner.st_uid), owner.st_uid, owner.st_gid)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        account = Account(name, entry.pw_uid, entry.pw_gid)
        if account.can_enter(Path("/")):
            return account
    raise ConfigurationError(
        [
            "Postgres does not run as root, and none of the accounts "
            f"{', '.join(CANDIDATES)} can be used here; run 'fstore up' as an ordinary user"
        ]
    )


def _name_of(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name if _has_name(uid) else str(uid)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
