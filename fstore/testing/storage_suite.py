"""The promises of a storage backend as tests.

Subclass ``StorageSuite``, give it a store, and run pytest. A backend that passes can stand below a store:
publishing, reading, upkeep and staging rely on nothing else. See ``fstore.storage.interface`` for the promises in
words and ``Backend`` for the five things a subclass has to say.
"""

from __future__ import annotations

from fstore.testing.storage_entries import EntryTests
from fstore.testing.storage_packs import PackTests
from fstore.testing.storage_staging import StagingTests
from fstore.testing.storage_verdicts import VerdictTests


class StorageSuite(EntryTests, PackTests, VerdictTests, StagingTests):
    """What every backend must pass."""
