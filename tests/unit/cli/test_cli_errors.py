"""What becomes of errors on the command line."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from fstore import errors as tree
from fstore.cli import errors
from fstore.cli.app import FOLDERS, run
from fstore.cli.commands.look import jobs

EXAMPLES: tuple[tuple[tree.FeatureStoreError, int], ...] = (
    (tree.ConfigurationError(["a is wrong", "b is wrong"]), 3),
    (tree.StoreMismatch("/data", "one", "other"), 3),
    (tree.BrokerUnavailable("ping", "closed"), 4),
    (tree.ManifestUnavailable("connecting", "refused"), 4),
    (tree.ManifestBusy("publishing", "lock timeout"), 4),
    (tree.StorageUnavailable("/data", "gone"), 4),
    (tree.StorageFull("/data", "no space"), 4),
    (tree.InvalidRequest("symbol", "is empty"), 5),
    (tree.UnhashableInput("config.x", "is a set"), 5),
    (tree.FeatureNotRegistered("a:b", "register it"), 5),
    (tree.SourceNotAllowed("/etc", ["/data"]), 5),
    (tree.ResultNotTrusted("feature", "is a worker's"), 5),
    (tree.ComputeFailed("ab" * 32, "ValueError", "no price", "Traceback ..."), 5),
    (tree.UpkeepRefused("too many orphans", "look first"), 6),
)


@pytest.mark.parametrize(("error", "code"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_every_kind_of_error_has_its_exit_code(error: tree.FeatureStoreError, code: int) -> None:
    """Scripts can tell a wrong setting from a server that is away and from a request that cannot be served."""
    assert errors.exit_code(error) == code


@pytest.mark.parametrize(("error", "_"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_as_json_carries_its_fields(error: tree.FeatureStoreError, _: int) -> None:
    """The JSON form has type, message and every argument under its name, and is JSON."""
    document = json.loads(json.dumps(errors.as_document(error)))["error"]

    assert (document.pop("type"), document.pop("message")) == (type(error).__name__, str(error))
    assert document, "an error without fields tells machines nothing"
    for name, value in document.items():
        kept = getattr(error, name)
        assert value == (list(kept) if isinstance(kept, tuple) else kept)


@pytest.mark.parametrize("verb", FOLDERS)
def test_every_command_documents_its_exit_codes_and_takes_json(verb: str) -> None:
    """``--help`` of every command lists its exit codes and ``--json``."""
    status, out, _ = ask(verb, "--help")

    assert status == 0
    assert "Exit codes:\n    0  " in out
    assert "--json" in out
    assert "--root" in out


def test_the_promised_commands_are_there() -> None:
    """The commands of the documentation exist under their names."""
    promised = "demo up down status doctor migrate ingest ls show explain gc verify stats overview invalidate config check-feature"

    assert set(promised.split()) <= set(FOLDERS)


def test_wrong_arguments_end_with_code_2_also_in_json() -> None:
    """A misspelt option is told in the usual way, or as one JSON document on stdout."""
    assert ask("ls", "--nonsense")[0] == 2

    status, out, err = ask("ls", "--nonsense", "--json")

    assert (status, err) == (2, "")
    assert json.loads(out)["error"]["type"] == "NoSuchOption"


def test_a_wrong_settings_file_is_told_without_a_traceback(tmp_path: object) -> None:
    """A settings file that is not there is a configuration error, in both forms."""
    status, out, err = ask("config", "-c", f"{tmp_path}/none.yaml")
    assert (status, out) == (3, "")
    assert "none.yaml" in err
    assert "Traceback" not in err

    status, out, err = ask("--json", "-c", f"{tmp_path}/none.yaml", "config")
    assert (status, err) == (3, "")
    assert json.loads(out)["error"]["type"] == "ConfigurationError"
    assert json.loads(out)["error"]["faults"]


def test_a_bug_is_one_line_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error nobody foresaw is reported as a bug with its place, and exits with 70."""
    monkeypatch.setattr("fstore.cli.context.Call.settings", lambda self: 1 / 0)

    status, out, err = ask("config")

    assert (status, out) == (70, "")
    assert "a bug in fstore" in err
    assert "test_cli_errors.py" in err


def ask(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; returns exit code, stdout and stderr."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = run(arguments)
    return code, out.getvalue(), err.getvalue()


def test_whoever_has_no_name_can_act_on_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers are given numbers that no list of users knows."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setattr("os.getuid", lambda: 4242)
    assert jobs._user() == "user 4242"


def test_a_folder_that_cannot_be_read_is_no_bug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever may not look into a folder is told to name another one."""

    known = Path.is_file

    def closed(path: Path) -> bool:
        if path.is_relative_to(tmp_path):
            raise PermissionError(13, "Permission denied", str(path))
        return known(path)

    monkeypatch.setattr(Path, "is_file", closed)
    (tmp_path / "docker-compose.yml").touch()
    status, _, said = ask("ops", "export", str(tmp_path))

    assert status == errors.CONFIGURATION
    assert "name another folder" in said
