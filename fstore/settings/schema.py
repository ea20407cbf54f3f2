"""Every setting of the project: its kind, its default and its meaning, in one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from fstore.model import ObjectUrl
from fstore.settings.lease_times import LeaseTimes
from fstore.settings.object_store import DEFAULT_CACHE, OFF, Cache, Endpoint, Owner, Root
from fstore.settings.values import (
    DataRoots,
    Folder,
    LogLevel,
    ModuleNames,
    PostgresUrl,
    Real,
    RedisUrl,
    Schedule,
    SigningKey,
    Size,
    Whole,
    shown,
)

_GIB = 1024**3
NOT_GIVEN = "default"


class SettingRow(NamedTuple):
    """One line of ``fstore config``; ``value`` is masked where it is secret."""

    name: str
    value: str
    origin: str
    meaning: str


class Settings(BaseModel):
    """All settings, frozen. Build it with ``gather_settings``.

    Calling the class reads nothing and skips the cross-field rules.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    path: Root = Field(Path("~/.fstore"), description="root of the store: a folder, or s3://bucket/prefix")
    postgres_url: PostgresUrl | None = Field(None, description="Postgres that keeps the manifest and the jobs")
    redis_url: RedisUrl | None = Field(None, description="Redis for locks, usage and Celery's messages")
    feature_modules: ModuleNames = Field(("fstore.intraday",), description="modules whose features may be computed")
    data_roots: DataRoots = Field(
        (),
        description="folders, name=/folder, and s3://bucket/prefix that raw data may be read from, besides the store",
    )
    raw_max_rows: Whole = Field(10**10, ge=0, description="rows that a raw Parquet file may have")
    raw_max_columns: Whole = Field(20_000, ge=1, description="columns that a raw Parquet file may have")
    raw_max_row_groups: Whole = Field(100_000, ge=1, description="row groups that a raw Parquet file may have")
    raw_max_footer_bytes: Size = Field(64 * 1024**2, ge=1024, description="size that its footer may have")
    raw_max_expansion: Whole = Field(1000, ge=1, description="decoded bytes for each byte of it, from 1 GiB on")

    tick_data_threshold_mb: Real = Field(100, ge=0, description="raw data above this size get a footer fingerprint")
    hash_policy: Literal["full", "tail"] = Field("full", description="'tail' hashes the last rows only: unsafe")
    local_cache: Cache | None = Field(
        None,
        description="folder on this host's disk that keeps copies of entries; of a bucket's by default, 'off' for none",
    )
    local_cache_max_bytes: Size = Field(10 * _GIB, ge=1, description="largest size of the local cache")

    s3_endpoint_url: Endpoint | None = Field(
        None, description="object store's address, https://host:port; AWS if unset"
    )
    s3_region: str = Field("us-east-1", min_length=1, max_length=64, description="region that requests are signed for")
    s3_addressing: Literal["auto", "path", "virtual"] = Field(
        "auto", description="where the bucket's name stands: in the host name ('virtual', AWS), or in the path"
    )
    s3_ca_file: Folder | None = Field(None, description="file of the authorities that its certificate is checked with")
    s3_allow_http: bool = Field(False, description="speak http to other hosts than this one: data travel in clear")
    s3_access_key_id: SecretStr | None = Field(
        None, description="key to the object store; by default what botocore finds (environment, profile, instance)"
    )
    s3_secret_access_key: SecretStr | None = Field(None, description="secret of that key")
    s3_session_token: SecretStr | None = Field(None, description="session token of a temporary key")
    s3_expected_bucket_owner: Owner | None = Field(None, description="account that must own the bucket, 12 digits")
    s3_read_back: bool = Field(False, description="read each entry again after it was written, where nobody checks")
    object_timeout_s: Real = Field(10, gt=0, description="time for a request without a deadline, besides 1 s a MB")
    object_connections: Whole = Field(16, ge=1, le=1024, description="connections of a process to the object store")
    object_part_bytes: Size = Field(16 * 1024**2, ge=5 * 1024**2, description="size of a part of what is large")
    scratch: Folder | None = Field(None, description="folder for large files on their way; the system's if unset")
    scratch_max_bytes: Size | None = Field(None, ge=1, description="largest size of one file there; none if unset")
    stack_path: Folder | None = Field(None, description="folder of the local stack where the root is a bucket")

    gc_enabled: bool = Field(True, description="collect garbage on a schedule")
    gc_retention_weeks: Real = Field(4, gt=0, description="entries not used for so long are given up")
    gc_schedule: Schedule = Field("0 2 * * *", description="when garbage is collected")
    gc_dry_run: bool = Field(False, description="scheduled collections only report")
    gc_max_bytes: Size | None = Field(None, ge=0, description="above this size the least recently used go too")
    gc_grace_hours: Real = Field(24, ge=0, description="time between hiding an entry and deleting its file")
    gc_grace_unsafe: bool = Field(False, description="allow a grace period too short for live users (tests)")
    integrity_enabled: bool = Field(True, description="re-read entries on a schedule")
    integrity_schedule: Schedule = Field("30 * * * *", description="when entries are re-read")
    integrity_bytes_per_run: Size = Field(10 * _GIB, ge=1, description="how much one integrity run reads")
    reconcile_period_s: Real = Field(20, gt=0, description="how often lost jobs are looked for")
    flush_period_s: Real = Field(60, gt=0, description="how often usage goes from Redis to Postgres")

    on_unavailable: Literal["compute", "raise"] = Field("compute", description="what a miss does without Redis")
    trust_staged_results: bool = Field(
        False,
        description="store what trainers computed of workers' features, as without Redis: whoever signs is believed",
    )
    on_unregistered: Literal["raise", "local"] = Field(
        "raise", description="what becomes of plain functions; 'local' computes them here, keyed by their source"
    )
    on_source_change: Literal["refuse", "warn"] = Field(
        "refuse", description="what a worker does when a caller's source differs under one explicit version"
    )
    pin_numerics: bool = Field(
        False, description="keys of features with partitions also name libraries, BLAS and processor that compute them"
    )
    request_timeout_s: Real = Field(900, gt=0, description="deadline of get_or_compute when none is given")
    compute_time_limit_s: Real = Field(900, gt=0, description="a computation is killed after so long")
    compute_soft_limit_s: Real | None = Field(None, gt=0, description="it is asked to stop; by default shortly before")
    lease_seconds: Real = Field(30, gt=0, description="a worker silent for so long loses its job")
    lock_seconds: Real = Field(30, gt=0, description="a leader silent for so long loses its dedup lock")
    renew_seconds: Real = Field(10, gt=0, description="how often leases and locks are renewed")
    failure_memory_s: Real = Field(30, ge=0, description="how long a failure answers for a new compute")
    max_starts: Whole = Field(3, ge=1, description="starts without an end after which a job is dead")
    connect_timeout_s: Real = Field(3, gt=0, description="how long Redis and Postgres may take to answer a connect")
    max_workers: Whole = Field(10, ge=1, description="largest number of threads, or of worker processes, at once")
    heartbeat_file: Folder | None = Field(
        None, description="file that a worker or Beat touches while it is alive, for probes"
    )
    worker_start_method: Literal["fork", "spawn"] = Field("fork", description="how a worker makes its children")
    worker_max_tasks_per_child: Whole = Field(100, ge=1, description="tasks after which a child is replaced")
    worker_max_memory_mb: Whole = Field(1500, ge=64, description="memory above which a child is replaced")
    worker_memory_limit_mb: Whole | None = Field(
        None, ge=256, description="memory a child may have; all there is if unset"
    )

    log_format: Literal["auto", "json", "text"] = Field("auto", description="'auto' is text on a terminal, else JSON")
    log_level: LogLevel = Field("INFO", description="lowest level that is logged")
    trace_exporter: str | None = Field(None, description="OpenTelemetry exporter of the workers' spans, by its name")
    enable_metrics: bool = Field(True, description="offer Prometheus metrics")
    performance_tracking: bool = Field(True, description="keep timings of hits and computations")
    signing_key: SigningKey | None = Field(
        None, description="secret that signs messages; several, with commas between: the first signs"
    )

    pg_bindir: Folder | None = Field(None, description="Postgres binaries for the local stack")
    redis_server: Folder | None = Field(None, description="Redis binary for the local stack")
    flower_port: Whole = Field(0, ge=0, le=65535, description="Flower's port on the local stack; 0 takes a free one")
    flower_auth: SecretStr | None = Field(None, description="Flower's user:password; generated when absent")

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each field's value was written, for example ``environment FEATURE_STORE_GC_SCHEDULE``."""
        given = dict.fromkeys(self.model_fields_set, "argument")
        return {name: self._origins.get(name) or given.get(name, NOT_GIVEN) for name in type(self).model_fields}

    @property
    def folder(self) -> Path | None:
        """The root where it is a folder of this host, None where it is a bucket."""
        return None if isinstance(self.path, ObjectUrl) else self.path

    @property
    def stack_folder(self) -> Path:
        """Where a local stack keeps its state: the root, or a folder beside it where that is a bucket."""
        return self.stack_path or (Path("~/.fstore").expanduser() if isinstance(self.path, ObjectUrl) else self.path)

    @property
    def cache_folder(self) -> Path | None:
        """The folder of the local cache, None where it is off.

        A bucket has one unless told otherwise, a folder has none.
        """
        if isinstance(self.local_cache, Path):
            return self.local_cache
        wanted = self.local_cache != OFF and isinstance(self.path, ObjectUrl)
        return DEFAULT_CACHE.expanduser() if wanted else None

    @property
    def threshold_bytes(self) -> int:
        """Size above which raw data get a footer fingerprint; one MB is 10^6 bytes."""
        return int(self.tick_data_threshold_mb * 1_000_000)

    @property
    def soft_time_limit_s(self) -> float:
        """When a computation is asked to stop: 60 s before the hard limit, or at 93 % of a short one."""
        if self.compute_soft_limit_s is not None:
            return self.compute_soft_limit_s
        return max(self.compute_time_limit_s - 60, 0.93 * self.compute_time_limit_s)

    @property
    def visibility_timeout_s(self) -> float:
        """When the broker delivers an unacknowledged message again: twice the hard limit."""
        return 2 * self.compute_time_limit_s

    @property
    def lease_times(self) -> LeaseTimes:
        """How long claims, locks and failures hold, and when what was lost is looked for."""
        return LeaseTimes(
            lease_s=self.lease_seconds,
            lock_s=self.lock_seconds,
            renew_s=self.renew_seconds,
            failure_memory_s=self.failure_memory_s,
        )

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Show what is not at its default: a hundred settings that nobody touched tell nobody anything."""
        fields = type(self).model_fields
        yield from (
            (name, value) for name, value in super().__repr_args__() if name is None or value != fields[name].default
        )

    def _repr_html_(self) -> str:
        """Show in a notebook what is not at its default, as 'fstore config --changed' does.

        Secrets are masked.
        """
        from html import escape  # noqa: PLC0415 only notebooks ask

        rows = [row for row in self.describe() if row.origin != NOT_GIVEN]
        head = "".join(f"<th>{name}</th>" for name in SettingRow._fields)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        rest = len(type(self).model_fields) - len(rows)
        return f"<table><tr>{head}</tr>{body}</table><p>{rest} more have their defaults: 'fstore config' lists them</p>"

    def describe(self) -> tuple[SettingRow, ...]:
        """List every setting with its origin, in the order they are declared; secrets are masked."""
        origins = self.origins
        return tuple(
            SettingRow(name, shown(getattr(self, name)), origins[name], info.description or "")
            for name, info in type(self).model_fields.items()
        )
