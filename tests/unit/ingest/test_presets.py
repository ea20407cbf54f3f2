"""Files as vendors publish them: each preset gives the values, instants and types that the vendor means."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fstore.errors import InvalidRequest
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.frames.convert import to_frame
from fstore.ingest.ingestion import ingest
from fstore.ingest.presets.table import PRESETS
from fstore.model import ParquetSource


@dataclass(frozen=True)
class Published:
    """A small file in a published layout, and what it says: instants of the rows, and some cells with their dtypes."""

    preset: str
    text: str
    times: tuple[str, ...]
    cells: dict[str, tuple[Any, ...]]
    dtypes: dict[str, str]
    name: str = "data.csv"
    options: dict[str, Any] = field(default_factory=dict)
    symbol: str | None = None
    beside: tuple[tuple[str, str], ...] = ()


LOBSTER = "AAPL_2012-06-21_34200000_57600000_{}_2.csv"
MESSAGES = "34200.004241176,1,16113575,18,5853300,1\n34200.025551909,3,16113575,18,5853300,1\n34200.2015,7,0,0,-1,-1\n"
BOOKS = (
    "5859400,200,5853300,18,5859800,200,5853000,150\n5859400,200,5853000,150,5859800,200,-9999999999,0\n"
    "9999999999,0,5853000,150,9999999999,0,5851000,20\n"
)
KLINE = "{},42314.00000000,42335.80000000,42289.60000000,42331.90000000,289.641,{},12255155.19600,3310,175.211,7415459.12,0\n"
KLINES_HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"
CDD = (
    "https://www.CryptoDataDownload.com\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount\n"
    "1646092920000,2022-03-01 00:02:00,BTC/USDT,43185.5,43190.0,43180.25,43188.0,12.5,539850.0,410\n"
    "1646092860000,2022-03-01 00:01:00,BTC/USDT,43221.71,43221.71,43170.0,43185.48,20.25,874506.0,\n"
    "1646092800000,2022-03-01 00:00:00,BTC/USDT,43160.0,43230.0,43150.0,43221.71,49.58,2142856.0,1187\n"
)
DBN = "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,price,size,flags,ts_in_delta,sequence\n"
DBN_RAW = (
    f"{DBN}1703422805244000000,1703422805243925307,0,1,5482,T,B,4799250000000,2,128,-13000,682\n"
    "1703422805245000000,18446744073709551615,0,1,5482,R,N,9223372036854775807,4294967295,8,0,683\n"
)
DBN_PRETTY = (
    f"{DBN.strip()},symbol\n2023-12-24T13:00:05.244000000Z,2023-12-24T13:00:05.243925307Z,0,1,5482,T,B,4799.250000000,2,128,"
    "-13000,682,ESH4\n2023-12-24T13:00:05.245000000Z,,0,1,5482,R,N,,4294967295,8,0,683,ESH4\n"
)
RECEIVED = ("2023-12-24 13:00:05.244Z", "2023-12-24 13:00:05.245Z")
DATABENTO_TYPES = {"price": "float64", "size": "uint32", "publisher_id": "uint16", "ts_in_delta": "int32"}
MT5 = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
OHLC = ("open", "high", "low", "close")

FILES = (
    Published(
        "histdata-m1",
        "20120201 000000;1.306600;1.306600;1.306560;1.306561;0\n20120701 000100;1.306570;1.306570;1.306470;1.306560;0\n",
        ("2012-02-01 05:00Z", "2012-07-01 05:01Z"),
        {"open": (1.3066, 1.30657), "close": (1.306561, 1.30656), "volume": (0, 0)},
        {"open": "float64", "volume": "int64"},
    ),
    Published(
        "histdata-ticks",
        "20120201 000003660,1.306600,1.306700,0\n20120201 000003973,1.306610,1.306710,0\n",
        ("2012-02-01 05:00:03.660Z", "2012-02-01 05:00:03.973Z"),
        {"bid": (1.3066, 1.30661), "ask": (1.3067, 1.30671)},
        {"bid": "float64"},
    ),
    Published(
        "histdata-mt",
        "2012.02.01,00:00,1.306600,1.306600,1.306560,1.306560,0\n2012.02.01,00:01,1.306570,1.306570,1.306470,1.306560,0\n",
        ("2012-02-01 05:00Z", "2012-02-01 05:01Z"),
        {"low": (1.30656, 1.30647)},
        {"low": "float64", "volume": "int64"},
    ),
    Published(
        "dukascopy-bars",
        "Gmt time,Open,High,Low,Close,Volume\n02.01.2020 00:00:00.000,1.12120,1.12172,1.12110,1.12150,120.5\n"
        "03.01.2020 00:00:00.000,1.12150,1.12150,1.12150,1.12150,0\n",
        ("2020-01-02 00:00Z", "2020-01-03 00:00Z"),
        {"open": (1.1212, 1.1215), "volume": (120.5, 0.0)},
        {"open": "float64", "volume": "float64"},
    ),
    Published(
        "dukascopy-ticks",
        "Gmt time,Ask,Bid,AskVolume,BidVolume\n01.02.2020 17:00:00.065,1.12172,1.1212,1.5,0.75\n",
        ("2020-02-01 17:00:00.065Z",),
        {"ask": (1.12172,), "bid": (1.1212,), "ask_volume": (1.5,), "bid_volume": (0.75,)},
        {"bid_volume": "float64"},
    ),
    Published(
        "dukascopy-local-bars",
        "Local time,Open,High,Low,Close,Volume\n01.02.2024 01:00:00.000 GMT+0100,1.5,1.75,1.25,1.5,10\n"
        "01.08.2024 02:00:00.000 GMT+0200,1.5,1.75,1.25,1.5,10\n",
        ("2024-02-01 00:00Z", "2024-08-01 00:00Z"),
        {"high": (1.75, 1.75)},
        {"volume": "float64"},
    ),
    Published(
        "dukascopy-local-ticks",
        "Local time,Ask,Bid,AskVolume,BidVolume\n01.02.2024 01:00:00.250 GMT-0500,1.5,1.25,1,2\n",
        ("2024-02-01 06:00:00.250Z",),
        {"bid": (1.25,)},
        {"ask": "float64"},
    ),
    Published(
        "dukascopy-node-bars",
        "timestamp,open,high,low,close,volume\n1577836800000,1.1212,1.1217,1.1211,1.1215,120.5\n",
        ("2020-01-01 00:00Z",),
        {"close": (1.1215,)},
        {"volume": "float64"},
    ),
    Published(
        "dukascopy-node-ticks",
        "timestamp,askPrice,bidPrice\n1577898000065,1.12172,1.1212\n",
        ("2020-01-01 17:00:00.065Z",),
        {"ask": (1.12172,), "bid": (1.1212,)},
        {"bid": "float64"},
    ),
    Published(
        "mt5-bars",
        f"{MT5}2024.01.02\t09:30:00\t1.5\t1.75\t1.25\t1.5\t100\t0\t3\n2024.07.02\t09:31:00\t1.5\t1.75\t1.25\t1.7\t90\t0\t4\n",
        ("2024-01-02 07:30Z", "2024-07-02 06:31Z"),
        {"close": (1.5, 1.7), "tickvol": (100, 90), "spread": (3, 4)},
        {"tickvol": "int64", "open": "float64"},
        options={"tz": "Europe/Athens"},
    ),
    Published(
        "mt5-days",
        MT5.replace("<TIME>\t", "") + "2024.01.02\t1.5\t1.75\t1.25\t1.5\t100\t0\t3\n",
        ("2024-01-02 00:00",),
        {"spread": (3,)},
        {"spread": "int64"},
        options={"tz": "naive"},
    ),
    Published(
        "mt5-ticks",
        "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n2024.01.02\t09:30:00.125\t1.5\t1.75\t\t\t6\n"
        "2024.01.02\t09:30:00.250\t\t1.7\t\t\t4\n",
        ("2024-01-02 07:30:00.125Z", "2024-01-02 07:30:00.250Z"),
        {"bid": (1.5, None), "ask": (1.75, 1.7), "last": (None, None), "flags": (6, 4)},
        {"last": "float64", "flags": "int64"},
        options={"tz": "+02:00"},
    ),
    Published(
        "binance-klines",
        KLINE.format(1704067200000, 1704067259999) + KLINE.format(1704067260000, 1704067319999),
        ("2024-01-01 00:00Z", "2024-01-01 00:01Z"),
        {"open": (42314.0, 42314.0), "count": (3310, 3310), "close_time": ("2024-01-01 00:00:59.999Z", "2024-01-01 00:01:59.999Z")},
        {"volume": "float64", "count": "int64", "close_time": "datetime64[ns, UTC]"},
    ),
    Published(
        "binance-klines",
        KLINES_HEADER + KLINE.format(1735689600000000, 1735689659999999),
        ("2025-01-01 00:00Z",),
        {"taker_buy_volume": (175.211,), "close_time": ("2025-01-01 00:00:59.999999Z",)},
        {"quote_volume": "float64"},
    ),
    Published(
        "binance-trades",
        "3345678901,42283.58,0.00123,52.0088034,1704067200000,True,True\n3345678902,42283.57,0.5,21141.785,1704067200001,False,True\n",
        ("2024-01-01 00:00Z", "2024-01-01 00:00:00.001Z"),
        {"id": (3345678901, 3345678902), "qty": (0.00123, 0.5), "is_buyer_maker": (True, False)},
        {"id": "int64", "is_buyer_maker": "bool", "is_best_match": "bool"},
    ),
    Published(
        "binance-trades",
        "id,price,qty,quote_qty,time,is_buyer_maker\n4411,42313.9,0.012,507.7668,1704067200036,true\n",
        ("2024-01-01 00:00:00.036Z",),
        {"price": (42313.9,), "is_buyer_maker": (True,)},
        {"price": "float64"},
    ),
    Published(
        "binance-aggtrades",
        "2847,42283.58,0.5,3345,3346,1735689600000123,False,True\n",
        ("2025-01-01 00:00:00.000123Z",),
        {"agg_trade_id": (2847,), "first_trade_id": (3345,), "last_trade_id": (3346,), "quantity": (0.5,)},
        {"agg_trade_id": "int64"},
    ),
    Published(
        "binance-aggtrades",
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n2847,42283.5,0.5,3345,3346,1704067200036,true\n",
        ("2024-01-01 00:00:00.036Z",),
        {"is_buyer_maker": (True,)},
        {"is_buyer_maker": "bool"},
    ),
    Published(
        "cryptodatadownload",
        CDD,
        ("2022-03-01 00:00Z", "2022-03-01 00:01Z", "2022-03-01 00:02Z"),
        {"open": (43160.0, 43221.71, 43185.5), "Volume USDT": (2142856.0, 874506.0, 539850.0), "tradecount": (1187.0, None, 410.0)},
        {"symbol": "str", "Volume BTC": "float64"},
    ),
    Published(
        "cryptodatadownload",
        "https://www.CryptoDataDownload.com\nUnix Timestamp,Date,Symbol,Open,High,Low,Close,Volume\n"
        "1646092860,2022-03-01 12-AM,BTCUSD,2,2,2,2,5\n1646092800,2022-03-01 12-AM,BTCUSD,1,1,1,1,4\n",
        ("2022-03-01 00:00Z", "2022-03-01 00:01Z"),
        {"close": (1.0, 2.0), "Volume": (4.0, 5.0)},
        {"date": "str"},
    ),
    Published(
        "lobster-messages",
        MESSAGES,
        ("2012-06-21 13:30:00.004241176Z", "2012-06-21 13:30:00.025551909Z", "2012-06-21 13:30:00.2015Z"),
        {"type": (1, 3, 7), "price": (585.33, 585.33, None), "size": (18, 18, 0), "direction": (1, 1, -1)},
        {"type": "int8", "price": "float64", "order_id": "int64"},
        name=LOBSTER.format("message"),
    ),
    Published(
        "lobster-books",
        BOOKS,
        ("2012-06-21 13:30:00.004241176Z", "2012-06-21 13:30:00.025551909Z", "2012-06-21 13:30:00.2015Z"),
        {"ask_price_1": (585.94, 585.94, None), "bid_price_2": (585.3, None, 585.1), "bid_size_1": (18, 150, 150)},
        {"ask_price_2": "float64", "bid_size_2": "int64"},
        name=LOBSTER.format("orderbook"),
        beside=((LOBSTER.format("message"), MESSAGES),),
    ),
    Published(
        "databento",
        DBN_RAW,
        RECEIVED,
        {"price": (4799.25, None), "ts_event": ("2023-12-24 13:00:05.243925307Z", None), "size": (2, 4294967295)},
        DATABENTO_TYPES,
    ),
    Published(
        "databento",
        DBN_PRETTY,
        RECEIVED,
        {"price": (4799.25, None), "ts_event": ("2023-12-24 13:00:05.243925307Z", None), "symbol": ("ESH4", "ESH4")},
        DATABENTO_TYPES,
    ),
    Published(
        "databento",
        "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol\n"
        "1703422800000000000,33,1,5482,4799000000000,4799500000000,4798750000000,4799250000000,130,ESH4\n",
        ("2023-12-24 13:00Z",),
        {"low": (4798.75,), "volume": (130,)},
        {"volume": "uint64", "rtype": "uint8"},
    ),
    Published(
        "polygon-aggs",
        "ticker,volume,open,close,high,low,window_start,transactions\n"
        "AAPL,4930,200.29,200.5,200.63,200.29,1744790400000000000,129\nNA,5,1.5,1.5,1.5,1.5,1744790400000000000,1\n"
        "NA,6.5,1.5,1.75,1.75,1.5,1744790460000000000,2\n",
        ("2025-04-16 08:00Z", "2025-04-16 08:01Z"),
        {"volume": (5.0, 6.5), "close": (1.5, 1.75), "transactions": (1, 2), "ticker": ("NA", "NA")},
        {"volume": "float64", "transactions": "int64", "ticker": "str"},
        symbol="NA",
    ),
    Published(
        "polygon-trades",
        "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size,tape,trf_id,trf_timestamp\n"
        'A,"12,37",0,11,71675577320245,1617093600013955612,127.31,1,1617093600014002331,5,1,0,0\n',
        ("2021-03-30 08:40:00.014002331Z",),
        {"conditions": ("12,37",), "id": ("71675577320245",), "price": (127.31,), "trf_timestamp": (None,)},
        {"tape": "int32", "participant_timestamp": "datetime64[ns, UTC]", "size": "float64"},
        symbol="A",
    ),
    Published(
        "polygon-quotes",
        "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,conditions,indicators,participant_timestamp,"
        "sequence_number,sip_timestamp,tape,trf_timestamp\n"
        "A,11,127.4,1,12,127.3,2,1,,1617093600013955612,7,1617093600014002331,1,0\n",
        ("2021-03-30 08:40:00.014002331Z",),
        {"ask_price": (127.4,), "bid_size": (2.0,), "indicators": ("",)},
        {"bid_exchange": "int32"},
        symbol="A",
    ),
)  # fmt: skip


def lay(folder: Path, published: Published) -> Path:
    """Write the file, and what belongs beside it."""
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    for name, text in published.beside:
        (raw / name).write_text(text)
    (raw / published.name).write_text(published.text)
    return raw / published.name


def taken(file: Path, preset: str, *, symbol: str | None = None, **options: Any) -> pd.DataFrame:
    dest = file.parent.parent / ("out" if symbol else "out.parquet")
    source = ingest(file, dest, preset=preset, **options)
    return to_frame(ParquetReader(ParquetSource(dest / f"{symbol}.parquet") if symbol else source).table())


def refused(file: Path, reason: str, preset: str, **options: Any) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        taken(file, preset, **options)
    assert not list(file.parent.parent.glob("out*"))


@pytest.mark.parametrize("published", FILES, ids=lambda each: f"{each.preset}-{each.text[:12].strip()!r}")
def test_a_preset_gives_what_the_vendor_means(tmp_path: Path, published: Published) -> None:
    """Instants, values and dtypes, and nothing that is guessed from the rows."""
    frame = taken(lay(tmp_path, published), published.preset, symbol=published.symbol, **published.options)

    assert frame.index.tolist() == [pd.Timestamp(time) for time in published.times]
    for column, expected in published.cells.items():
        found = [None if pd.isna(cell) else cell for cell in frame[column]]
        is_time = str(frame[column].dtype).startswith("datetime64")
        assert found == [pd.Timestamp(cell) if is_time and cell else cell for cell in expected], column
    assert {column: str(frame[column].dtype) for column in published.dtypes} == published.dtypes


def test_every_preset_has_a_file_here() -> None:
    """A record without an example is a guess."""
    assert {each.preset for each in FILES} == set(PRESETS)


@pytest.mark.parametrize("published", FILES, ids=lambda each: f"{each.preset}-{each.text[:12].strip()!r}")
def test_no_other_preset_takes_it(tmp_path: Path, published: Published) -> None:
    """A file under a wrong preset is refused, and nothing is written."""
    file = lay(tmp_path, published)
    for preset in PRESETS:
        if preset != published.preset:
            with pytest.raises(InvalidRequest):
                ingest(file, tmp_path / "out", preset=preset, tz="UTC" if preset.startswith("mt5") else None)
            assert not (tmp_path / "out").exists(), preset
