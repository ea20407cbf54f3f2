"""What the last bits of numbers depend on in this process.

Noted with each partition that is computed here.
"""

from __future__ import annotations

import json
import platform
from functools import cache

import numpy as np

from fstore.runtime.versions import library_versions

_DECISIVE = {"AVX2", "FMA3", "AVX512F", "AVX512_SKX", "X86_V3", "X86_V4", "ASIMD", "SVE"}


@cache
def numeric_environment() -> str:
    """Say in canonical JSON which libraries, which BLAS and which width of the processor compute here."""
    about = np.show_config(mode="dicts")
    blas = about.get("Build Dependencies", {}).get("blas", {})
    wide = about.get("SIMD Extensions", {})
    found = sorted({*wide.get("baseline", []), *wide.get("found", [])} & _DECISIVE)
    said = {name: text for name, text in library_versions().items() if name != "fstore"}
    said["blas"] = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    said["processor"] = f"{platform.machine()} {' '.join(found)}".strip()
    return json.dumps(said, sort_keys=True, separators=(",", ":"))
