"""Features computed piece by piece, without any server.

Cutting, windows, digests, names, plans, execution and checks.
"""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.increments.assigned.assignment import Assignment, assign
    from fstore.increments.assigned.due_rows import ReadRows, read_due
    from fstore.increments.assigned.known import KnownSegment, SegmentFacts
    from fstore.increments.checks.feature import CheckedFeature, checked_feature
    from fstore.increments.checks.report import CheckReport
    from fstore.increments.contents import (
        Contents,
        PartRecord,
        contents_of,
        take_partitions,
        with_contents,
        without_contents,
        without_source,
    )
    from fstore.increments.cutting import Span, overlapping
    from fstore.increments.data import PartitionedData
    from fstore.increments.digests import PartitionHasher, partition_table
    from fstore.increments.execution import Copies, Due, Made, PartitionFailed, composed, make_parts
    from fstore.increments.naming import NamedPartition, Segment, fingerprint_of, named, segments_of, series_of
    from fstore.increments.numerics import numeric_environment
    from fstore.increments.planning import Missing, Plan, Relative, SegmentPlan, Unlike, plan
    from fstore.increments.remote.object_rows import (
        KnownCounts,
        RemoteRows,
        counts_of,
        rows_stand_alone,
        table_of_objects,
    )
    from fstore.increments.sources import PartitionMemo, SourceRows, table_in_file, table_in_notes, table_of_source
    from fstore.increments.table import FORMAT, PARTITION_NOTE, PartitionTable
    from fstore.increments.times import time_field
    from fstore.increments.windows import touched_by
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "assigned.assignment": "Assignment assign",
            "assigned.due_rows": "ReadRows read_due",
            "assigned.known": "KnownSegment SegmentFacts",
            "checks.feature": "CheckedFeature checked_feature",
            "checks.report": "CheckReport",
            "contents": "Contents PartRecord contents_of take_partitions with_contents without_contents without_source",
            "cutting": "Span overlapping",
            "data": "PartitionedData",
            "digests": "PartitionHasher partition_table",
            "execution": "Copies Due Made PartitionFailed composed make_parts",
            "naming": "NamedPartition Segment fingerprint_of named segments_of series_of",
            "numerics": "numeric_environment",
            "planning": "Missing Plan Relative SegmentPlan Unlike plan",
            "remote.object_rows": "KnownCounts RemoteRows counts_of rows_stand_alone table_of_objects",
            "sources": "PartitionMemo SourceRows table_in_file table_in_notes table_of_source",
            "table": "FORMAT PARTITION_NOTE PartitionTable",
            "times": "time_field",
            "windows": "touched_by",
        },
    )

__all__ = [
    "FORMAT",
    "PARTITION_NOTE",
    "Assignment",
    "CheckReport",
    "CheckedFeature",
    "Contents",
    "Copies",
    "Due",
    "KnownCounts",
    "KnownSegment",
    "Made",
    "Missing",
    "NamedPartition",
    "PartRecord",
    "PartitionFailed",
    "PartitionHasher",
    "PartitionMemo",
    "PartitionTable",
    "PartitionedData",
    "Plan",
    "ReadRows",
    "Relative",
    "RemoteRows",
    "Segment",
    "SegmentFacts",
    "SegmentPlan",
    "SourceRows",
    "Span",
    "Unlike",
    "assign",
    "checked_feature",
    "composed",
    "contents_of",
    "counts_of",
    "fingerprint_of",
    "make_parts",
    "named",
    "numeric_environment",
    "overlapping",
    "partition_table",
    "plan",
    "read_due",
    "rows_stand_alone",
    "segments_of",
    "series_of",
    "table_in_file",
    "table_in_notes",
    "table_of_objects",
    "table_of_source",
    "take_partitions",
    "time_field",
    "touched_by",
    "with_contents",
    "without_contents",
    "without_source",
]
