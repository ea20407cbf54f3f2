"""The root of a store in a bucket: how it comes into being, what id it has, its clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from fstore.errors import StorageUnavailable, StoreMismatch
from fstore.s3 import ObjectChanged, ObjectMissing, S3Unavailable
from fstore.storage import layout
from fstore.storage.bucket.diagnosis import diagnose
from fstore.storage.bucket.place import Place
from fstore.storage.interface import Condition, Space


class BucketRoot:
    """What of a store in a bucket is no single entry."""

    def __init__(self, place: Place) -> None:
        self._place, self._client = place, place.client
        self.capabilities = place.capabilities

    def create(self, store_id: str) -> None:
        """Put the id unless there is one.

        Whatever the store makes of the condition, what lies there then counts.
        """
        if not self.identity():
            key = self._place.key(layout.STORE_ID)
            try:
                with suppress(ObjectChanged):  # somebody's came first, or this one's, whose answer was lost
                    self._client.put(key, store_id.encode(), only_new=True)
            except S3Unavailable as error:
                if error.code != "NotImplemented":
                    raise
                self._client.put(key, store_id.encode())
        self.check_identity(store_id)

    def identity(self) -> str:
        """Return the store's id, empty when it has none."""
        try:
            found: bytes = self._place.fetch(layout.STORE_ID).data.to_pybytes()
            return found.decode("ascii").strip()
        except ObjectMissing:
            return ""
        except UnicodeDecodeError as error:
            raise StorageUnavailable(self._place.location, f"{layout.STORE_ID} holds no id") from error

    def check_identity(self, store_id: str) -> None:
        """Make sure that the store has this id."""
        if (found := self.identity()) != store_id:
            raise StoreMismatch(self._place.location, found, store_id)

    def now_ns(self) -> int:
        """Put a probe and see when the store's listing says that it was."""
        key = self._place.key(f"{layout.PROBES}/{layout.new_token()}")
        self._client.put(key, b"?")
        try:
            for page in self._client.list(key):
                for listed in page:
                    return listed.modified_ns
        finally:
            with suppress(StorageUnavailable):  # what stays is collected
                self._client.delete(key)
        raise StorageUnavailable(self._place.location, "a listing does not show what was just put there")

    def space(self) -> Space | None:
        """Return None: a bucket has no bound that anybody could ask for."""
        return None

    def diagnose(self) -> Iterator[Condition]:
        """Do what the roles do, below ``probe``."""
        return diagnose(self._place)
