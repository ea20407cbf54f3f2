"""A raw Parquet file made to hurt is refused with a typed error; the worker that opened it, and everybody else, goes on."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore import FeatureStoreError, InvalidRequest, ParquetSource, SourceChanged, UnhashableInput
from fstore.broker.messages import ComputeRequest
from fstore.compute.failures import failure_for
from fstore.features.keys import key_of
from fstore.features.registry import resolve_feature
from fstore.model import Fingerprint, HashMethod, KeyParts
from fstore.stack import temporary_servers
from tests import sample_features
from tests.conftest import House, Servers, build_house
from tests.waiting import eventually

MEMORY_MB = 2_000
GOOD = pd.DataFrame({"price": [1.0, 2.0, 3.0]})
Make = Callable[[Path], object]


def varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def zigzag(n: int) -> bytes:
    return varint(n << 1)


def listed(count: int) -> bytes:
    """Begin a list of structs in thrift's compact form."""
    return b"\xfc" + varint(count)


def with_footer(footer: bytes, *, length: int | None = None) -> bytes:
    return b"PAR1" + footer + (len(footer) if length is None else length).to_bytes(4, "little") + b"PAR1"


def wide(columns: int, groups: int = 0) -> bytes:
    """Build a footer that declares columns and row groups by the thousand in a few bytes each."""
    root = b"\x48\x01r\x15" + zigzag(columns) + b"\0"
    leaf = b"\x15" + zigzag(2) + b"\x25" + zigzag(1) + b"\x18\x01x\0"
    group = b"\x19" + listed(columns) + b"\x26\0\0" * columns + b"\x16\0\x16\0\0"
    head = b"\x15" + zigzag(2) + b"\x19" + listed(columns + 1) + root + leaf * columns + b"\x16" + zigzag(0)
    return with_footer(head + b"\x19" + listed(groups) + group * groups + b"\0")


def deep(levels: int) -> bytes:
    """Build a footer whose only column lies below so many groups."""
    level = b"\x35" + zigzag(1) + b"\x18\x01r\x15" + zigzag(1) + b"\0"
    leaf = b"\x15" + zigzag(1) + b"\x25" + zigzag(1) + b"\x18\x01x\0"
    head = b"\x15" + zigzag(2) + b"\x19" + listed(levels + 1) + level * levels + leaf
    return with_footer(head + b"\x16" + zigzag(0) + b"\x19" + b"\x0c" + b"\0")


def bomb(path: Path) -> None:
    """Write half a kilobyte that stands for 65 GB: one long text, and 65,536 references to it."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 65_536, pa.int32()), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"text": text}), path, compression="zstd", store_schema=False)


def constant(path: Path) -> None:
    """Write a billion equal numbers, which take a few kilobytes."""
    rows = pa.table({"zero": pa.array(np.zeros(20_000_000))})
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(rows, row_group_size=20_000_000)


def lying(path: Path) -> None:
    """Write a file whose footer says that there are 2^40 rows."""
    pq.write_table(pa.table({"price": pa.array([1.0])}), path, compression="none")
    data = path.read_bytes()
    place = data.rindex(b"\x16\x02\x19\x1c")  # num_rows: 1, then the row groups
    changed = data[: place + 1] + zigzag(2**40) + data[place + 2 :]
    grown = len(changed) - len(data)
    length = int.from_bytes(data[-8:-4], "little") + grown
    path.write_bytes(changed[:-8] + length.to_bytes(4, "little") + b"PAR1")


def good_bytes(folder: Path) -> bytes:
    GOOD.to_parquet(folder / "good-bytes.parquet")
    return (folder / "good-bytes.parquet").read_bytes()


def cut(part: float) -> Make:
    return lambda path: path.write_bytes((data := good_bytes(path.parent))[: int(len(data) * part)])


def noise(seed: int, size: int, *, framed: bool) -> Make:
    made = random.Random(seed).randbytes(size)
    return lambda path: path.write_bytes(with_footer(made) if framed else made)


CORPUS: dict[str, tuple[Make, type[FeatureStoreError], str]] = {
    "empty": (lambda p: p.write_bytes(b""), SourceChanged, "not a Parquet file"),
    "magic only": (lambda p: p.write_bytes(b"PAR1PAR1"), SourceChanged, "Parquet"),
    "cut": (cut(0.5), SourceChanged, "not a Parquet file"),
    "cut at the end": (cut(0.99), SourceChanged, "not a Parquet file"),
    "random bytes": (noise(1, 10_000, framed=False), SourceChanged, "not a Parquet file"),
    "random footer": (noise(2, 10_000, framed=True), FeatureStoreError, "raw"),
    "another random footer": (noise(3, 100, framed=True), FeatureStoreError, "raw"),
    "footer longer than the file": (lambda p: p.write_bytes(with_footer(b"x" * 100, length=10_000)), SourceChanged, "cut short"),
    "footer of 2 GB": (lambda p: p.write_bytes(with_footer(b"x" * 100, length=2**31)), SourceChanged, "cut short"),
    "footer of 4 GB": (lambda p: p.write_bytes(with_footer(b"x" * 100, length=2**32 - 1)), SourceChanged, "cut short"),
    "footer of 65 MiB": (lambda p: p.write_bytes(with_footer(bytes(65 << 20))), InvalidRequest, "RAW_MAX_FOOTER_BYTES"),
    "a million columns": (lambda p: p.write_bytes(wide(1_000_000)), InvalidRequest, "RAW_MAX_"),
    "30,000 columns": (lambda p: p.write_bytes(wide(30_000)), InvalidRequest, "RAW_MAX_COLUMNS"),
    "five million chunks": (lambda p: p.write_bytes(wide(1_000, 5_000)), FeatureStoreError, "raw"),
    "a million row groups": (lambda p: p.write_bytes(wide(1, 1_000_000)), InvalidRequest, "RAW_MAX_"),
    "nested 200 deep": (lambda p: p.write_bytes(deep(200)), InvalidRequest, "nests"),
    "nested 500,000 deep": (lambda p: p.write_bytes(deep(500_000)), InvalidRequest, "RAW_MAX_|nests"),
    "a text 65,536 times": (bomb, InvalidRequest, "WORKER_MEMORY_LIMIT_MB"),
    "200 million equal numbers": (constant, InvalidRequest, "RAW_MAX_EXPANSION"),
    "a lie about the rows": (lying, SourceChanged, "contradicts itself"),
}  # fmt: skip

WORKERS_ONLY = ("a text 65,536 times", "five million chunks")  # stopped by the limit on a worker's memory


@dataclass
class Site:
    """A store with one worker, whose child may use two gigabytes."""

    house: House
    worker: subprocess.Popen[bytes]
    folder: Path

    def goes_on(self) -> None:
        """Check that the worker and its child live, and serve the next good request."""
        found = self.house.store.get_or_compute("GOOD", GOOD, {"n": time.time()}, sample_features.scaled, timeout=30)
        assert len(found) == len(GOOD)
        assert self.worker.poll() is None

    def children(self) -> set[str]:
        """Return the processes that compute."""
        return set(Path(f"/proc/{self.worker.pid}/task/{self.worker.pid}/children").read_text().split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker for the whole corpus."""
    folder = tmp_path_factory.mktemp("parquet")
    with temporary_servers() as running, ExitStack() as stack:
        servers = Servers(running.postgres_url, running.redis_url)
        house = build_house(servers, folder, stack, worker_memory_limit_mb=str(MEMORY_MB))
        yield Site(house, house.start(concurrency=1), folder)


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_file_is_refused_by_the_worker(site: Site, name: str) -> None:
    """The worker opens it, since no trainer looked before: its error is typed, says what to do, and its child lives."""
    make, error, text = CORPUS[name]
    path = site.folder / f"{name}.parquet"
    make(path)
    before = site.children()

    with pytest.raises(error, match=text) as caught:
        ask_unseen(site, path)

    assert isinstance(caught.value, SourceChanged | InvalidRequest | UnhashableInput)
    site.goes_on()
    assert site.children() == before
    path.unlink()


