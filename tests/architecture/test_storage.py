"""Nobody but the storage package knows that a store is a folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CROSSING = {"interface", "open", "layout", "verify", "local_cache", "parquet", "durable", "file_system"}
OF_THE_LAYOUT = ("entries/", "staging/", "quarantine/", ".tmp-", "STORE_ID")
SETTINGS = {"settings", "chosen"}
LOCAL_STACK_AND_MESSAGES = {
    "fstore/bootstrap.py",
    "fstore/cli/commands/start/doctor.py",
    "fstore/cli/demo/run.py",
    "fstore/cli/doctor/command.py",
    "fstore/store.py",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Give every module of the product outside the storage package, and its suite of tests."""
    for package in ("fstore", "workers", "beat"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = str(path.relative_to(REPOSITORY))
            if not name.startswith(("fstore/storage/", "fstore/testing/")):
                yield name, ast.parse(path.read_text())


def texts(tree: ast.Module) -> Iterator[str]:
    """Give the texts in code, without docstrings."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_no_backend_is_imported_by_name() -> None:
    """Whoever needs files is handed an interface; only ``open`` chooses the backend."""
    imported = {
        (name, node.module)
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fstore.storage.")
        if (node.module or "").split(".")[2] not in CROSSING
    }
    assert imported == set()
    backends = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "fstore/storage").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fstore.storage.folder")
    }
    assert backends == {"fstore/storage/open.py"}


def test_no_other_code_makes_paths_of_the_layout() -> None:
    """Where an entry or a staged file lies is said in ``storage/layout.py`` alone."""
    found = {
        (name, text)
        for name, tree in modules()
        for text in texts(tree)
        if any(text.startswith(part) or f"/{part}" in text for part in OF_THE_LAYOUT)
    }
    assert found == set()


def test_the_root_is_a_folder_only_to_the_local_stack() -> None:
    """Others may show the setting; users' raw data below a root that is a folder are allowed by one function."""
    roots, folders = set(), set()
    for name, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute):
                continue
            owner = getattr(node.value, "id", getattr(node.value, "attr", None))
            if node.attr == "path" and owner in SETTINGS:
                roots.add(name)
            if node.attr == "folder" and owner == "capabilities":
                folders.add(name)
    assert roots <= LOCAL_STACK_AND_MESSAGES
    assert folders == {"fstore/compute/raw_data.py"}
