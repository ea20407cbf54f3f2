"""Try the feature modules before workers are started on them."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from fstore.errors import ConfigurationError

_WITHIN_SECONDS = 120.0
_PROGRAM = """\
import json, sys
from fstore.errors import ConfigurationError
from fstore.features.feature_modules import load_feature_modules
try:
    load_feature_modules(sys.argv[1:])
except ConfigurationError as exc:
    print("FAULTS " + json.dumps(exc.faults), flush=True)
files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
print("FILES " + json.dumps(sorted(name for name in files if name.endswith(".py"))), flush=True)
"""


def check_modules(modules: Sequence[str], environment: Mapping[str, str], *, cwd: Path) -> tuple[Path, ...]:
    """Import feature modules in a process like a worker's.

    Raises ``ConfigurationError`` that names those that fail. Returns the files of the user's own code that were
    loaded: what is installed is left out. A worker itself only logs such a fault and answers every request with it.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", _PROGRAM, *modules],
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            timeout=_WITHIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ConfigurationError(
            [
                f"importing {', '.join(modules)} took more than {_WITHIN_SECONDS:.0f} s; a feature module must only define features"
            ]
        ) from exc
    for line in done.stdout.splitlines():
        if line.startswith("FAULTS "):
            raise ConfigurationError(json.loads(line.removeprefix("FAULTS ")))
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise ConfigurationError(
            [f"importing {', '.join(modules)} ended the process (exit code {done.returncode}):\n{tail}"]
        )
    listed = next((line for line in done.stdout.splitlines() if line.startswith("FILES ")), "FILES []")
    return tuple(path for path in map(Path, json.loads(listed.removeprefix("FILES "))) if _is_own(path))


def _is_own(path: Path) -> bool:
    installed = {Path(place).resolve() for name, place in sysconfig.get_paths().items() if "lib" in name}
    installed.add(Path(__file__).resolve().parents[1])  # fstore itself
    resolved = path.resolve()
    return not any(place in resolved.parents for place in installed)
