"""The compose file's object store, by its own command, and the rights that ``ops/s3/set_up.py`` gives there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from fstore.cli import secrets as secret_files
from fstore.errors import EntryCorrupt, StorageUnavailable
from fstore.model import Locator
from fstore.settings import gather_settings
from fstore.stack.servers.ports import choose_port
from fstore.storage import Storage, open_storage
from fstore.testing.storage_backend import KEY, some_table
from tests.conftest import REPOSITORY, stop_group
from tests.integration.ops.compose_file import RULES
from tests.object_servers import missing_radosgw
from tests.waiting import eventually

OPS = REPOSITORY / "ops"
BASH = Path("/bin/bash")


@contextmanager
def serving(folder: Path, secrets: Path) -> Iterator[str]:
    """Run the script of the image with its data in a folder, and give the address that it serves."""
    ports = [choose_port(folder / "gateway")]
    ports.append(choose_port(folder / "monitor", taken=ports))
    given = {
        "OBJECT_STORE_DATA": str(folder), "OBJECT_STORE_SECRETS": str(secrets), "OBJECT_STORE_BYTES": "2G",
        "OBJECT_STORE_LISTEN": f"127.0.0.1:{ports[0]}", "OBJECT_STORE_MON_PORT": str(ports[1]),
    }  # fmt: skip
    with (folder.parent / "object-store.log").open("ab") as log:
        process = subprocess.Popen(
            [str(BASH), str(OPS / "object-store" / "serve.sh")],
            env={**os.environ, **given}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    endpoint = f"http://127.0.0.1:{ports[0]}"

    def answers() -> bool:
        assert process.poll() is None, (folder.parent / "object-store.log").read_text(errors="replace")[-3000:]
        try:
            with urlopen(endpoint, timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    try:
        eventually(answers, seconds=120, what="the object store")
        yield endpoint
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        stop_group(process)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(missing_radosgw() is not None or shutil.which("ceph-mon") is None, reason="Ceph is not installed")
def test_each_role_has_its_rights_there(tmp_path: Path) -> None:
    """The script makes users of the secrets, and the bucket's policy binds each."""
    secrets, data = tmp_path / "secrets", tmp_path / "objects"
    data.mkdir()
    secret_files.init_secrets(secrets, RULES.read_text())
    with serving(data, secrets) as endpoint:
        for _ in range(2):
            set_up(endpoint, secrets)
        upkeep, worker, trainer = (role(name, endpoint, secrets) for name in ("upkeep", "worker", "trainer"))
        upkeep.entries.create("0123456789abcdef")
        stored = worker.entries.publish(KEY, some_table())
        found = Locator(KEY, stored.path, some_table().num_rows, stored.file_size_bytes, stored.content_digest)
        gone = Locator(KEY, f"entries/{KEY[:2]}/{KEY}.gone.parquet", 1, 1, "0" * 64)
        for storage in (trainer, worker, upkeep):
            assert storage.entries.read(found).equals(some_table())
            with pytest.raises(EntryCorrupt, match="missing"):
                storage.entries.read(gone)
        with pytest.raises(StorageUnavailable, match="may not do that"):
            trainer.entries.publish(KEY, some_table())
        with pytest.raises(StorageUnavailable, match="may not do that"):
            trainer.entries.delete(stored.path)
        assert [one.detail for one in upkeep.entries.diagnose() if one.severity != "ok"] == []


def set_up(endpoint: str, secrets: Path) -> None:
    """Run the script of the service "bucket"."""
    given = {
        "FEATURE_STORE_PATH": "s3://fstore/store", "FEATURE_STORE_S3_ENDPOINT_URL": endpoint,
        "FEATURE_STORE_S3_ACCESS_KEY_ID_FILE": str(secrets / "s3_owner_key_id"),
        "FEATURE_STORE_S3_SECRET_ACCESS_KEY_FILE": str(secrets / "s3_owner_secret"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(OPS / "s3" / "set_up.py")],
        env={**os.environ, **given}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "s3://fstore/store" in done.stdout


def role(name: str, endpoint: str, secrets: Path) -> Storage:
    """Open the store with a role's keys."""
    key_id, secret = ((secrets / f"s3_{name}_{part}").read_text().strip() for part in ("key_id", "secret"))
    given = {
        "path": "s3://fstore/store", "s3_endpoint_url": endpoint, "s3_access_key_id": key_id,
        "s3_secret_access_key": secret, "object_timeout_s": 30,
    }  # fmt: skip
    return open_storage(gather_settings(given, environ={}))
