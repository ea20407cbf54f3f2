"""What a worker compares before it computes for somebody else, and what is recorded of the code that computed."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import pickle
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore import intraday
from fstore.broker.messages import ComputeRequest, parse_compute, parse_publish
from fstore.client.explanation import Explanation, differences
from fstore.compute import planning, provenance
from fstore.compute.failures import error_of, is_anothers_refusal, note_of
from fstore.errors import InvalidRequest, VersionMismatch
from fstore.features import libraries
from fstore.features import registry as features
from fstore.features.coverage import imported_libraries, source_of
from fstore.features.declarations import Feature
from fstore.features.source.digest import source_format
from fstore.model import Entry, EntryState, Fingerprint, HashMethod, KeyParts
from fstore.settings.loading import gather_settings
from fstore.settings.schema import Settings

OLD, NEW = "a" * 64, "b" * 64


def explicit(raw: Any, config: Any) -> Any:
    """Return the raw data."""
    return raw


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test change a copy of the registry, and be the first that is told."""
    monkeypatch.setattr(features, "_registry", dict(features._registry))
    planning._said.clear()


def worker_runs(digest: str, *, version: str = "1", kind: Any = "pandas", written: float | None = 2e9) -> Feature:
    """Register a feature as this process's, with the source that is given."""
    known = Feature("unit:scaled", explicit, version, digest, True, kind, written)
    features._registry[known.name] = known
    return known


def asked(**fields: Any) -> ComputeRequest:
    """Return a request whose fingerprint is known, so that planning it touches no data."""
    given = {
        "symbol": "A", "feature": "unit:scaled", "raw_data": {"kind": "staged", "path": "x"}, "feature_version": "1",
        "fingerprint": str(Fingerprint(HashMethod.FULL, "0" * 64)), "hash_method": "full",
        "source_digest": NEW, "source_format": source_format(), "input": "pandas", **fields,
    }  # fmt: skip
    return parse_compute({name: value for name, value in given.items() if value is not None})


def plan(request: ComputeRequest, *, on_source_change: str = "refuse") -> planning.Computation:
    resources: Any = SimpleNamespace(settings=SimpleNamespace(on_source_change=on_source_change))
    return planning.plan(resources, request)


@pytest.fixture(autouse=True)
def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what was registered by name as it is; whether the name leads to it is another test's."""
    monkeypatch.setattr(planning, "resolve_feature", lambda name: features._registry[name])


def test_other_source_under_one_version_is_refused() -> None:
    """Both sides' digests are in the error."""
    worker_runs(OLD)

    with pytest.raises(VersionMismatch) as caught:
        plan(asked())

    assert caught.value.asked_code["source_digest"] == NEW
    assert caught.value.found_code["source_digest"] == OLD


@pytest.mark.parametrize(
    "fields",
    [
        {"source_digest": OLD},
        {"source_digest": None, "source_format": None, "input": None},
        {"source_format": "fstore-source-of-another-release"},
        {"on_source_change": "warn"},
    ],
    ids=["same", "a plain client", "another format", "the caller accepts it"],
)
def test_what_is_the_same_unknown_or_accepted_is_computed(fields: dict[str, Any]) -> None:
    """Nothing is refused on a guess; what the caller said stays in the request that others may send again."""
    worker_runs(OLD)

    work = plan(asked(**fields))

    assert work.request.source_digest == fields.get("source_digest", NEW)


def test_a_digest_without_its_format_is_compared() -> None:
    """A plain client may give the digest alone."""
    worker_runs(OLD)

    with pytest.raises(VersionMismatch):
        plan(asked(source_format=None))


