"""Computing a segment: each partition from a frame of its own.

What a relative holds is copied, the rows of the rest are read. Whoever computes takes this way, a worker or a
trainer. Copying saves time and decides nothing: a name commits to all that a partition's result depends on, and a
relative that is gone, wrong or hidden by then is done without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fstore.calling import call_feature
from fstore.compute.provenance import check_numerics, numerics_of
from fstore.compute.raw_data import source_of, told_by_name
from fstore.entries import read_relative
from fstore.errors import InvalidRequest, SourceChanged, StorageUnavailable
from fstore.features import Declaration, Feature, restore_config
from fstore.fingerprint import Digested, Origin, ParquetInput, RawInput, content_digest
from fstore.increments import (
    FORMAT,
    Assignment,
    Contents,
    Copies,
    Due,
    KnownCounts,
    KnownSegment,
    Made,
    PartitionedData,
    ReadRows,
    RemoteRows,
    SegmentFacts,
    SourceRows,
    contents_of,
    counts_of,
    fingerprint_of,
    make_parts,
    read_due,
    rows_stand_alone,
    series_of,
    with_contents,
    without_contents,
)
from fstore.model import KeyParts, Locator
from fstore.resources import Resources
from fstore.storage import StagingArea

if TYPE_CHECKING:
    from fstore.broker import ComputeRequest, RawReference

NAME_PREFIX = 16  # bytes of a name that rows hold, to find relatives by; files hold all of it
MOST_TRIED = 3  # relatives that are read in vain before all is computed


class SegmentTask:
    """A segment to be computed, with its declaration; what a hit does not need is found when asked for."""

    def __init__(self, declared: Declaration, assigned: Assignment | Callable[[], Assignment]) -> None:
        self.declared = declared
        self._assigned = assigned

    def __reduce__(self) -> tuple[Any, ...]:
        return SegmentTask, (self.declared, self.assigned)

    @property
    def assigned(self) -> Assignment:
        """What has to be known to compute it."""
        if not isinstance(self._assigned, Assignment):
            self._assigned = self._assigned()
        return self._assigned


def task_of(request: ComputeRequest, feature: Feature, config: Mapping[str, Any]) -> SegmentTask | None:
    """Read the segment a message asks for; ``InvalidRequest`` where message and feature disagree."""
    partitioning, asked = feature.partitioning, request.segment
    if partitioning is None and asked is None:
        return None
    if partitioning is None:
        raise InvalidRequest(
            "segment", f"{feature.name} declares no partition= here; deploy the caller's code to this worker"
        )
    if asked is None:
        raise InvalidRequest(
            "feature", f"{feature.name} is computed by partitions; ask for it by FeatureStore.get_or_compute"
        )
    declared, assigned = partitioning.evaluated(config), asked.assignment()
    if declared.text != assigned.declared:
        raise InvalidRequest(
            "segment", f"{feature.name} declares other partitions here; deploy the same code to trainers and workers"
        )
    if request.fingerprint != assigned.fingerprint:
        raise InvalidRequest("segment", "its partitions are not those that its fingerprint stands for")
    return SegmentTask(declared, assigned)


def segment_facts(parts: KeyParts, table: pa.Table) -> SegmentFacts | None:
    """Tell which partitions a result holds, by its own note, if that is what its key commits to."""
    if not parts.fingerprint.startswith(f"{FORMAT}:"):
        return None
    contents = contents_of(table)
    if contents is None or fingerprint_of(contents.names) != parts.fingerprint:
        return None
    return SegmentFacts(
        series_of(parts, contents.declared),
        contents.period,
        tuple(name[:NAME_PREFIX] for name in contents.names),
        contents.copied,
    )


class RunInput(RawInput):
    """The rows of a run of partitions in memory, which a segment is computed from."""

    def __init__(self, data: PartitionedData, first: int, stop: int) -> None:
        self._data, self._first, self._stop = data, first, stop

    def __reduce__(self) -> tuple[Any, ...]:
        return _run_of, (self.table(), self._data.declared)

    @property
    def schema(self) -> pa.Schema:
        return self.table().schema

    @property
    def nbytes(self) -> int:
        return self.cells * 8

    @property
    def cells(self) -> int:
        return (self._stop - self._first) * self._data.width

    def batches(self) -> Iterator[pa.RecordBatch]:
        return iter(self.table().to_batches())

    def scan(self, progress: Any = None) -> Digested:
        return Digested(content_digest(self.table(), progress=progress), Origin.SCAN, self.nbytes)

    def tail(self) -> Digested:
        return self.scan()

    def table(self) -> pa.Table:
        return self._data.stretch(self._first, self._stop)

    def rows(self, first: int, stop: int) -> pa.Table:
        """Copy some of the run's rows."""
        return self._data.stretch(self._first + first, self._first + stop)


def _run_of(table: pa.Table, declared: Declaration) -> RunInput:
    return RunInput(PartitionedData(table, declared), 0, table.num_rows)


def rows_of(raw: RawInput, known: KnownCounts = None) -> ReadRows:
    """Return what reads rows of raw data by their numbers, and no more of a source than it must."""
    if isinstance(raw, RunInput):
        return raw.rows
    if isinstance(raw, ParquetInput):
        return SourceRows(raw.reader.source, raw.reader.limits).read
    if (objects := raw.objects()) is not None and rows_stand_alone(objects.part(0)):
        return RemoteRows(objects, known).read
    whole = cache(raw.table)
    return lambda first, stop: whole().slice(first, stop - first)


