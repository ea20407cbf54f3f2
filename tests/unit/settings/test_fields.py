"""Kinds of settings: what each takes, and what it says otherwise, without the value itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from fstore.settings.fields import BeforeValidator, Checked, Field, Refused, Secret


class Sample(Checked):
    """One field of each kind."""

    whole: int = Field(1, ge=1, le=10)
    real: float = Field(0.5, gt=0)
    truth: bool = Field(False)
    text: str | None = Field(None, min_length=2, max_length=4)
    folder: Path = Field(Path("/x"))
    choice: Literal["a", "b"] = Field("a")
    quiet: Secret | None = Field(None)
    names: Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value.split(",")))] = Field("p,q")
    either: Path | int = Field(3)


@pytest.mark.parametrize(
    ("name", "given", "found"),
    [
        ("whole", "3", 3), ("whole", "3.0", 3), ("whole", 4.0, 4), ("whole", " 5 ", 5),
        ("real", "2.5", 2.5), ("real", 3, 3.0), ("truth", "Yes", True), ("truth", "off", False), ("truth", 1, True),
        ("text", None, None), ("text", "abc", "abc"), ("folder", "/y", Path("/y")), ("choice", "b", "b"),
        ("quiet", "s3cr3t", Secret("s3cr3t")), ("quiet", Secret("t"), Secret("t")), ("names", "u,v", ("u", "v")),
        ("either", "/z", Path("/z")), ("either", 9, 9),
    ],
)  # fmt: skip
def test_what_a_kind_takes(name: str, given: Any, found: Any) -> None:
    """As text from the environment, and as a value from a file or an argument."""
    assert getattr(Sample(**{name: given}), name) == found


@pytest.mark.parametrize(
    ("name", "given", "fault"),
    [
        ("whole", "hidden", "expected a number"), ("whole", 2.5, "expected a whole number"), ("whole", 0, "at least 1"),
        ("whole", 11, "at most 10"), ("whole", True, "expected a number"), ("whole", None, "expected a number"),
        ("real", "nan", "expected a number"), ("real", "inf", "expected a number"), ("real", 0, "more than 0"),
        ("real", [1], "expected a number"), ("truth", "hidden", "true or false"), ("truth", 2, "true or false"),
        ("text", "a", "at least 2 characters"), ("text", "hidden", "at most 4 characters"), ("text", 5, "expected a text"),
        ("folder", 7, "expected a path"), ("choice", "hidden", "'a' or 'b'"), ("choice", ["a"], "'a' or 'b'"),
        ("quiet", 5, "expected a text"), ("either", 2.5, "expected a path"), ("nothing", 1, "no such setting"),
    ],
)  # fmt: skip
def test_what_a_kind_refuses_is_told_by_name_and_not_quoted(name: str, given: Any, fault: str) -> None:
    """All faults of one call come together."""
    with pytest.raises(Refused) as caught:
        Sample(**{name: given, "choice" if name != "choice" else "whole": 99})

    assert fault in caught.value.faults[name]
    assert len(caught.value.faults) == 2
    assert "hidden" not in str(caught.value)


def test_a_secret_shows_nowhere() -> None:
    """Neither by itself nor in what holds it."""
    sample = Sample(quiet="hidden")

    assert "hidden" not in f"{sample!r} {sample.quiet!r} {sample.quiet}"
    assert sample == Sample(quiet="hidden") != Sample(quiet="other")
    assert hash(sample) == hash(Sample(quiet="hidden"))


def test_what_was_given_is_known_and_cannot_be_changed() -> None:
    """Origins are told by it."""
    sample = Sample(whole=2)

    assert sample.model_fields_set == {"whole"}
    with pytest.raises(ValueError, match="frozen"):
        sample.whole = 3
    with pytest.raises(ValueError, match="frozen"):
        del sample.whole
