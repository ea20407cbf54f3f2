"""Reading a part of a stored result, some columns or some of the time.

Every byte that is used is verified.
"""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.projection.chunk_digests import Tail, add_digests, with_digests
    from fstore.projection.reading import DamagedFile, NoDigests, VerifiedFile
    from fstore.projection.selection import Part, Selection, checked_selection, time_field_of
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "chunk_digests": "Tail add_digests with_digests",
            "reading": "DamagedFile NoDigests VerifiedFile",
            "selection": "Part Selection checked_selection time_field_of",
        },
    )

__all__ = [
    "DamagedFile",
    "NoDigests",
    "Part",
    "Selection",
    "Tail",
    "VerifiedFile",
    "add_digests",
    "checked_selection",
    "time_field_of",
    "with_digests",
]
