"""Every setting of the project, and the only reader of the process environment.

An argument wins over the environment, the environment over the file, the file
over a running local stack, the stack over the default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fstore.errors import ConfigurationError
from fstore.settings.layers import (
    CONFIG_VARIABLE,
    OWN_FILE,
    PREFIX,
    Layer,
    from_environment,
    from_file,
    from_mapping,
    merge,
)
from fstore.settings.rules import broken_rules
from fstore.settings.values import (
    Folder,
    Folders,
    LogLevel,
    ModuleNames,
    PostgresUrl,
    Real,
    RedisUrl,
    Schedule,
    SigningKey,
    Size,
    Whole,
    masked,
    shown,
    written,
)

_GIB = 1024**3
_DEFAULT = "default"


class SettingRow(NamedTuple):
    """One line of ``fstore config``; ``value`` is masked where it is secret."""

    name: str
    value: str
    origin: str
    meaning: str


class Settings(BaseSettings):
    """All settings, frozen. Build it with ``load``; calling the class reads nothing and skips the cross-field rules."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, validate_default=True, allow_inf_nan=False
    )

    path: Folder = Field(Path("~/.fstore"), description="root folder of the store")
    postgres_url: PostgresUrl | None = Field(None, description="Postgres that keeps the manifest and the jobs")
    redis_url: RedisUrl | None = Field(None, description="Redis for locks, usage and Celery's messages")
    feature_modules: ModuleNames = Field(("fstore.intraday",), description="modules whose features may be computed")
    data_roots: Folders = Field((), description="folders raw data may be read from, besides the store")
    raw_max_rows: Whole = Field(10**10, ge=0, description="rows that a raw Parquet file may have")
    raw_max_columns: Whole = Field(20_000, ge=1, description="columns that a raw Parquet file may have")
    raw_max_row_groups: Whole = Field(100_000, ge=1, description="row groups that a raw Parquet file may have")
    raw_max_footer_bytes: Size = Field(64 * 1024**2, ge=1024, description="size that its footer may have")
    raw_max_expansion: Whole = Field(1000, ge=1, description="decoded bytes for each byte of it, from 1 GiB on")

    tick_data_threshold_mb: Real = Field(100, ge=0, description="raw data above this size get a footer fingerprint")
    hash_policy: Literal["full", "tail"] = Field("full", description="'tail' hashes the last rows only: unsafe")
    local_cache: Folder | None = Field(None, description="folder on this host's disk that keeps copies of entries")
    local_cache_max_bytes: Size = Field(10 * _GIB, ge=1, description="largest size of the local cache")

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
    on_unregistered: Literal["raise", "local"] = Field(
        "raise", description="what becomes of plain functions; 'local' computes them here, keyed by their source"
    )
    on_source_change: Literal["refuse", "warn"] = Field(
        "refuse", description="what a worker does when a caller's source differs under one explicit version"
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
    heartbeat_file: Folder | None = Field(None, description="file a worker touches while it is alive, for probes")
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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keep construction free of the environment: ``load`` gathers the layers and knows their origins."""
        return (init_settings,)

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each field's value was written, for example ``environment FEATURE_STORE_GC_SCHEDULE``."""
        given = dict.fromkeys(self.model_fields_set, "argument")
        return {name: self._origins.get(name) or given.get(name, _DEFAULT) for name in type(self).model_fields}

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

    def describe(self) -> tuple[SettingRow, ...]:
        """List every setting with its origin, in the order they are declared; secrets are masked."""
        origins = self.origins
        return tuple(
            SettingRow(name, shown(getattr(self, name)), origins[name], info.description or "")
            for name, info in type(self).model_fields.items()
        )


def load(
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config_file: Path | None = None,
    stack: Mapping[str, Any] | None = None,
) -> Settings:
    """Gather the settings from all layers and check them.

    Raises ``ConfigurationError`` with all faults at once, those of the rules
    that tie several settings together included.
    """
    environ = os.environ if environ is None else environ
    fields = tuple(Settings.model_fields)
    layers = [from_mapping(overrides or {}, fields, "argument"), from_environment(environ, Settings)]
    if config_file is None and environ.get(CONFIG_VARIABLE):
        config_file = Path(environ[CONFIG_VARIABLE])
    elif config_file is None and OWN_FILE.is_file():
        config_file = OWN_FILE
    if config_file is not None:
        layers.append(from_file(Path(config_file), fields))
    layers.append(from_mapping(stack or {}, fields, "running stack"))
    return _checked(merge(layers))


def celery_overrides(environ: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Find variables by which Celery would replace fstore's broker without a word; values are masked."""
    environ = os.environ if environ is None else environ
    urls = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")
    names = (*urls, "CELERY_CONFIG_MODULE", "CELERY_LOADER", "CELERY_CUSTOM_WORKER_POOL")
    return {name: masked(environ[name]) for name in names if environ.get(name)}


def child_environment(settings: Settings, *, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build the environment of a process to start: this one's, and every setting that is not a default.

    Inherited ``FEATURE_STORE_*`` variables are replaced, so that the child sees
    exactly the settings its parent has. Secrets are in it, in clear.
    """
    environ = os.environ if environ is None else environ
    inherited = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    chosen = {
        f"{PREFIX}{name.upper()}": written(getattr(settings, name))
        for name, origin in settings.origins.items()
        if origin != _DEFAULT
    }
    return inherited | {name: text for name, text in chosen.items() if text}


def _checked(merged: Layer) -> Settings:
    faults = list(merged.faults)
    faulty: set[str] = set()
    values = dict(merged.values)
    try:
        settings = Settings(**values)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False):
            name = str(error["loc"][0])
            faulty.add(name)
            faults.append(f"{name} ({merged.origins[name]}): {error['msg'].removeprefix('Value error, ')}")
        # The rules still speak about the fields that were right.
        settings = Settings(**{name: value for name, value in values.items() if name not in faulty})
    faults += broken_rules(settings, untrusted=faulty)
    if faults:
        raise ConfigurationError(tuple(dict.fromkeys(faults)))
    settings._origins.update(merged.origins)
    return settings
