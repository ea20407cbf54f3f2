"""Any raw data to sealed Parquet."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.ingest.ingestion import IngestOptions, expected_bytes, ingest
    from fstore.ingest.presets.table import PRESETS
    from fstore.ingest.report import IngestReport
    from fstore.ingest.rows.cells import read_dtypes
    from fstore.ingest.time_texts import UNITS
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "ingestion": "IngestOptions expected_bytes ingest",
            "presets.table": "PRESETS",
            "report": "IngestReport",
            "rows.cells": "read_dtypes",
            "time_texts": "UNITS",
        },
    )

__all__ = ["IngestOptions", "IngestReport", "PRESETS", "UNITS", "expected_bytes", "ingest", "read_dtypes"]
