"""What users test with: a store with servers and workers of its own.

And the suite that a storage backend must pass. Needs the extra ``embedded``; pytest is not needed to import it.
"""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.testing.celery_processes import start_celery, stop_group
    from fstore.testing.feature_check import check_feature
    from fstore.testing.running import RunningStore, Servers, running_store, with_database
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "celery_processes": "start_celery stop_group",
            "feature_check": "check_feature",
            "running": "RunningStore Servers running_store with_database",
        },
    )

__all__ = ["RunningStore", "Servers", "check_feature", "running_store", "start_celery", "stop_group", "with_database"]
