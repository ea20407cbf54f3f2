"""Digests that are taken by several threads at once are those that each would take alone."""

from __future__ import annotations

import threading
from types import FunctionType
from typing import Any

import pytest

from fstore.features.source import loaded_modules
from fstore.features.source.foreign_names import foreign_texts
from fstore.features.source.loaded_modules import LoadedModules
from fstore.features.source.module_source import ModuleSource
from fstore.features.source.own_code import Found

CELL = "def compute(raw, config):\n    return helper(raw) * FACTOR\n"


def test_a_function_of_a_notebook_is_described_by_two_threads_at_once() -> None:
    """Neither takes the other's for its own: what comes from other cells is in both digests."""
    space: dict[str, Any] = {"__name__": "__main__", "FACTOR": 2}
    exec(compile("def helper(raw):\n    return raw\n", "<cell 1>", "exec"), space)  # noqa: S102 as a shell does
    exec(compile(CELL, "<cell 2>", "exec"), space)  # noqa: S102 as a shell does
    compute, source = space["compute"], ModuleSource(CELL)
    others: list[list[str]] = []

    def described(digest: Any) -> list[str]:
        return foreign_texts(compute, source, range(len(source.statements)), digest)

    def digest_while_another_does(_: FunctionType) -> str:
        thread = threading.Thread(target=lambda: others.append(described(lambda _: "digest")))
        thread.start()
        thread.join()
        return "digest"

    assert described(digest_while_another_does) == ["FACTOR is int 2", "helper is digest"] == others[0]
    assert described(lambda _: str(described(lambda _: "endless"))) == ["FACTOR is int 2", "helper is []"]


def test_a_module_that_another_thread_notes_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread asks whether modules ran again while another has met one that was just imported."""
    found = {name: Found(name, "", (), None) for name in ("json", "ast", "csv")}
    loaded = LoadedModules(found, dict.fromkeys(found, "x = 1"))
    run_of = loaded_modules._run_of

    def noting(name: str) -> object:
        loaded._runs.setdefault("csv", run_of("csv"))
        return run_of(name)

    monkeypatch.setattr(loaded_modules, "_run_of", noting)

    del loaded._runs["csv"]
    assert loaded.loaded_again() == ""
    del loaded._runs["csv"]
    running = loaded.running()
    assert next(running)[0] == "json"
    loaded._runs["csv"] = run_of("csv")
    assert [name for name, *_ in running] == ["ast"]
