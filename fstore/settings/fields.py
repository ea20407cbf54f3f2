"""Values with declared kinds, checked when they are made: what a settings class needs, loaded in a millisecond.

A class below ``Checked`` declares fields as ``name: Kind = Field(default, ge=..., description=...)``. A kind
is ``bool``, ``int``, ``float``, ``str``, ``Path``, ``Secret``, a ``Literal``, a tuple, ``None`` beside one of
them, or ``Annotated`` with a ``BeforeValidator`` that turns what was written into it. Every trainer reads
settings before its first hit, and a library for models costs it a tenth of a second.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

Parse = Callable[[Any], Any]

_TRUE, _FALSE = {"true", "yes", "on", "1", "t", "y"}, {"false", "no", "off", "0", "f", "n"}


class Secret:
    """A text that shows in no repr and no log; ``get_secret_value`` gives it."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the text."""
        return self._value

    def __repr__(self) -> str:
        return f"{type(self).__name__}('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class BeforeValidator:
    """In ``Annotated``: a function that turns what was written into a value of the kind; raises ``ValueError``."""

    func: Parse


@dataclass(slots=True)
class FieldInfo:
    """What is known of a field; ``annotation`` and ``parse`` once its class is made."""

    default: Any
    description: str
    bounds: Mapping[str, float]
    annotation: Any = None
    parse: Parse = lambda value: value


def Field(  # noqa: N802 as the libraries for models call it
    default: Any,
    *,
    description: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
) -> Any:
    """Declare a field with its default, its meaning and its bounds."""
    given = {"ge": ge, "gt": gt, "le": le, "min_length": min_length, "max_length": max_length}
    return FieldInfo(default, description, {name: bound for name, bound in given.items() if bound is not None})


class Refused(ValueError):
    """Values that are not of their kinds; ``faults`` tells by field what is wrong, and quotes no value."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {fault}" for name, fault in faults.items()))
        self.faults = faults


class Checked:
    """Checked when it is made, and frozen from then on; ``model_fields_set`` are the fields that were given."""

    model_fields: ClassVar[Mapping[str, FieldInfo]] = {}
    model_fields_set: frozenset[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        hints = get_type_hints(cls, {**globals(), **vars(sys.modules[cls.__module__])}, include_extras=True)
        found = {name: info for name, info in vars(cls).items() if isinstance(info, FieldInfo)}
        for name, info in found.items():
            info.annotation = hints[name]
            info.parse = _with_bounds(_parser(hints[name]), info.bounds)
            delattr(cls, name)
        cls.model_fields = types.MappingProxyType(found)

    def __init__(self, **given: Any) -> None:
        faults = {name: "no such setting" for name in given if name not in self.model_fields}
        for name, info in self.model_fields.items():
            try:
                self.__dict__[name] = info.parse(given.get(name, info.default))
            except ValueError as error:
                faults[name] = str(error)
        if faults:
            raise Refused(faults)
        self.__dict__["model_fields_set"] = frozenset(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise ValueError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise ValueError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(tuple(self.model_dump().items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.model_dump().items())})"

    def model_dump(self) -> dict[str, Any]:
        """Return all values by field."""
        return {name: getattr(self, name) for name in self.model_fields}


def _parser(kind: Any) -> Parse:
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *about = get_args(kind)
        parse = _parser(inner)
        for before in reversed([one.func for one in about if hasattr(one, "func")]):
            parse = _after(before, parse)
        return parse
    if origin in (Union, types.UnionType):
        kinds = get_args(kind)
        rest = [one for one in kinds if one is not type(None)]
        return _either([_parser(one) for one in rest], optional=len(rest) < len(kinds))
    if origin is Literal:
        return _one_of(get_args(kind))
    if origin is tuple:
        return _each(_parser(get_args(kind)[0]))
    if hasattr(kind, "get_secret_value"):
        return _secret(kind)
    return _PLAIN.get(kind) or _instance(kind)


def _after(before: Parse, parse: Parse) -> Parse:
    return lambda value: parse(before(value))


def _either(parsers: list[Parse], *, optional: bool) -> Parse:
    def parse(value: Any) -> Any:
        if value is None and optional:
            return None
        faults = []
        for attempt in parsers:
            try:
                return attempt(value)
            except ValueError as error:
                faults.append(error)
        raise faults[0]

    return parse


def _one_of(options: tuple[Any, ...]) -> Parse:
    def parse(value: Any) -> Any:
        if isinstance(value, str) and value in options:
            return value
        *most, last = map(repr, options)
        raise ValueError(f"expected {', '.join(most)} or {last}" if most else f"expected {last}")

    return parse


def _each(parse_item: Parse) -> Parse:
    def parse(value: Any) -> Any:
        if not isinstance(value, tuple | list):
            raise ValueError("expected a list, or one text with commas")  # noqa: TRY004 all faults are told together
        return tuple(map(parse_item, value))

    return parse


def _secret(kind: type[Any]) -> Parse:
    def parse(value: Any) -> Any:
        text = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        return kind(_text(text))

    return parse


def _instance(kind: type[Any]) -> Parse:
    def parse(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"expected {kind.__name__}, found {type(value).__name__}")  # noqa: TRY004 see _each
        return value

    return parse


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, found {type(value).__name__}")  # noqa: TRY004 see _each
    return value


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    if word not in _TRUE | _FALSE:
        raise ValueError("expected true or false")
    return word in _TRUE


def _real(value: Any) -> float:
    try:
        found = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise ValueError("expected a number")
    return found


def _whole(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    found = _real(value) if not isinstance(value, int) or isinstance(value, bool) else value
    if found != int(found):
        raise ValueError("expected a whole number")
    return int(found)


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError(f"expected a path, found {type(value).__name__}")  # noqa: TRY004 see _each
    return Path(value)


_PLAIN: dict[Any, Parse] = {bool: _truth, float: _real, int: _whole, Path: _path, str: _text}
_BOUNDS: dict[str, tuple[Callable[[Any, float], bool], str]] = {
    "ge": (lambda value, bound: value >= bound, "at least {}"),
    "gt": (lambda value, bound: value > bound, "more than {}"),
    "le": (lambda value, bound: value <= bound, "at most {}"),
    "min_length": (lambda value, bound: len(value) >= bound, "at least {} characters"),
    "max_length": (lambda value, bound: len(value) <= bound, "at most {} characters"),
}


def _with_bounds(parse: Parse, bounds: Mapping[str, float]) -> Parse:
    if not bounds:
        return parse

    def bounded(value: Any) -> Any:
        found = parse(value)
        for name, bound in bounds.items():
            keeps, words = _BOUNDS[name]
            if found is not None and not keeps(found, bound):
                raise ValueError(f"expected {words.format(f'{bound:g}' if bound < 1e6 else bound)}")
        return found

    return bounded
