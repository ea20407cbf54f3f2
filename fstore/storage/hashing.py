"""BLAKE3 for files and what is mapped of them.

With threads where they bring something, and where they exist.
"""

from __future__ import annotations

from blake3 import blake3

from fstore.runtime.fork_safety import run_in_children

PARALLEL_FROM = 1 << 20  # below, BLAKE3's threads cost more than they bring
_most_threads = blake3.AUTO


def hasher_for(size_bytes: int) -> blake3:
    """Return a hasher for so many bytes.

    BLAKE3's threads are started once a process and do not outlive a fork: in a
    forked child, whose parent may have started them, it would wait for them for ever.
    """
    return blake3(max_threads=_most_threads) if size_bytes > PARALLEL_FROM else blake3()


def _after_fork_in_child() -> None:
    global _most_threads  # noqa: PLW0603 one value a process
    _most_threads = 1


run_in_children(_after_fork_in_child)
