"""Object stores for tests: ministack from PyPI everywhere, and Ceph's radosgw where it is installed.

ministack starts in two seconds; it checks neither secrets nor that a body fits its
signature. radosgw does, so what depends on it runs on both. Both listen on loopback only
and end with this process. ``FSTORE_TEST_RADOSGW=endpoint,key,secret`` names one that runs already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any
from uuid import uuid4

import pytest

from fstore.stack import Order, spawn
from fstore.stack.servers.ports import choose_port
from fstore.testing import stop_group
from tests.waiting import eventually

RUNNING = "FSTORE_TEST_RADOSGW"
KEY, SECRET, REGION = "test", "test-secret-that-no-output-may-show", "us-east-1"
CEPH = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool")
_CEPH_CONF = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}/0
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
ms mon client mode = crc
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {folder}
admin socket = {folder}/$name.$pid.asok
log file = {folder}/$name.log
keyring = /dev/null
mon data = {folder}/mon
mon data avail warn = 1
mon data avail crit = 1
mon allow pool size one = true
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 64
"""


@dataclass(frozen=True)
class ObjectServer:
    """A running object store and the keys of an account that may do everything."""

    kind: str
    endpoint: str
    key: str = KEY
    secret: str = SECRET

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.endpoint.removeprefix("http://").partition(":")
        return host, int(port)

    def client(self, endpoint: str | None = None) -> Any:
        """Return botocore's own client, to look behind the product's back; it tries once and sends no checksums of its own."""
        import botocore.session
        from botocore.config import Config

        config = Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=30,
        )
        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=config,
        )

    def new_bucket(self, *, versioned: bool = False) -> Bucket:
        """Make a bucket that no other test uses."""
        name, client = f"t-{uuid4().hex[:16]}", self.client()
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return Bucket(self, name, client)


@dataclass(frozen=True)
class Bucket:
    """One test's bucket, seen directly."""

    server: ObjectServer
    name: str
    client: Any

    def put(self, key: str, data: bytes) -> str:
        """Write an object, return its ETag."""
        return str(self.client.put_object(Bucket=self.name, Key=key, Body=data)["ETag"])

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes, None when it is not there."""
        try:
            return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())
        except self.client.exceptions.NoSuchKey:
            return None

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self, prefix: str = "") -> list[str]:
        """List the keys below a prefix, in order."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def uploads(self) -> list[str]:
        """List the keys of unfinished multipart uploads."""
        found = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())
        return [one["Key"] for one in found]

    def settings(self, prefix: str = "fstore", endpoint: str | None = None) -> dict[str, str]:
        """Return the ``FEATURE_STORE_*`` settings, in lower case, of a store below a prefix."""
        return {
            "path": f"s3://{self.name}/{prefix}".rstrip("/"),
            "s3_endpoint_url": endpoint or self.server.endpoint,
            "s3_region": REGION,
            "s3_addressing": "path",
            "s3_access_key_id": self.server.key,
            "s3_secret_access_key": self.server.secret,
        }


@contextmanager
def running_ministack(*, folder: Path | None = None, port: int | None = None) -> Iterator[ObjectServer]:
    """Run ministack; what it holds stays in ``folder`` where one is given, else it is gone with it."""
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fstore-s3-")))
        port = port or _free_ports(1)[0]
        environment = {
            **os.environ,
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "s3",
            "LOG_LEVEL": "ERROR",
            "S3_PERSIST": "1" if folder else "0",
            "S3_DATA_DIR": str(place / "objects"),
            "TMPDIR": str(place),
        }
        _start(stack, place, [sys.executable, "-m", "ministack"], environment)
        server = ObjectServer("ministack", f"http://127.0.0.1:{port}")
        _await(f"{server.endpoint}/_ministack/health", place)
        yield server


def missing_radosgw() -> str | None:
    """Return why radosgw cannot be run here, or None."""
    if why := os.environ.get("FSTORE_TEST_NO_CEPH"):
        return why
    if os.environ.get(RUNNING):
        return None
    absent = [name for name in CEPH if shutil.which(name) is None]
    return f"{', '.join(absent)} not on PATH: apt-get install radosgw ceph-mon ceph-osd" if absent else None


