"""Identity of raw data: canonical streams, footers, sources, seals."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.fingerprint.canonical import BLOCK_ROWS
    from fstore.fingerprint.columns import ArrowColumn
    from fstore.fingerprint.footer import ContentHasher, Footer, Progress
    from fstore.fingerprint.identification import Origin, content_digest, identify, to_dataset, to_table
    from fstore.fingerprint.parquet_limits import USUAL, ParquetLimits, limits_of
    from fstore.fingerprint.parquet_types import (
        MAX_CATEGORY_BYTES,
        packed_array,
        plan_storage,
        stored_schema,
        unpacked_array,
    )
    from fstore.fingerprint.raw_input import RawInput
    from fstore.fingerprint.seal import SEAL_BYTES, apply_seal, notes_of
    from fstore.fingerprint.sources import ParquetInput, TableInput, open_raw
    from fstore.fingerprint.stamps import SourceStamp, SourceWatch
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "canonical": "BLOCK_ROWS",
            "columns": "ArrowColumn",
            "footer": "ContentHasher Footer Progress",
            "identification": "Origin content_digest identify to_dataset to_table",
            "parquet_limits": "ParquetLimits USUAL limits_of",
            "parquet_types": "MAX_CATEGORY_BYTES packed_array plan_storage stored_schema unpacked_array",
            "raw_input": "RawInput",
            "seal": "SEAL_BYTES apply_seal notes_of",
            "sources": "ParquetInput TableInput open_raw",
            "stamps": "SourceStamp SourceWatch",
        },
    )

__all__ = [
    "ArrowColumn",
    "BLOCK_ROWS",
    "ContentHasher",
    "Footer",
    "MAX_CATEGORY_BYTES",
    "Origin",
    "ParquetInput",
    "ParquetLimits",
    "Progress",
    "RawInput",
    "SEAL_BYTES",
    "SourceStamp",
    "SourceWatch",
    "TableInput",
    "USUAL",
    "apply_seal",
    "content_digest",
    "identify",
    "limits_of",
    "notes_of",
    "open_raw",
    "packed_array",
    "plan_storage",
    "stored_schema",
    "to_dataset",
    "to_table",
    "unpacked_array",
]
