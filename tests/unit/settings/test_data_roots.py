"""Folders with names: one file is one path on every host, and folders without names are what they were."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pandas as pd
import pytest

from fstore.compute import raw_data
from fstore.errors import ConfigurationError, SourceChanged, SourceNotAllowed
from fstore.fingerprint.identification import identify
from fstore.model import Fingerprint, ParquetSource
from fstore.settings.data_roots import NamedRoot, path_here, sent_path
from fstore.settings.loading import child_environment, gather_settings
from fstore.settings.schema import Settings
from fstore.storage.folder.staging import FolderStaging


def settings(text: str, path: Path = Path("/store")) -> Settings:
    return gather_settings({"path": path}, environ={"FEATURE_STORE_DATA_ROOTS": text})


def written(folder: Path) -> tuple[ParquetSource, Fingerprint]:
    file = folder / "2024" / "es.parquet"
    file.parent.mkdir(parents=True)
    pd.DataFrame({"bid": [1.0, 2.0]}).to_parquet(file)
    source = ParquetSource(file)
    return source, identify(source, threshold_bytes=0, policy="full").fingerprint


def test_a_name_is_given_before_the_folder():
    chosen = settings("ticks=/mnt/ticks, /other,more=~/x")
    assert chosen.data_roots == (
        NamedRoot("ticks", Path("/mnt/ticks")),
        Path("/other"),
        NamedRoot("more", Path("~/x").expanduser()),
    )
    again = gather_settings(environ=child_environment(chosen, environ={}))
    assert again.data_roots == chosen.data_roots
    assert gather_settings({"data_roots": {"ticks": "/mnt/ticks"}}, environ={}).data_roots == chosen.data_roots[:1]


@pytest.mark.parametrize("text", ["/a=b", "year=2024", "c=/x", "/x/ticks=/y", "2=/x", "-a=/x"])
def test_a_folder_without_a_name_is_what_it_was(text: str):
    assert settings(text).data_roots == (Path(text).absolute(),)


def test_a_name_belongs_to_one_folder():
    with pytest.raises(ConfigurationError, match="'ticks' is given to two folders"):
        settings("ticks=/a,ticks=/b")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/mnt/ticks/2024/es.parquet", "ticks:2024/es.parquet"),
        ("/mnt/ticks", "ticks:."),
        ("/mnt/ticks/deep/es.parquet", "deep:es.parquet"),
        ("/mnt/ticks2/es.parquet", "/mnt/ticks2/es.parquet"),
        ("/other/es.parquet", "/other/es.parquet"),
        ("/elsewhere/a:b.parquet", "/elsewhere/a:b.parquet"),
        ("/mnt/ticks/../secret.parquet", "/mnt/ticks/../secret.parquet"),
    ],
)
def test_the_innermost_named_root_names_a_path(path: str, sent: str):
    roots = settings("ticks=/mnt/ticks,/other,deep=/mnt/ticks/deep").data_roots
    assert sent_path(Path(path), roots) == sent
    assert path_here(sent, roots) == Path(path)


def test_a_path_of_windows_is_the_same_file_elsewhere():
    there = PureWindowsPath(r"D:\ticks\2024\es.parquet")
    roots = (NamedRoot("ticks", PureWindowsPath("D:/ticks")),)  # type: ignore[arg-type]
    assert sent_path(there, roots) == "ticks:2024/es.parquet"
    assert sent_path(there, ()) == "D:/ticks/2024/es.parquet"


def test_a_link_to_a_root_is_that_root(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    roots = (NamedRoot("ticks", tmp_path / "real"),)
    assert sent_path(tmp_path / "link" / "es.parquet", roots) == "ticks:es.parquet"


@pytest.mark.parametrize("wanted", ["pandas", "dataset"])
def test_a_worker_reads_what_a_trainer_elsewhere_named(wanted: str, tmp_path: Path):
    source, taken = written(tmp_path / "trainer")
    (tmp_path / "trainer").rename(tmp_path / "worker")
    trainers, workers = settings(f"ticks={tmp_path / 'trainer'}"), settings(f"ticks={tmp_path / 'worker'}")
    staging = FolderStaging(tmp_path / "store")
    sent = raw_data.stage_raw(staging, source, taken, roots=trainers.data_roots)
    assert sent.path == "ticks:2024/es.parquet"
    loaded = raw_data.read_raw(sent, staging, workers, taken, wanted=wanted)
    value = loaded.value if wanted == "pandas" else loaded.value.to_table().to_pandas()
    assert list(value["bid"]) == [1.0, 2.0]
    loaded.settle(value)


@pytest.mark.parametrize("wanted", ["pandas", "dataset"])
def test_errors_speak_of_the_name(wanted: str, tmp_path: Path):
    source, taken = written(tmp_path)
    source.path.write_bytes(b"no Parquet at all")
    chosen = settings(f"ticks={tmp_path}")
    staging = FolderStaging(tmp_path / "store")
    sent = raw_data.stage_raw(staging, source, taken, roots=chosen.data_roots)
    with pytest.raises(SourceChanged) as changed:
        raw_data.read_raw(sent, staging, chosen, taken, wanted=wanted)
    assert changed.value.path == "ticks:2024/es.parquet"


def test_errors_of_a_file_in_a_folder_speak_of_the_name(tmp_path: Path):
    """A file of a folder that no reader can open is told below the folder's name, not by the worker's path."""
    source, _ = written(tmp_path)
    folder = ParquetSource(source.path.parent)
    taken = identify(folder, threshold_bytes=0, policy="full").fingerprint
    source.path.write_bytes(b"no Parquet at all")
    chosen = settings(f"ticks={tmp_path}")
    staging = FolderStaging(tmp_path / "store")
    sent = raw_data.stage_raw(staging, folder, taken, roots=chosen.data_roots)
    with pytest.raises(SourceChanged) as changed:
        raw_data.read_raw(sent, staging, chosen, taken, wanted="pandas")
    assert changed.value.path == "ticks:2024/es.parquet"


@pytest.mark.parametrize("path", ["other:es.parquet", "ticks:../secret.parquet", "ticks:/etc/passwd"])
def test_a_name_leads_nowhere_else(path: str, tmp_path: Path):
    (tmp_path / "secret.parquet").touch()
    (tmp_path / "ticks").mkdir()
    chosen = settings(f"ticks={tmp_path / 'ticks'}")
    with pytest.raises(SourceNotAllowed, match="ticks="):
        raw_data.allowed_path(path, FolderStaging(tmp_path / "store"), chosen)
