"""The secrets of a production stack: made once, private, and consistent with each other."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from fstore.cli.app import app
from fstore.cli.secrets import ACL, POSTGRES_ROLES, REDIS_USERS, init_secrets
from fstore.settings.loading import gather_settings
from tests.conftest import REPOSITORY

RULES = (REPOSITORY / "ops" / "redis" / "users.acl").read_text()


def test_urls_carry_the_passwords_beside_them(tmp_path: Path) -> None:
    """Every URL is one that settings take, with the password of its own file, and no two passwords are equal."""
    folder = tmp_path / "secrets"
    made = init_secrets(folder, RULES)

    passwords = {path.name: path.read_text().strip() for path in made if path.name.endswith("_password")}
    for kind, names in (("postgres", POSTGRES_ROLES), ("redis", REDIS_USERS)):
        for name in names:
            url = (folder / f"{kind}_{name}_url").read_text().strip()
            assert urlsplit(url).password == passwords[f"{kind}_{name}_password"]
            gather_settings({f"{kind}_url": url}, environ={})
    assert len(set(passwords.values())) == len(passwords)
    assert all(len(password) == 48 for password in passwords.values())


def test_acl_file_has_digests_and_no_password(tmp_path: Path) -> None:
    """The file for Redis is the rules with a digest for every user but the one that is off."""
    folder = tmp_path / "secrets"
    init_secrets(folder, RULES)

    text = (folder / ACL).read_text()
    lines = {line.split()[1]: line for line in text.splitlines()}
    for user in REDIS_USERS:
        password = (folder / f"redis_{user}_password").read_text().strip()
        assert password not in text
        assert f" on #{hashlib.sha256(password.encode()).hexdigest()} " in lines[user]
    assert lines["default"] == "user default reset off -@all"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A second call writes only what is missing, and what it writes fits what is there."""
    folder = tmp_path / "secrets"
    init_secrets(folder, RULES)
    before = {path.name: path.read_text() for path in folder.iterdir()}
    (folder / "redis_worker_url").unlink()

    assert [path.name for path in init_secrets(folder, RULES)] == ["redis_worker_url"]
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_folder_is_private_and_files_are_complete(tmp_path: Path) -> None:
    """Only its owner enters the folder; containers, which see single files of it, may read those."""
    folder = tmp_path / "secrets"
    init_secrets(folder, RULES)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}


def test_secrets_are_made_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``fstore config --init-secrets`` writes ./secrets, by the rules in ./ops or else by those that were installed."""
    monkeypatch.chdir(tmp_path)
    elsewhere = CliRunner().invoke(app, ["config", "--init-secrets", "elsewhere"])
    assert elsewhere.exit_code == 0, elsewhere.output
    assert (tmp_path / "elsewhere" / ACL).read_text().count(" on #") == len(REDIS_USERS)

    (tmp_path / "ops" / "redis").mkdir(parents=True)
    (tmp_path / "ops" / "redis" / "users.acl").write_text(RULES)
    done = CliRunner().invoke(app, ["config", "--init-secrets"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "secrets" / ACL).exists()
    for path in (tmp_path / "secrets").iterdir():
        assert path.read_text().strip() not in done.output
