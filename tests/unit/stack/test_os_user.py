"""Who the servers of a stack run as."""

from __future__ import annotations

import pwd

import pytest

from fstore.errors import ConfigurationError
from fstore.stack.processes.os_user import server_account


def test_a_user_without_a_name_is_told_what_postgres_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers are given numbers that no list of users knows; initdb's own words say nothing of what to do."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr("os.geteuid", lambda: 4242)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(ConfigurationError, match=r"user number 4242 has no name.*FEATURE_STORE_POSTGRES_URL"):
        server_account()


def test_a_user_with_a_name_runs_them_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root needs another account."""
    monkeypatch.setattr("os.geteuid", lambda: 4242)
    monkeypatch.setattr(
        "pwd.getpwuid", lambda uid: pwd.struct_passwd(("ann", "x", uid, uid, "", "/home/ann", "/bin/sh"))
    )
    assert server_account() is None
