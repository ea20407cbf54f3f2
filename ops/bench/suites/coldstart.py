"""Processor time of new processes: an import, commands, a trainer up to its first hit; beside pandas' own in turn.

    python ops/bench/coldstart.py [--quick] [--json] [--check]

All of them find compiled bytecode, as what pip installed does. A trainer's time ends with its first
frame: what it hands over to Redis comes later, beside its work.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.features import day, unchanged
from harness.figures import Figure, Outcome
from harness.stand import Stand, stand

FEATURE = "harness.features:unchanged"
TRAINER = f"""
import sys, time, fstore
store = fstore.connect()
frame = store.get_or_compute("BENCH", fstore.ParquetSource(sys.argv[1]), {{}}, "{FEATURE}")
print(time.process_time())
"""
BARE = """
import sys, time, pandas
frame = pandas.read_parquet(sys.argv[1])
print(time.process_time())
"""
PANDAS, BOTH, IMPORT = "import pandas", "import pandas, pyarrow", "import fstore"
HELP, STATUS = "fstore --help", "fstore status --json"
HIT, READ = "trainer, up to its first hit", "pandas.read_parquet in a new process"


def measure(*, quick: bool) -> Outcome:
    """Start each process in turn, and take the median of the processor time of each."""
    with stand() as place:
        ways = ways_of(place)
        for way in ways.values():
            way()  # compiles what it loads
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(3 if quick else 15):
            for name, way in ways.items():
                spent[name].append(way())
    took = {name: statistics.median(seconds) for name, seconds in spent.items()}
    figures = [
        Figure("import fstore / import pandas, pyarrow", took[IMPORT] / took[BOTH], 1.3),
        Figure("fstore --help / import pandas", took[HELP] / took[PANDAS], 0.6),
        Figure("fstore status --json / import pandas", took[STATUS] / took[PANDAS], 0.6),
        Figure("a new trainer's first hit / a new process' pandas.read_parquet", took[HIT] / took[READ], 1.5),
    ]
    return Outcome("coldstart", figures, {"ms": {name: round(seconds * 1000, 1) for name, seconds in took.items()}})


def ways_of(place: Stand) -> dict[str, Callable[[], float]]:
    """Return what starts each process and returns its processor time in seconds."""
    raw = place.folder / "raw.parquet"
    place.worker(concurrency=1)
    with place.trainer() as store:
        source = store.ingest(day(0), raw)
        store.get_or_compute("BENCH", source, {}, unchanged)
        (result,) = Path(store.settings.path).glob("entries/*/*.parquet")
    environment = place.child_environment(PYTHONPYCACHEPREFIX=str(place.folder / "bytecode"))
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    python = sys.executable
    return {
        PANDAS: lambda: whole(environment, python, "-c", PANDAS),
        BOTH: lambda: whole(environment, python, "-c", BOTH),
        IMPORT: lambda: whole(environment, python, "-c", IMPORT),
        HELP: lambda: whole(environment, python, "-m", "fstore", "--help"),
        STATUS: lambda: whole(environment, python, "-m", "fstore", "status", "--json"),
        HIT: lambda: told(environment, python, "-c", TRAINER, str(raw)),
        READ: lambda: told(environment, python, "-c", BARE, str(result)),
    }


def whole(environment: Mapping[str, str], *command: str) -> float:
    """Return the processor time of a command from its start to its end."""
    before = children_s()
    subprocess.run(command, env=environment, check=False, capture_output=True)  # status without a stack is not 0
    return children_s() - before


def children_s() -> float:
    """Return the processor time of all processes that this one started and that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def told(environment: Mapping[str, str], *command: str) -> float:
    """Return the processor time that a process says it took so far."""
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)
