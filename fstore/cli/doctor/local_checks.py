"""What ``fstore doctor`` looks at that needs no server: settings, packages, folders, feature modules."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fstore.broker import read_schedules
from fstore.calling import noted_settings, watching_imports
from fstore.errors import ConfigurationError, StorageUnavailable
from fstore.features import load_feature_modules
from fstore.model import ObjectUrl
from fstore.runtime import tracing
from fstore.s3 import buckets_of
from fstore.settings import Settings, find_celery_overrides, folder_of, urls_of
from fstore.storage import Space, open_storage

PACKAGES = ("fstore", "workers", "beat")
LITTLE_SPACE_BYTES, NO_SPACE_BYTES = 2_000_000_000, 100_000_000
LITTLE_SPACE_SHARE = 0.05


class Severity(StrEnum):
    """How bad a finding is; only a fault makes ``fstore doctor`` fail."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    ``advice`` says what to do when it is not ok, ``figures`` are its measurements.
    """

    check: str
    level: Severity
    detail: str
    advice: str = ""
    figures: Mapping[str, object] = field(default_factory=dict)


def ok(check: str, detail: str) -> Finding:
    """Make a finding that all is well."""
    return Finding(check, Severity.OK, detail)


def warning(check: str, detail: str, advice: str) -> Finding:
    """Make a finding that may hurt."""
    return Finding(check, Severity.WARNING, detail, advice)


def fault(check: str, detail: str, advice: str) -> Finding:
    """Make a finding that has to be mended."""
    return Finding(check, Severity.FAULT, detail, advice)


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Tell which settings are in force, and whether Celery would replace some."""
    given = sum(origin != "default" for origin in settings.origins.values())
    yield ok("settings", f"no contradictions; {given} are not defaults ('fstore config --changed' shows them)")
    strangers = find_celery_overrides()
    for name, value in strangers.items():
        yield fault("celery variables", f"{name}={value} replaces fstore's broker without a word", f"unset {name}")
    if not strangers:
        yield ok("celery variables", "none that would replace fstore's broker")
    limit, visibility = settings.compute_time_limit_s, settings.visibility_timeout_s
    if visibility < 2 * limit:
        yield fault(
            "visibility timeout",
            f"{visibility:g} s is less than twice the compute limit of {limit:g} s: long tasks would run twice",
            "raise it",
        )
    else:
        yield ok("visibility timeout", f"{visibility:g} s, twice the compute limit of {limit:g} s")
    yield from _check_schedules(settings)
    if settings.trace_exporter is not None:
        yield from _check_exporter(settings.trace_exporter)
    if settings.hash_policy == "tail":
        yield warning(
            "hash policy",
            "'tail' does not see a correction inside the data",
            "set FEATURE_STORE_HASH_POLICY=full unless you know why not",
        )


def _check_schedules(settings: Settings) -> Iterator[Finding]:
    try:
        read_schedules(settings)
    except ConfigurationError as error:
        for text in error.faults:
            yield fault("schedules", text, "correct it: Beat refuses to start")
    else:
        yield ok("schedules", f"garbage at '{settings.gc_schedule}', integrity at '{settings.integrity_schedule}'")


def _check_exporter(name: str) -> Iterator[Finding]:
    try:
        tracing.find_exporter(name)
    except ConfigurationError as error:
        for text in error.faults:
            yield fault("trace exporter", text, "a worker refuses to start without it")
    else:
        yield ok("trace exporter", name)


def check_packages() -> Iterator[Finding]:
    """Tell where the three packages come from.

    A stranger's ``workers`` on the path would be imported in silence.
    """
    homes = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            yield fault(
                "packages", f"{name} cannot be imported", "install the project with: pip install intraday-fstore"
            )
        else:
            homes[name] = Path(spec.origin).parent.parent
            yield ok("packages", f"{name} from {Path(spec.origin).parent}")
    if len(set(homes.values())) > 1:
        advice = "rename the folders that hide the right ones, or take theirs off PYTHONPATH"
        yield fault("packages", "the three do not come from one installation", advice)


def check_features(settings: Settings) -> Iterator[Finding]:
    """Import every feature module as a worker does."""
    try:
        with watching_imports():
            known = load_feature_modules(settings.feature_modules)
    except ConfigurationError as error:
        for text in error.faults:
            yield fault("feature modules", text, "mend the import: a worker refuses to start without it")
        return
    yield ok("feature modules", f"{', '.join(settings.feature_modules) or 'none'}: {len(known)} features")
    yield from _check_settings_at_import(settings)


def _check_settings_at_import(settings: Settings) -> Iterator[Finding]:
    """Name what sets something for the whole process when it is imported.

    Libraries that only filter warnings are many.
    """
    for module, names in noted_settings().items():
        own = any(f"{feature}.".startswith(f"{module}.") for feature in settings.feature_modules)
        if own or set(names) != {"warnings"}:
            holds = "in workers it holds for its own features alone" if own else "in workers it does not hold"
            yield warning(
                "module settings",
                f"{module} sets {', '.join(names)} while it is imported",
                f"{holds}; set it inside the function that needs it, for example with pandas.option_context",
            )


def check_folder(settings: Settings) -> Iterator[Finding]:
    """Look at rights and free space of the store folder, and whether the data folders are there."""
    entries = open_storage(settings).entries
    for found in entries.diagnose():
        yield Finding("store folder", Severity(found.severity), found.detail, found.advice)
    if (space := entries.space()) is not None:
        yield _check_space(space)
    if settings.folder is None:
        yield from _check_bucket_settings(settings)
    for url in urls_of(settings.data_roots):
        yield _check_data_url(url, settings)
    for root in settings.data_roots:
        folder = folder_of(root)
        if folder is None:
            continue
        if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
            yield ok("data roots", f"{root} can be read")
        else:
            yield warning(
                "data roots", f"{root} cannot be read here", "mount it, or take it out of FEATURE_STORE_DATA_ROOTS"
            )


def _check_bucket_settings(settings: Settings) -> Iterator[Finding]:
    """Tell what a store in a bucket should have, and a folder need not."""
    if settings.cache_folder is None:
        yield warning(
            "local cache",
            "it is off, so that each hit of each process is a request",
            "take FEATURE_STORE_LOCAL_CACHE=off out, or give it a folder of this host's disk",
        )
    else:
        yield ok("local cache", f"each host downloads an entry once, into {settings.cache_folder}")
    if settings.gc_max_bytes is None:
        yield warning(
            "size of the store",
            "a bucket has no end, and FEATURE_STORE_GC_MAX_BYTES sets none",
            "set FEATURE_STORE_GC_MAX_BYTES to what may be paid for",
        )


def _check_data_url(url: ObjectUrl, settings: Settings) -> Finding:
    try:
        next(iter(buckets_of(settings).client(url.bucket).list(f"{url.key}/" if url.key else "", page_size=1)), None)
    except StorageUnavailable as error:
        return warning("data roots", str(error), f"{url} cannot be listed: see ops/s3/raw-data.json for the rights")
    return ok("data roots", f"{url} can be listed")


def _check_space(space: Space) -> Finding:
    text = f"{space.free_bytes / 1e9:.1f} GB free of {space.total_bytes / 1e9:.1f} GB"
    if space.free_bytes < NO_SPACE_BYTES:
        advice = "free space: results are computed but no longer stored; 'fstore gc' may help"
        return fault("free space", text, advice)
    if space.free_bytes < max(LITTLE_SPACE_BYTES, LITTLE_SPACE_SHARE * space.total_bytes):
        return warning("free space", text, "set FEATURE_STORE_GC_MAX_BYTES, or give the store more room")
    return ok("free space", text)
