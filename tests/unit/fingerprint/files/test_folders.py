"""A folder as raw data: all of it or a refusal, never a part of what other readers would find there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fstore.errors import FeatureStoreError, InvalidRequest, SourceChanged
from fstore.fingerprint import ParquetReader
from fstore.ingest import ingest
from fstore.model import ParquetSource


def write(path: Path, x: float) -> None:
    """One file of one row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"x": [x]}).to_parquet(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file, beside one that it may lead to."""
    write(tmp_path / "ticks/a.parquet", 1.0)
    write(tmp_path / "elsewhere/b.parquet", 2.0)
    write(tmp_path / "elsewhere/deep/c.parquet", 3.0)
    return tmp_path / "ticks"


def read(folder: Path) -> list[float]:
    """What a function would be given."""
    return list(ParquetReader(ParquetSource(folder)).table()["x"].to_pylist())


def test_linked_folders_and_files_are_read_as_pandas_does(folder: Path) -> None:
    """Months on another disk are part of the year, in whatever depth the links lie."""
    (folder / "b").symlink_to(folder.parent / "elsewhere")
    (folder / "deeper").mkdir()
    (folder / "deeper/again").symlink_to(folder.parent / "elsewhere/deep", target_is_directory=True)
    (folder / "z.parquet").symlink_to(folder.parent / "elsewhere/b.parquet")

    assert read(folder) == [1.0, 2.0, 3.0, 3.0, 2.0]
    assert sorted(read(folder)) == sorted(pd.read_parquet(folder)["x"])


def test_links_in_a_circle_end(folder: Path) -> None:
    """Directly, or through another folder."""
    (folder / "again").symlink_to(folder)
    with pytest.raises(InvalidRequest, match="again is a link to a folder that holds it"):
        read(folder)
    (folder / "again").unlink()
    (folder / "b").symlink_to(folder.parent / "elsewhere")
    (folder.parent / "elsewhere/back").symlink_to(folder)
    with pytest.raises(InvalidRequest, match="back is a link to a folder that holds it"):
        read(folder)


def unlistable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in it may not be looked into; root may, so the system's answer is made up."""
    (folder / "b").mkdir()
    scan = os.scandir

    def denied(path: Any) -> Any:
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)


PARTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "link to no file": (lambda at: (at / "b.parquet").symlink_to("/nowhere/b.parquet"), "is a link to nothing"),
    "link to no folder": (lambda at: (at / "b").symlink_to("/nowhere"), "is a link to nothing"),
    "link to itself": (
        lambda at: (at / "b.parquet").symlink_to(at / "b.parquet"),
        "cannot be looked at|link to nothing",
    ),
    "set aside": (lambda at: write(at / "_b.parquet", 2.0), "'_b.parquet' is not data"),
    "in a folder set aside": (lambda at: write(at / "_temporary/0/b.parquet", 2.0), "'_temporary' is not data"),
    "table of versions": (lambda at: write(at / "_delta_log/1.checkpoint.parquet", 2.0), "read tables of Delta"),
    "other letters": (lambda at: write(at / "b.PARQUET", 2.0), "b.PARQUET, a Parquet file of another name"),
    "other ending": (lambda at: write(at / "b.pq", 2.0), "b.pq, a Parquet file of another name"),
    "no ending": (lambda at: write(at / "part-0001", 2.0), "part-0001, a Parquet file of another name"),
}


@pytest.mark.parametrize("name", PARTS)
def test_what_others_read_or_leave_out_is_not_passed_over(name: str, folder: Path) -> None:
    """It is named, with what to do."""
    make, why = PARTS[name]
    make(folder)

    with pytest.raises(FeatureStoreError, match=why):
        read(folder)


def test_what_may_not_be_listed_is_not_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest would be taken for all of it."""
    unlistable(folder, monkeypatch)

    with pytest.raises(SourceChanged, match="b cannot be listed: Permission denied"):
        read(folder)


@pytest.mark.parametrize("name", [".b.parquet", ".tmp/b.parquet", "_SUCCESS", "_metadata", "README.txt", "b.crc"])
def test_what_is_no_data_is_left_out(name: str, folder: Path) -> None:
    """Notes, marks of writers, and what they have not finished."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"PAR1" if name == "_metadata" else b"notes")

    assert read(folder) == [1.0]


def csv(path: Path, x: float) -> None:
    """One file of one row, as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"x\n{x}\n")


TEXTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "archive": (lambda at: (at / "2024-03.zip").write_bytes(b"PK"), "2024-03.zip, which is not read: unpack it"),
    "packed otherwise": (
        lambda at: (at / "2024-03.csv.xz").write_bytes(b"\xfd7z"),
        "2024-03.csv.xz, which is not read",
    ),
    "set aside": (lambda at: csv(at / "_old/2024-03.csv", 3.0), "'_old' is not data"),
    "link to nothing": (lambda at: (at / "2024-03.csv").symlink_to("/nowhere.csv"), "is a link to nothing"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_ingest_passes_over_no_file(name: str, tmp_path: Path) -> None:
    """What it cannot take from a folder is named."""
    csv(tmp_path / "ticks/2024-01.csv", 1.0)
    make, why = TEXTS[name]
    make(tmp_path / "ticks")

    with pytest.raises(FeatureStoreError, match=why):
        ingest(tmp_path / "ticks", tmp_path / "out.parquet")


def test_ingest_follows_links(tmp_path: Path) -> None:
    """As reading does."""
    csv(tmp_path / "ticks/2024-01.csv", 1.0)
    csv(tmp_path / "elsewhere/2024-02.csv", 2.0)
    (tmp_path / "ticks/february").symlink_to(tmp_path / "elsewhere")

    ingest(tmp_path / "ticks", tmp_path / "out.parquet")

    assert pd.read_parquet(tmp_path / "out.parquet")["x"].tolist() == [1.0, 2.0]


def test_a_folder_is_read_from_wherever_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also as the folder one is in."""
    write(folder / "deep/b.parquet", 2.0)
    monkeypatch.chdir(folder)

    assert read(Path()) == read(folder) == [1.0, 2.0]
