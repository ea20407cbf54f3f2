"""The store in numbers: stats, Prometheus, the report."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.reporting.prometheus import StoreCollector
    from fstore.reporting.report import FailingFeature, StoreReport, gather_report, quantiles
    from fstore.reporting.report_html import render_page
    from fstore.reporting.stats import cache_overview, cache_stats
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "prometheus": "StoreCollector",
            "report": "FailingFeature StoreReport gather_report quantiles",
            "report_html": "render_page",
            "stats": "cache_overview cache_stats",
        },
    )

__all__ = [
    "FailingFeature",
    "StoreCollector",
    "StoreReport",
    "cache_overview",
    "cache_stats",
    "gather_report",
    "quantiles",
    "render_page",
]
