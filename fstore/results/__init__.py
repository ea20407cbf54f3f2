"""Results as tables and back: what is read equals what was returned."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.results.codec import check_faithful, decode_result, encode_result, hand_out_frame, time_bounds
    from fstore.results.forms import FORMS, Arrow, Form, Pandas, Polars, Returns, check_returns
    from fstore.results.frame_notes import FRAME_KEY, FREQUENCY_KEY
    from fstore.results.stored_tables import MEANT_KEY, UnstorableResult, meant_form, stored_form
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "codec": "check_faithful decode_result encode_result hand_out_frame time_bounds",
            "forms": "Arrow FORMS Form Pandas Polars Returns check_returns",
            "frame_notes": "FRAME_KEY FREQUENCY_KEY",
            "stored_tables": "MEANT_KEY UnstorableResult meant_form stored_form",
        },
    )

__all__ = [
    "Arrow",
    "FORMS",
    "FRAME_KEY",
    "FREQUENCY_KEY",
    "Form",
    "MEANT_KEY",
    "Pandas",
    "Polars",
    "Returns",
    "UnstorableResult",
    "check_faithful",
    "check_returns",
    "decode_result",
    "encode_result",
    "hand_out_frame",
    "meant_form",
    "stored_form",
    "time_bounds",
]
