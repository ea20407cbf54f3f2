"""How a feature function is called.

In a state that no other feature, and no other module's import, has touched.
"""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.calling.feature_calls import call_feature, is_stop, keep_clean, trace_of_function
    from fstore.calling.module_imports import noted_settings, watch_imports, watching_imports
    from fstore.calling.own_settings import settings_set_here
    from fstore.calling.raised import RaisedByFunction
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "feature_calls": "call_feature is_stop keep_clean trace_of_function",
            "module_imports": "noted_settings watch_imports watching_imports",
            "own_settings": "settings_set_here",
            "raised": "RaisedByFunction",
        },
    )

__all__ = [
    "RaisedByFunction",
    "call_feature",
    "is_stop",
    "keep_clean",
    "noted_settings",
    "settings_set_here",
    "trace_of_function",
    "watch_imports",
    "watching_imports",
]
