"""What a local stack says about itself in ``<root>/.stack.json``.

What runs, how to reach it, the proof that it still does.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

FILE_NAME = ".stack.json"
STARTING, READY, STOPPING = "starting", "ready", "stopping"
_PREFIX = "FEATURE_STORE_"
_PS = "/bin/ps"
_OF_ONE_PROCESS = {"path", "heartbeat_file"}


@dataclass(frozen=True, slots=True)
class ChildState:
    """One process of the stack.

    ``phase`` is ``starting``, ``running``, ``waiting`` (for its restart),
    ``stopped`` or ``given up``; ``since`` is when its present phase began.
    """

    name: str
    pid: int
    birth: str
    phase: str
    restarts: int
    since: str
    log: str


@dataclass(frozen=True, slots=True)
class StackState:
    """A stack: its supervisor, its addresses (passwords included) and its children.

    ``settings`` are the ``FEATURE_STORE_*`` variables its workers were given, so
    that whoever connects through this file works under the same ones.
    """

    root: str
    host: str
    pid: int
    birth: str
    token: str = field(repr=False)
    phase: str
    started_ts: str
    workers: int
    features: tuple[str, ...]
    postgres_url: str = field(default="", repr=False)
    redis_url: str = field(default="", repr=False)
    flower_url: str = field(default="", repr=False)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    children: tuple[ChildState, ...] = ()

    @property
    def data_roots(self) -> str:
        """The stack's ``FEATURE_STORE_DATA_ROOTS`` as it was given, empty when it was not."""
        return self.settings.get("FEATURE_STORE_DATA_ROOTS", "")

    def with_children(self, children: tuple[ChildState, ...]) -> StackState:
        """Return the same stack with its children as they are now."""
        return replace(self, children=children)


def read_state(root: Path) -> StackState | None:
    """Return the stack that is ready on this root and this host, or None.

    A file left behind by a killed supervisor is recognised by the supervisor's
    process number and birth, and counts as none.
    """
    state = read_any_state(root)
    return state if state is not None and state.phase == READY and is_alive(state) else None


def is_alive(state: StackState) -> bool:
    """Tell whether the supervisor that wrote this state still runs on this host."""
    return state.host == socket.gethostname() and is_same(state.pid, state.birth)


def read_any_state(root: Path) -> StackState | None:
    """Return what the state file says, true or stale; None when there is none that can be read."""
    try:
        raw: dict[str, Any] = json.loads((root / FILE_NAME).read_text())
        children = tuple(ChildState(**child) for child in raw.pop("children"))
        features = tuple(raw.pop("features"))
        state = StackState(**raw, features=features, children=children)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    # A copied folder brings a copied file along; it speaks of the original.
    return state if os.path.realpath(state.root) == os.path.realpath(root) else None


def write_state(state: StackState) -> None:
    """Write the state file, whole or not at all, readable by its owner only."""
    write_private(Path(state.root) / FILE_NAME, json.dumps(asdict(state), indent=2) + "\n")


def remove_state(root: Path) -> None:
    """Remove the state file."""
    (root / FILE_NAME).unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step, with mode 0600 from its first moment."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp creates with 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def running_stack(root: Path) -> Mapping[str, Any] | None:
    """Return the settings of the stack that runs on ``root``, or None when none does.

    Trainers on the stack's host keep decoded entries beside it unless they are told
    otherwise.
    """
    state = read_state(root)
    if state is None:
        return None
    given = {
        name.removeprefix(_PREFIX).lower(): value for name, value in state.settings.items() if name.startswith(_PREFIX)
    }
    found: dict[str, Any] = {
        "local_cache": str(root / "local_cache"),
        **{name: value for name, value in given.items() if name not in _OF_ONE_PROCESS or value.startswith("s3://")},
        "postgres_url": state.postgres_url,
        "redis_url": state.redis_url,
    }
    return {name: value for name, value in found.items() if value}


def birth_of(pid: int) -> str | None:
    """Return a mark that no other process with this number ever shares, or None when none runs.

    On Linux it is the boot's id with the start in clock ticks since that boot,
    because times of day move when the clock is set. A zombie does not run.
    """
    if pid <= 0:
        return None
    if sys.platform == "linux":
        try:
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, *rest = text.rpartition(")")[2].split()
        return None if state in "ZX" else f"{boot}:{rest[18]}"
    return _birth_by_ps(pid)


def is_same(pid: int, birth: str) -> bool:
    """Tell whether the very process noted as ``pid`` and ``birth`` still runs."""
    return bool(birth) and birth_of(pid) == birth


def _birth_by_ps(pid: int) -> str | None:
    # On Windows no stack runs: what is noted is of another host.
    if sys.platform == "win32" or not os.access(_PS, os.X_OK):
        return None
    done = subprocess.run(  # noqa: S603 - asks the system about a process
        [_PS, "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
        check=False,
    )
    state, _, started = done.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()
