"""Library versions in a feature's version, and what is told of what a version covers."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest

from fstore.cli.doctor import features as doctor_features
from fstore.errors import ConfigurationError, VersionMismatch
from fstore.features import libraries
from fstore.features import registry as features
from fstore.features.declarations import Feature
from fstore.features.libraries import with_libraries
from fstore.features.local_features import local
from fstore.features.lookup import MARK
from fstore.features.registry import feature, resolve_feature

PANDAS, NUMPY = importlib.metadata.version("pandas"), importlib.metadata.version("numpy")


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test register the function below anew."""
    monkeypatch.setattr(features, "_registry", {})
    monkeypatch.setattr(features, "_runs", {})


def vwap(raw: Any, config: Any) -> Any:
    """Be a feature."""
    return raw


def made(**options: Any) -> Feature:
    """Register the function with options, as if for the first time."""
    features._registry.clear()
    features._runs.clear()
    vars(vwap).pop(MARK, None)
    return resolve_feature(feature(**options)(vwap))


def test_versions_of_libraries_are_part_of_the_version():
    """A declared version tells the installed versions; a digest is followed by them."""
    assert made(version="1", libraries=["pandas", "numpy"]).version == f"1 [numpy=={NUMPY},pandas=={PANDAS}]"
    tracked = made(libraries=["numpy"])
    assert tracked.version == f"src:{tracked.source_digest[:32]} [numpy=={NUMPY}]"
    assert tracked.libraries == (("numpy", NUMPY),)


def test_order_case_and_kind_of_name_do_not_matter():
    """Distribution and import names, in any order and twice, give one version."""
    version = made(version="1", libraries=["PyYAML", "psycopg2-binary"]).version

    assert made(version="1", libraries=["psycopg2", "yaml", "pyyaml"]).version == version
    assert made(version="1", libraries=()).version == "1"


@pytest.mark.parametrize("version", ["1", None, "x" * 64])
def test_an_upgrade_makes_another_version(monkeypatch: pytest.MonkeyPatch, version: str | None):
    """Another installed version of a declared library is another version of the feature, long or short."""
    several = ["pandas", "numpy", "pyarrow", "redis", "celery"]
    before = [made(version=version, libraries=chosen).version for chosen in (["numpy"], several)]

    class Upgraded:
        name, version = "numpy", "99.0"

    plain = importlib.metadata.distribution
    monkeypatch.setattr(
        libraries.importlib.metadata, "distribution", lambda name: Upgraded if name == "numpy" else plain(name)
    )
    after = [made(version=version, libraries=chosen).version for chosen in (["numpy"], several)]

    assert len({*before, *after}) == 4
    assert all(len(version) <= 64 for version in (*before, *after))


def test_mismatch_names_the_library():
    """A trainer and a worker with different versions of a library are told which."""
    one, other = (with_libraries("1", (("ta", version),)) for version in ("0.10.2", "0.11.0"))

    assert "ta==0.10.2" in str(VersionMismatch("m:f", one, other))
    assert "ta==0.11.0" in str(VersionMismatch("m:f", one, other))


@pytest.mark.parametrize("names", [["no-such-library"], "pandas", 5, [5], [""], ["pandas", "../x"]])
def test_library_that_is_not_installed_is_refused(names: Any):
    """What is not installed, or is no list of names, has no version to add."""
    with pytest.raises(ConfigurationError, match="librar"):
        made(version="1", libraries=names)


def test_a_declared_version_cannot_look_like_one_with_libraries():
    """The form that ``libraries=`` writes cannot be written by hand."""
    with pytest.raises(ConfigurationError, match="libraries= writes"):
        made(version="1 [numpy==2.0]")
    assert made(version="1 [numpy]").version == "1 [numpy]"


def test_track_is_package_or_module():
    """An unknown reach is refused."""
    assert made(version="1").track == "package"
    assert made(version="1", track="module").track == "module"
    with pytest.raises(ConfigurationError, match="track must be"):
        made(version="1", track="all")


def test_local_features_take_libraries_too():
    """A function of one process names its libraries in the same way."""
    found = local(vwap, version="3", libraries=["numpy"], track="module")

    assert (found.version, found.track) == (f"3 [numpy=={NUMPY}]", "module")


def test_coverage_tells_modules_and_libraries():
    """A feature tells what its version covers and which imported libraries it does not name."""
    found = made(libraries=["pytest"]).coverage

    assert __name__ in found.modules
    assert dict(found.uncovered).keys() == set()
    assert "time zone" in found.never


def test_doctor_lists_every_feature():
    """The doctor says of each feature what changes its version; one whose source is unreadable is a warning."""
    made(version="1", libraries=["numpy"])
    space: dict[str, Any] = {"__name__": "fs_exec", "feature": feature}
    exec("@feature(version='1')\ndef unreadable(raw, config):\n    return raw\n", space)  # noqa: S102 our own text

    listed = {row["name"]: row for row in doctor_features.describe_features()}
    found = [(str(f.level), f.detail) for f in doctor_features.check_coverage()]

    assert listed[f"{__name__}:vwap"]["libraries"] == {"numpy": NUMPY}
    assert listed["fs_exec:unreadable"]["fault"]
    assert any(level == "ok" and f"changes with numpy {NUMPY}" in detail for level, detail in found)
    assert any(level == "warning" and "fs_exec:unreadable" in detail for level, detail in found)
    assert "time zone" in found[-1][1]
