"""What rows say of segments: which partitions an entry holds, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass

from fstore.model import Locator


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """Which partitions an entry holds.

    ``names`` are the beginnings of theirs, to find it by and never to answer with. ``copied`` names the entry, by
    key and path, that some of them were copied from.
    """

    series: bytes
    period: str
    names: tuple[bytes, ...]
    copied: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class KnownSegment:
    """A live entry that holds partitions of a series."""

    entry: Locator
    series: bytes
    period: str
    names: tuple[bytes, ...]
