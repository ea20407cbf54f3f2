"""Every setting: schema, layers, rules."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.settings.data_roots import DataRoot, folder_of, path_here, sent_path, urls_of
    from fstore.settings.layers import setting_name
    from fstore.settings.lease_times import LeaseTimes
    from fstore.settings.loading import child_environment, find_celery_overrides, gather_settings, read_secret_anew
    from fstore.settings.local_stack import load_settings
    from fstore.settings.rules import shortest_grace
    from fstore.settings.schema import Settings
    from fstore.settings.values import parse_size, split_keys
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "data_roots": "DataRoot folder_of path_here sent_path urls_of",
            "layers": "setting_name",
            "lease_times": "LeaseTimes",
            "loading": "child_environment find_celery_overrides gather_settings read_secret_anew",
            "local_stack": "load_settings",
            "rules": "shortest_grace",
            "schema": "Settings",
            "values": "parse_size split_keys",
        },
    )

__all__ = [
    "DataRoot",
    "LeaseTimes",
    "Settings",
    "child_environment",
    "find_celery_overrides",
    "folder_of",
    "gather_settings",
    "load_settings",
    "parse_size",
    "path_here",
    "read_secret_anew",
    "sent_path",
    "setting_name",
    "shortest_grace",
    "split_keys",
    "urls_of",
]
