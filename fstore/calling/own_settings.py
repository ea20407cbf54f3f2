"""What a process set that may change what a function returns, against what every process begins with.

A worker undoes it around each call (``fstore.calling.feature_calls``). A caller's process is
not fstore's to change; here it is only looked at. How things are shown or written is
left out, and the time zone, which is the host's: workers have one too.
"""

from __future__ import annotations

import decimal
import locale

import numpy as np

from fstore.calling.number_settings import FloatingPoint
from fstore.calling.pandas_options import read_options

try:
    from pandas._config.config import _registered_options  # type: ignore[attr-defined]
except ImportError:  # another version of pandas keeps them elsewhere
    _registered_options = {}

_SHOWN = ("display.", "io.", "plotting.", "styler.")
_SAID = {"mode.chained_assignment", "mode.performance_warnings", "mode.sim_interactive"}
_PANDAS = {
    name: option.defval
    for name, option in _registered_options.items()
    if not name.startswith(_SHOWN) and name not in _SAID
}
_NUMPY = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_DECIMAL = {"prec": 28, "rounding": decimal.ROUND_HALF_EVEN, "Emin": -999999, "Emax": 999999, "clamp": 0}
_TRAPS = {decimal.DivisionByZero, decimal.InvalidOperation, decimal.Overflow}
_LOCALE = (locale.LC_COLLATE, locale.LC_NUMERIC, locale.LC_MONETARY, locale.LC_TIME)


def settings_set_here() -> tuple[str, ...]:
    """Name what is set in this process; empty when a function would find what it finds in a worker."""
    options, context = read_options(), decimal.getcontext()
    found = [f"pandas option {name}" for name, value in _PANDAS.items() if options.get(name, value) != value]
    found += [f"numpy's handling of {name}" for name, how in np.geterr().items() if how != _NUMPY.get(name)]
    traps = {signal for signal, on in context.traps.items() if on}
    if traps != _TRAPS or any(getattr(context, name) != value for name, value in _DECIMAL.items()):
        found.append("the decimal context")
    if FloatingPoint.read() != FloatingPoint(0, flushes=False):
        found.append("the floating-point environment")
    if any(locale.setlocale(category) not in ("C", "C.UTF-8", "POSIX") for category in _LOCALE):
        found.append("the locale")
    return tuple(found)
