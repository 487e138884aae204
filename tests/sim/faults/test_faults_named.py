"""What a person may name of a fault besides what is drawn: the catalogue's other parameters."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from protocol.kraken.endpoints import FUTURES_WS_PATH, SPOT_WS_PATH
from sim.faults import Faults
from sim.faults.account import Account
from sim.faults.catalogue import CATALOGUE
from sim.faults.frames import Wire, refused
from sim.faults.network import JSON, REPLY_RULES, Arrived, Reply
from sim.faults.plan import draw, plan_of
from sim.venue.socket import Socket


class Heard:
    """The daemon's end of a connection."""

    def __init__(self) -> None:
        self.frames: list[str] = []

    async def send(self, text: str) -> None:
        self.frames.append(text)

    def send_now(self, text: str) -> bool:
        self.frames.append(text)
        return True


def begun(**fault: object) -> Faults:
    """Faults in which this one is in force."""
    faults = Faults(plan_of({"faults": [fault]}), lambda: 1)
    faults.begin()
    return faults


def wire(faults: Faults, path: str) -> tuple[Wire, Heard]:
    """A connection under faults."""
    heard = Heard()
    return Wire(cast(Socket, heard), path, faults), heard


def candle(minute: int) -> str:
    """An update of the candle of BTC/USD that began then."""
    row = {"symbol": "BTC/USD", "interval_begin": f"2026-01-20T02:{minute:02}:00.000000000Z", "close": 1.0}
    return json.dumps({"channel": "ohlc", "type": "update", "data": [row]})


def test_what_may_be_named_is_not_drawn() -> None:
    """A seed's plan stays what it was, whatever the catalogue lets a person name."""
    drawn = [fault for seed in range(300) for fault in draw(seed).faults]
    assert not any(fault.params.keys() & CATALOGUE[fault.fault].more.keys() for fault in drawn)


def test_a_market_is_isolated_for_a_while() -> None:
    """`ex.margin` with a leverage: the account says so, more margin is not demanded, and it ends."""
    faults = Faults(plan_of({"faults": [{"fault": "ex.margin", "isolated_x": 3, "sym": "PF_ETHUSD"}]}), lambda: 1)
    rules = {"PF_XBTUSD": object(), "PF_ETHUSD": object()}
    exchange = SimpleNamespace(engine=SimpleNamespace(rules=dict(rules)), contracts=tuple(rules), leverage={})
    Account(cast(Any, exchange), faults)
    faults.begin()
    assert (exchange.leverage, exchange.engine.rules) == ({"PF_ETHUSD": Decimal(3)}, rules)
    faults.heal()
    assert exchange.leverage == {}


async def test_a_frame_waits_until_so_many_others_have_gone() -> None:
    """`md.reorder` in frames: with a window of one each second frame comes first, and what waits goes with the next ones."""
    faults = begun(fault="md.reorder", feed="futures", window=1)
    connection, heard = wire(faults, FUTURES_WS_PATH)
    frames = [json.dumps({"feed": "ticker", "product_id": "PF_XBTUSD", "time": n}) for n in range(4)]
    await connection.send(frames[0])
    faults.heal()
    assert not connection.send_now(frames[1])
    for frame in frames[1:]:
        await connection.send(frame)
    assert heard.frames == [frames[n] for n in (1, 0, 2, 3)]


async def test_so_many_candles_are_lost_and_no_more() -> None:
    """`md.gap` by the number of candles: every frame of each."""
    connection, heard = wire(begun(fault="md.gap", n=2, tf="15m"), SPOT_WS_PATH)
    for minute in (0, 0, 15, 15, 30, 45):
        await connection.send(candle(minute))
    assert heard.frames == [candle(30), candle(45)]


@pytest.mark.parametrize(("named", "status"), [({}, 0), ({"code": 429}, 429)])
def test_a_connection_is_refused_with_a_status(named: dict[str, object], status: int) -> None:
    """`md.refuse`: nobody answers, or HTTP says too many; the other feed is let in."""
    faults = begun(fault="md.refuse", feed="spot", **named)
    assert refused(faults, SPOT_WS_PATH) == status
    assert refused(faults, FUTURES_WS_PATH) is None


@pytest.mark.parametrize(("named", "shown"), [({}, [4]), ({"gap": 2}, [4, 1, 0])])
def test_a_list_of_fills_lacks_some_in_its_middle(named: dict[str, object], shown: list[int]) -> None:
    """`rest.page`: the newest alone, or all but so many after them."""
    (active,) = begun(fault="rest.page", limit=1, **named).active("rest")
    active.rng = np.random.default_rng(1)
    reply = Reply(200, JSON, json.dumps({"fills": [4, 3, 2, 1, 0]}).encode())
    request: Any = Arrived(1, "fills", "", {}, True, ())
    assert json.loads(REPLY_RULES["rest.page"](active, request, reply).body)["fills"] == shown
