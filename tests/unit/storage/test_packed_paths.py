"""Paths of entries that share a file: what they say, and what they are to those who do not know them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from fstore.storage.folder.entries import FolderEntries
from fstore.storage.layout import file_of, is_pack, key_of, keys_in_pack, new_pack, packed_at

KEY, OTHER = "a1" * 32, "b2" * 32
DATA = [(KEY, pa.py_buffer(b"one")), (OTHER, pa.py_buffer(b"other"))]


def test_a_path_says_where_in_which_file(tmp_path):
    """Key, file and offset come back from it; the file itself says its keys."""
    pack, paths, whole = new_pack(DATA)
    assert is_pack(pack)
    assert [packed_at(path) for path in paths] == [(pack, 0), (pack, 3)]
    assert [file_of(path) for path in paths] == [pack, pack]
    assert [key_of(path) for path in paths] == [KEY, OTHER]
    assert whole.to_pybytes().startswith(b"oneother")
    assert keys_in_pack(whole) == [KEY, OTHER]


@pytest.mark.parametrize("end", [b"", b"FSPACK01", b"\xff" * 8 + b"FSPACK01", b"5\x01" + bytes(7) + b"FSPACK01"])
def test_a_file_that_does_not_say_its_keys_has_none(end):
    """Whatever stands there."""
    assert keys_in_pack(pa.py_buffer(b"rot" + end)) == []


def test_only_the_end_of_a_pack_says_what_it_holds():
    """Whose last bytes are others', or whose lengths lead elsewhere, says nothing."""
    whole = new_pack(DATA)[2].to_pybytes()
    for wrong in (whole[:-1] + b"2", whole[:-8] + b"FSPACK02", whole + b"x", whole[:-1], whole[:-16]):
        assert keys_in_pack(pa.py_buffer(wrong)) == []
    assert keys_in_pack(pa.py_buffer(whole[whole.index(b"[") :])) == [KEY, OTHER], "whatever lies before"


def test_other_paths_are_no_packed_ones():
    """Another token, group, key, offset or anything around it: a path that leads nowhere."""
    pack, (path, _), _ = new_pack(DATA)
    token = pack[-21:-5]
    other = ("0" if token[0] != "0" else "1") + token[1:]
    assert packed_at(path) is not None
    for wrong in (
        path.replace(f"/{token[0]}/", "/g/"),
        path.replace(f"/{token[0]}/", f"/{other[0]}/"),
        path.replace(f"/{token}.pack", f"/{other}.pack"),
        path.replace(f".{token}-", f".{other}-"),
        path.replace(KEY, KEY[:-1]),
        path.replace("-0.parquet", "--1.parquet"),
        path.replace("-0.parquet", "-00.parquet"),
        path.replace("-0.parquet", ".parquet"),
        path.replace("entries/packs", "entries/packs/.."),
        f"../{path}",
        f"{path}/",
        f"{path}\n",
        pack,
        f"entries/a1/{KEY}.0123456789abcdef.parquet",
    ):
        assert packed_at(wrong) is None
        assert file_of(wrong) == wrong
    assert not is_pack(path)


def test_a_version_that_knows_no_packs_meets_an_outage(tmp_path):
    """Not a missing file, for which it would hide the entry: the system says that it cannot look there."""
    entries = FolderEntries(tmp_path)
    entries.create("store")
    path: Path = tmp_path / entries.publish_together(DATA)[0].path
    for act in (path.open, path.stat, path.unlink, lambda: path.replace(tmp_path / "quarantine" / path.name)):
        with pytest.raises(NotADirectoryError):
            act()
    assert path.parent.is_file()
