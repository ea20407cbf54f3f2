"""Where everything of a stack lies, and which account owns it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from fstore.errors import ConfigurationError, StorageUnavailable
from fstore.stack.choices import Choices
from fstore.stack.processes.os_user import Account, server_account

# A Unix socket's path holds 107 bytes on Linux and 103 on macOS, socket name included.
LONGEST_RUNTIME = 80
OUTSIDE_HOMES = (Path("/var/lib/fstore"), Path("/var/tmp/fstore-servers"))  # noqa: S108 - made by root, owner checked


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders below a root."""

    root: Path

    @property
    def stack(self) -> Path:
        """All that belongs to the embedded stack."""
        return self.root / "stack"

    @property
    def logs(self) -> Path:
        """One log for each child, and the supervisor's."""
        return self.stack / "logs"

    @property
    def run(self) -> Path:
        """Heartbeat files, the lock, the working directory of the Celery processes."""
        return self.stack / "run"

    @property
    def lock(self) -> Path:
        """Held by whoever runs servers here, for as long as it runs them."""
        return self.run / "lock"

    @property
    def choices(self) -> Path:
        """Passwords, ports and places that later starts keep."""
        return self.stack / "choices.json"

    @property
    def schedule(self) -> Path:
        """Beat's memory of what ran when."""
        return self.stack / "celerybeat-schedule"

    @property
    def change(self) -> Path:
        """What the running supervisor is told to change."""
        return self.run / "change.json"

    @property
    def answer(self) -> Path:
        """What became of the last change."""
        return self.run / "change-answer.json"

    def heartbeat(self, queue: str) -> Path:
        """The file that a worker of ``queue`` touches when it is ready and then again and again."""
        return self.run / f"{queue}.heartbeat"

    def log(self, name: str) -> Path:
        """The log of one child."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the folders that do not exist yet; folders above the root are made with the caller's umask."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # Root's servers run under another account, which has to pass through here.
            self.stack.mkdir(exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
            for folder in (self.logs, self.run):
                folder.mkdir(exist_ok=True, mode=0o700)
            tempfile.TemporaryFile(dir=self.run).close()
        except OSError as exc:
            raise StorageUnavailable(
                str(self.root), f"{exc.strerror or exc}; choose a folder that you may write"
            ) from exc


@dataclass(frozen=True, slots=True)
class Places:
    """Where the servers keep their data and their socket, and the account they run as.

    None is the present one.
    """

    postgres_data: Path
    redis_data: Path
    runtime: Path
    cache: Path
    account: Account | None


def settle(layout: Layout, choices: Choices) -> tuple[Places, Choices]:
    """Decide the places of the servers, create them, and return the choices that remember them."""
    home = Path(choices.servers_home) if choices.servers_home else layout.stack
    data = home / "postgres"
    account = server_account(data if data.exists() else None)
    _check_owner(data)
    if data.exists() and account is not None and not account.can_enter(data):
        raise ConfigurationError(
            [
                f"account {account.name} owns {data} but cannot reach it any more; give the folders above it back their 'x' permission"
            ]
        )
    if not data.exists() and account is not None and not account.can_enter(layout.stack):
        home = _outside_home(layout, account)
        choices = replace(choices, servers_home=str(home))
    if choices.servers_home:
        _check_not_a_copy(layout, home)
    runtime = _runtime_folder(layout, choices, account)
    choices = replace(choices, runtime=str(runtime))
    redis_data = home / "redis"
    _own_folder(redis_data, account, 0o700)
    return Places(home / "postgres", redis_data, runtime, Path("/var/cache/fstore"), account), choices


def remove_runtime(folder: Path) -> None:
    """Remove the socket's folder after its server ended.

    With the files that a killed server leaves in it.
    """
    try:
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return


def short_mark(layout: Layout) -> str:
    """Return twelve hex digits that stand for the root."""
    return hashlib.blake2b(str(layout.root).encode(errors="surrogateescape"), digest_size=6).hexdigest()


def _own_folder(folder: Path, account: Account | None, mode: int) -> None:
    folder.mkdir(exist_ok=True, mode=mode)
    if account is not None and folder.stat().st_uid != account.uid:
        os.chown(folder, account.uid, account.gid)
    if folder.stat().st_mode & 0o777 != mode:
        folder.chmod(mode)


def _check_owner(data: Path) -> None:
    if os.geteuid() != 0 and data.exists() and data.stat().st_uid != os.geteuid():
        raise ConfigurationError(
            [
                f"{data} belongs to user number {data.stat().st_uid}; start the stack as that user or as root, or choose another root"
            ]
        )


def _outside_home(layout: Layout, account: Account) -> Path:
    for parent in OUTSIDE_HOMES:
        try:
            parent.mkdir(parents=True, exist_ok=True, mode=0o711)
            home = parent / short_mark(layout)
            home.mkdir(exist_ok=True, mode=0o711)
        except OSError:
            continue
        if home.stat().st_uid == os.geteuid() and account.can_enter(home):
            if not (home / "ROOT").exists():
                (home / "ROOT").write_text(str(layout.root))
            return home
    raise ConfigurationError(
        [
            f"account {account.name}, which the servers run as, cannot enter {layout.root}; choose a root outside private folders"
        ]
    )


def _check_not_a_copy(layout: Layout, home: Path) -> None:
    """Refuse to let a copied root run on the data of the original; a moved root takes its data along."""
    try:
        owner = (home / "ROOT").read_text()
    except OSError:
        owner = ""
    if owner == str(layout.root):
        return
    if owner and (Path(owner) / "stack" / "choices.json").exists():
        raise ConfigurationError(
            [
                f"{layout.root} is a copy of {owner}, whose database lies in {home}; remove {layout.stack} to start this copy with an empty one"
            ]
        )
    home.mkdir(parents=True, exist_ok=True, mode=0o711)
    (home / "ROOT").write_text(str(layout.root))


def _runtime_folder(layout: Layout, choices: Choices, account: Account | None) -> Path:
    owner = os.geteuid() if account is None else account.uid
    mode = 0o700 if account is None else 0o755
    remembered = [Path(choices.runtime)] if choices.runtime else []
    parents = list(dict.fromkeys([Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]))  # noqa: S108 - owner checked
    for folder in [*remembered, *(parent / f"fstore-{short_mark(layout)}" for parent in parents)]:
        if len(os.fsencode(folder)) > LONGEST_RUNTIME or not os.access(folder.parent, os.W_OK | os.X_OK):
            continue
        if account is not None and not account.can_enter(folder.parent):
            continue
        try:
            if not folder.exists():
                _own_folder(folder, account, mode)
            status = folder.lstat()
        except OSError:
            continue
        # Anybody can make folders in /tmp: one that is not ours, or a link, is left alone.
        if not folder.is_symlink() and status.st_uid == owner and status.st_mode & 0o777 == mode:
            return folder
    for parent in parents:
        if os.access(parent, os.W_OK | os.X_OK) and len(os.fsencode(parent)) < LONGEST_RUNTIME - 20:
            folder = Path(tempfile.mkdtemp(prefix="fstore-", dir=parent))
            _own_folder(folder, account, mode)
            return folder
    raise ConfigurationError(
        ["no short temporary folder can be written (TMPDIR, /tmp, /var/tmp); Postgres needs one for its socket"]
    )
