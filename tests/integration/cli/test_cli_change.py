"""``fstore ingest``, ``invalidate`` and ``migrate`` on a real store."""

from __future__ import annotations

import uuid
from pathlib import Path

from fstore import ParquetSource
from fstore.model import FailureNote
from tests.conftest import House, Servers, run_sql, with_database
from tests.support.commands import fstore
from tests.support.shelf import Shelf, key

SCALED = "tests.sample_features:scaled"


def test_invalidating_entries(house: House) -> None:
    """A dry run changes nothing; several entries need --yes; what is condemned is hidden."""
    shelf = Shelf(house.store.resources)
    for name in ("AAPL", "MSFT", "NVDA"):
        shelf.publish(name)
    aapl = key("AAPL")

    dry = fstore(house, "invalidate", "--feature", "m:f", "--dry-run", "--json")
    assert (dry.code, dry.json["condemned"], len(dry.json["entries"])) == (0, 0, 3)
    assert shelf.state("AAPL") == "live"

    unsure = fstore(house, "invalidate", "--feature", "m:f")
    assert unsure.code == 2
    assert "--yes" in unsure.err

    assert fstore(house, "invalidate", "--key", aapl[:8], "--symbol", "MSFT", "--json").json["condemned"] == 0
    one = fstore(house, "invalidate", "--key", aapl[:8])
    assert one.code == 0
    assert "condemned 1 entry" in one.out
    assert shelf.state("AAPL") == "condemned"
    assert fstore(house, "invalidate", "--key", aapl[:8], "--json").json["condemned"] == 0
    assert fstore(house, "invalidate", "--symbol", "MSFT", "--json").json["condemned"] == 1

    rest = fstore(house, "invalidate", "--feature", "m:f", "--yes", "--json").json
    assert [e["symbol"] for e in rest["entries"]] == ["NVDA"]
    assert rest["condemned"] == 1
    assert fstore(house, "invalidate", "--json").code == 2


def test_a_failed_job_may_start_anew(house: House) -> None:
    """Invalidating the key of a failure lets the next request compute at once."""
    shelf = Shelf(house.store.resources)
    house.store.resources.jobs.fail(shelf.claim("AAPL"), FailureNote("ValueError", "no price in row 17"))

    said = fstore(house, "invalidate", "--key", key("AAPL")[:12], "--json").json

    assert (said["condemned"], said["job_may_start_anew"]) == (0, True)
    assert house.store.resources.jobs.find(key("AAPL")) is None


def test_ingested_files_are_known_without_a_scan(house: House, tmp_path: Path) -> None:
    """A CSV file becomes sealed Parquet with the very fingerprint a trainer gets, and needs no servers."""
    csv = tmp_path / "ticks.csv"
    csv.write_text(
        "ts,price,symbol\n2026-01-01 00:00:00,1.5,A\n2026-01-01 00:00:01,1.25,B\n2026-01-01 00:00:02,1.0,A\n"
    )
    nowhere = {"FEATURE_STORE_POSTGRES_URL": "", "FEATURE_STORE_REDIS_URL": ""}

    said = fstore(house, "ingest", csv, tmp_path / "all.parquet", "--time-column", "ts", "--json", **nowhere)

    assert (said.code, said.err) == (0, "")
    (file,) = said.json["files"]
    assert (file["path"], file["rows"]) == (str(tmp_path / "all.parquet"), 3)
    found = house.store.explain("A", ParquetSource(tmp_path / "all.parquet"), {}, SCALED)
    assert found.parts.fingerprint == file["fingerprint"]
    assert house.store.get_cache_stats()["hash_optimizations"] == 1

    split = fstore(
        house, "ingest", csv, tmp_path / "split", "--symbol-column", "symbol", "--time-column", "ts", "--json"
    )
    assert {Path(f["path"]).stem: f["rows"] for f in split.json["files"]} == {"A": 2, "B": 1}
    assert "ParquetSource" in fstore(house, "ingest", csv, tmp_path / "again.parquet").out


def test_what_cannot_be_ingested_is_told(house: House, tmp_path: Path) -> None:
    """A missing file, a missing column and data of no known form are errors of the request."""
    csv = tmp_path / "ticks.csv"
    csv.write_text("ts,price\n2026-01-01,1\n")
    (tmp_path / "notes.txt").write_text("hello")
    for arguments in ((tmp_path / "none.csv",), (csv, "--time-column", "when"), (tmp_path / "notes.txt",)):
        source, *options = arguments
        said = fstore(house, "ingest", source, tmp_path / "out.parquet", *options)
        assert (said.code, said.out) == (5, "")
        assert said.err.startswith("fstore: ")
    assert not (tmp_path / "out.parquet").exists()