def ask_unseen(site: Site, path: Path) -> None:
    """Ask as a trainer that claims to know the fingerprint: only the worker reads the file."""
    resources = site.house.store.resources
    feature = resolve_feature("tests.sample_features:scaled")
    taken = Fingerprint(HashMethod.FULL, "0" * 64)
    parts = KeyParts(f"HOSTILE-{time.time()}", feature.name, feature.version, "{}", str(taken))
    key = key_of(parts)
    request = ComputeRequest(
        symbol=parts.symbol, feature=feature.name, raw_data={"kind": "parquet", "path": str(path)},  # type: ignore[arg-type]
        feature_version=feature.version, key=key, fingerprint=str(taken), hash_method="full", canonical_config="{}",
        waits=False,
    )  # fmt: skip
    resources.broker.send_compute(request)
    error = eventually(lambda: failure_for(resources.jobs.look([key])[key]), seconds=40, what="the worker's answer")
    raise error


@pytest.mark.parametrize("name", [name for name in CORPUS if name not in WORKERS_ONLY])
def test_a_hostile_file_is_refused_by_the_trainer(site: Site, name: str) -> None:
    """Whoever takes the fingerprint meets the same limits, and nothing is sent."""
    make, error, text = CORPUS[name]
    path = site.folder / f"trainer {name}.parquet"
    make(path)
    with pytest.raises(error, match=text) as caught:
        site.house.store.get_or_compute("HOSTILE", ParquetSource(path), {}, sample_features.scaled, timeout=30)
    assert isinstance(caught.value, SourceChanged | InvalidRequest | UnhashableInput)
    path.unlink()


def test_random_flips_are_survived(site: Site) -> None:
    """Sixty files with bytes exchanged anywhere: a right answer or a typed error each, from a worker that lives on."""
    dice, data = random.Random(5), good_bytes(site.folder)
    for n in range(60):
        spoiled = bytearray(data)
        for _ in range(dice.randrange(1, 6)):
            spoiled[dice.randrange(len(spoiled))] = dice.randrange(256)
        path = site.folder / f"flipped-{n}.parquet"
        path.write_bytes(spoiled)
        with pytest.raises(FeatureStoreError):
            ask_unseen(site, path)
    site.goes_on()


def test_the_limits_are_settings(site: Site) -> None:
    """What is meant to be large is read after the setting that the error names was raised."""
    path = site.folder / "columns.parquet"
    pd.DataFrame({f"c{n}": [1.0] for n in range(50)}).to_parquet(path)
    with site.house.open(raw_max_columns=49) as strict, pytest.raises(InvalidRequest, match="RAW_MAX_COLUMNS"):
        strict.get_or_compute("WIDE", ParquetSource(path), {}, sample_features.scaled, timeout=30)
    with site.house.open(raw_max_columns=50) as lenient:
        assert lenient.get_or_compute("WIDE", ParquetSource(path), {}, sample_features.scaled, timeout=30).shape == (
            1,
            50,
        )