def test_a_worker_may_accept_other_source_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    """``FEATURE_STORE_ON_SOURCE_CHANGE=warn`` of the worker."""
    worker_runs(OLD)

    with caplog.at_level(logging.WARNING, "fstore.planning"):
        plan(asked(), on_source_change="warn")
        plan(asked(), on_source_change="warn")

    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("worker", "fields", "reason"),
    [
        ("", {}, "cannot be read by this worker"),
        (OLD, {"source_digest": None, "source_format": None}, "cannot be read by the caller"),
        (OLD, {"source_format": "fstore-source-of-another-release"}, "digested in another way"),
    ],
)
def test_what_cannot_be_compared_is_computed_and_said_once(
    worker: str, fields: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing to compare, the version has to do."""
    worker_runs(worker)

    with caplog.at_level(logging.WARNING, "fstore.planning"):
        plan(asked(**fields))
        plan(asked(**fields))

    (record,) = caplog.records
    assert reason in record.getMessage()


def test_nothing_is_said_of_plain_clients_and_of_the_same_source(caplog: pytest.LogCaptureFixture) -> None:
    """The one runs nothing, the other runs this."""
    worker_runs(OLD)

    with caplog.at_level(logging.WARNING, "fstore.planning"):
        plan(asked(source_digest=None, source_format=None, input=None))
        plan(asked(source_digest=OLD))

    assert not caplog.records


def test_another_input_is_refused_even_where_no_source_can_be_read() -> None:
    """The function would be given another kind of object than the caller's is."""
    worker_runs("", kind="arrow")

    with pytest.raises(VersionMismatch, match=r"input='arrow', the caller's input='pandas'"):
        plan(asked(source_digest=None, source_format=None))


@pytest.mark.parametrize(
    ("caller", "worker", "told"),
    [
        (2_000.0, 1_000.0, "the worker is older"),
        (1_000.0, 2_000.0, "the caller is older"),
        (1_000.0, 1_000.0, "they are equally old"),
        (None, 1_000.0, None),
        (1_000.0, None, None),
    ],
)
@pytest.mark.parametrize("version", ["1", "2"])
def test_the_error_says_which_side_is_older(
    caller: float | None, worker: float | None, told: str | None, version: str
) -> None:
    """By the times of the files; where one is unknown nothing is said of it."""
    worker_runs(OLD, version=version, written=worker)

    with pytest.raises(VersionMismatch) as caught:
        plan(asked(source_time=caller))

    text = str(caught.value)
    assert told in text if told else "older (" not in text and "of 1970" not in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text
    assert str(error_of("k", note_of(caught.value))) == text


def test_a_mismatch_of_versions_alone_is_what_it_was() -> None:
    """Whoever builds it from three arguments, or reads them, still may."""
    plain = VersionMismatch("m:f", "2", "1")

    assert plain.args == ("m:f", "2", "1")
    assert str(plain) == (
        "feature 'm:f': the caller asked for version '2', this worker runs '1'; deploy the same code to trainers and workers"
    )


def test_a_refusal_concerns_only_those_who_run_the_refused_source() -> None:
    """A note on a job is read by everybody who shares the key."""
    worker_runs(OLD)
    with pytest.raises(VersionMismatch) as caught:
        plan(asked())
    note = note_of(caught.value)

    assert not is_anothers_refusal(note, asked())
    assert is_anothers_refusal(note, asked(source_digest=OLD))
    assert is_anothers_refusal(note, asked(source_digest=None))
    assert is_anothers_refusal(note, asked(input="arrow"))
    assert is_anothers_refusal(note, asked(on_source_change="warn"))
    assert not is_anothers_refusal(note_of(VersionMismatch("m:f", "2", "1")), asked(source_digest=OLD))
    assert not is_anothers_refusal(note_of(ValueError("x")), asked(source_digest=OLD))


@pytest.mark.parametrize(
    "fields",
    [{"source_digest": "x" * 129}, {"input": "polars"}, {"on_source_change": "ignore"}, {"source_time": -1}, {"source_time": 1e300}],
)  # fmt: skip
def test_fields_outside_their_bounds_are_refused(fields: dict[str, Any]) -> None:
    """As every other field is."""
    with pytest.raises(InvalidRequest) as caught:
        asked(**fields)

    assert caught.value.field == next(iter(fields))


def test_requests_of_earlier_versions_are_read() -> None:
    """A job's row may have been written before requests said anything of the source; nothing unset goes on the wire."""
    old = {"symbol": "A", "feature": "m:f", "raw_data": "/x.parquet", "feature_version": "1"}

    wire = parse_compute(old).wire()

    assert not {"source_digest", "source_format", "source_time", "input", "on_source_change"} & set(wire)
    publish = {
        "key": "a" * 64, "attempt": 1, "owner": "o", "symbol": "A", "feature": "m:f", "feature_version": "1",
        "source_digest": "", "canonical_config": "{}", "fingerprint": "f", "hash_method": "full", "staged_path": "p",
        "compute_seconds": 0.1,
    }  # fmt: skip
    assert parse_publish(publish).library_versions is None
    with pytest.raises(InvalidRequest, match="library_versions"):
        parse_publish(publish | {"library_versions": {"pandas": "1\0"}})


def test_the_setting_refuses_unless_told_otherwise() -> None:
    """Two values, and the variable of every setting."""
    assert Settings().on_source_change == "refuse"
    assert gather_settings(environ={"FEATURE_STORE_ON_SOURCE_CHANGE": "warn"}).on_source_change == "warn"
    with pytest.raises(fstore.ConfigurationError, match="on_source_change"):
        gather_settings(environ={"FEATURE_STORE_ON_SOURCE_CHANGE": "ignore"})


def entry(digest: str, **versions: str) -> Entry:
    """Return an entry that was computed by this source and these libraries."""
    return Entry(
        key="k" * 64, parts=KeyParts("A", "unit:scaled", "1", "{}", "f"), hash_method=HashMethod.FULL, source_digest=digest,
        path="p", rows=1, file_size_bytes=1, content_digest="c", start_ts=None, end_ts=None, compute_seconds=0.1,
        library_versions=versions, state=EntryState.LIVE, attempt=1, created_ts=datetime(2026, 11, 27, tzinfo=UTC),
        condemned_ts=None, verified_ts=None,
    )  # fmt: skip


def explained(found: Entry, feature: Feature) -> Explanation:
    return Explanation(
        found.key, True, "live", found.parts, "full", found, None, None, None, None, None, None,
        feature.source_digest, differences(found, feature),
    )  # fmt: skip


def test_differences_name_only_what_is_known_of_both() -> None:
    """A library that was not recorded, and a source of another format, are left out."""
    here = worker_runs(NEW)
    same = provenance.library_versions()

    assert differences(entry(NEW, **same), here) == {}
    assert set(differences(entry(OLD, **same | {"numpy": "1.0", "source_format": source_format()}), here)) == {
        "source",
        "numpy",
    }
    assert differences(entry(OLD, **same, source_format="other"), here) == {}
    assert differences(entry("", **same, source_format=source_format()), here) == {}
    assert differences(entry(OLD, **same, source_format=source_format()), replace(here, version="2")) == {}


def test_an_explanation_tells_when_nobody_knows_whose_source_it_was() -> None:
    """True, false or unknown, in the text and as JSON."""
    here, recorded = worker_runs(NEW), {"source_format": source_format()}
    told = {digest: explained(entry(digest, **recorded), here) for digest in (NEW, OLD, "")}

    assert [each.same_source for each in told.values()] == [True, False, None]
    assert [json.loads(json.dumps(each.as_dict()))["same_source"] for each in told.values()] == [True, False, None]
    assert "other source" in str(told[OLD])
    assert "cannot be compared" in str(told[""])
    assert "source" not in str(told[NEW])


FEATURES = """
    import os.path
    import pandas as pd
    from . import helpers

    def feature(raw, config):
        import pyarrow.compute as pc
        return helpers.smooth(raw)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of an author: a feature, a helper, and a module beside it that the helper uses."""
    import importlib
    import textwrap

    (tmp_path / "desk_pkg").mkdir()
    (tmp_path / "desk_pkg" / "__init__.py").write_text("")
    (tmp_path / "desk_pkg" / "feats.py").write_text(textwrap.dedent(FEATURES))
    (tmp_path / "desk_pkg" / "helpers.py").write_text("import desk_shared\nimport yaml\ndef smooth(raw): return raw\n")
    (tmp_path / "desk_shared.py").write_text("import redis.client\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield importlib.import_module("desk_pkg.feats")
    for name in ("desk_pkg.feats", "desk_pkg.helpers", "desk_pkg", "desk_shared"):
        sys.modules.pop(name, None)


def test_imported_libraries_are_those_of_the_authors_modules(package: Any) -> None:
    """Within functions, through relative imports and modules beside; under the names of their distributions."""
    found = imported_libraries(package.feature, source_of(package.feature))

    assert set(found) == {"pandas", "pyarrow", "PyYAML", "redis"}
    assert found["pandas"] == pd.__version__


def test_libraries_of_a_feature_of_fstore_are_not_those_of_fstore() -> None:
    """Celery and the like do not change its numbers; what is always recorded stays."""
    versions = provenance.versions_of(intraday.vwap_bands.__fstore_feature__)

    assert {"python", "fstore", "pandas", "numpy", "pyarrow", "source_format"} <= set(versions)
    assert "celery" not in versions


@pytest.mark.parametrize("func", [len, lambda raw, config: raw, explicit, pd.DataFrame])
def test_libraries_are_told_or_left_out_never_an_error(func: Any) -> None:
    """Whatever is computed can be published."""
    assert isinstance(dict(imported_libraries(func, source_of(func))), dict)


def test_the_time_of_a_source_is_that_of_its_youngest_file_when_it_was_loaded(package: Any, tmp_path: Path) -> None:
    """An edit of a helper alone makes it younger, a later deployment does not; files without a time have none."""
    path, helper = tmp_path / "desk_pkg" / "feats.py", tmp_path / "desk_pkg" / "helpers.py"
    for each in tmp_path.rglob("*.py"):
        os.utime(each, (1_600_000_000, 1_600_000_000))
    os.utime(helper, (1_700_000_000, 1_700_000_000))
    local = fstore.local(package.feature, version="1")
    os.utime(path, (1_800_000_000, 1_800_000_000))

    assert local.source_time == 1_700_000_000
    for each in tmp_path.rglob("*.py"):
        os.utime(each, (315_532_800, 315_532_800))
    assert source_of(package.feature).written is None
    assert source_of(len).written is None


def test_digests_of_compiled_code_are_compared_with_their_like() -> None:
    """A lambda has no source of its own; what it does and holds is compared, within one version of the interpreter."""
    first, again, other = (
        fstore.local(func, version="1", name="x")
        for func in (lambda raw, config: raw * 2, lambda raw, config: raw * 2, lambda raw, config: raw * 3)
    )

    assert first.source_digest == again.source_digest != other.source_digest
    assert provenance.are_comparable(first.source_digest, other.source_digest)
    assert not provenance.are_comparable(first.source_digest, NEW)
    assert not provenance.are_comparable("", NEW)


def test_no_library_is_looked_up_twice(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing a result asks the environment once for each function."""
    imported_libraries(package.feature, source_of(package.feature))
    monkeypatch.setattr(importlib.metadata, "packages_distributions", pytest.fail)

    imported_libraries(package.feature, source_of(package.feature))


def test_broken_records_of_an_environment_cost_no_result(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody can tell is left out of the entry."""

    def broken(name: str) -> str:
        raise OSError("too many open files")

    monkeypatch.setattr(libraries, "installed_version", broken)

    assert imported_libraries(package.feature, source_of(package.feature)) == {}
