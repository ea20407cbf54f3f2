"""What a trainer or a command does on Windows, as far as Linux can show it: POSIX modules, names and manners are hidden."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import textwrap
from pathlib import Path, PureWindowsPath

import pandas as pd
import pytest

from fstore.compute import raw_data
from fstore.fingerprint import identification
from fstore.model import ParquetSource
from fstore.postgres import connection

REPOSITORY = Path(__file__).parents[3]


def on_windows(program: str, folder: Path, *, code: int = 0) -> str:
    """Run a program where everything POSIX is hidden, and return what it wrote."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", str(Path(__file__).with_name("without_posix.py"))],
        input=textwrap.dedent(program),
        capture_output=True,
        text=True,
        timeout=150,
        cwd=folder,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("FEATURE_STORE_")}, "PYTHONPATH": str(REPOSITORY), "HOME": str(folder)},
        check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_module_of_the_library_and_of_beat_imports(tmp_path: Path) -> None:
    names = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        for package in ("fstore", "beat")
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        if path.name != "__main__.py" and "migrations" not in path.parts
    ]
    assert len(names) > 150
    program = f"""
        import importlib, os, traceback
        os.environ["FEATURE_STORE_REDIS_URL"] = "redis://127.0.0.1:1"
        failed = []
        for name in {names!r}:
            try:
                importlib.import_module(name)
            except Exception as error:
                failed.append((name, traceback.format_exc(limit=-2)))
        assert not failed, "\\n".join(f"{{name}}: {{why}}" for name, why in failed)
    """
    on_windows(program, tmp_path)


def test_a_frame_has_the_fingerprint_that_it_has_elsewhere(tmp_path: Path) -> None:
    frame = "pd.DataFrame({'bid': [1.0, 2.5], 'venue': ['a', None]}, index=pd.to_datetime(['2024-01-02', '2024-01-03'], utc=True))"
    program = f"""
        import pandas as pd
        from fstore.fingerprint.identification import content_digest
        print(content_digest({frame}))
    """
    here = identification.content_digest(eval(frame, {"pd": pd}))  # noqa: S307 the same text
    assert on_windows(program, tmp_path).strip() == here


def test_files_of_a_store_are_written_read_replaced_and_removed(tmp_path: Path) -> None:
    program = """
        import pathlib
        import pyarrow as pa
        from fstore.model import Locator
        from fstore.storage.folder.entries import FolderEntries
        from fstore.storage.folder.staging import FolderStaging
        from fstore.storage.local_cache import LocalCache
        from fstore.storage.interface import ByteRange
        from fstore.ingest.ingestion import ingest

        root = pathlib.Path("store")
        entries, staging = FolderEntries(root), FolderStaging(root)
        entries.create("me"); entries.create("me")
        table = pa.table({"a": list(range(300_000)), "b": ["x\\r\\n\\x1a"] * 300_000})
        key = "ab" * 32
        stored = entries.publish(key, table)
        assert "\\\\" not in stored.path, stored
        found = Locator(key, stored.path, table.num_rows, stored.file_size_bytes, stored.content_digest)
        assert entries.read(found).equals(table)
        whole = entries.read_bytes(found).to_pybytes()
        assert entries.read_ranges(found, [ByteRange(3, 40), ByteRange(0, 2)])[0].to_pybytes() == whole[3:43]
        cache = LocalCache(pathlib.Path("cache"), max_bytes=1 << 30)
        for _ in range(2):
            assert cache.add(found, table)
        assert cache.find(found).table.equals(table)
        for _ in range(2):
            assert staging.write("cd" * 32, table) == staging.reserve("cd" * 32)
        path = staging.write_result(key, table)
        assert staging.read_result(path).table.equals(table)
        staging.discard(path)
        assert not staging.exists(path)
        listed = [file for listing in staging.list_staged() for file in listing.files]
        assert len(listed) == 1 and "\\\\" not in listed[0].path
        assert staging.drop_unless_reserved(listed[0])
        assert entries.space().free_bytes > 0
        assert [c.severity for c in entries.diagnose()] == ["ok"]
        again = entries.publish(key, table)
        assert entries.delete(again.path) and not entries.exists(again.path)
        assert entries.quarantine(found) and not entries.exists(found.path)
        cache.shrink()
        for _ in range(2):
            assert ingest(table, "raw.parquet").path.stat().st_size
        assert not faults, faults
    """
    on_windows(program, tmp_path)


def test_the_times_of_a_source_never_vouch_for_it(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1.0]}).to_parquet(tmp_path / "raw.parquet")
    os.utime(tmp_path / "raw.parquet", (1e9, 1e9))
    program = """
        from fstore.fingerprint.identification import Origin, identify
        from fstore.model import ParquetSource

        class Memo:
            def recall(self, stamp):
                return "00" * 32
            def remember(self, stamp, digest):
                raise AssertionError("remembered")

        print(identify(ParquetSource("raw.parquet"), threshold_bytes=0, policy="full", memo=Memo()).origin)
    """
    assert on_windows(program, tmp_path).strip() == "scan"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["up", "--help"], ["config"]])
def test_the_command_line_answers(arguments: list[str], tmp_path: Path) -> None:
    on_windows(f"import sys\nfrom fstore.cli.app import run\nsys.exit(run({arguments!r}))", tmp_path)


@pytest.mark.parametrize("arguments", [["up", "--detach"], ["demo", "--trainers", "1", "--requests", "1"]])
def test_what_needs_posix_says_so_in_a_sentence(arguments: list[str], tmp_path: Path) -> None:
    said = on_windows(f"import sys\nfrom fstore.cli.app import run\nsys.exit(run({arguments!r}))", tmp_path, code=3)
    assert "needs a POSIX system" in said
    assert "WSL 2" in said
    assert "Traceback" not in said


def test_a_worker_says_so_too(tmp_path: Path) -> None:
    program = """
        from fstore.errors import ConfigurationError
        try:
            import workers.app
        except ConfigurationError as error:
            print(error)
    """
    assert "a worker needs a POSIX system" in on_windows(program, tmp_path)


def test_a_stack_noted_by_another_host_is_none_of_this_one(tmp_path: Path) -> None:
    assert on_windows("from fstore.stack_state import birth_of\nprint(birth_of(1))", tmp_path).strip() == "None"


def test_a_path_in_a_message_has_slashes(tmp_path: Path) -> None:
    source = ParquetSource(tmp_path)
    object.__setattr__(source, "path", PureWindowsPath(r"C:\ticks\2024\es.parquet"))
    taken = identification.identify(pd.DataFrame({"a": [1]}), threshold_bytes=0, policy="full").fingerprint
    reference = raw_data.stage_raw(None, source, taken)  # type: ignore[arg-type]
    assert reference.path == "C:/ticks/2024/es.parquet"


@pytest.mark.parametrize("poll", [True, False])
def test_an_answer_is_waited_for_with_and_without_poll(poll: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not poll:
        monkeypatch.delattr(select, "poll")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not connection._is_ready(ours.fileno(), 0.0, to_read=True)
        assert connection._is_ready(ours.fileno(), 0.0, to_read=False)
        theirs.send(b"x")
        assert connection._is_ready(ours.fileno(), 1.0, to_read=True)
        ours.recv(1)
        theirs.close()
        assert connection._is_ready(ours.fileno(), 1.0, to_read=True)
