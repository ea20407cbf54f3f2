"""Databento's CSV, of all schemas of prices.

Columns are known by name, times are ns or ISO, prices 1e-9 or decimal.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fstore.ingest.presets.record import Column, Preset
from fstore.ingest.rows.cells import Kind, Number, Parsed, Scaled, Text
from fstore.ingest.rows.moments import Count

_NO_PRICE = 2**63 - 1
_NO_TIME = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Price:
    """Fixed precision, unless the file's first price has a point.

    Then it is a decimal number, for all of the file.
    """

    type = pa.float64()
    wants = "a whole number of 1e-9"

    def bound(self, cell: str) -> Kind:
        """Choose by the first price; an empty one is how the decimal form writes none."""
        return Decimal() if "." in cell or not cell else Scaled(10**9, (_NO_PRICE,))

    def parse(self, texts: pa.Array) -> Parsed:
        """Read the form without a point."""
        return Scaled(10**9, (_NO_PRICE,)).parse(texts)


@dataclass(frozen=True, slots=True)
class Decimal:
    """A number with a point: one without would be a price times a billion."""

    type = pa.float64()
    wants = "a price with a decimal point, as where the file begins"

    def bound(self, cell: str) -> Decimal:
        """It is bound."""
        del cell
        return self

    def parse(self, texts: pa.Array) -> Parsed:
        """Read numbers that have a point."""
        pointed = pc.fill_null(pc.match_substring(texts, "."), False)
        read = Number(pa.float64()).parse(pc.if_else(pointed, texts, None))
        return Parsed(read.values, pc.and_(texts.is_valid(), read.values.is_null()))


_MOMENT = Count("ns", void=(_NO_TIME,), iso=True)


def _column(name: str, kind: Kind, header: str | None = None) -> Column:
    return Column(name, kind, header, may_be_empty=True, optional=True)


def _whole(bits: str, *names: str) -> tuple[Column, ...]:
    return tuple(_column(name, Number(getattr(pa, bits)())) for name in names)


DATABENTO = Preset(
    "databento",
    "Databento, CSV of trades, mbo, mbp-1, mbp-10, tbbo, ohlcv and the like, pretty or not, with or without symbol",
    (
        _column("ts_recv", _MOMENT),
        _column("ts_event", _MOMENT),
        *_whole("uint8", "rtype", "flags", "depth"),
        *_whole("uint16", "publisher_id", "channel_id"),
        *_whole("uint32", "instrument_id", "size", "sequence"),
        *_whole("uint64", "order_id", "volume"),
        *_whole("int32", "ts_in_delta"),
        *(_column(name, Text()) for name in ("action", "side", "symbol")),
        *(_column(name, Price()) for name in ("price", "open", "high", "low", "close")),
        _column("", Price(), r"(bid|ask)_px_\d\d"),
        _column("", Number(pa.uint32()), r"(bid|ask)_(sz|ct)_\d\d"),
    ),
    "ts_recv|ts_event",
)
