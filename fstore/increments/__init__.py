"""Features computed piece by piece: cutting, windows, digests, names, plans, execution and checks, without any server."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.increments.checks.feature import CheckedFeature, checked_feature
    from fstore.increments.checks.report import CheckReport
    from fstore.increments.cutting import Span
    from fstore.increments.digests import PartitionHasher
    from fstore.increments.table import PARTITION_NOTE
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "checks.feature": "CheckedFeature checked_feature",
            "checks.report": "CheckReport",
            "cutting": "Span",
            "digests": "PartitionHasher",
            "table": "PARTITION_NOTE",
        },
    )

__all__ = ["CheckReport", "CheckedFeature", "PARTITION_NOTE", "PartitionHasher", "Span", "checked_feature"]
