"""Results that share an object, on the server that gives ranges of it and checks what it is sent: hits by range, damage, what was withdrawn, collections."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest

from fstore import Request
from fstore.s3 import buckets_of
from fstore.storage import packed_at
from tests.faults.harness.http_proxy import HttpProxy
from tests.integration.upkeep import test_packs
from tests.object_servers import ObjectServer
from tests.sample_features import scaled
from tests.support.bucket_paths import Behind, collected_from

KEYS = 20
RAW = pd.DataFrame({"price": [float(i) for i in range(40)], "size": [i % 7 for i in range(40)]})

globals().update(collected_from(test_packs))


@pytest.fixture
def behind(radosgw: ObjectServer) -> Iterator[Behind]:
    """A new bucket, and a proxy before it."""
    with HttpProxy(radosgw.address) as proxy:
        yield Behind.over(radosgw, proxy)


def ask(house) -> list[Request]:
    """Ask for a batch, and hold each answer against the direct call."""
    asked = [Request("PACK", RAW, {"factor": n + 2}, scaled) for n in range(KEYS)]
    for request, frame in house.store.get_or_compute_many(asked, timeout=90):
        pd.testing.assert_frame_equal(frame, RAW * request.config["factor"])
    return asked


def packed(house, asked: list[Request]) -> dict[str, str]:
    """Return where the entries lie that share an object, by key."""
    entries = [entry for _, entry in house.store.peek_many(asked)]
    return {entry.key: entry.path for entry in entries if packed_at(entry.path) is not None}


def test_one_of_many_goes_and_the_others_stay(house, behind):
    """A damaged one is kept aside and a withdrawn one hidden; both are computed anew, and no neighbour is read or moved for it."""
    house.start()
    asked = ask(house)
    before = packed(house, asked)
    assert len(before) > KEYS // 2
    counts = buckets_of(house.settings).client(behind.bucket.name).counts
    gets = counts["object_requests:get"]
    ask(house)
    assert counts["object_requests:get"] - gets == KEYS  # a range each

    rotten, withdrawn, *_ = before
    place = packed_at(before[rotten])
    pack = behind.root / place.path
    whole = bytearray(pack.read_bytes())
    whole[place.offset + 20] ^= 1
    pack.write_bytes(bytes(whole))
    assert house.store.invalidate(key=withdrawn) == 1
    ask(house)

    after = {entry.key: entry.path for _, entry in house.store.peek_many(asked)}
    assert after[rotten] != before[rotten]
    assert {key for key, path in before.items() if after[key] != path} <= {rotten, withdrawn}
    kept = [path.name for path in behind.root.rglob("*") if "/quarantine/" in path.key]
    assert kept == [before[rotten].rpartition("/")[2]]
