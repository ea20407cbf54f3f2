"""Hosts that share a folder and nothing else: network namespaces, with a link between each pair that can be cut in silence."""

from __future__ import annotations

import ctypes
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from types import TracebackType
from typing import Self

_NEW_NETWORK = 0x40000000
_HOLD = "up"


class Hosts:
    """Some hosts; each pair has a bridge of its own between two virtual cables, in a namespace where nobody lives.

    Cutting a pair takes its bridge down: both ends keep their carrier and their
    routes, and whatever they send vanishes, as behind a switch that died.
    """

    def __init__(self, *names: str) -> None:
        self._token = uuid.uuid4().hex[:8]
        self._names = names
        self._pairs = list(combinations(names, 2))

    def __enter__(self) -> Self:
        try:
            for name in (*self._names, "switch"):
                _ip("netns", "add", self._namespace(name))
                _ip("-n", self._namespace(name), "link", "set", "lo", _HOLD)
            for number, pair in enumerate(self._pairs):
                self._connect(number, pair)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove every namespace, and with it its cables."""
        for name in (*self._names, "switch"):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self._namespace(name))

    def address(self, of: str, *, seen_from: str) -> str:
        """Return under which address one host reaches another."""
        number, pair = self._pair(of, seen_from)
        return f"10.77.{number}.{1 + pair.index(of)}"

    @contextmanager
    def cut(self, one: str, other: str) -> Iterator[None]:
        """Lose everything between two hosts for as long as the block lasts."""
        number, _ = self._pair(one, other)
        self._switch(number, "down")
        try:
            yield
        finally:
            self._switch(number, "up")

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Move this thread to a host: its sockets, and the threads and processes it starts meanwhile, belong there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(Path("/run/netns") / self._namespace(name), os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(there)
            os.close(home)

    def _connect(self, number: int, pair: tuple[str, str]) -> None:
        switch = self._namespace("switch")
        _ip("-n", switch, "link", "add", f"bridge{number}", "type", "bridge")
        for end, name in enumerate(pair):
            plug, cable = f"plug{number}{end}", f"cable{number}"
            _ip("-n", switch, "link", "add", plug, "type", "veth", "peer", "name", cable,
                "netns", self._namespace(name))  # fmt: skip
            _ip("-n", switch, "link", "set", plug, "master", f"bridge{number}", _HOLD)
            _ip("-n", self._namespace(name), "address", "add", f"10.77.{number}.{1 + end}/24", "dev", cable)
            _ip("-n", self._namespace(name), "link", "set", cable, _HOLD)
        self._switch(number, "up")

    def _switch(self, number: int, to: str) -> None:
        _ip("-n", self._namespace("switch"), "link", "set", f"bridge{number}", to)

    def _pair(self, one: str, other: str) -> tuple[int, tuple[str, str]]:
        return next((n, pair) for n, pair in enumerate(self._pairs) if {one, other} == set(pair))

    def _namespace(self, name: str) -> str:
        return f"fstore-{self._token}-{name}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "setns")
