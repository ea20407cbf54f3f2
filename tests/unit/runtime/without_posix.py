"""Makes a Linux process as much like one on Windows as can be: run as a program, it hides what Windows lacks.

Libraries have code of their own for Windows, which cannot run here; so they are imported
first. What is hidden then, fstore and its workers have to do without.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import importlib
import os
import select
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARIES = (
    "alembic.command",
    "asyncio",
    "blake3",
    "celery.bin.celery",
    "celery.app.amqp",
    "celery.backends.base",
    "celery.contrib.testing",
    "click.shell_completion",
    "concurrent.futures.process",
    "ctypes.util",
    "filelock",
    "getpass",
    "http.server",
    "kombu.transport.redis",
    "matplotlib.font_manager",
    "multiprocessing.managers",
    "multiprocessing.pool",
    "multiprocessing.shared_memory",
    "pandas",
    "prometheus_client",
    "psutil",
    "psycopg2.extras",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "redis.asyncio",
    "rich.console",
    "rich.progress",
    "rich.table",
    "sqlalchemy.pool",
    "structlog",
    "tempfile",
    "uuid",
    "yaml",
)
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "readline"}
NAMES: dict[Any, str] = {
    os: "chown chroot copy_file_range environb ctermid fchdir fchmod fchown fork forkpty getegid geteuid getgid getgroups "
    "getloadavg getpgid getpgrp getpriority getuid initgroups killpg lchown major memfd_create mkfifo mknod nice openpty "
    "posix_fallocate posix_fadvise posix_spawn pread preadv pwrite pwritev register_at_fork sched_getaffinity sched_setaffinity "
    "sched_yield sendfile setegid seteuid setgid setgroups setpgid setpriority setsid setuid statvfs sync ttyname uname wait "
    "wait3 wait4 waitid O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC O_DSYNC O_NOCTTY PRIO_PROCESS WNOHANG",
    signal: "SIGALRM SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGVTALRM "
    "alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait ITIMER_PROF ITIMER_REAL "
    "ITIMER_VIRTUAL",
    select: "poll epoll",
}
BINARY = 1 << 30
faults: list[str] = []
"""What fstore did that Windows would have answered with something else."""


def hide() -> None:
    """Take away what Windows does not have, and let the rest do as it does there."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for name in MODULES:
        sys.modules.pop(name, None)
    ordinary = builtins.__import__

    def refuse(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level == 0 and name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return ordinary(name, globals, locals, fromlist, level)

    builtins.__import__ = refuse
    usage = shutil.disk_usage("/")
    shutil.disk_usage = lambda _: usage  # as on Windows, it asks nothing of os
    _windows_files(fcntl.fcntl)
    for module, names in NAMES.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    six = {signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGINT, signal.SIGSEGV, signal.SIGTERM}
    signal.valid_signals = lambda: six  # type: ignore[assignment]
    sys.platform = "win32"


def _windows_files(look: Callable[[int, int], int]) -> None:
    os.O_BINARY = BINARY  # type: ignore[attr-defined]
    opened, renamed, unlinked, synced = os.open, os.rename, os.unlink, os.fsync
    reading, mask = fcntl.F_GETFL, os.O_ACCMODE if hasattr(os, "O_ACCMODE") else 3

    def open_as_there(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith(("fstore", "workers", "beat")) and not flags & BINARY and path != os.devnull:
            faults.append(f"{caller} opens {path} as text")
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "a folder cannot be opened", str(path))
        return opened(path, flags & ~BINARY, mode, **options)

    def rename_as_there(source: Any, target: Any, **options: Any) -> None:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "it exists", str(source), 183, str(target))
        renamed(source, target, **options)

    def unlink_as_there(path: Any, **options: Any) -> None:
        if os.path.lexists(path) and not os.lstat(path).st_mode & stat.S_IWUSR:
            raise PermissionError(errno.EACCES, "it is read-only", str(path))
        unlinked(path, **options)

    def sync_as_there(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        if look(number, reading) & mask == os.O_RDONLY:
            raise OSError(errno.EBADF, "it is open for reading only")
        synced(descriptor)

    os.open, os.rename, os.fsync = open_as_there, rename_as_there, sync_as_there  # type: ignore[assignment]
    os.unlink = os.remove = unlink_as_there  # type: ignore[assignment]


if __name__ == "__main__":
    hide()
    exec(compile(sys.stdin.read(), "<as on Windows>", "exec"), {"__name__": "__main__", "faults": faults})  # noqa: S102
