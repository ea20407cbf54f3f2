"""How the processor, numpy and decimal calculate and print, and the numbers drawn by chance."""

from __future__ import annotations

import ctypes
import decimal
import os
import random
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import mtrand

from fstore.calling.process_state import ProcessSetting


def _printing() -> dict[str, Any]:
    return dict(np.get_printoptions())


def _set_printing(options: dict[str, Any]) -> None:
    np.set_printoptions(**options)


def _calls() -> tuple[Any, int]:
    return np.geterrcall(), np.getbufsize()


def _set_calls(noted: tuple[Any, int]) -> None:
    np.seterrcall(noted[0])
    np.setbufsize(noted[1])


def _decimals() -> tuple[tuple[Any, ...], ...]:
    return tuple(
        (c.prec, c.rounding, c.Emin, c.Emax, c.capitals, c.clamp, tuple(signal for signal, on in c.traps.items() if on))
        for c in (decimal.getcontext(), decimal.DefaultContext)
    )


def _set_decimals(noted: tuple[tuple[Any, ...], ...]) -> None:
    for context, values in zip((decimal.getcontext(), decimal.DefaultContext), noted, strict=True):
        context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps = values
        for signal in context.traps:
            context.traps[signal] = signal in traps


@dataclass(frozen=True, slots=True)
class FloatingPoint:
    """How the processor rounds, and whether it takes the smallest numbers for zero.

    Libraries built for speed set the latter when they are loaded. Status flags are
    kept to be put back; they say nothing of how it calculates.
    """

    rounding: int
    flushes: bool
    kept: bytes = field(default=b"", compare=False)

    @classmethod
    def read(cls) -> FloatingPoint:
        """Return how this thread calculates."""
        if _C is None:
            return cls(0, flushes=False)
        kept = ctypes.create_string_buffer(256)  # more than any system's ``fenv_t``
        _C.fegetenv(kept)
        return cls(_C.fegetround(), sys.float_info.min / 2 == 0.0, kept.raw)

    def write(self) -> None:
        """Have this thread calculate so."""
        if _C is not None:
            _C.fesetenv(ctypes.create_string_buffer(self.kept, 256))


def _c_library() -> Any:
    try:
        library = ctypes.CDLL(None)
        return library if all(hasattr(library, name) for name in ("fegetenv", "fesetenv", "fegetround")) else None
    except (OSError, TypeError):  # where a program does not tell what it was linked with
        return None


_C = _c_library()


class _Generators:
    """The generators of random numbers that all code shares.

    Whoever drew from them or seeded them leaves them to the next as a new process has
    them, seeded by chance: neither seeds nor numbers pass from one feature to another.
    """

    def __init__(self) -> None:
        self._generator: Any = mtrand.get_bit_generator()
        self._seen = b""

    def refresh(self, _: object) -> None:
        """Seed anew; numpy's, which takes longer, only if it was used."""
        random.seed(int.from_bytes(os.urandom(32)))  # by chance, as ``seed()`` does with 2,500 bytes
        mtrand.set_bit_generator(self._generator)
        if self._words() != self._seen:
            np.random.seed()
            self._seen = self._words()

    def _words(self) -> bytes:
        # The 624 words of MT19937 and the position among them; asking numpy for its state takes as long as a seed.
        return ctypes.string_at(self._generator.ctypes.state_address, 625 * 4)


NUMBER_SETTINGS = (
    ProcessSetting("numpy's handling of", lambda: dict(np.geterr()), lambda noted: np.seterr(**noted), parted=True, at_import=True),
    ProcessSetting("numpy's error call and buffer", _calls, _set_calls, at_import=True),
    ProcessSetting("numpy's print option", _printing, _set_printing, parted=True, at_import=True),
    ProcessSetting("the decimal context", _decimals, _set_decimals, at_import=True),
    ProcessSetting("the floating-point environment", FloatingPoint.read, FloatingPoint.write, at_import=True),
    ProcessSetting("random numbers", lambda: None, _Generators().refresh, blind=True),
)  # fmt: skip
