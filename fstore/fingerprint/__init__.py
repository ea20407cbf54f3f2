"""Identity of raw data: canonical streams, footers, sources, seals."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.fingerprint.canonical import BLOCK_ROWS
    from fstore.fingerprint.columns import (
        ArrowColumn,
        Column,
        NumpyColumn,
        arrow_column,
        columns_of,
        has_plain_values,
        union_of_categories,
    )
    from fstore.fingerprint.files.listing import refuse_set_aside, visible_files
    from fstore.fingerprint.footer import (
        PARALLEL_BYTES,
        ContentHasher,
        Footer,
        Progress,
        categories_digest,
        footer_text,
        hash_blocks,
    )
    from fstore.fingerprint.identification import Origin, content_digest, identify, to_dataset, to_table
    from fstore.fingerprint.one_form import table_in_form
    from fstore.fingerprint.parquet_limits import USUAL, ParquetLimits, limits_of, open_bounded
    from fstore.fingerprint.parquet_source import ParquetReader
    from fstore.fingerprint.parquet_types import (
        MAX_CATEGORY_BYTES,
        packed_array,
        plan_storage,
        stored_schema,
        unpacked_array,
    )
    from fstore.fingerprint.raw_input import Digested, ObjectPart, ObjectParts, RawInput, typed_refusals
    from fstore.fingerprint.seal import SEAL_BYTES, apply_seal, notes_of, read_seal
    from fstore.fingerprint.sources import FrameInput, ParquetInput, TableInput, open_raw
    from fstore.fingerprint.stamps import ObjectStamp, SourceStamp, SourceWatch
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "canonical": "BLOCK_ROWS",
            "columns": "ArrowColumn Column NumpyColumn arrow_column columns_of has_plain_values union_of_categories",
            "footer": "ContentHasher Footer PARALLEL_BYTES Progress categories_digest footer_text hash_blocks",
            "identification": "Origin content_digest identify to_dataset to_table",
            "one_form": "table_in_form",
            "parquet_limits": "ParquetLimits USUAL limits_of open_bounded",
            "files.listing": "refuse_set_aside visible_files",
            "parquet_source": "ParquetReader",
            "parquet_types": "MAX_CATEGORY_BYTES packed_array plan_storage stored_schema unpacked_array",
            "raw_input": "Digested ObjectPart ObjectParts RawInput typed_refusals",
            "seal": "SEAL_BYTES apply_seal notes_of read_seal",
            "sources": "FrameInput ParquetInput TableInput open_raw",
            "stamps": "ObjectStamp SourceStamp SourceWatch",
        },
    )

__all__ = [
    "ArrowColumn",
    "BLOCK_ROWS",
    "Column",
    "ContentHasher",
    "Digested",
    "Footer",
    "FrameInput",
    "MAX_CATEGORY_BYTES",
    "NumpyColumn",
    "ObjectPart",
    "ObjectParts",
    "ObjectStamp",
    "Origin",
    "PARALLEL_BYTES",
    "ParquetInput",
    "ParquetLimits",
    "ParquetReader",
    "Progress",
    "RawInput",
    "SEAL_BYTES",
    "SourceStamp",
    "SourceWatch",
    "TableInput",
    "USUAL",
    "apply_seal",
    "arrow_column",
    "categories_digest",
    "columns_of",
    "content_digest",
    "footer_text",
    "has_plain_values",
    "hash_blocks",
    "identify",
    "limits_of",
    "notes_of",
    "open_bounded",
    "open_raw",
    "packed_array",
    "plan_storage",
    "read_seal",
    "stored_schema",
    "table_in_form",
    "to_dataset",
    "to_table",
    "typed_refusals",
    "union_of_categories",
    "unpacked_array",
    "refuse_set_aside",
    "visible_files",
]
