"""Fees by schedule: what an execution costs follows from the volume of the thirty days before, and from nothing later."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from engines import START, engine, place, tick

from protocol.messages.futures import FillSeen
from protocol.units import DAY_US
from sim.engine import Engine
from sim.engine.fees import KRAKEN, flat, tier

D = Decimal
DAY = START // DAY_US


def paid_pct(exchange: Engine, name: str, side: str, size: str, day: int) -> Decimal:
    """The fee of one market order on a day, in percent of its value."""
    exchange.move(tick(50_000, START + day * DAY_US))
    said = exchange.send(place(name, side, size), START + day * DAY_US)
    fills = [m.fill for m in said if isinstance(m, FillSeen) and m.source == "stream"]
    return sum((f.fee_usd or D(0) for f in fills), D(0)) / sum((f.size * f.price for f in fills), D(0)) * 100


def test_fees_fall_with_the_volume_of_the_days_before_and_rise_again_when_they_are_past() -> None:
    """A hundred thousand dollars today makes tomorrow cheaper; thirty days on they no longer count."""
    exchange = engine(1_000_000, schedule=KRAKEN)
    assert paid_pct(exchange, "a", "buy", "2.1", 0) == D("0.05")
    assert paid_pct(exchange, "b", "sell", "1", 0) == D("0.05")  # the day itself does not count yet
    assert paid_pct(exchange, "c", "sell", "1", 1) == D("0.04")
    assert paid_pct(exchange, "d", "buy", "0.1", 30) == D("0.04")
    assert paid_pct(exchange, "e", "buy", "0.1", 31) == D("0.05")
    assert [day for day, _ in exchange.state.traded_usd] == [DAY + 1, DAY + 30, DAY + 31]


def test_a_maker_pays_the_makers_rate_of_the_same_tier() -> None:
    """A resting limit that the market comes to."""
    exchange = engine(1_000_000, schedule=KRAKEN)
    paid_pct(exchange, "a", "buy", "2.1", 0)
    at = START + DAY_US
    exchange.move(tick(50_000, at))
    exchange.send(place("limit", "sell", "0.5", "lmt", limit_price=50_100), at)
    (fill,) = [m.fill for m in exchange.move(tick(50_200, at + 1)) if isinstance(m, FillSeen)]
    assert fill.fill_type == "maker"
    assert fill.fee_usd == fill.size * fill.price * D("0.015") / 100


def test_the_volume_survives_a_restart() -> None:
    """Saved and restored, the account is in the same tier."""
    first, second = (engine(1_000_000, schedule=KRAKEN) for _ in range(2))
    paid_pct(first, "a", "buy", "2.1", 0)
    second.restore(first.save())
    assert paid_pct(second, "b", "sell", "1", 1) == D("0.04")


@pytest.mark.parametrize("volume", ["0", "99999.99", "100000", "4999999", "5000000", "100000000", "9e9"])
def test_the_tier_is_the_highest_that_is_reached(volume: str) -> None:
    """At a boundary the better one counts already; flat fees know no boundary."""
    expected = max((one for one in KRAKEN if one.from_usd <= D(volume)), key=lambda one: one.from_usd)
    assert tier(KRAKEN, [(DAY - 1, D(volume))], DAY) == expected
    assert tier(flat(D(1), D(2)), [(DAY - 1, D(volume))], DAY)[1:] == (D(1), D(2))


PAYLOAD = Path("../shared/kraken/futures_rest_feeschedules.json")


@pytest.mark.skipif(not PAYLOAD.is_file(), reason="the recorded answer is not here")
def test_the_table_is_krakens() -> None:
    """Row by row what the exchange's own endpoint answered."""
    (schedule,) = json.loads(PAYLOAD.read_text())["feeSchedules"]
    told = [(D(str(t["usdVolume"])), D(str(t["makerFee"])), D(str(t["takerFee"]))) for t in schedule["tiers"]]
    assert told == [tuple(one) for one in KRAKEN]
