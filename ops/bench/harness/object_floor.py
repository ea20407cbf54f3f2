"""What an object store costs without fstore: bare requests, signed by botocore, over ``http.client``; and listings of any size.

python object_floor.py bare|store <endpoint>    lists a bucket in 16 streams and tells what that took
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

PAGE = 1000
_BUCKET, _PREFIX, _STREAMS = "endless", "bench", 16
_STAMP = "2026-01-01T00:00:00.000Z"


class Bare:
    """One connection that signs, sends and reads, and does nothing else."""

    def __init__(self, endpoint: str, bucket: str, key: str, secret: str) -> None:
        self._endpoint, self._bucket = endpoint, bucket
        self._auth = S3SigV4Auth(Credentials(key, secret), "s3", "us-east-1")
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self._connection = http.client.HTTPConnection(host, int(port))

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """Return an object, or its bytes from ``span[0]`` up to ``span[1]``."""
        headers = {} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"}
        return self._send("GET", f"/{self._bucket}/{key}", headers)

    def put(self, key: str, data: Any) -> None:
        """Put an object."""
        self._send("PUT", f"/{self._bucket}/{key}", {}, data)

    def list(self, prefix: str) -> int:
        """List what begins with a prefix, and return how many keys it has."""
        token, count = "", 0
        while True:
            more = f"&continuation-token={token}" if token else ""
            body = self._send(
                "GET", f"/{self._bucket}?{more[1:]}{'&' if more else ''}list-type=2&max-keys={PAGE}&prefix={prefix}", {}
            )
            root = ElementTree.fromstring(body)  # noqa: S314 - from a server of our own
            space = root.tag.partition("}")[0] + "}" if "}" in root.tag else ""
            for item in root.iterfind(f"{space}Contents"):
                count += bool(item.findtext(f"{space}Key"))
            token = root.findtext(f"{space}NextContinuationToken") or ""
            if not token:
                return count

    def _send(self, method: str, target: str, headers: dict[str, str], body: Any = None) -> bytes:
        request = AWSRequest(method=method, url=self._endpoint + target, headers=headers, data=body or b"")
        self._auth.add_auth(request)
        self._connection.request(method, target, body=body, headers=dict(request.headers.items()))
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {target}: {answer.status} {data[:200]!r}")
        return data


def side_by_side(act: Callable[[Bare, Any], object], work: Sequence[Any], bares: Sequence[Bare]) -> None:
    """Do pieces of work over several connections at once."""
    rest = iter(list(work))
    guard = threading.Lock()

    def run(bare: Bare) -> None:
        while True:
            with guard:
                item = next(rest, None)
            if item is None:
                return
            act(bare, item)

    threads = [threading.Thread(target=run, args=(bare,)) for bare in bares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class EndlessListing:
    """A server that answers listings of as many keys as wanted, made up as they are asked for."""

    def __init__(self, keys: int) -> None:
        per_shard = keys // 256

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = {
                    name: values[0]
                    for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()
                }
                body = _uploads() if "uploads" in query else _page(query, per_shard)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self) -> None:
        """Answer until the process ends."""
        self._server.serve_forever()


def _uploads() -> bytes:
    return b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"


def _page(query: dict[str, str], per_shard: int) -> bytes:
    head, _, digits = query["prefix"].rpartition("entries/")
    shards = [digits] if len(digits) == 2 else [f"{digits}{low:x}" for low in range(16)]
    first, total = int(query.get("continuation-token") or 0), per_shard * len(shards)
    until = min(first + PAGE, total)
    contents = "".join(
        f"<Contents><Key>{head}entries/{shards[n // per_shard]}/{shards[n // per_shard]}{n % per_shard:062x}.0123456789abcdef.parquet</Key>"
        f"<LastModified>{_STAMP}</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>93000</Size></Contents>"
        for n in range(first, until)
    )
    more = f"<NextContinuationToken>{until}</NextContinuationToken>" if until < total else ""
    return f"<ListBucketResult><IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{contents}</ListBucketResult>".encode()


def main(way: str, endpoint: str) -> None:
    """List everything; print as JSON how many keys there were, the seconds, and the memory before and at most.

    In a process of its own, so that the memory is what a store takes, and nothing that benchmarks load beside it.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from fstore.settings import gather_settings  # noqa: PLC0415 - what only this way needs
    from fstore.storage import SHARDS_IN_TURN, open_storage  # noqa: PLC0415
    from harness.memory import peak_mib  # noqa: PLC0415 - as a script this file has no package around it

    given = {"s3_endpoint_url": endpoint, "s3_addressing": "path", "object_timeout_s": 60}
    settings = gather_settings(
        {**given, "path": f"s3://{_BUCKET}/{_PREFIX}", "s3_access_key_id": "k", "s3_secret_access_key": "s"}, environ={}
    )
    entries = open_storage(settings).entries  # which loads all that a store needs, for the bare way too
    base_mb = peak_mib() * 2**20 / 1e6
    began, cpu = time.monotonic(), time.process_time()
    if way == "bare":
        counts: list[int] = []
        bares = [Bare(endpoint, _BUCKET, "k", "s") for _ in range(_STREAMS)]
        side_by_side(
            lambda bare, digit: counts.append(bare.list(f"{_PREFIX}/entries/{digit}")),
            [f"{n:x}" for n in range(16)],
            bares,
        )
        count = sum(counts)
    else:
        count = sum(len(listing.files) for listing in entries.list_shards(SHARDS_IN_TURN))
    told = {
        "seconds": time.monotonic() - began,
        "cpu_s": time.process_time() - cpu,
        "count": count,
        "base_mb": base_mb,
        "peak_mb": peak_mib() * 2**20 / 1e6,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
