"""A store in a folder pays nothing for object stores."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "ssl" and "ssl" not in sys.modules:
            frame, callers = sys._getframe(1), []
            while frame is not None:
                callers.append(frame.f_globals.get("__name__", ""))
                frame = frame.f_back
            first = next(c for c in callers if not c.startswith(("importlib", "_frozen")))
            print("ssl for", first)

sys.meta_path.insert(0, Watch())
import fstore, pandas as pd
from fstore.bootstrap import open_resources
from fstore.settings import gather_settings
from fstore.store import FeatureStore
given = {"path": sys.argv[1], "postgres_url": "postgresql://nobody@127.0.0.1:9/x", "redis_url": "redis://127.0.0.1:9/0"}
store = FeatureStore.over(open_resources(gather_settings(given, environ={}), role="trainer"))
store._prepare("S", pd.DataFrame({"price": [1.0]}), {}, fstore.local(lambda raw, config: raw, version="1", name="f"))
print([name for name in ("botocore", "urllib3", "fstore.s3.client", "fstore.s3.sending", "fstore.storage.bucket.entries") if name in sys.modules])
"""


def test_a_trainer_with_a_folder_loads_no_driver(tmp_path) -> None:
    """Neither botocore nor urllib3, and no ssl of fstore's: pyarrow, redis and Celery's amqp load that by themselves."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    *told, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    askers = {line.removeprefix("ssl for ").partition(".")[0] for line in told}
    assert askers.isdisjoint({"fstore", "botocore", "urllib3", "workers"}), askers
