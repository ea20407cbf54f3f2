"""A shared folder that gives stale answers, as NFS does: handles that went stale, files not visible yet."""

from __future__ import annotations

import pytest

from fstore.model import EntryState
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW
from tests.faults.harness.strace import DONE, traced
from tests.faults.rows import row
from tests.sample_features import scaled


@row(
    38,
    fault="opening a cached file fails with ESTALE or ENOENT, once, thrice or for ever",
    promise="tried again, then computed again; the caller gets right numbers",
    needs=("tracing",),
    seconds=12,
)
@pytest.mark.parametrize("error", ["ESTALE", "ENOENT"])
@pytest.mark.parametrize("times", ["1", "1..3", "1+"])
def test_row_38_stale_answers(site, error, times):
    """A reader on a host that does not see the file tries for a second, and has it computed again only if that is in vain."""
    site.worker()
    site.ask({}, scaled)
    entry = site.store.peek("ROW", RAW, {}, scaled)

    with traced(
        site.environment,
        read,
        folder=site.folder,
        calls="openat",
        path=site.root / entry.path,
        inject=f"openat:error={error}:when={times}",
    ) as reader:
        assert reader.wait(seconds=60) == DONE
        failed = [call for call in reader.calls() if "INJECTED" in call.result]

    found = site.store.peek("ROW", RAW, {}, scaled)
    assert found.state is EntryState.LIVE
    if times == "1+":
        assert len(failed) == 4
        assert found.path != entry.path
    else:
        assert len(failed) == int(times[-1])
        assert found.path == entry.path
    assert site.store.get_cache_stats()["corrupt_detected"] == int(times == "1+")
    check_invariants(site)


def read(store) -> None:
    """Ask for the entry; what comes is right."""
    assert store.get_or_compute("ROW", RAW, {}, scaled, timeout=30).equals(RAW * 2)
    assert store.resources.recorder.flush()
