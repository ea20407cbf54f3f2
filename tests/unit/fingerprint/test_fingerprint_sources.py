"""How Parquet sources are identified: by footer, by memo or by scan, and never by a word that may be false."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.errors import SourceChanged
from fstore.fingerprint import seal
from fstore.fingerprint.identification import Origin, content_digest, identify, to_table
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.fingerprint.stamps import SourceStamp
from fstore.frames.convert import to_frame
from fstore.ingest.ingestion import ingest
from fstore.model import HashMethod, ParquetSource
from tests.unit.fingerprint.inputs.fingerprint_ticks import HOUR_AGO, foreign, of, ticks


class Memo:
    """A memo in a dict that notes what it was asked."""

    def __init__(self) -> None:
        self.known: dict[SourceStamp, str] = {}

    def recall(self, stamp: SourceStamp) -> str | None:
        return self.known.get(stamp)

    def remember(self, stamp: SourceStamp, digest: str) -> None:
        self.known[stamp] = digest


def test_a_foreign_file_is_read_once_and_then_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first trainer pays for the scan, the next one reads the memo; a touched file is read again."""
    source, memo = foreign(ticks(), tmp_path / "ticks.parquet"), Memo()
    later_ns = source.path.stat().st_ctime_ns + 10_000_000_000
    monkeypatch.setattr("fstore.fingerprint.stamps.time.time_ns", lambda: later_ns)

    first, second = of(source, memo=memo), of(source, memo=memo)
    os.utime(source.path, (HOUR_AGO + 1, HOUR_AGO + 1))
    third = of(source, memo=memo)

    assert (first.origin, second.origin, third.origin) == (Origin.SCAN, Origin.MEMO, Origin.SCAN)
    assert first.fingerprint == second.fingerprint == third.fingerprint


def test_a_file_written_just_now_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 2 s of a change another one might not show in the times, so such a digest is not kept."""
    source = foreign(ticks(), tmp_path / "ticks.parquet")
    changed_ns = source.path.stat().st_ctime_ns
    memo = Memo()
    for age_ns, kept in ((1_999_999_999, 0), (2_000_000_001, 1)):
        monkeypatch.setattr("fstore.fingerprint.stamps.time.time_ns", lambda age_ns=age_ns: changed_ns + age_ns)
        of(source, memo=memo)

        assert len(memo.known) == kept


def test_a_file_that_changes_while_it_is_read_has_no_fingerprint(tmp_path: Path) -> None:
    """Stamps before and after the scan must be equal."""
    source = foreign(ticks(), tmp_path / "ticks.parquet")

    class Meddler(Memo):
        def recall(self, stamp: SourceStamp) -> str | None:
            ticks(4000).to_parquet(source.path)
            return None

    with pytest.raises(SourceChanged, match="changed while it was being read"):
        of(source, memo=Meddler())


def test_an_ingested_file_is_identified_by_its_footer(tmp_path: Path) -> None:
    """No row is read, and the method is full or footer by the size of the data in memory."""
    source = ingest(ticks(), tmp_path / "ticks.parquet")
    found = of(source)

    assert found.origin is Origin.FOOTER
    assert found.fingerprint.digest == content_digest(source)
    assert found.data_bytes >= 5000 * 24
    assert identify(source, threshold_bytes=1000).fingerprint.method is HashMethod.FOOTER


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zstd", "use_dictionary": ["side", "size"], "write_page_checksum": True}]
)
def test_a_footer_copied_into_a_rewritten_file_is_not_believed(tmp_path: Path, options: dict[str, object]) -> None:
    """Metadata copied verbatim over a corrected price are noticed, even if the file is written with ingest's own options."""
    source = ingest(ticks(), tmp_path / "ticks.parquet")
    before = of(source)
    table = pq.read_table(source.path)
    price = table["price"].to_numpy().copy()
    price[1234] *= 1.0001
    notes = {key: value for key, value in pq.read_metadata(source.path).metadata.items() if key != b"ARROW:schema"}
    edited = table.set_column(0, "price", pa.array(price)).replace_schema_metadata(notes)
    pq.write_table(edited, source.path, **options)
    after = of(source)

    assert b"fstore.footer" in pq.read_metadata(source.path).metadata
    assert after.origin is Origin.SCAN
    assert after.fingerprint != before.fingerprint


