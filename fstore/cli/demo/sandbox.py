"""Where the demo runs: a folder, a stack and an environment of its own, all gone when it ends."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from fstore.errors import ConfigurationError, StorageUnavailable
from fstore.runtime.systems import require_posix
from fstore.settings import gather_settings
from fstore.stack import StackState, down, read_state

INHERITED = ("pg_bindir", "redis_server", "worker_start_method", "log_level")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user asked for; without ``root`` the demo makes a folder of its own."""

    trainers: int
    requests: int
    files: tuple[Path, ...] = ()
    root: Path | None = None
    keep: bool = False
    object_store: bool = False


@contextmanager
def orderly_ends() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demo as Ctrl-C does: with everything stopped and removed."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def demo_root(options: DemoOptions) -> Iterator[Path]:
    """Give the folder to work in; one of the user's is never removed."""
    if options.root is not None:
        yield options.root.expanduser().resolve()
        return
    root = Path(tempfile.mkdtemp(prefix="fstore-demo-")).resolve()
    root.chmod(0o711)  # the account that root's servers run as has to pass
    try:
        yield root
    finally:
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)


@contextmanager
def own_folder(root: Path, *, keep: bool) -> Iterator[Path]:
    """Make the folder below the root for the demo's own files.

    One that exists is somebody's and is left alone.
    """
    folder = root / "demo-files"
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except FileExistsError as error:
        raise ConfigurationError(
            [f"{folder} exists, perhaps from an earlier demo; give another --root, or none"]
        ) from error
    except OSError as error:
        raise StorageUnavailable(str(root), f"{error.strerror or error}; choose a folder that you may write") from error
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def own_environment(
    root: Path, files: Sequence[Path], *, own_files: Path, bucket: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Build the environment of all processes: the user's, with the demo's own settings.

    No other store is touched then. With settings of a ``bucket`` that is the root, and ``root`` the folder of the
    stack.
    """
    mine = gather_settings({"path": root})
    inherited = {name: getattr(mine, name) for name in INHERITED if mine.origins[name] != "default"}
    roots = tuple(dict.fromkeys(str(file.expanduser().resolve().parent) for file in files))
    given = {"path": root, "data_roots": roots or None, **inherited}
    if bucket is not None:  # below which users keep no raw data
        given |= {**bucket, "stack_path": root, "data_roots": (*roots, str(own_files))}
    settings = gather_settings(given, environ={})
    from fstore.stack import daemon_environment  # noqa: PLC0415 servers run the commands without the embedded extra

    return daemon_environment(settings, cwd=Path.cwd())


@contextmanager
def own_stack(
    root: Path, environment: Mapping[str, str], *, keep: bool, say: Say
) -> Iterator[Callable[[], StackState]]:
    """Start a stack as ``fstore up --detach`` does, and give the function that waits until it is ready."""
    require_posix("a local stack ('fstore up', 'fstore demo')")
    if read_state(root) is not None:
        raise ConfigurationError(
            [f"a stack runs on {root} already and the demo starts its own; give another --root, or 'fstore down' first"]
        )
    say(f"starting Postgres, Redis, workers, Beat and Flower in {root}")
    starting = subprocess.Popen(
        [sys.executable, "-P", "-m", "fstore.cli", "up", "--detach"],  # the environment says where
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def ready() -> StackState:
        _, words = starting.communicate()
        state = read_state(root)
        if starting.returncode != 0 or state is None:
            raise ConfigurationError([f"the stack did not start:\n{words.strip()}"])
        return state

    finished = False
    try:
        yield ready
        finished = True
    finally:
        if not (finished and keep):
            _stop(root, starting)


def _stop(root: Path, starting: subprocess.Popen[str]) -> None:
    """Stop the stack, even one that is still starting; a second Ctrl-C must not leave half of it behind."""
    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if here else None
    try:
        if starting.poll() is None:
            starting.send_signal(signal.SIGINT)
            try:
                starting.wait(20)
            except subprocess.TimeoutExpired:
                starting.kill()
                starting.wait()
        down(root)
    finally:
        if starting.stderr is not None:
            starting.stderr.close()
        if here:
            signal.signal(signal.SIGINT, before)