@contextmanager
def running_radosgw() -> Iterator[ObjectServer]:
    """Run a monitor, a memory OSD and a gateway of Ceph: a real implementation, 12 s and 720 MB."""
    if given := os.environ.get(RUNNING):
        endpoint, key, secret = given.split(",")
        yield ObjectServer("radosgw", endpoint, key, secret)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fstore-ceph-")))
        mon_port, port = _free_ports(2)
        fsid, osd = str(uuid4()), str(uuid4())
        conf = folder / "ceph.conf"
        conf.write_text(_CEPH_CONF.format(fsid=fsid, folder=folder, mon_port=mon_port, port=port))
        environment = {**os.environ, "CEPH_CONF": str(conf)}

        def run(*command: str, seconds: float = 60) -> None:
            done = subprocess.run(
                command, env=environment, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
            )
            assert done.returncode == 0, f"{command[0]} failed: {done.stderr[-2000:]}"

        (folder / "mon").mkdir()
        (folder / "osd").mkdir()
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", "monmap")
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        _start(stack, folder, ["ceph-mon", "-f", "-i", "a"], environment)
        run("ceph", "--connect-timeout", "30", "osd", "new", osd)
        run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
        _start(stack, folder, ["ceph-osd", "-f", "-i", "0"], environment)
        _start(stack, folder, ["radosgw", "-f", "-n", "client.rgw"], environment)
        admin = ("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", "tests", "--display-name", "tests")
        run(*admin, "--access-key", KEY, "--secret", SECRET, "--max-buckets", "0")
        server = ObjectServer("radosgw", f"http://127.0.0.1:{port}")
        _await(server.endpoint, folder)
        yield server


def _start(stack: ExitStack, folder: Path, command: list[str], environment: dict[str, str]) -> None:
    """Start a server that ends with this process, or with the stack."""
    with (folder / f"{Path(command[0]).name}.out").open("ab") as log:
        process = spawn(Order(command, environment, folder, log.fileno(), None, SIGKILL, -1))
    stack.callback(stop_group, process)


def _await(url: str, folder: Path) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - a URL of our own
                return bool(answer.status)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    try:
        eventually(answers, seconds=60, what=f"the object store at {url}")
    except BaseException as error:
        told = "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.out"))
        raise RuntimeError(f"the object store does not answer:\n{told}") from error


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on: taken at once, so that they differ, from a place of this process's own."""
    ports: list[int] = []
    for number in range(count):
        ports.append(choose_port(f"{os.getpid()} {time.monotonic_ns()} {number}", taken=ports))
    return ports


@pytest.fixture(scope="session")
def ministack() -> Iterator[ObjectServer]:
    """A ministack for the whole run."""
    with running_ministack() as server:
        yield server


@pytest.fixture(scope="session")
def radosgw() -> Iterator[ObjectServer]:
    """A radosgw for the whole run; skips where it is not installed, and fails on CI unless that says why there is none."""
    if why := missing_radosgw():
        is_told = os.environ.get("CI", "").lower() != "true" or "FSTORE_TEST_NO_CEPH" in os.environ
        (pytest.skip if is_told else pytest.fail)(why)
    with running_radosgw() as server:
        yield server


@pytest.fixture(scope="session", params=["ministack", "radosgw"])
def object_server(request: pytest.FixtureRequest) -> ObjectServer:
    """Each of the servers in turn."""
    server: ObjectServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def bucket(ministack: ObjectServer) -> Bucket:
    """A new bucket on ministack."""
    return ministack.new_bucket()


@pytest.fixture
def make_bucket(object_server: ObjectServer) -> Callable[..., Bucket]:
    """A way to make buckets on each of the servers in turn."""
    return object_server.new_bucket


if __name__ == "__main__":
    with running_radosgw() as found:
        print(f"radosgw answered at {found.endpoint}")