@dataclass(frozen=True, slots=True)
class LoadedSegment:
    """What a segment is made of: copies from a relative, and rows that were read and digested."""

    loader: SegmentLoader
    parts: KeyParts
    task: SegmentTask
    read: ReadRows
    where: str
    due: Mapping[bytes, Due]
    copies: Copies | None
    source: Locator | None

    def result(self, feature: Feature, config: Mapping[str, Any]) -> object:
        """Compute what is due; if what was copied from is hidden meanwhile, all of it."""
        del config  # each partition gets one of its own
        made, source = self._made(feature, self.due, self.copies), self.source
        assigned = self.task.assigned
        if source is not None and not self.loader.is_live(source.key, source.path):
            due = read_due(assigned, self.task.declared, self.read, self.where, assigned.names)
            made, source = self._made(feature, due, None), None
        self.loader.count(made)
        # Publishing asks for it once more, under a lock: see migration 0012.
        copied = (source.key, source.path) if source is not None else None
        return with_contents(made.table, Contents(assigned.declared, assigned.period, made.records, copied))

    def _made(self, feature: Feature, due: Mapping[bytes, Due], copies: Copies | None) -> Made:
        return make_parts(
            lambda raw, config: call_feature(feature, raw, config),
            self.task.assigned.period,
            self.task.assigned.names,
            due,
            lambda: restore_config(self.parts.config),
            kind=feature.input,
            copies=copies,
            numerics=numerics_of(feature),
        )


class SegmentLoader:
    """Loads segments; without a store, as when Postgres is away, nothing is copied."""

    def __init__(self, resources: Resources | None) -> None:
        self._resources = resources

    def load(self, parts: KeyParts, feature: Feature, task: SegmentTask, read: ReadRows, where: str) -> LoadedSegment:
        """Find what can be copied, and read the rest; ``SourceChanged`` if it is not what was asked for."""
        assigned = task.assigned
        check_numerics(assigned.numerics, feature)
        copies, source = (None, None)
        if self._resources is not None:
            copies, source = _copied(self._resources, parts, feature, task)
        known = {record.name for record in copies.records} if copies else set()
        wanted = [name for name in assigned.names if name not in known]
        due = read_due(assigned, task.declared, read, where, wanted)
        return LoadedSegment(self, parts, task, read, where, due, copies, source)

    def load_referenced(
        self, parts: KeyParts, feature: Feature, task: SegmentTask, reference: RawReference
    ) -> LoadedSegment:
        """Do the same in a worker, which a message tells where the data lie."""
        resources = self._resources
        if resources is None:
            raise InvalidRequest("segment", "its data lie in a store, and there is none")
        if reference.kind != "staged":
            source = source_of(reference, resources.staging, resources.settings)
            with told_by_name(source, reference.path):
                cut, time, memo = task.declared.cut, task.declared.time, resources.partition_memo
                read = rows_of(source, lambda objects: counts_of(objects, cut, time, memo))
                return self.load(parts, feature, task, read, reference.path)
        try:
            return self.load(parts, feature, task, _StagedRun(resources.staging, reference.path).rows, reference.path)
        except SourceChanged:
            resources.staging.discard(reference.path)  # it is named by what it is not; the next request stages it anew
            raise

    def is_live(self, key: str, path: str) -> bool:
        """Tell whether an entry still answers: one that somebody took back is not to be copied on."""
        found = self._resources.manifest.find_live(key) if self._resources is not None else None
        return found is not None and found.path == path

    def was_withdrawn(self, result: object) -> bool:
        """Tell whether a result was copied in part from an entry that does not answer any more."""
        contents = contents_of(result) if isinstance(result, pa.Table) else None
        if contents is None or contents.copied is None:
            return False
        return not self.is_live(*contents.copied)

    def count(self, made: Made) -> None:
        """Count what was done for a segment."""
        if self._resources is not None:
            self._resources.recorder.count("partitions_computed", made.computed)
            self._resources.recorder.count("partitions_copied", made.copied)


def _copied(
    resources: Resources, parts: KeyParts, feature: Feature, task: SegmentTask
) -> tuple[Copies | None, Locator | None]:
    """Find the relative with most to copy that this very source code computed, as its entry says."""
    wanted = set(task.assigned.names)
    beginnings = {name[:NAME_PREFIX] for name in wanted}
    series = series_of(parts, task.declared.text)
    relatives = resources.manifest.find_segments([(series, task.assigned.period)])
    relatives = [each for each in relatives if each.entry.source_digest == feature.source_digest]
    for relative in _best_first(relatives, beginnings)[:MOST_TRIED]:
        table = read_relative(resources, relative.entry)
        contents = contents_of(table) if table is not None else None
        if contents is not None and wanted.intersection(contents.names):
            return Copies(without_contents(table), contents.records), relative.entry
    return None, None


def _best_first(relatives: list[KnownSegment], wanted: set[bytes]) -> list[KnownSegment]:
    """Order by how much can be copied, without those that share nothing; of equals the latest first."""
    sharing = [(len(wanted.intersection(each.names)), each) for each in relatives]
    return [each for shared, each in sorted(sharing, key=lambda one: -one[0]) if shared]


class _StagedRun:
    """A run of partitions that a trainer staged; read when its rows are needed."""

    def __init__(self, staging: StagingArea, path: str) -> None:
        self._staging, self._path = staging, path
        self._table: pa.Table | None = None

    def rows(self, first: int, stop: int) -> pa.Table:
        if self._table is None:
            try:
                self._table = self._staging.read(self._path)
            except StorageUnavailable as error:
                raise SourceChanged(self._path, error.reason) from error
        return self._table.slice(first, stop - first)
