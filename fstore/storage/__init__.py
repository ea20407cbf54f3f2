"""Files of entries and staged data."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.storage.durable import translated
    from fstore.storage.file_system import sync_file, sync_folder
    from fstore.storage.interface import ByteRange, EntryStore, Listing, Space, StagingArea, Stored
    from fstore.storage.layout import (
        ENTRY_NAME,
        SHARDS,
        SHARDS_IN_TURN,
        STAGED_NAME,
        FoundFile,
        file_of,
        is_pack,
        key_of,
        packed_at,
        packed_name,
        shard_of,
    )
    from fstore.storage.local_cache import LocalCache
    from fstore.storage.mapped_entry import MappedEntry
    from fstore.storage.open import Storage, open_local_cache, open_storage
    from fstore.storage.packed.raw_parts import LastRead
    from fstore.storage.packed.small_form import has_small_form, is_small_form, small_bytes
    from fstore.storage.parquet import SMALL, as_read, result_bytes
    from fstore.storage.verify import Fault, FaultKind, Pace, check_written, decoded, rows_fault
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "durable": "translated",
            "file_system": "sync_file sync_folder",
            "interface": "ByteRange EntryStore Listing Space StagingArea Stored",
            "layout": "ENTRY_NAME FoundFile SHARDS SHARDS_IN_TURN STAGED_NAME file_of is_pack key_of packed_at packed_name shard_of",
            "local_cache": "LocalCache",
            "mapped_entry": "MappedEntry",
            "open": "Storage open_local_cache open_storage",
            "parquet": "SMALL as_read result_bytes",
            "packed.raw_parts": "LastRead",
            "packed.small_form": "has_small_form is_small_form small_bytes",
            "verify": "Fault FaultKind Pace check_written decoded rows_fault",
        },
    )

__all__ = [
    "ByteRange",
    "ENTRY_NAME",
    "EntryStore",
    "Fault",
    "FaultKind",
    "FoundFile",
    "LastRead",
    "Listing",
    "LocalCache",
    "MappedEntry",
    "Pace",
    "SHARDS",
    "SHARDS_IN_TURN",
    "SMALL",
    "STAGED_NAME",
    "Space",
    "StagingArea",
    "Storage",
    "Stored",
    "as_read",
    "check_written",
    "decoded",
    "file_of",
    "has_small_form",
    "is_pack",
    "is_small_form",
    "key_of",
    "open_local_cache",
    "open_storage",
    "packed_at",
    "packed_name",
    "result_bytes",
    "rows_fault",
    "shard_of",
    "small_bytes",
    "sync_file",
    "sync_folder",
    "translated",
]
