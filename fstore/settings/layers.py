"""Where settings are written down: arguments, environment, file, running stack; and who wins.

Each layer maps a field to a value and to the words that name its origin. Layers
know nothing of the values' meaning; they report what they cannot place.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

PREFIX = "FEATURE_STORE_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
OWN_FILE = Path("config/feature_store.yaml")
"""Read from the folder in which a process starts, if neither an argument nor the environment names another."""
_SECTION = "feature_store"
# The names of the file's two groups -> the fields they set.
_GROUPS: dict[str, dict[str, str]] = {
    "optimizations": {
        "enable_gc": "gc_enabled",
        "gc_retention_weeks": "gc_retention_weeks",
        "gc_schedule": "gc_schedule",
        "tick_data_threshold_mb": "tick_data_threshold_mb",
        "max_workers": "max_workers",
    },
    "monitoring": {
        "enable_metrics": "enable_metrics",
        "integrity_checks": "integrity_enabled",
        "performance_tracking": "performance_tracking",
    },
}


_GIVEN_NAMES = {inner: name for group in _GROUPS.values() for inner, name in group.items()}


@dataclass
class Layer:
    """Values of one origin, the words for that origin per field, and what could not be placed."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def put(self, name: str, value: Any, origin: str) -> None:
        """Note a value; a second one for the same field in the same layer is a fault."""
        if name in self.values:
            self.faults.append(f"{name} is set twice: {self.origins[name]} and {origin}; keep one of them")
            return
        self.values[name] = value
        self.origins[name] = origin


def merge(layers: Iterable[Layer]) -> Layer:
    """Combine layers, the strongest first: what an earlier one sets, a later one cannot change."""
    merged = Layer()
    for layer in layers:
        for name, value in layer.values.items():
            if name not in merged.values:
                merged.put(name, value, layer.origins[name])
        merged.faults += layer.faults
    return merged


def nearest(name: str, known: Collection[str]) -> str:
    """Suggest what a misspelt name may have meant; an empty text when nothing is near."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def setting_name(given: str) -> str:
    """Return the setting that an argument stands for: its own name, or the one that the file has for it."""
    return _GIVEN_NAMES.get(given, given)


def from_mapping(values: Mapping[str, Any], fields: Collection[str], origin: str) -> Layer:
    """Read arguments, under the file's names too, or the running stack's addresses; None means not given."""
    layer = Layer()
    for given, value in values.items():
        name = setting_name(given)
        if name not in fields:
            layer.faults.append(f"{origin} {given}: no such setting{nearest(given, {*fields, *_GIVEN_NAMES})}")
        elif value is not None:
            layer.put(name, value, f"{origin} {given}")
    return layer


def from_environment(environ: Mapping[str, str], fields: Collection[str]) -> Layer:
    """Read ``FEATURE_STORE_<NAME>``, and ``FEATURE_STORE_<NAME>_FILE`` as the contents of that file.

    An empty variable counts as not set: that is how compose files pass on what nobody gave.
    """
    layer = Layer()
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value != ""}
    variables = {f"{PREFIX}{name.upper()}" for name in fields}
    known = variables | {f"{name}_FILE" for name in variables} | {CONFIG_VARIABLE}
    for name in sorted(given.keys() - known):
        layer.faults.append(f"environment {name}: no such setting{nearest(name, known)}")

    for suffix in ("", "_FILE"):
        for name in fields:
            text = given.get(f"{PREFIX}{name.upper()}{suffix}")
            if text is None:
                continue
            origin = f"environment {PREFIX}{name.upper()}{suffix}"
            if suffix:
                text = _read_secret(text, origin, layer)
            if text:
                layer.put(name, text, origin)
    return layer


def _read_secret(path: str, origin: str, layer: Layer) -> str | None:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, RuntimeError) as exc:
        layer.faults.append(f"{origin}: cannot read {path}: {exc}")
        return None


def from_file(path: Path, fields: Collection[str]) -> Layer:
    """Read a YAML file.

    Its shape is ``feature_store: {path, optimizations: {...}, monitoring: {...},
    ...}``.
    """
    import yaml  # noqa: PLC0415 most processes are told all by arguments and the environment

    layer = Layer()
    try:
        document = yaml.load(path.expanduser().read_text(encoding="utf-8"), _no_duplicates())  # noqa: S506 a SafeLoader
    except yaml.MarkedYAMLError as exc:
        # Not the error's own text: it quotes the file, which may hold a secret.
        line = exc.problem_mark.line + 1 if exc.problem_mark else "?"
        layer.faults.append(f"file {path}, line {line}: not valid YAML: {exc.problem}")
        return layer
    except (OSError, UnicodeDecodeError, RuntimeError, yaml.YAMLError) as exc:
        layer.faults.append(f"file {path}: cannot be read: {exc}")
        return layer
    for section in _mapping(document, f"file {path}", layer):
        if section != _SECTION:
            layer.faults.append(f"file {path}: {section!r} is unknown; everything stands under {_SECTION!r}")
    if not layer.faults and document:
        _read_section(_mapping(document[_SECTION], f"file {path}, {_SECTION}", layer), path, fields, layer)
    return layer


def _read_section(section: Mapping[Any, Any], path: Path, fields: Collection[str], layer: Layer) -> None:
    for name, value in section.items():
        where = f"file {path}, {_SECTION}.{name}"
        if name in _GROUPS:
            group = _GROUPS[name]
            for inner, setting in _mapping(value, where, layer).items():
                if inner not in group:
                    layer.faults.append(f"{where}.{inner}: no such setting{nearest(str(inner), group)}")
                elif setting is not None:
                    layer.put(group[inner], setting, f"{where}.{inner}")
        elif name not in fields:
            layer.faults.append(f"{where}: no such setting{nearest(str(name), {*fields, *_GROUPS})}")
        elif value is not None:
            layer.put(name, value, where)


def _mapping(value: Any, where: str, layer: Layer) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    layer.faults.append(f"{where}: expected names with values, found {type(value).__name__}")
    return {}


def _no_duplicates() -> type[yaml.SafeLoader]:
    import yaml  # noqa: PLC0415 see from_file

    class NoDuplicates(yaml.SafeLoader):
        """A SafeLoader that refuses a name given twice; YAML itself would keep the last one without a word."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            """Build a mapping whose names are all different."""
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for name in names:
                if names.count(name) > 1:
                    raise yaml.constructor.ConstructorError(None, None, f"{name!r} is given twice", node.start_mark)
            return super().construct_mapping(node, deep)

    return NoDuplicates
