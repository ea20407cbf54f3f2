"""Settings in, open objects out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fstore.broker import Broker
from fstore.coordination import DedupLocks, Notifier, Outbox, RedisLink, RedisServer, UsageBuffer
from fstore.errors import ConfigurationError
from fstore.features import load_feature_modules
from fstore.postgres import (
    Database,
    Figures,
    Jobs,
    Manifest,
    PostgresPartitionMemo,
    PostgresSourceMemo,
    UpkeepQueries,
    UpkeepRuns,
    Usage,
)
from fstore.resources import Resources
from fstore.runtime.counters import Recorder
from fstore.s3 import buckets_of
from fstore.settings import Settings, load_settings, setting_name
from fstore.storage import open_local_cache, open_storage

__all__ = ["load_settings", "open_resources", "prepare"]

log = logging.getLogger("fstore.bootstrap")


@dataclass(frozen=True, slots=True)
class Opening:
    """What a store was opened with by its caller, secrets left out.

    Enough to open it in another process of the same surroundings.
    """

    text: str  # two of one text are one
    settings: Mapping[str, Any] = field(compare=False)
    config_file: Path | None = field(compare=False)

    @classmethod
    def of(cls, given: Mapping[str, Any], config_file: Path | None) -> Self:
        """Leave out what must not travel."""
        fields = Settings.model_fields
        plain = {
            name: value
            for name, value in given.items()
            if "SecretStr" not in repr(fields[setting_name(name)].annotation)
        }
        file = None if config_file is None else config_file.absolute()
        return cls(repr((sorted(plain.items(), key=lambda item: item[0]), file)), plain, file)


def open_resources(chosen: Settings, *, role: str) -> Resources:
    """Open adapters for one process; nothing is connected before it is used.

    ``role`` names the process in Postgres' session list. Raises
    ``ConfigurationError`` when Postgres or Redis is not configured.
    """
    faults = [
        f"FEATURE_STORE_{name.upper()} is not set and no local stack runs on {chosen.path}; set it, or start a stack with 'fstore up'"
        for name in ("postgres_url", "redis_url")
        if getattr(chosen, name) is None
    ]
    if chosen.postgres_url is None or chosen.redis_url is None:
        raise ConfigurationError(faults)
    try:
        load_feature_modules(chosen.feature_modules)
    except ConfigurationError as error:
        if role.startswith("worker"):
            raise  # a worker that lacks a feature would fail every request for it
        # A trainer only needs what it asks for; one that works on a local stack did not even name the modules.
        unasked = chosen.origins["feature_modules"].startswith("running stack")
        log.log(logging.DEBUG if unasked else logging.WARNING, "%s", error)
    database = Database(
        chosen.postgres_url.get_secret_value(),
        application_name=f"fstore/{role}",
        connect_timeout_s=chosen.connect_timeout_s,
        pool_size=chosen.max_workers,
    )
    link = RedisLink(chosen.redis_url.get_secret_value(), timeout_s=chosen.connect_timeout_s)
    usage_buffer = UsageBuffer(link)
    recorder = Recorder(usage_buffer.note, timed=chosen.performance_tracking)
    storage = open_storage(chosen)
    buckets_of(chosen).count_with(recorder.count)
    return Resources(
        settings=chosen,
        database=database,
        manifest=Manifest(database),
        jobs=Jobs(database, times=chosen.lease_times, max_starts=chosen.max_starts),
        memo=PostgresSourceMemo(database),
        partition_memo=PostgresPartitionMemo(database),
        entries=storage.entries,
        staging=storage.staging,
        usage=Usage(database),
        upkeep=UpkeepQueries(database),
        runs=UpkeepRuns(database),
        figures=Figures(database),
        locks=DedupLocks(link, lock_s=chosen.lock_seconds),
        notifier=Notifier(link, count=recorder.count),
        usage_buffer=usage_buffer,
        redis_server=RedisServer(link),
        broker=Broker(chosen, Outbox(link)),
        recorder=recorder,
        local_cache=open_local_cache(chosen),
    )


def prepare(chosen: Settings) -> tuple[str | None, str | None]:
    """Bring database and store into being, and return the revision of the schema before and after.

    Runs missing migrations, makes the folders, and ties both by the store's id. Returns the schema revision before
    and after. Safe to call at every start and by several processes at once.
    """
    if chosen.postgres_url is None:
        raise ConfigurationError(["FEATURE_STORE_POSTGRES_URL is not set; there is nothing to migrate"])
    url = chosen.postgres_url.get_secret_value()
    from fstore.postgres import migrate  # noqa: PLC0415 a third of a second that no trainer should pay

    before, after = migrate(url)
    database = Database(url, application_name="fstore/migrate", connect_timeout_s=chosen.connect_timeout_s, pool_size=1)
    try:
        store_id, _ = Manifest(database).store_identity()
    finally:
        database.close()
    open_storage(chosen).entries.create(store_id)
    return before, after
