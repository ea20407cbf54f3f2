"""The versions of what computes and shows results here."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

__version__ = version("intraday-fstore")

_ALWAYS = {"fstore": "intraday-fstore", "pandas": "pandas", "pyarrow": "pyarrow", "numpy": "numpy"}


@cache
def library_versions() -> Mapping[str, str]:
    """Return the versions of what computes results here.

    That is the interpreter, and the libraries whose change may change numbers.
    """
    return {"python": platform.python_version(), **{name: version(installed) for name, installed in _ALWAYS.items()}}
