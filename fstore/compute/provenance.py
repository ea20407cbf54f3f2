"""What an entry was computed by.

The versions recorded with it, and how they compare with what is here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from fstore.errors import InvalidRequest
from fstore.features import Feature, imported_libraries, installed_version, source_format
from fstore.increments import numeric_environment
from fstore.model import Entry
from fstore.runtime.versions import library_versions

FORMAT_FIELD = "source_format"
_FIRST_FORMAT = "fstore-source-1"  # of entries that do not say


MOST_KNOWN = 10_000

_known: dict[tuple[str, str, str], Mapping[str, str]] = {}


def versions_of(feature: Feature) -> Mapping[str, str]:
    """Return what computes this feature here.

    Python and libraries, what its module imports, and the format of its source digest. Looked up once for each
    source: what a process has loaded stays as it was, whatever is installed meanwhile.
    """
    if not feature.source_digest:
        return _versions_of(feature)
    mark = feature.name, feature.version, feature.source_digest
    found = _known.get(mark)
    if found is None:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        found = _known[mark] = _versions_of(feature)
    return found


def _versions_of(feature: Feature) -> Mapping[str, str]:
    return {**imported_libraries(feature.func, feature.source), **library_versions(), FORMAT_FIELD: source_format()}


def numerics_of(feature: Feature) -> str:
    """Say in canonical JSON what the last bits of this feature's numbers depend on here.

    Libraries, BLAS, processor.
    """
    own = {name: found for name, found in versions_of(feature).items() if name not in (FORMAT_FIELD, "fstore")}
    return json.dumps({**own, **json.loads(numeric_environment())}, sort_keys=True, separators=(",", ":"))


def check_numerics(asked: str, feature: Feature) -> None:
    """Raise ``InvalidRequest`` unless what is here is what a feature is asked to be computed by.

    It tells the differences; nothing may be asked for.
    """
    if not asked or asked == (here := numerics_of(feature)):
        return
    try:
        wanted = {str(name): str(text) for name, text in json.loads(asked).items()}
    except (ValueError, AttributeError) as error:
        raise InvalidRequest("numerics", f"they are no JSON of names and texts: {error}") from error
    have = json.loads(here)
    apart = [
        f"{name} {wanted.get(name, 'none')} (here {have.get(name, 'none')})"
        for name in sorted({*wanted, *have})
        if wanted.get(name) != have.get(name)
    ]
    raise InvalidRequest(
        "numerics",
        f"FEATURE_STORE_PIN_NUMERICS asks for results of {', '.join(apart)}; give trainers and workers the same libraries "
        "and kind of processor, a queue of their own (queue=) to each kind, or leave the setting off",
    )


def format_of(entry: Entry) -> str:
    """Return the format of an entry's source digest: digests of different formats cannot be compared."""
    return entry.library_versions.get(FORMAT_FIELD, _FIRST_FORMAT)


def are_comparable(digest: str, other: str) -> bool:
    """Tell whether two source digests are known and of one kind.

    What stands before a colon names another than the usual.
    """
    return bool(digest and other) and digest.rpartition(":")[0] == other.rpartition(":")[0]


def differing_versions(entry: Entry) -> dict[str, tuple[str, str | None]]:
    """Return the libraries that an entry was computed by in other versions than are here, with both.

    None is not installed.
    """
    recorded = {name: found for name, found in entry.library_versions.items() if name != FORMAT_FIELD}
    here = {name: library_versions().get(name) or installed_version(name) for name in recorded}
    return {name: (found, here[name]) for name, found in recorded.items() if found != here[name]}
