"""Raw data of many requests in one file: each is found by a path of its own, and goes wrong by itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.broker.messages import ComputeRequest, RawReference, in_chunks
from fstore.compute.raw_data import Reader, read_raw, stage_raw_together
from fstore.errors import SourceChanged, SourceNotAllowed
from fstore.fingerprint.identification import content_digest, identify
from fstore.fingerprint.sources import FrameInput
from fstore.model import Fingerprint
from fstore.settings import Settings
from fstore.storage import layout
from fstore.storage.folder.staging import FolderStaging
from fstore.storage.layout import STAGED_NAME, key_of, raw_part_at
from fstore.storage.packed import raw_parts

FRAMES = [pd.DataFrame({"price": np.arange(50.0 + n), "size": np.arange(50 + n)}) for n in range(5)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(path=tmp_path)


@pytest.fixture
def staging(tmp_path: Path) -> FolderStaging:
    return FolderStaging(tmp_path)


def staged(staging: FolderStaging) -> list[tuple[RawReference, Fingerprint]]:
    """Stage all frames as one file."""
    taken = [(FrameInput(frame), identify(frame, threshold_bytes=1 << 20).fingerprint) for frame in FRAMES]
    return list(zip(stage_raw_together(staging, taken), (mark for _, mark in taken), strict=True))


def test_each_is_read_by_its_own_path_out_of_one_file(staging: FolderStaging, settings: Settings) -> None:
    """Which the name of the path tells, and upkeep finds like any other."""
    found = staged(staging)

    (file,) = [file for listing in staging.list_staged() for file in listing.files]
    assert STAGED_NAME.fullmatch(Path(file.path).name)
    for (reference, mark), frame in zip(found, FRAMES, strict=True):
        part = raw_part_at(reference.path)
        assert part is not None
        assert part.path == file.path
        assert part.offset % 64 == 0
        assert key_of(reference.path) == mark.digest
        assert staging.exists(reference.path)
        read = read_raw(reference, staging, settings, mark, wanted="pandas")
        pd.testing.assert_frame_equal(read.value, frame)


def test_a_chunk_reads_the_file_once(
    staging: FolderStaging, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads one after the other."""
    found = staged(staging)
    opened = FolderStaging._opened
    read: list[str] = []
    monkeypatch.setattr(FolderStaging, "_opened", lambda area, path: read.append(path) or opened(area, path))
    reader = Reader(staging, settings)
    for (reference, mark), frame in zip(found, FRAMES, strict=True):
        pd.testing.assert_frame_equal(reader.read(reference, mark, wanted="pandas").value, frame)
    assert len(read) == 1


def test_one_that_is_damaged_leaves_the_others(staging: FolderStaging, settings: Settings, tmp_path: Path) -> None:
    """Nobody gets other bytes than those that were fingerprinted, and the file stays for its neighbours."""
    found = staged(staging)
    part = raw_part_at(found[1][0].path)
    assert part is not None
    file = tmp_path / part.path
    data = bytearray(file.read_bytes())
    at = data.index(np.float64(49.0).tobytes(), part.offset)
    data[at] ^= 1
    file.chmod(0o640)
    file.write_bytes(bytes(data))

    reader = Reader(staging, settings)
    for number, (reference, mark) in enumerate(found):
        if number == 1:
            with pytest.raises(SourceChanged):
                reader.read(reference, mark, wanted="pandas")
        else:
            pd.testing.assert_frame_equal(reader.read(reference, mark, wanted="pandas").value, FRAMES[number])
    staging.discard(found[0][0].path)
    assert file.exists()


def test_a_path_that_names_another_part_is_refused(staging: FolderStaging, settings: Settings) -> None:
    """The digest decides, whatever offset and length a message says."""
    (one, mark), (other, _) = staged(staging)[:2]
    mine, others = raw_part_at(one.path), raw_part_at(other.path)
    assert mine is not None and others is not None
    for offset, length in (
        (others.offset, others.length), (mine.offset, mine.length - 8), (mine.offset + 8, mine.length), (10**9, 10),
    ):  # fmt: skip
        path = one.path.replace(f"-{mine.offset}-{mine.length}.", f"-{offset}-{length}.")
        assert raw_part_at(path) == (mine.path, offset, length)
        with pytest.raises(SourceChanged):
            read_raw(RawReference(kind="staged", path=path), staging, settings, mark, wanted="arrow")


def test_a_file_that_is_gone_or_a_link_is_told_like_any(staging: FolderStaging, tmp_path: Path) -> None:
    """By the path that was asked for."""
    reference, _ = staged(staging)[0]
    part = raw_part_at(reference.path)
    assert part is not None
    aside = tmp_path / "aside"
    (tmp_path / part.path).rename(aside)
    assert not staging.exists(reference.path)
    with pytest.raises(SourceChanged) as gone:
        staging.read(reference.path)
    assert gone.value.path == reference.path
    (tmp_path / part.path).symlink_to(aside)
    with pytest.raises(SourceNotAllowed):
        staging.read(reference.path)
    with pytest.raises(SourceNotAllowed):
        staging.read(reference.path.replace("staging/raw", "staging/../raw"))


def test_chunks_keep_the_parts_of_a_file_together(staging: FolderStaging) -> None:
    """A chunk that takes some of two files reads both."""
    paths = [
        layout.new_raw_parts([(content_digest(frame), pa.py_buffer(b"x" * 70)) for frame in FRAMES])[1]
        for _ in range(3)
    ]
    requests = [
        ComputeRequest(symbol="A", feature="a:b", raw_data=RawReference(kind="staged", path=path))
        for path in [each[at] for at in range(5) for each in paths]
    ]
    (chunk,) = in_chunks(requests, per_item_s=0.0)
    files = [part.path for one in chunk if (part := raw_part_at(one.raw_data.path)) is not None]
    assert len(files) == 15
    assert sum(one != other for one, other in pairwise(files)) == 2


def test_a_file_is_full_at_some_megabytes(staging: FolderStaging) -> None:
    """Texts may be of any length; what was written is not held until all is."""
    tables = [pa.table({"x": ["y" * (raw_parts.FILE_BYTES // 2)]}) for _ in range(3)]
    asked: list[int] = []

    def raw() -> Iterator[tuple[str, pa.Table]]:
        for number, table in enumerate(tables):
            files = [file for listing in staging.list_staged() for file in listing.files]
            asked.append(len(files))
            yield f"{number}" * 64, table

    paths = staging.write_together(raw())
    assert len({part.path for path in paths if (part := raw_part_at(path)) is not None}) == 3
    assert asked == [0, 0, 1]
    assert [staging.read(path).equals(table) for path, table in zip(paths, tables, strict=True)] == [True] * 3
