"""What ``fstore doctor`` tells of each feature: what its version covers, and what not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fstore.cli.doctor.local_checks import Finding, ok, warning
from fstore.features import NEVER_COVERED, Coverage, Feature, registered_features


def describe_features() -> list[dict[str, Any]]:
    """Return the JSON form of what each feature's version covers."""
    return [_described(feature, feature.coverage) for feature in registered_features().values()]


def check_coverage() -> Iterator[Finding]:
    """List what changes each feature's version, and what nobody but its author can tell."""
    for feature in registered_features().values():
        found = feature.coverage
        if found.fault:
            advice = "raise version= by hand with every edit; an edit of the source cannot be noticed"
            yield warning(
                "feature", f"{feature.name}: version {feature.version}; source unreadable: {found.fault}", advice
            )
        else:
            yield ok("feature", f"{feature.name}: {_line(feature, found)}")
    yield ok("features", f"no version covers {NEVER_COVERED}")


def _line(feature: Feature, found: Coverage) -> str:
    how = "is raised by hand, edits are noticed in" if feature.explicit else "changes with"
    parts = [f"version {feature.version} {how} {', '.join(found.modules)}"]
    if feature.libraries:
        parts.append(f"changes with {_written(feature.libraries)}")
    parts.append(f"not with {_written(found.uncovered)}" if found.uncovered else "imports no other library")
    return "; ".join(parts)


def _written(libraries: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries)


def _described(feature: Feature, found: Coverage) -> dict[str, Any]:
    return {
        "name": feature.name,
        "version": feature.version,
        "explicit": feature.explicit,
        "track": feature.track,
        "source_digest": feature.source_digest,
        "modules": list(found.modules),
        "libraries": dict(feature.libraries),
        "uncovered_libraries": dict(found.uncovered),
        "fault": found.fault,
        "never_covered": found.never,
    }
