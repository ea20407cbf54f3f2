"""The presets, one record each, as the vendors' pages and files have them."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.ingest.presets.databento import DATABENTO
from fstore.ingest.presets.record import Column, Preset
from fstore.ingest.rows.cells import Flag, Kind, Number, Scaled, Text
from fstore.ingest.rows.moments import Count, Format, SinceMidnight

_REAL, _WHOLE, _SMALL = Number(pa.float64()), Number(pa.int64()), Number(pa.int32())
_NEW_YORK = "America/New_York"
_EST = "-05:00"  # all year round


def _columns(kind: Kind, names: str, *, may_be_empty: bool = False, optional: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, kind, may_be_empty=may_be_empty, optional=optional) for name in names.split())


def _time(kind: Kind, header: str | None = None) -> Column:
    return Column("time", kind, header)


def _mt5(names: str, *, may_be_empty: bool = False) -> tuple[Column, ...]:
    return tuple(
        Column(name, _WHOLE if whole else _REAL, f"<?{name}>?", may_be_empty=may_be_empty)
        for name, whole in ((each.rstrip("#"), each.endswith("#")) for each in names.split())
    )


_BARS = _columns(_REAL, "open high low close")
_MAKER = (Column("is_buyer_maker", Flag()), Column("is_best_match", Flag(), optional=True))
_DUKASCOPY_DAY = r"\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d\.\d{3}"
_GMT = Format("%d.%m.%Y %H:%M:%S.%f", _DUKASCOPY_DAY)
_OFFSET = Format("%d.%m.%Y %H:%M:%S.%f GMT%z", rf"{_DUKASCOPY_DAY} GMT[+-]\d{{4}}")
_DUKASCOPY_BARS = (*_BARS, Column("volume", _REAL))
_DUKASCOPY_TICKS = (
    Column("ask", _REAL),
    Column("bid", _REAL),
    Column("ask_volume", _REAL, "ask_? ?volume"),
    Column("bid_volume", _REAL, "bid_? ?volume"),
)
_MT5_CLOCK = Format("%Y.%m.%d %H:%M:%S.%f", r"\d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d\.\d{3}")
_BOOK_VOID = (9_999_999_999, -9_999_999_999)
_BOOK_PRICE = Scaled(10_000, _BOOK_VOID)
_MESSAGE_PRICE = Scaled(10_000, (-1, 0, 1))  # of a halt (type 7) these are codes
_POLYGON_TIME = Count("ns", void=(0,))

_RECORDS: tuple[Preset, ...] = (
    Preset(
        "histdata-m1",
        "HistData.com, Generic ASCII, M1 bars (DAT_ASCII_EURUSD_M1_2012.csv): no header, ';', EST without summer time",
        (_time(Format("%Y%m%d %H%M%S", r"\d{8} \d{6}")), *_BARS, Column("volume", _WHOLE)),
        "time", "never", _EST, delimiter=";",
    ),
    Preset(
        "histdata-ticks",
        "HistData.com, Generic ASCII, ticks (DAT_ASCII_EURUSD_T_201202.csv): no header, milliseconds, EST without summer time",
        (_time(Format("%Y%m%d %H%M%S%f", r"\d{8} \d{9}")), *_columns(_REAL, "bid ask"), Column("volume", _WHOLE)),
        "time", "never", _EST,
    ),
    Preset(
        "histdata-mt",
        "HistData.com, MetaTrader, M1 bars (DAT_MT_EURUSD_M1_2012.csv): no header, day and time apart, EST without summer time",
        (
            Column("date", Text()),
            _time(Format("%Y.%m.%d %H:%M", r"\d{4}\.\d\d\.\d\d \d\d:\d\d")),
            *_BARS,
            Column("volume", _WHOLE),
        ),
        "time", "never", _EST, day="date",
    ),
    Preset(
        "dukascopy-bars", "Dukascopy, historical data export, bars: 'Gmt time,Open,High,Low,Close,Volume'",
        (_time(_GMT, "gmt time"), *_DUKASCOPY_BARS), "time",
    ),
    Preset(
        "dukascopy-ticks", "Dukascopy, historical data export, ticks: 'Gmt time,Ask,Bid,AskVolume,BidVolume'",
        (_time(_GMT, "gmt time"), *_DUKASCOPY_TICKS), "time",
    ),
    Preset(
        "dukascopy-local-bars", "Dukascopy, bars in local time with offsets: 'Local time,Open,High,Low,Close,Volume'",
        (_time(_OFFSET, "local time"), *_DUKASCOPY_BARS), "time", zone=None,
    ),
    Preset(
        "dukascopy-local-ticks", "Dukascopy, ticks in local time with offsets: 'Local time,Ask,Bid,AskVolume,BidVolume'",
        (_time(_OFFSET, "local time"), *_DUKASCOPY_TICKS), "time", zone=None,
    ),
    Preset(
        "dukascopy-node-bars", "dukascopy-node, bars: 'timestamp,open,high,low,close,volume' in milliseconds",
        (_time(Count("ms"), "timestamp"), *_BARS, Column("volume", _REAL, optional=True)), "time",
    ),
    Preset(
        "dukascopy-node-ticks", "dukascopy-node, ticks: 'timestamp,askPrice,bidPrice,askVolume,bidVolume' in milliseconds",
        (
            _time(Count("ms"), "timestamp"),
            Column("ask", _REAL, "askprice"),
            Column("bid", _REAL, "bidprice"),
            Column("ask_volume", _REAL, "askvolume", optional=True),
            Column("bid_volume", _REAL, "bidvolume", optional=True),
        ),
        "time",
    ),
    Preset(
        "mt5-bars",
        "MetaTrader 5, Export Bars: '<DATE> <TIME> <OPEN> ...' between tabs; the broker's time zone has to be said (--tz)",
        (
            Column("date", Text(), "<date>"),
            _time(Format("%Y.%m.%d %H:%M:%S", r"\d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d"), "<time>"),
            *_mt5("open high low close"),
            *_mt5("tickvol# vol# spread#"),
        ),
        "time", zone=None, day="date", delimiter="\t",
    ),
    Preset(
        "mt5-days",
        "MetaTrader 5, Export Bars of a day and longer: as mt5-bars without <TIME>; the zone has to be said (--tz)",
        (
            _time(Format("%Y.%m.%d", r"\d{4}\.\d\d\.\d\d"), "<date>"),
            *_mt5("open high low close"),
            *_mt5("tickvol# vol# spread#"),
        ),
        "time", zone=None, delimiter="\t",
    ),
    Preset(
        "mt5-ticks",
        "MetaTrader 5, Export Ticks: '<DATE> <TIME> <BID> <ASK> <LAST> <VOLUME> <FLAGS>'; the zone has to be said (--tz)",
        (
            Column("date", Text(), "<date>"),
            _time(_MT5_CLOCK, "<time>"),
            *_mt5("bid ask last volume", may_be_empty=True),
            *_mt5("flags#"),
        ),
        "time", zone=None, day="date", delimiter="\t",
    ),
    Preset(
        "binance-klines",
        "data.binance.vision, klines: with or without a header, times in ms or (spot since 2025) us",
        (
            Column("open_time", Count()),
            *_columns(_REAL, "open high low close volume"),
            Column("close_time", Count()),
            Column("quote_volume", _REAL, "quote_(asset_)?volume"),
            Column("count", _WHOLE, "count|number_of_trades"),
            Column("taker_buy_volume", _REAL, "taker_buy_(base_asset_)?volume"),
            Column("taker_buy_quote_volume", _REAL, "taker_buy_quote_(asset_)?volume"),
            Column("ignore", _REAL),
        ),
        "open_time", "sometimes",
    ),
    Preset(
        "binance-trades",
        "data.binance.vision, trades of spot and futures: with or without a header, times in ms or us",
        (
            Column("id", _WHOLE),
            *_columns(_REAL, "price qty"),
            Column("quote_qty", _REAL, "quote_?qty"),
            Column("time", Count()),
            *_MAKER,
        ),
        "time", "sometimes",
    ),
    Preset(
        "binance-aggtrades",
        "data.binance.vision, aggTrades of spot and futures: with or without a header, times in ms or us",
        (
            Column("agg_trade_id", _WHOLE),
            *_columns(_REAL, "price quantity"),
            *_columns(_WHOLE, "first_trade_id last_trade_id"),
            Column("transact_time", Count()),
            *_MAKER,
        ),
        "transact_time", "sometimes",
    ),
    Preset(
        "cryptodatadownload",
        "CryptoDataDownload: a link on top, 'unix,date,symbol,open,...', newest first, times in s, ms or us",
        (
            Column("unix", Count(), "unix( timestamp)?"),
            *_columns(Text(), "date symbol"),
            *_BARS,
            Column("", _REAL, "volume.*|buy.*|sell.*", may_be_empty=True, optional=True),
            Column("tradecount", _REAL, "trade_?count", may_be_empty=True, optional=True),
        ),
        "unix", link_on_top=True, newest_first=True,
    ),
    Preset(
        "lobster-messages",
        "LOBSTER, message files (AAPL_2012-06-21_34200000_57600000_message_10.csv): no header, New York's clocks",
        (
            _time(SinceMidnight()),
            Column("type", Number(pa.int8())),
            *_columns(_WHOLE, "order_id size"),
            Column("price", _MESSAGE_PRICE),
            Column("direction", Number(pa.int8())),
        ),
        "time", "never", _NEW_YORK, file=r".*_message_\d+\.csv(\.\w+)?",
    ),
    Preset(
        "lobster-books",
        "LOBSTER, orderbook files (AAPL_2012-06-21_34200000_57600000_orderbook_10.csv) next to their message files",
        (_time(SinceMidnight()),),
        "time", "never", _NEW_YORK, file=r".*_orderbook_\d+\.csv(\.\w+)?",
        levels=(
            Column("ask_price", _BOOK_PRICE),
            Column("ask_size", _WHOLE),
            Column("bid_price", _BOOK_PRICE),
            Column("bid_size", _WHOLE),
        ),
    ),
    DATABENTO,
    Preset(
        "polygon-aggs",
        "Polygon flat files, minute_aggs and day_aggs: ns in window_start; one file for each ticker",
        (
            Column("ticker", Text()),
            *_columns(_REAL, "volume open close high low"),
            Column("window_start", Count("ns")),
            Column("transactions", _WHOLE, may_be_empty=True),
        ),
        "window_start", symbol="ticker",
    ),
    Preset(
        "polygon-trades",
        "Polygon flat files, trades of stocks: ns in sip_timestamp; one file for each ticker",
        (
            *_columns(Text(), "ticker conditions"),
            *_columns(_SMALL, "correction exchange", may_be_empty=True),
            Column("id", Text()),
            Column("participant_timestamp", _POLYGON_TIME, may_be_empty=True),
            Column("price", _REAL),
            Column("sequence_number", _WHOLE, may_be_empty=True),
            Column("sip_timestamp", Count("ns")),
            Column("size", _REAL),
            *_columns(_SMALL, "tape trf_id", may_be_empty=True, optional=True),
            Column("trf_timestamp", _POLYGON_TIME, may_be_empty=True, optional=True),
        ),
        "sip_timestamp", symbol="ticker",
    ),
    Preset(
        "polygon-quotes",
        "Polygon flat files, quotes of stocks: ns in sip_timestamp; one file for each ticker",
        (
            Column("ticker", Text()),
            *_columns(_SMALL, "ask_exchange bid_exchange", may_be_empty=True),
            *_columns(_REAL, "ask_price ask_size bid_price bid_size", may_be_empty=True),
            *_columns(Text(), "conditions indicators"),
            Column("participant_timestamp", _POLYGON_TIME, may_be_empty=True),
            Column("sequence_number", _WHOLE, may_be_empty=True),
            Column("sip_timestamp", Count("ns")),
            Column("tape", _SMALL, may_be_empty=True, optional=True),
            Column("trf_timestamp", _POLYGON_TIME, may_be_empty=True, optional=True),
        ),
        "sip_timestamp", symbol="ticker",
    ),
)  # fmt: skip
PRESETS = MappingProxyType({preset.name: preset for preset in _RECORDS})


def preset_named(name: str) -> Preset:
    """Return a preset; raises ``InvalidRequest`` that lists all for a name that is none."""
    found = PRESETS.get(name)
    if found is None:
        near: Iterable[str] = [known for known in PRESETS if str(name).split("-")[0].lower() in known]
        raise InvalidRequest(
            "preset", f"there is no {name!r}, but {', '.join(near or PRESETS)} (fstore ingest --preset list)"
        )
    return found
