"""Every statement: manifest, jobs, upkeep, schema."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.postgres.figures import Figures
    from fstore.postgres.jobs import Jobs
    from fstore.postgres.manifest import Manifest
    from fstore.postgres.pool import Database
    from fstore.postgres.runs import Kind, Turn, UpkeepRuns
    from fstore.postgres.schema import migrate, wanted_revision
    from fstore.postgres.source_memo import PostgresPartitionMemo, PostgresSourceMemo
    from fstore.postgres.upkeep_queries import UpkeepQueries
    from fstore.postgres.usage import Usage
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "figures": "Figures",
            "jobs": "Jobs",
            "manifest": "Manifest",
            "pool": "Database",
            "runs": "Kind Turn UpkeepRuns",
            "schema": "migrate wanted_revision",
            "source_memo": "PostgresPartitionMemo PostgresSourceMemo",
            "upkeep_queries": "UpkeepQueries",
            "usage": "Usage",
        },
    )

__all__ = [
    "Database",
    "Figures",
    "Jobs",
    "Kind",
    "Manifest",
    "PostgresPartitionMemo",
    "PostgresSourceMemo",
    "Turn",
    "UpkeepQueries",
    "UpkeepRuns",
    "Usage",
    "migrate",
    "wanted_revision",
]
