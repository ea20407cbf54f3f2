"""Any raw data to sealed Parquet."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.ingest.ingestion import IngestOptions, expected_bytes, ingest
    from fstore.ingest.time_texts import UNITS
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "ingestion": "IngestOptions expected_bytes ingest",
            "time_texts": "UNITS",
        },
    )

__all__ = ["IngestOptions", "UNITS", "expected_bytes", "ingest"]
