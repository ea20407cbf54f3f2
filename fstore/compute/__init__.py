"""A worker answers: plan, claim, run, publish, fail."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.compute.batches.executor import execute_batch
    from fstore.compute.executor import execute, give_up, perform
    from fstore.compute.failures import cause_of, error_of, failure_for, is_anothers_refusal, note_of
    from fstore.compute.lease import hold_claims
    from fstore.compute.planning import Computation
    from fstore.compute.private_copies import private_copy
    from fstore.compute.provenance import are_comparable, differing_versions, format_of, numerics_of
    from fstore.compute.publishing import Publisher
    from fstore.compute.raw_data import (
        IN_MEMORY,
        Ready,
        Taker,
        allowed_path,
        hold_raw,
        own_raw,
        source_of,
        stage_raw,
        stage_raw_together,
    )
    from fstore.compute.recovery import Recovery
    from fstore.compute.segments import NAME_PREFIX, RunInput, SegmentLoader, SegmentTask, rows_of
    from fstore.compute.staged_results import may_be_stored, not_trusted, publish_staged
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "batches.executor": "execute_batch",
            "executor": "execute give_up perform",
            "failures": "cause_of error_of failure_for is_anothers_refusal note_of",
            "lease": "hold_claims",
            "planning": "Computation",
            "private_copies": "private_copy",
            "provenance": "are_comparable differing_versions format_of numerics_of",
            "publishing": "Publisher",
            "raw_data": "IN_MEMORY Ready Taker allowed_path hold_raw own_raw source_of stage_raw stage_raw_together",
            "recovery": "Recovery",
            "segments": "NAME_PREFIX RunInput SegmentLoader SegmentTask rows_of",
            "staged_results": "may_be_stored not_trusted publish_staged",
        },
    )

__all__ = [
    "Computation",
    "IN_MEMORY",
    "NAME_PREFIX",
    "Publisher",
    "Ready",
    "Recovery",
    "RunInput",
    "SegmentLoader",
    "SegmentTask",
    "Taker",
    "allowed_path",
    "are_comparable",
    "cause_of",
    "differing_versions",
    "error_of",
    "execute",
    "execute_batch",
    "failure_for",
    "format_of",
    "give_up",
    "hold_claims",
    "hold_raw",
    "is_anothers_refusal",
    "may_be_stored",
    "not_trusted",
    "note_of",
    "numerics_of",
    "own_raw",
    "perform",
    "private_copy",
    "publish_staged",
    "rows_of",
    "source_of",
    "stage_raw",
    "stage_raw_together",
]
