"""The forms in which a trainer gets a result, as one table: a new form is one more row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.results.codec import decode_result, encode_result, hand_out_frame, map_result

Returns = Literal["pandas", "arrow"]


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


def _frame_of(result: object) -> pd.DataFrame:
    return result if isinstance(result, pd.DataFrame) else decode_result(encode_result(result))


FORMS: dict[Returns, Form] = {
    "pandas": Form(decode_result, _frame_of, map_result, hand_out_frame),
    "arrow": Form(lambda table: table, encode_result),
}


def check_returns(returns: str) -> Returns:
    """Return what the caller asked for if there is such a form; raises ``InvalidRequest``."""
    if returns not in FORMS:
        raise InvalidRequest("returns", f"is {returns!r}; choose {' or '.join(map(repr, FORMS))}")
    return returns
