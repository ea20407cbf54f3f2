"""Free loopback ports that stay the same from one start to the next."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Container
from pathlib import Path

from fstore.errors import ConfigurationError

# Below every ephemeral range in use: a client that retries a dead port inside that range
# can be given this very port as its own end, and then the server cannot have it back.
FIRST, LAST = 15_000, 29_999


def choose_port(seed: Path | str, *, preferred: int | None = None, taken: Container[int] = ()) -> int:
    """Choose a free loopback port: ``preferred`` when free.

    Else the next free one from a place that ``seed`` decides.
    """
    if preferred is not None and preferred not in taken and is_free(preferred):
        return preferred
    span = LAST - FIRST + 1
    start = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), "big")
    for step in range(2_000):
        port = FIRST + (start + step) % span
        if port not in taken and is_free(port):
            return port
    raise ConfigurationError(
        [f"no free loopback port was found between {FIRST} and {LAST}; stop some servers of this machine"]
    )


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True