def test_csv_of_another_layout_is_told_and_taken(house: House, tmp_path: Path) -> None:
    """Data for names, other separators and encodings are errors of the request that name the option; with it they are read."""
    layouts = (
        (
            b"20120201 000000;1.3\n20120201 000100;1.4\n",
            "--delimiter",
            ("--delimiter", ";", "--no-header", "--names", "ts,p"),
        ),
        (b"1502942400000,1.3\n", "--no-header", ("--no-header", "--names", "ts,p")),
        ("b\u00f6rse,p\nX,1.5\n".encode("latin-1"), "--encoding", ("--encoding", "latin-1")),
        (b"a\n000001\n", None, ("--symbol-column", "a")),
    )
    for at, (content, advice, options) in enumerate(layouts):
        csv, dest = tmp_path / f"{at}.csv", tmp_path / f"{at}" / ("out" if advice is None else "out.parquet")
        csv.write_bytes(content)
        if advice is not None:
            refused = fstore(house, "ingest", csv, dest, "--json")
            assert (refused.code, advice in refused.json["error"]["message"]) == (5, True)
            assert str(csv) in refused.json["error"]["message"]

        said = fstore(house, "ingest", csv, dest, *options, "--json")
        rows = content.count(b"\n") - ("--no-header" not in options)
        assert (said.code, said.json["files"][0]["rows"]) == (0, rows)
    assert (tmp_path / "3" / "out" / "000001.parquet").exists()

    timed = fstore(
        house, "ingest", tmp_path / "0.csv", tmp_path / "t.parquet", *layouts[0][2],
        "--time-column", "ts", "--time-format", "%Y%m%d %H%M%S", "--json",
    )  # fmt: skip
    assert timed.json["columns"] == {"ts": "timestamp[ns]", "p": "double"}


def test_vendor_files_are_taken_by_presets_and_reported(house: House, tmp_path: Path) -> None:
    """The report is in the text and in the document; what does not fit is an error of the request that names the row."""
    nowhere = {"FEATURE_STORE_POSTGRES_URL": "", "FEATURE_STORE_REDIS_URL": ""}
    csv, dest = tmp_path / "bars.csv", tmp_path / "bars.parquet"
    bar = "20120201 00{:02d}00;1.5;1.5;1.5;{};0\n"
    csv.write_text("".join(bar.format(minute, "x" if minute == 3 else 1.5) for minute in (0, 1, 2, 3, 4, 5, 6, 11)))

    listed = fstore(house, "ingest", "--preset", "list", "--json", **nowhere).json["presets"]
    assert "histdata-m1" in [preset["name"] for preset in listed]

    refused = fstore(house, "ingest", csv, dest, "--preset", "histdata-m1", "--json", **nowhere)
    assert refused.code == 5
    assert "row 4: 'close' is 'x'" in refused.json["error"]["message"]
    assert not dest.exists()

    options = ("--preset", "histdata-m1", "--max-refused", "1", "--dtype", "volume=int8")
    said = fstore(house, "ingest", csv, dest, *options, "--json", **nowhere).json
    assert said["columns"]["time"] == "timestamp[ns, tz=UTC]"
    assert said["columns"]["volume"] == "int8"
    assert (said["report"]["rows"], said["report"]["gaps"], said["report"]["refused"]) == (7, 2, 1)
    assert said["report"]["refused_rows"][0]["row"] == 4
    assert said["files"][0]["start"] == "2012-02-01T05:00:00Z"
    text = fstore(house, "ingest", csv, dest, *options, **nowhere).out
    assert "7 rows from 2012-02-01T05:00:00Z" in text
    assert "row 4" in text

    assert fstore(house, "ingest", csv, **nowhere).code == 2


def test_migrating_an_empty_database(servers: Servers, house: House, tmp_path: Path) -> None:
    """The first migration makes tables and folder, the second finds nothing to do; without it a look says what to run."""
    name = f"fstore_{uuid.uuid4().hex[:12]}"
    run_sql(servers.postgres_url, f"CREATE DATABASE {name}")
    new = {
        "FEATURE_STORE_POSTGRES_URL": with_database(servers.postgres_url, name),
        "FEATURE_STORE_PATH": str(tmp_path / "new"),
    }
    try:
        before = fstore(house, "ls", **new)
        assert before.code == 3
        assert "fstore migrate" in before.err

        first, second = (fstore(house, "migrate", "--json", **new).json for _ in range(2))
        assert (first["before"], first["changed"], second["changed"]) == (None, True, False)
        assert first["after"] == second["before"]
        assert (tmp_path / "new" / "STORE_ID").read_text().strip() == first["store_id"]
        assert "nothing to do" in fstore(house, "migrate", **new).out
        assert fstore(house, "ls", "--json", **new).json["shown"] == 0
    finally:
        run_sql(servers.postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
