"""Many different questions at once, each with its right answer known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fstore import FeatureStore
from tests.faults.harness.calls import Asking
from tests.faults.harness.site import RAW, Site


@dataclass
class Load:
    """Callers under way: their configs and threads."""

    site: Site
    configs: list[dict[str, Any]]
    asking: list[tuple[dict[str, Any], Asking]]

    def answered(self) -> None:
        """Wait for all of them; each must have got the very frame that a direct call returns."""
        for config, asking in self.asking:
            assert asking.answered().equals(RAW.head(config["rows"])), config

    def open(self) -> int:
        """Return how many are still under way."""
        return sum(asking.is_alive() for _, asking in self.asking)

    def rows(self) -> int:
        """Return how many of the keys have a live row."""
        keys = ", ".join(f"'{self.site.key(config)}'" for config in self.configs)
        ((count,),) = self.site.sql(f"SELECT count(*) FROM manifest WHERE state = 'live' AND key IN ({keys})")
        return int(str(count))


def put_under_load(
    site: Site,
    name: str,
    *,
    keys: int,
    seconds: float = 0.3,
    callers: int = 1,
    timeout: float = 60,
    most_starts: int = 3,
    store: FeatureStore | None = None,
) -> Load:
    """Ask for ``keys`` keys, each by ``callers`` threads, each taking a worker so many seconds."""
    configs = [
        {"seconds": seconds, "rows": 1 + n, "marks": site.marks(f"{name}-{n}", most=most_starts)} for n in range(keys)
    ]
    asking = [
        (config, site.asking(config, timeout=timeout, store=store)) for config in configs for _ in range(callers)
    ]  # fmt: skip
    return Load(site, configs, asking)
