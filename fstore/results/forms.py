"""The forms in which a trainer gets a result, as one table: a new form is one more row."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.results.codec import decode_result, encode_result, hand_out_frame, map_result

Returns = Literal["pandas", "arrow", "polars"]
Pandas = Literal["pandas"]
Arrow = Literal["arrow"]
Polars = Literal["polars"]


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """How a stored table becomes what is wanted, and a result that was computed here and is not stored.

    ``base_over`` makes something read-only over a table's own memory, or None where
    not all of it can lie there; ``hand_out`` makes of that what may be changed by whoever gets it.
    """

    of_table: Callable[[pa.Table], Any]
    of_result: Callable[[Any], Any]
    base_over: Callable[[pa.Table], Any | None] = lambda table: None
    hand_out: Callable[[Any], Any] = lambda base: base


def _frame_of(result: object) -> Any:
    return result if isinstance(result, pd.DataFrame) else decode_result(encode_result(result))


def _polars_of(table: pa.Table) -> Any:
    """Return what polars makes of a stored table.

    The index of a frame is columns there, as it is in the table.
    """
    import polars  # noqa: PLC0415 only who asks for it needs it

    try:
        return polars.from_arrow(table)
    except (polars.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        raise InvalidRequest("returns", f"polars makes no frame of this result ({error}); take 'arrow'") from error


FORMS: dict[Returns, Form] = {
    "pandas": Form(decode_result, _frame_of, map_result, hand_out_frame),
    "arrow": Form(lambda table: table, encode_result),
    "polars": Form(_polars_of, lambda result: _polars_of(encode_result(result))),
}


def check_returns(returns: str) -> Returns:
    """Return what the caller asked for if there is such a form; raises ``InvalidRequest``."""
    if not isinstance(returns, str) or returns not in FORMS:
        raise InvalidRequest("returns", f"is {returns!r}; choose {' or '.join(map(repr, FORMS))}")
    if returns == "polars" and importlib.util.find_spec("polars") is None:
        raise InvalidRequest(
            "returns", "is 'polars', which is not installed here; pip install 'intraday-fstore[polars]'"
        )
    return returns
