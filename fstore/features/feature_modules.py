"""Imports the modules whose features may be computed.

Each feature's name must lead to it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping

from fstore.errors import ConfigurationError
from fstore.features.declarations import Feature
from fstore.features.names import LOCAL_MODULE, claim_script, misleading
from fstore.features.registry import registered_features, rename_script


def load_feature_modules(modules: Iterable[str]) -> Mapping[str, Feature]:
    """Import the modules of FEATURE_STORE_FEATURE_MODULES and return all features of this process.

    Call it once, when a process starts. A module that is the running script is
    not imported again; its functions get its real name. Raises
    ``ConfigurationError`` that names every module that cannot be imported and
    every feature in them whose name leads to something else.
    """
    chosen, faults = tuple(modules), []
    for module in chosen:
        try:
            if module == LOCAL_MODULE:
                raise ImportError("'local:...' are the names of fstore.local; give the module another name")  # noqa: TRY301 told with the others
            if claim_script(module):
                rename_script()
            else:
                importlib.import_module(module)
        except Exception as exc:
            faults.append(
                f"feature_modules: cannot import {module!r}: {type(exc).__name__}: {exc}; install it, put its folder on "
                "PYTHONPATH, or take it out of FEATURE_STORE_FEATURE_MODULES"
            )
    faults += [
        f"{entry.name}: {fault}" for entry in _loaded_from(chosen) if (fault := misleading(entry.name, entry.func))
    ]
    if faults:
        raise ConfigurationError(faults)
    return registered_features()


def _loaded_from(modules: tuple[str, ...]) -> list[Feature]:
    """List the features of these modules and those below them.

    One that is still being imported is none of them yet.
    """
    found = []
    for entry in registered_features().values():
        module = entry.name.partition(":")[0]
        spec = getattr(sys.modules.get(module), "__spec__", None)
        if any(module == each or module.startswith(f"{each}.") for each in modules) and not getattr(
            spec, "_initializing", False
        ):
            found.append(entry)
    return found