def test_bytes_changed_in_place_never_pass_for_content(tmp_path: Path) -> None:
    """The footer cannot see them, but whoever digests what is read does."""
    source = ingest(ticks(), tmp_path / "ticks.parquet")
    stated = of(source).fingerprint.digest
    raw = bytearray(source.path.read_bytes())
    raw[2000] ^= 0x10
    source.path.write_bytes(raw)

    with pytest.raises(SourceChanged, match="cannot be read to the end"):
        assert content_digest(source) != stated


def test_a_folder_is_its_files_in_the_order_of_their_paths(tmp_path: Path) -> None:
    """The folder's fingerprint is that of the concatenated table; hidden files are no part of it."""
    frame = ticks()
    for name, part in (("b/1.parquet", frame[1000:]), ("a.parquet", frame[:1000]), (".tmp.parquet", frame)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        part.to_parquet(tmp_path / name)
    folder = ParquetSource(tmp_path)

    assert of(folder).fingerprint == of(frame).fingerprint
    pd.testing.assert_frame_equal(to_frame(ParquetReader(folder).table()), frame, check_freq=False)


def test_a_folder_of_unlike_files_is_refused(tmp_path: Path) -> None:
    """Files of one source agree about names and types."""
    ticks().to_parquet(tmp_path / "1.parquet")
    ticks().rename(columns={"size": "volume"}).to_parquet(tmp_path / "2.parquet")

    with pytest.raises(SourceChanged, match=r"2\.parquet has other columns"):
        of(ParquetSource(tmp_path))


@pytest.mark.parametrize("content", [None, b"", b"PAR1 no parquet", b"PAR1" + b"\xff" * 100 + b"PAR1"])
def test_a_file_that_is_no_parquet_gives_a_typed_error(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty, foreign or damaged file is named."""
    path = tmp_path / "ticks.parquet"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SourceChanged) as caught:
        of(ParquetSource(path))

    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    "path", sorted(Path(os.environ.get("FSTORE_TEST_DATA", "../shared/data")).glob("*.parquet")), ids=lambda p: p.stem
)
def test_real_market_data_keep_their_identity(path: Path, tmp_path: Path) -> None:
    """A recorded session has one fingerprint as frame, table and file, and comes back exactly."""
    frame, source = pd.read_parquet(path), ParquetSource(path)
    ingested = ingest(source, tmp_path / "copy.parquet")

    assert content_digest(frame) == content_digest(source) == of(ingested).fingerprint.digest
    pd.testing.assert_frame_equal(to_frame(ParquetReader(ingested).table()), frame, check_freq=False)


def test_a_seal_of_an_earlier_format_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its root is one that no data have any more; its notes still say what the columns were."""
    frame = pd.DataFrame({"grade": pd.Categorical([3, 1], [3, 1, 7]), "p": [1.0, 2.0]})
    monkeypatch.setattr(seal, "_MAGIC", b"FSTORE1\0")
    earlier = ingest(frame, tmp_path / "earlier.parquet")
    monkeypatch.undo()
    present = ingest(frame, tmp_path / "present.parquet")

    found = of(earlier)
    assert (found.origin, of(present).origin) == (Origin.SCAN, Origin.FOOTER)
    assert found.fingerprint == of(present).fingerprint == of(frame).fingerprint
    assert to_frame(to_table(earlier))["grade"].cat.categories.tolist() == [3, 1, 7]


def test_a_folder_that_its_writer_moves_away_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is hidden is not looked into, and what is gone when it would be looked into holds nothing."""
    foreign(ticks(), tmp_path / "ticks.parquet")
    for name in ("unfinished", ".unfinished"):
        (tmp_path / name).mkdir()
    scan = os.scandir

    def moving(folder: Any) -> Any:
        if Path(folder).name.endswith("unfinished"):
            with suppress(FileNotFoundError):
                Path(folder).rmdir()
        return scan(folder)

    monkeypatch.setattr(os, "scandir", moving)

    assert [file.name for file in ParquetReader(ParquetSource(tmp_path)).files()] == ["ticks.parquet"]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the data is not taken for all of it."""
    foreign(ticks(), tmp_path / "ticks.parquet")
    (tmp_path / "more").mkdir()
    scan = os.scandir

    def failing(folder: Any) -> Any:
        if Path(folder).name == "more":
            raise OSError(errno.EIO, "Input/output error", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", failing)

    with pytest.raises(SourceChanged, match="more cannot be listed"):
        ParquetReader(ParquetSource(tmp_path)).files()
