"""What can be asked for: registry, versions, canonical config, key."""

from fstore.features.local_features import LocalFeature, local
from fstore.features.registry import Feature, InputKind, feature, load_modules, registered, resolve

__all__ = ["Feature", "InputKind", "LocalFeature", "feature", "load_modules", "local", "registered", "resolve"]
