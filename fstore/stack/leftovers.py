"""End what an earlier stack left behind, by proof only."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil

from fstore.stack.choices import load_choices
from fstore.stack.layout import Layout, remove_runtime
from fstore.stack.processes import identity
from fstore.stack_state import StackState, is_same, read_any_state


def sweep(layout: Layout) -> tuple[str, ...]:
    """End the processes that a dead supervisor left, and return what they were.

    The caller holds the root's lock, so no living supervisor owns them. Workers
    go at once, they are made for it; Postgres and Redis are asked first.
    """
    state = read_any_state(layout.root)
    found: list[str] = []
    if state is not None:
        noted = _noted(state)
        strays = {process.pid: process for process in [*noted, *identity.carrying(state.token)]}
        names = {child.pid: child.name for child in state.children}
        found += sorted({names.get(pid, "a child of a worker") for pid in strays})
        identity.end(strays.values(), gently=None, within=0)
    choices = load_choices(layout.choices)
    home = Path(choices.servers_home or layout.stack)
    for folder, program, gently in (
        ("postgres", ("postgres",), signal.SIGINT),
        ("redis", ("redis-server", "valkey-server"), signal.SIGTERM),
    ):
        servers = identity.working_in(home / folder, program)
        if servers:
            found.append(folder)
            identity.end(servers, gently=gently, within=5)
    if choices.runtime:
        remove_runtime(Path(choices.runtime))
    return tuple(dict.fromkeys(found))


def _noted(state: StackState) -> list[psutil.Process]:
    """Return the noted children that still are themselves.

    Servers aside: those are ended in order afterwards.
    """
    processes = []
    for child in state.children:
        if child.name in ("postgres", "redis") or not is_same(child.pid, child.birth):
            continue
        try:
            processes.append(psutil.Process(child.pid))
        except psutil.Error:
            continue
    return processes
