"""The small files of a stack: state, choices, logs; and the ports it chooses."""

from __future__ import annotations

import json
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from fstore.errors import ConfigurationError
from fstore.stack.choices import Choices, load_choices, save_choices
from fstore.stack.environment import python_path
from fstore.stack.plan import Plan
from fstore.stack.processes import logs
from fstore.stack.servers.ports import FIRST, LAST, choose_port
from fstore.stack.status_report import mask, status
from fstore.stack_state import (
    READY,
    STARTING,
    ChildState,
    StackState,
    birth_of,
    is_same,
    read_any_state,
    read_state,
    write_state,
)


def make_state(root: Path, **changes: object) -> StackState:
    """Build a state whose supervisor is this very process."""
    given: dict[str, object] = {
        "root": str(root),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "birth": birth_of(os.getpid()),
        "token": "t",
        "phase": READY,
        "started_ts": "2026-01-01T00:00:00+00:00",
        "workers": 2,
        "features": ("fstore.intraday",),
        "postgres_url": "postgresql://fstore:secret@/fstore?host=/tmp/x",
        "redis_url": "redis://:secret@127.0.0.1:15000/0",
        "children": (ChildState("redis", os.getpid(), "other", "running", 3, "now", "redis.log"),),
    }
    return StackState(**{**given, **changes})  # type: ignore[arg-type]


def test_a_state_is_read_back_as_it_was_written(tmp_path):
    """What the supervisor writes is what everybody reads, and only the owner may read it."""
    state = make_state(tmp_path)

    write_state(state)

    assert read_state(tmp_path) == state
    assert stat.S_IMODE((tmp_path / ".stack.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".stack.json"]


@pytest.mark.parametrize(
    "changes",
    [{"birth": "an earlier process"}, {"pid": 2**22 - 1}, {"host": "elsewhere"}, {"phase": STARTING}],
    ids=["number reused", "no such process", "another host", "not ready"],
)
def test_a_state_that_proves_nothing_counts_as_none(tmp_path, changes):
    """A stale file, a file of another host and a stack that is not ready give nothing to connect to."""
    write_state(make_state(tmp_path, **changes))

    assert read_state(tmp_path) is None
    assert read_any_state(tmp_path) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"root": 1}'])
def test_a_damaged_state_file_counts_as_none(tmp_path, text):
    """Whatever a crash or a hand left in the file, reading it does not fail."""
    (tmp_path / ".stack.json").write_text(text)

    assert read_any_state(tmp_path) is None


def test_a_copied_folder_is_not_the_running_one(tmp_path):
    """A state file that was copied along with its folder says nothing about the copy."""
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    copy.mkdir()
    write_state(make_state(original))

    (copy / ".stack.json").write_bytes((original / ".stack.json").read_bytes())

    assert read_any_state(copy) is None


def test_status_checks_each_child_and_masks_passwords(tmp_path):
    """A noted child whose number belongs to another process now is shown as not alive."""
    write_state(make_state(tmp_path))

    report = status(tmp_path).as_dict()

    assert report["children"][0]["alive"] is False
    assert report["children"][0]["restarts"] == 3
    assert report["healthy"] is False
    assert "secret" not in json.dumps(report)
    assert "secret" not in repr(status(tmp_path))


def test_status_of_an_empty_folder_is_stopped(tmp_path):
    """Nothing there is a plain answer, not an error."""
    assert (status(tmp_path).running, status(tmp_path).phase) == (False, "stopped")


def test_masking_keeps_the_way_and_hides_the_password():
    """An address with its password masked still says where it leads."""
    assert mask("redis://:pw@127.0.0.1:1/0") == "redis://:********@127.0.0.1:1/0"
    assert mask("http://fstore:pw@127.0.0.1:2/") == "http://fstore:********@127.0.0.1:2/"
    assert mask("postgresql://fstore:pw@/fstore?host=/a:b") == "postgresql://fstore:********@/fstore?host=/a:b"


def test_choices_survive_and_stay_private(tmp_path):
    """Passwords and ports are the same at the next start."""
    path = tmp_path / "choices.json"
    first = Choices(redis_port=15001)

    save_choices(path, first)

    assert load_choices(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.postgres_password not in repr(first)
    assert Choices().postgres_password != first.postgres_password


def test_choices_of_a_stack_without_a_signing_key_get_one(tmp_path):
    """A stack that an earlier version made goes on with its passwords, and with signed messages."""
    path = tmp_path / "choices.json"
    first = Choices()
    save_choices(path, first)
    path.write_text(path.read_text().replace("signing_key", "forgotten"))

    assert replace(load_choices(path), signing_key=first.signing_key) == first
    assert len(load_choices(path).signing_key) >= 16


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"redis_port": 1, "x'])
def test_damaged_choices_are_an_error_that_names_the_file(tmp_path, text):
    """The database's password is in there: guessing a new one would lock everybody out."""
    path = tmp_path / "choices.json"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=r"choices\.json"):
        load_choices(path)


def test_a_birth_names_one_process_only():
    """A live process keeps its birth; no process has none."""
    assert is_same(os.getpid(), birth_of(os.getpid()) or "")
    assert not is_same(os.getpid(), "")
    assert birth_of(2**22 - 1) is None
    assert birth_of(0) is None


def test_a_port_is_kept_when_free_and_changed_when_busy():
    """The port of the last start is taken again; when somebody has it, another one is found."""
    with socket.socket() as other:
        port = choose_port("seed")
        assert choose_port("seed", preferred=port) == port

        other.bind(("127.0.0.1", port))
        other.listen()

        assert choose_port("seed", preferred=port) != port
        assert FIRST <= choose_port("seed", taken={port}) <= LAST


def test_a_log_is_cut_in_place_and_its_newest_part_kept(tmp_path):
    """The writer goes on writing into the same file after the cut."""
    path = tmp_path / "child.log"
    with logs.open_append(path) as file:
        file.write(b"old\n" * 1000 + b"newest\n")
        file.flush()
        assert logs.keep_bounded(path, largest=1000, kept=100)
        file.write(b"after\n")

    assert path.read_bytes() == b"after\n"
    assert (tmp_path / "child.log.1").read_bytes().endswith(b"newest\n")
    assert (tmp_path / "child.log.1").stat().st_size == 100
    assert not logs.keep_bounded(path, largest=1000, kept=100)
    assert not logs.keep_bounded(tmp_path / "none.log")


def test_the_tail_of_a_log_is_its_last_lines(tmp_path):
    """An error shows the end of the log, and nothing when there is no log."""
    path = tmp_path / "child.log"
    path.write_text("\n".join(str(n) for n in range(100)))

    assert logs.tail(path, lines=2) == "98\n99"
    assert logs.tail(tmp_path / "none.log") == ""
    assert logs.read_from(path, 10**9).startswith("0\n1\n")


def test_a_plan_survives_json():
    """The plan reaches a detached supervisor as it was made."""
    plan = Plan(Path("/a b"), Path("/c"), 3, ("m.n",), flower=False, beat=True)

    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


def test_modules_of_the_caller_are_found_and_cannot_hide_ours(tmp_path):
    """The caller's folder is on the module path, behind this installation when it has packages of the same names."""
    import fstore

    home = str(Path(fstore.__file__).parent.parent)
    (tmp_path / "workers").mkdir()

    path = python_path(tmp_path, "/inherited:").split(os.pathsep)

    assert path == [home, str(tmp_path), "/inherited"]
