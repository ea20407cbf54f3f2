"""What can be asked for: registry, versions, canonical config, key."""

from fstore.features.declarations import Feature, InputKind
from fstore.features.feature_modules import load_feature_modules
from fstore.features.local_features import LocalFeature, local
from fstore.features.registry import feature, registered_features, resolve_feature

__all__ = [
    "Feature",
    "InputKind",
    "LocalFeature",
    "feature",
    "load_feature_modules",
    "local",
    "registered_features",
    "resolve_feature",
]
