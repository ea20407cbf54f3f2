"""A trainer asks: key, look up, lead or wait, fall back."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.client.batches.requests import Progress, get_or_compute_many, peek_many
    from fstore.client.explanation import Explanation, StoreLooks, differences, explain
    from fstore.client.read_through import answer_request, load_answered, start_request
    from fstore.client.request import KeyedRequest, prepare, warn_of_other_source
    from fstore.client.ticket import Ticket
    from fstore.client.warming import warm_up
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "batches.requests": "Progress get_or_compute_many peek_many",
            "explanation": "Explanation StoreLooks differences explain",
            "read_through": "answer_request load_answered start_request",
            "request": "KeyedRequest prepare warn_of_other_source",
            "ticket": "Ticket",
            "warming": "warm_up",
        },
    )

__all__ = [
    "Explanation",
    "KeyedRequest",
    "Progress",
    "StoreLooks",
    "Ticket",
    "answer_request",
    "differences",
    "explain",
    "get_or_compute_many",
    "load_answered",
    "peek_many",
    "prepare",
    "start_request",
    "warm_up",
    "warn_of_other_source",
]
