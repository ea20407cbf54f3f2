"""What every kind of raw data can be asked, whatever a user handed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.dataset as ds

from fstore.errors import UnhashableInput
from fstore.fingerprint.footer import Progress
from fstore.fingerprint.one_form import dataset_of_table
from fstore.fingerprint.parquet_limits import USUAL, ParquetLimits
from fstore.fingerprint.stamps import ObjectStamp, SourceMemo
from fstore.model import ObjectUrl

if TYPE_CHECKING:
    from fstore.fingerprint.parquet_source import ParquetReader

_FAULTS = (pa.ArrowException, NotImplementedError, TypeError, ValueError)


class Origin(StrEnum):
    """How a fingerprint was obtained."""

    SCAN = "scan"
    FOOTER = "footer"
    MEMO = "memo"
    TAIL = "tail"


class Digested(NamedTuple):
    """A digest, in hex, how it was come by, and the size of the data in memory.

    For a foreign file the size is as its footer states it.
    """

    digest: str
    origin: Origin
    data_bytes: int


class ObjectPart(Protocol):
    """One object of a source in a bucket, of which rows are read without the rest."""

    @property
    def is_sealed(self) -> bool:
        """Whether ``ingest`` wrote it and nobody rewrote it."""
        ...

    @property
    def notes(self) -> Mapping[bytes, bytes]:
        """What the file says of itself under its seal; nothing where it has none."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The schema of its table."""
        ...

    @property
    def count(self) -> int:
        """How many rows it has."""
        ...

    def read(self, first: int, stop: int) -> pa.Table:
        """Read the rows from ``first`` to ``stop``, and no row group that holds none of them.

        Whoever reads digests them.
        """
        ...


class ObjectParts(Protocol):
    """The objects of a source in a bucket, in order, each of the version that was seen first."""

    def stamps(self) -> list[ObjectStamp]:
        """Return what each stays known by; asks for nothing that was not seen already."""
        ...

    def part(self, at: int) -> ObjectPart:
        """Open one of them by its end; raises what a file that is none raises."""
        ...

    def copied(self, at: int) -> AbstractContextManager[ParquetReader]:
        """Lend a copy of one of them on this host."""
        ...


class RawInput(ABC):
    """Raw data of one request.

    ``path`` says where on shared storage they lie, None for what is in memory.
    """

    accepts: ClassVar[tuple[type, ...]] = ()
    path: Path | ObjectUrl | None = None

    @abstractmethod
    def __init__(self, raw: Any, limits: ParquetLimits = USUAL) -> None:
        """Take what a user handed in; looks at nothing yet."""

    @property
    def version(self) -> str | None:
        """Return the id of the version that was seen, for what lies in a bucket that keeps versions."""
        return None

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """Their schema as Arrow sees it, not yet in the one form."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Their size in memory, for a progress bar; 0 where nobody knows."""

    @property
    def cells(self) -> int | None:
        """How many values would have to be written to hand them on; None where nobody knows."""
        return None

    @abstractmethod
    def batches(self) -> Iterator[pa.RecordBatch]:
        """Stream the rows in order, at most a block at a time."""

    @abstractmethod
    def scan(self, progress: Progress | None = None) -> Digested:
        """Digest all of what is really there; never believes a stored footer or a memo."""

    def digest(self, memo: SourceMemo | None, progress: Progress | None) -> Digested:
        """Digest in the cheapest way that is sound."""
        del memo
        return self.scan(progress)

    @abstractmethod
    def tail(self) -> Digested:
        """Digest the tail alone."""

    @abstractmethod
    def table(self) -> pa.Table:
        """Convert to the one table that stands for all data of their digest; a source is read whole."""

    def dataset(self) -> ds.Dataset:
        """Give them as a dataset; a source is read when the dataset is, and not before."""
        with typed_refusals:
            return dataset_of_table(self.table())

    def objects(self) -> ObjectParts | None:
        """Return the objects that the data lie in, to be read in parts.

        None for data that are had in another way.
        """
        return None

    def held(self) -> RawInput:
        """Return them as they are now, whatever their owner does next with pandas or Arrow.

        Copies nothing yet.
        """
        return self


class TypedRefusals:
    """Raises ``UnhashableInput`` for what Arrow cannot read inside.

    A class, for a generator takes a microsecond.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _FAULTS) and not isinstance(
            error, MemoryError
        ):  # Arrow's own kind is one of its exceptions
            raise UnhashableInput(
                "raw_data", f"Arrow cannot read all of it ({error}); convert it to plain columns"
            ) from error


typed_refusals = TypedRefusals()


def meant(raw: object) -> str:
    """Return a question that names what was probably meant."""
    if isinstance(raw, str | Path):
        return f"; did you mean fstore.ParquetSource({str(raw)[:200]!r})?"
    return "; did you mean .collect()?" if callable(getattr(raw, "collect", None)) else ""
