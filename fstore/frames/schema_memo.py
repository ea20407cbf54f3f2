"""Remembers what was found out about a schema, by the very object: schemas compare equal though their metadata differ."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import pyarrow as pa

T = TypeVar("T")
MOST = 512
WIDEST = 2_000  # fields; beyond, remembering costs more memory than finding out again costs time


class SchemaMemo(Generic[T]):
    """A bounded memo; an entry holds its schema, so that no other object can have the same identity meanwhile."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Hashable], tuple[pa.Schema, T]] = {}

    def get(self, schema: pa.Schema, about: Hashable, find: Callable[[], T]) -> T:
        """Return what ``find`` returned for this schema object and ``about`` before, or find it now."""
        if len(schema) > WIDEST:
            return find()
        mark = (id(schema), about)
        known = self._known.get(mark)
        if known is not None and known[0] is schema:
            return known[1]
        found = find()
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[mark] = (schema, found)
        return found
