"""An object store for the demo, whose root is then a bucket.

It is ministack, in a process that ends with the demo.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from fstore.errors import ConfigurationError
from fstore.s3 import buckets_of
from fstore.settings import child_environment, gather_settings

BUCKET = "fstore-demo"
READY_WITHIN_S = 60.0


@contextmanager
def demo_object_store(folder: Path) -> Iterator[dict[str, str]]:
    """Start it with its data in a folder, and give the settings of a store in a new bucket there.

    It takes bodies that do not fit their signature, so each file is read back.
    """
    absent = [name for name in ("ministack", "botocore") if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigurationError([f"--object-store needs {', '.join(absent)}: pip install 'intraday-fstore[s3demo]'"])
    from fstore.stack import Order, choose_port, spawn  # noqa: PLC0415 servers run the commands without the embedded extra

    port = choose_port(folder)
    environment = {
        **child_environment(gather_settings(environ={})),
        "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3", "LOG_LEVEL": "ERROR",
        "S3_PERSIST": "1", "S3_DATA_DIR": str(folder / "objects"), "TMPDIR": str(folder),
    }  # fmt: skip
    with (folder / "object-store.log").open("ab") as log:
        command = (sys.executable, "-m", "ministack")
        process = spawn(Order(command, environment, folder, log.fileno(), None, signal.SIGKILL, -1))
    try:
        settings = {
            "path": f"s3://{BUCKET}/store",
            "s3_endpoint_url": f"http://127.0.0.1:{port}",
            "s3_addressing": "path",
            "s3_access_key_id": "demo",
            "s3_secret_access_key": "demo-secret",
            "s3_read_back": "true",
        }
        ends_at = time.monotonic() + READY_WITHIN_S
        while not _answers(f"{settings['s3_endpoint_url']}/_ministack/health"):
            if process.poll() is not None or time.monotonic() > ends_at:
                raise ConfigurationError(
                    [f"the object store did not start: {(folder / 'object-store.log').read_text()[-2000:]}"]
                )
            time.sleep(0.05)
        buckets_of(gather_settings(settings, environ={})).client(BUCKET).make_bucket()
        yield settings
    finally:
        process.kill()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 an address of this host
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
