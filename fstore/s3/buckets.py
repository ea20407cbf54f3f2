"""The clients of the buckets that one store's settings lead to: its own, and those with raw data."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from fstore.runtime.counters import OBJECT_REQUESTS
from fstore.s3.options import Keys, KeySource, S3Options
from fstore.settings import Settings, read_secret_anew

if TYPE_CHECKING:
    from fstore.s3.client import S3Client

Count = Callable[[str, int], None]


class Buckets:
    """Gives one client a bucket and process.

    All who read from a bucket share its connections and its breaker.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.options = settings, options_of(settings)
        self._clients: dict[str, S3Client] = {}
        self._count: Count | None = None

    def client(self, bucket: str) -> S3Client:
        """Return a bucket's client; nothing is connected before it is used."""
        if (known := self._clients.get(bucket)) is not None:
            return known
        from fstore.s3.client import S3Client  # noqa: PLC0415 - loads what only object stores need

        return self._clients.setdefault(bucket, S3Client(bucket, self.options, count=self._counted))

    def count_with(self, count: Count) -> None:
        """Hand requests, retries and bytes to a store's counters from now on."""
        self._count = count

    def close(self) -> None:
        """Close what is idle; whoever asks again connects again."""
        for client in list(self._clients.values()):
            client.close()

    __del__ = close

    def _counted(self, name: str, n: int) -> None:
        if self._count is None:
            return
        self._count(name, n)
        if name.startswith(f"{OBJECT_REQUESTS}:"):
            self._count(OBJECT_REQUESTS, n)


@lru_cache(maxsize=16)
def buckets_of(settings: Settings) -> Buckets:
    """Return the clients that go with settings; equal ones share them."""
    return Buckets(settings)


def options_of(settings: Settings) -> S3Options:
    """Return how a store's settings have its object store reached."""
    return S3Options(
        endpoint_url=settings.s3_endpoint_url or "",
        region=settings.s3_region,
        addressing=settings.s3_addressing,
        ca_file=settings.s3_ca_file,
        allow_http=settings.s3_allow_http,
        keys=_keys_of(settings),
        expected_bucket_owner=settings.s3_expected_bucket_owner or "",
        timeout_s=settings.object_timeout_s,
        connections=settings.object_connections,
        part_bytes=settings.object_part_bytes,
    )


def _keys_of(settings: Settings) -> KeySource | None:
    if settings.s3_access_key_id is None:
        return None

    def keys() -> Keys:
        # A file is read again: whoever renews a key writes it there.
        key_id, secret, token = (
            read_secret_anew(settings, name)
            for name in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token")
        )
        return Keys(key_id or "", secret or "", token)

    return keys
