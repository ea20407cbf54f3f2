"""The format of fingerprints is frozen: what an entry was stored under must be found again.

The digests were replaced on purpose with the format ``b3m2``, which counts the order of
categories and describes what functions are shown in one form.
"""

from __future__ import annotations

import json
from pathlib import Path

from fstore.model import Fingerprint
from tests.unit.fingerprint.inputs.fingerprint_golden_inputs import digests

GOLDEN = json.loads((Path(__file__).parent / "golden_fingerprints.json").read_text())


def test_digests_are_what_they_were() -> None:
    """No change of fstore, pandas or pyarrow changes a key; a new format needs a new name."""
    assert Fingerprint.FORMAT == "b3m2"
    assert digests() == GOLDEN


def test_the_inputs_are_many_and_all_different() -> None:
    """At least sixty inputs, no two of them with one digest."""
    assert len(GOLDEN) >= 60
    assert len(set(GOLDEN.values())) == len(GOLDEN)
