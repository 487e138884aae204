"""The short way to read a usual frame against the general one: a decoded payload always takes the general one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from protocol.kraken import futures_ws, quick, spot
from protocol.kraken.wire import MalformedPayload, decode, encode
from protocol.messages.futures import TickerSeen
from protocol.messages.spot import CandleSeen
from tests.fuzz.mutation import mutations

AT = 1_767_571_200_000_000
TICKER = TickerSeen(
    id="", cause="", at=AT, symbol="PF_XBTUSD", mark=Decimal("60000.5"), index=Decimal(60001), bid=Decimal("60000.0"),
    ask=Decimal("60001.25"), last=Decimal(60000), funding_rate=Decimal("-0.0000125"), suspended=False, post_only=True, time=AT,
    bid_size=Decimal("1.5"), ask_size=Decimal(2),
)  # fmt: skip
CANDLE = CandleSeen(
    id="", cause="", at=AT, symbol="BTC/USD", timeframe="15m", open_time_ms=AT // 1000, open=60000.1, high=60010.0, low=59990.5,
    close=60000.123456, volume=1.25, final=False,
)  # fmt: skip
FRAMES: tuple[tuple[Callable[..., Any], dict[str, object]], ...] = (
    (futures_ws.parse_futures_frame, futures_ws.write_ticker(TICKER)),
    (futures_ws.parse_futures_frame, futures_ws.write_heartbeat(AT)),
    (spot.parse_spot_frame, spot.write_spot_candles((CANDLE,), AT)),
)


def outcome(parse: Callable[..., Any], data: object) -> object:
    """What is read, or the error in its words; those set aside have no equality of their own."""
    try:
        return repr(parse(data, AT))
    except MalformedPayload as problem:
        return repr(problem)


@pytest.mark.parametrize(("parse", "frame"), FRAMES)
def test_however_a_usual_frame_is_spoilt_both_ways_read_the_same(
    parse: Callable[..., Any], frame: dict[str, object]
) -> None:
    """Value for value and word for word, over 3,000 spoilt copies and the frame itself."""
    for data in (encode(frame), *islice(mutations(frame, seed=11), 3000)):
        try:
            general = decode(data, "frame")
        except MalformedPayload:
            continue
        assert outcome(parse, data) == outcome(parse, general), data


def test_the_short_way_reads_every_member_that_the_general_one_reads() -> None:
    """A member added to one and not to the other would be lost on nearly every frame."""
    for general, short in ((futures_ws._Ticker, quick.Ticker), (spot._Ohlc, quick.Row)):
        read = {field.alias or name for name, field in general.model_fields.items()}
        assert read == set(short.__struct_encode_fields__) - {"event"}


def test_the_usual_frames_take_the_short_way() -> None:
    """Or nothing would be proved above."""
    ticker, heartbeat, ohlc = (encode(frame) for _, frame in FRAMES)
    assert isinstance(quick.futures(ticker), quick.Ticker)
    assert isinstance(quick.futures(heartbeat), quick.Heartbeat)
    assert isinstance(quick.spot(ohlc), quick.Ohlc)
