"""Whatever is done to the files of the local tier, nothing wrong is served and nobody who uses a frame is hurt."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fstore.model import Locator
from fstore.results.codec import encode_result
from fstore.storage import local_cache as local_tier
from fstore.storage import unnamed_files
from fstore.storage.local_cache import LocalCache
from fstore.storage.unnamed_files import identity_of, open_unnamed

LARGE, SMALL = 200_000, 1000


def an_entry(rows: int, *, seed: int = 0) -> tuple[Locator, pd.DataFrame]:
    """Build an entry's locator and frame; ``LARGE`` ones are mapped."""
    key = f"{seed:064x}"
    frame = pd.DataFrame({"price": np.random.default_rng(seed).normal(size=rows)})
    return Locator(key, f"entries/{key[:2]}/{key}.{'0' * 16}.parquet", rows, 1, f"{seed + 1:064x}"), frame


def the_file(folder: Path) -> Path:
    """Find the one file that holds an entry."""
    (path,) = folder.rglob("*.arrow")
    return path


def flipped(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def flipped_unseen(path: Path) -> None:
    stats = path.stat()
    flipped(path)
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))


def truncated(path: Path) -> None:
    os.truncate(path, 4096)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def zeroed(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    other.rename(path)


def removed(path: Path) -> None:
    path.unlink()


DAMAGE = [flipped, flipped_unseen, truncated, emptied, zeroed, grown, replaced, removed]


@pytest.mark.parametrize("rows", [SMALL, LARGE])
@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_changed_in_place_is_dropped_and_never_served(
    tmp_path: Path, damage: Callable[[Path], None], rows: int
) -> None:
    """By a process that uses the entry, and by another one that begins to; frames in use stay what they were."""
    locator, frame = an_entry(rows)
    tier, other = LocalCache(tmp_path, max_bytes=10**9), LocalCache(tmp_path, max_bytes=10**9)
    for each in (tier, other):
        each.promote(locator, encode_result(frame))
    mapped = tier.find(locator)
    assert mapped is not None
    mine = mapped.frame()
    path = the_file(tmp_path)
    before = path.stat().st_ctime_ns
    while time.time_ns() - before < 20_000_000:  # the clock of files has steps of some milliseconds
        os.sched_yield()

    path.chmod(0o640)
    damage(path)

    assert tier.find(locator) is None
    assert not path.exists()
    assert LocalCache(tmp_path, max_bytes=10**9).find(locator) is None
    pd.testing.assert_frame_equal(mine, frame)
    pd.testing.assert_frame_equal(mapped.frame(), frame)
    again = tier.promote(locator, encode_result(frame))
    assert again is not None
    pd.testing.assert_frame_equal(again.frame(), frame)


def test_a_copy_of_what_a_file_was_is_not_taken_for_what_it_is(tmp_path: Path) -> None:
    """A process that begins after a change looks at the file as it is, whatever others have mapped before."""
    locator, frame = an_entry(LARGE)
    first = LocalCache(tmp_path, max_bytes=10**9)
    assert first.promote(locator, encode_result(frame)) is not None
    the_file(tmp_path).chmod(0o640)
    flipped(the_file(tmp_path))

    assert LocalCache(tmp_path, max_bytes=10**9).find(locator) is None
    assert not list(tmp_path.rglob("*.arrow"))


@pytest.mark.parametrize("cut", ["os.truncate(path, 0)", "os.truncate(path, 5000)", "open(path, 'wb').close()"])
@pytest.mark.parametrize("rows", [SMALL, LARGE])
def test_cutting_files_short_ends_no_process(tmp_path: Path, cut: str, rows: int) -> None:
    """A trainer whose tier is cleaned by a script goes on with its frames, and asks the store for the next."""
    program = textwrap.dedent(
        f"""
        import os, pathlib
        from fstore.results.codec import decode_result, encode_result
        from fstore.storage.local_cache import LocalCache
        from tests.unit.storage.test_local_tier_damage import an_entry
        folder = pathlib.Path({str(tmp_path)!r})
        locator, frame = an_entry({rows})
        tier = LocalCache(folder, max_bytes=10**9)
        mapped = tier.promote(locator, encode_result(frame))
        mine, table = mapped.frame(), mapped.table
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o600)
                {cut}
        assert mine.equals(frame) and decode_result(table).equals(frame)
        assert tier.find(locator) is None
        assert tier.promote(locator, encode_result(frame)).frame().equals(frame)
        """
    )

    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_small_file_is_checked_at_every_hit(tmp_path: Path) -> None:
    """Even a change that no time and no size tells of."""
    locator, frame = an_entry(SMALL)
    tier = LocalCache(tmp_path, max_bytes=10**9)
    tier.promote(locator, encode_result(frame))
    identity = identity_of(the_file(tmp_path))

    the_file(tmp_path).chmod(0o640)
    flipped(the_file(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_tier, "identity_of", lambda path: identity)
        assert tier.find(locator) is None


def noted(folder: Path) -> str:
    """Read the note beside the one entry."""
    return the_file(folder).with_suffix(".held").read_text()


def test_processes_of_a_host_map_one_copy(tmp_path: Path) -> None:
    """A second process finds the copy of the first by its note, and keeps it alive after the first has gone."""
    locator, frame = an_entry(LARGE)
    program = textwrap.dedent(
        f"""
        import os, pathlib, sys
        from fstore.results.codec import decode_result, encode_result
        from fstore.storage.local_cache import LocalCache
        from tests.unit.storage.test_local_tier_damage import an_entry
        locator, frame = an_entry({LARGE})
        tier = LocalCache(pathlib.Path({str(tmp_path)!r}), max_bytes=10**9)
        mapped = tier.find(locator) or tier.promote(locator, encode_result(frame))
        print(os.fstat(mapped.file.descriptor).st_ino, flush=True)
        sys.stdin.read()
        """
    )
    parts = []
    for _ in range(3):
        part = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert part.stdout is not None
        parts.append((part, int(part.stdout.readline())))
    try:
        assert len({inode for _, inode in parts}) == 1
        mine = LocalCache(tmp_path, max_bytes=10**9).find(locator)
        assert mine is not None
        assert mine.file is not None
        assert mine.file.inode == parts[0][1]
        pd.testing.assert_frame_equal(mine.frame(), frame)
    finally:
        for part, _ in parts:
            part.communicate("")
    pd.testing.assert_frame_equal(mine.frame(), frame)


def test_whoever_holds_a_copy_tells_of_it_when_nobody_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note names a process that has ended until another one that uses the entry notices."""
    monkeypatch.setattr(local_tier, "TOUCH_EVERY_S", -1.0)
    locator, frame = an_entry(LARGE)
    tier = LocalCache(tmp_path, max_bytes=10**9)
    mapped = tier.promote(locator, encode_result(frame))
    assert mapped is not None
    mine, note = noted(tmp_path), the_file(tmp_path).with_suffix(".held")
    note.write_text(mine.replace(str(os.getpid()), "999999999", 1))

    assert tier.find(locator) is mapped

    assert noted(tmp_path) == mine


@pytest.mark.parametrize(
    "text", ["", "nonsense", "1 2", "{pid} 0 1 {identity}", "{pid} 99999 1 {identity}", "1 1 1 1 1 1 1"]
)
def test_a_note_that_tells_nothing_costs_a_copy(tmp_path: Path, text: str) -> None:
    """Whatever the note says, only a file without a name that is the noted one is opened."""
    locator, frame = an_entry(LARGE)
    LocalCache(tmp_path, max_bytes=10**9).add(locator, encode_result(frame))
    path = the_file(tmp_path)
    identity = " ".join(map(str, identity_of(path)))
    path.with_suffix(".held").write_text(text.format(pid=os.getpid(), identity=identity))

    found = LocalCache(tmp_path, max_bytes=10**9).find(locator)

    assert found is not None
    pd.testing.assert_frame_equal(found.frame(), frame)


def test_a_copy_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    """A process that begins checks the copy of another one, and does without it if it is wrong."""
    locator, frame = an_entry(LARGE)
    first, second = LocalCache(tmp_path, max_bytes=10**9), LocalCache(tmp_path, max_bytes=10**9)
    mapped = first.promote(locator, encode_result(frame))
    assert mapped is not None
    assert mapped.file is not None
    os.pwrite(mapped.file.descriptor, b"xx", LARGE)

    found = second.find(locator)

    assert found is not None
    pd.testing.assert_frame_equal(found.frame(), frame)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(24, "Too many open files")])
def test_without_room_for_a_copy_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """It costs memory of one's own, and is as right."""
    locator, frame = an_entry(LARGE)

    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(local_tier, "open_unnamed", full)
    found = LocalCache(tmp_path, max_bytes=10**9).promote(locator, encode_result(frame))

    assert found is not None
    pd.testing.assert_frame_equal(found.frame(), frame)
    assert not list(tmp_path.rglob(".tmp-*"))


def open_files() -> int:
    """Count the descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_are_bounded_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many mapped entries do not use up what a process may open, and a tier that is gone holds nothing."""
    monkeypatch.setattr(local_tier, "MOST_OPEN_FILES", 3)
    before = open_files()
    tier = LocalCache(tmp_path, max_bytes=10**9)
    kept = []
    for seed in range(8):
        locator, frame = an_entry(LARGE, seed=seed)
        mapped = tier.promote(locator, encode_result(frame))
        assert mapped is not None
        kept.append((mapped.frame(), frame))

    assert open_files() <= before + 3
    del tier, mapped
    assert open_files() <= before
    for mine, frame in kept:
        pd.testing.assert_frame_equal(mine, frame)


def test_a_number_that_another_file_has_by_now_is_not_closed(tmp_path: Path) -> None:
    """A process that closed all its descriptors, as daemons do, keeps those that it opened after that."""
    (tmp_path / "a").write_bytes(b"abc")
    file = open_unnamed(tmp_path / "a", identity_of(tmp_path / "a"), tmp_path / "note")
    os.close(file.descriptor)
    with (tmp_path / "b").open("wb") as mine:
        os.dup2(mine.fileno(), number := file.descriptor)
        file.close()
        os.write(number, b"mine")
        os.close(number)
    assert (tmp_path / "b").read_bytes() == b"mine"


def test_a_process_that_keeps_the_note_for_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process costs others a reading of the file, and no copy; the next hit tries again."""
    monkeypatch.setattr(local_tier, "PATIENCE_S", 0.05)
    locator, frame = an_entry(LARGE)
    tier = LocalCache(tmp_path, max_bytes=10**9)
    tier.add(locator, encode_result(frame))
    with unnamed_files._alone_with(the_file(tmp_path).with_suffix(".held"), patience_s=0.0):
        found = tier.find(locator)

    assert found is not None
    assert found.file is None
    pd.testing.assert_frame_equal(found.frame(), frame)
    again = tier.find(locator)
    assert again is not None
    assert again.file is not None


def test_another_users_note_costs_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users of one group share the files, and each has copies of his own."""
    real = os.open

    def refused(path: object, *rest: int) -> int:
        if str(path).endswith(".held"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(os, "open", refused)
    locator, frame = an_entry(LARGE)

    found = LocalCache(tmp_path, max_bytes=10**9).promote(locator, encode_result(frame))

    assert found is not None
    assert found.file is not None
    pd.testing.assert_frame_equal(found.frame(), frame)


def test_notes_go_with_their_files(tmp_path: Path) -> None:
    """What the tier gives up leaves nothing behind."""
    tier = LocalCache(tmp_path, max_bytes=5_000_000)
    for seed in range(8):
        locator, frame = an_entry(LARGE, seed=seed)
        tier.promote(locator, encode_result(frame))
        stamp = 1_000_000 + seed
        for path in tmp_path.rglob(f"{locator.key}*"):
            os.utime(path, (stamp, stamp))

    tier.shrink()

    assert {path.stem for path in tmp_path.rglob("*.held")} <= {path.stem for path in tmp_path.rglob("*.arrow")}


def test_use_keeps_a_mapped_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used last goes last, without a change to the file that would have it checked again."""
    monkeypatch.setattr(local_tier, "TOUCH_EVERY_S", -1.0)
    tier = LocalCache(tmp_path, max_bytes=10**9)
    locators = []
    for seed in range(3):
        locator, frame = an_entry(LARGE, seed=seed)
        tier.promote(locator, encode_result(frame))
        locators.append(locator)
        for path in tmp_path.rglob(f"{locator.key}*"):
            os.utime(path, (1_000_000 + seed, 1_000_000 + seed))
    used = tier.find(locators[0])

    assert tier.find(locators[0]) is used
    tier._max_bytes = 2_000_000
    tier.shrink()

    assert the_file(tmp_path).name.startswith(locators[0].key)


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def linked_to(target: Path) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return link


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def made_of_a_hole(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, 1 << 42)


@pytest.mark.parametrize("rows", [SMALL, LARGE])
@pytest.mark.parametrize(
    "replaced", [piped, linked_to(Path("/dev/zero")), linked_to(Path("nowhere")), made_a_folder, made_of_a_hole]
)
def test_what_is_no_file_of_the_tier_is_not_opened(tmp_path: Path, rows: int, replaced: Callable[[Path], None]) -> None:
    """A pipe would be waited at, a device read for ever, and a hole of many terabytes copied."""
    locator, frame = an_entry(rows)
    LocalCache(tmp_path, max_bytes=10**9).add(locator, encode_result(frame))
    replaced(the_file(tmp_path))
    script = f"""
        import pathlib, resource
        from fstore.model import Locator
        from fstore.storage.local_cache import LocalCache
        resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
        assert LocalCache(pathlib.Path({str(tmp_path)!r}), max_bytes=10**9).find({locator!r}) is None
    """

    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=60)


def test_a_note_that_leads_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    """Nothing but notes is emptied and written anew."""
    locator, frame = an_entry(LARGE)
    tier = LocalCache(tmp_path / "tier", max_bytes=10**9)
    tier.add(locator, encode_result(frame))
    (tmp_path / "mine").write_text("mine")
    the_file(tmp_path).with_suffix(".held").symlink_to(tmp_path / "mine")

    found = tier.find(locator)

    assert found is not None
    pd.testing.assert_frame_equal(found.frame(), frame)
    assert (tmp_path / "mine").read_text() == "mine"
