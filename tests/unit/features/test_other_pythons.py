"""Digests do not depend on the Python that takes them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fstore.features.source.syntax import syntax_text
from tests.unit.features.digests.test_code_digest import BASE


@functools.cache
def other_pythons() -> tuple[str, ...]:
    """Find other interpreters of this machine that fstore supports."""
    found = []
    for minor in (11, 12, 13, 14):
        for name in (f"python3.{minor}", *Path("~/.pyenv/versions").expanduser().glob(f"3.{minor}.*/bin/python")):
            ran = subprocess.run([name, "--version"], capture_output=True, check=False) if _exists(str(name)) else None
            if ran is not None and ran.returncode == 0 and sys.version_info[:2] != (3, minor):
                found.append(str(name))
                break
    return tuple(found)


def _exists(name: str) -> bool:
    return shutil.which(name) is not None


def test_syntax_text_is_the_same_on_other_pythons(tmp_path: Path):
    """The text that is digested does not depend on the interpreter, modern syntax included."""
    if not other_pythons():
        pytest.skip("no other Python here")
    sample = tmp_path / "sample.py"
    sample.write_text(BASE + MODERN, encoding="utf-8")
    here = Path(syntax_text.__code__.co_filename)
    program = (
        "import ast, importlib.util, pathlib, sys\n"
        "spec = importlib.util.spec_from_file_location('s', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "sys.stdout.write(module.syntax_text(ast.parse(pathlib.Path(sys.argv[2]).read_text())))\n"
    )

    texts = {
        subprocess.run([python, "-c", program, str(here), str(sample)], capture_output=True, check=True).stdout
        for python in (sys.executable, *other_pythons())
    }

    assert len(texts) == 1


MODERN = """
def g(a, /, b: int = -1, *c, d=1e-5, **e) -> "x":
    match a:
        case {"k": [1, *rest], **more} if rest:
            pass
        case str() | None as z:
            return f"{a!r:}{b=}{c:{d}.{e}}" f"x{{y}}" "tail" u"u" * 0x10 + 1_000j
    try:
        with (open(a) as f, open(b) as h):
            yield await_(f)
    except* ValueError as exc:
        raise TypeError from exc
    async def n():
        async for i in a:
            return [j async for j in i if (k := j)]
    return lambda *x, y=...: {**e, "a": not x}
"""


def test_digests_agree_on_other_pythons(tmp_path: Path):
    """Trainer and worker with different versions of Python give one version, each sure of the code it runs."""
    if not other_pythons():
        pytest.skip("no other Python here")
    (tmp_path / "helper.py").write_text("W = 1\ndef f():\n    return W\n", encoding="utf-8")
    (tmp_path / "alphas.py").write_text(
        "import helper\n" + BASE.replace("import numpy as np", "np = __import__('math')")
    )
    source = Path(syntax_text.__code__.co_filename).parent
    standin = "hexdigest = lambda self: self.sha.hexdigest()\n    update = lambda self, data: self.sha.update(data)\n"
    (tmp_path / "blake3.py").write_text(
        f"import hashlib\nclass blake3:\n    def __init__(self, data=b''):\n        self.sha = hashlib.sha256(data)\n    {standin}"
    )
    program = (
        "import sys, types\n"
        "for name, path in zip(('fstore', 'fstore.features', 'fstore.features.source'), sys.argv[1:]):\n"
        "    sys.modules[name] = types.ModuleType(name); sys.modules[name].__path__ = [path]\n"
        "from fstore.features.source.digest import covered, source_digest\n"
        "import alphas\n"
        "assert 'helper' in covered(alphas.vwap).walk.modules\n"
        "print(source_digest(alphas.vwap))\n"
    )

    said = {
        subprocess.run(
            [python, "-c", program, str(source.parent.parent), str(source.parent), str(source)],
            cwd=tmp_path, capture_output=True, check=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        ).stdout
        for python in (sys.executable, *other_pythons()) for _ in range(2)
    }  # fmt: skip

    assert len(said) == 1
