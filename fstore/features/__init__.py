"""What can be asked for: registry, versions, canonical config, key."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.features.coverage import NEVER_COVERED, Coverage, imported_libraries
    from fstore.features.declarations import Feature, InputKind
    from fstore.features.feature_modules import load_feature_modules
    from fstore.features.keys import canonical_config, check_symbol, differing_parts, key_of, restore_config
    from fstore.features.libraries import installed_version
    from fstore.features.local_features import LocalFeature, local
    from fstore.features.local_identity import LOCAL_PREFIX
    from fstore.features.lookup import MARK, look_up
    from fstore.features.partitioning import (
        ALL,
        MOST_IN_A_SEGMENT,
        PERIODS,
        Declaration,
        PartitionCount,
        Partitioning,
        Reach,
        ReachKind,
        Sessions,
        checked_partitioning,
        partitions,
        sessions,
    )
    from fstore.features.registry import feature, own_queues, registered_features, resolve_feature
    from fstore.features.source.digest import source_format
    from fstore.features.unregistered import find_feature
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "coverage": "Coverage NEVER_COVERED imported_libraries",
            "declarations": "Feature InputKind",
            "feature_modules": "load_feature_modules",
            "keys": "canonical_config check_symbol differing_parts key_of restore_config",
            "libraries": "installed_version",
            "local_features": "LocalFeature local",
            "local_identity": "LOCAL_PREFIX",
            "lookup": "MARK look_up",
            "partitioning": "ALL Declaration MOST_IN_A_SEGMENT PERIODS PartitionCount Partitioning Reach ReachKind Sessions checked_partitioning partitions sessions",
            "registry": "feature own_queues registered_features resolve_feature",
            "source.digest": "source_format",
            "unregistered": "find_feature",
        },
    )

__all__ = [
    "ALL",
    "Coverage",
    "Declaration",
    "Feature",
    "InputKind",
    "LOCAL_PREFIX",
    "LocalFeature",
    "MARK",
    "MOST_IN_A_SEGMENT",
    "NEVER_COVERED",
    "PERIODS",
    "PartitionCount",
    "Partitioning",
    "Reach",
    "ReachKind",
    "Sessions",
    "canonical_config",
    "check_symbol",
    "checked_partitioning",
    "differing_parts",
    "feature",
    "find_feature",
    "imported_libraries",
    "installed_version",
    "key_of",
    "load_feature_modules",
    "local",
    "look_up",
    "own_queues",
    "partitions",
    "registered_features",
    "resolve_feature",
    "restore_config",
    "sessions",
    "source_format",
]
