"""Inverse contracts: profit, margin, funding and liquidation in coin, against formulas written down a second time."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from engines import BTC, START, place, tick
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from protocol.messages.futures import CommandAnswered, FillSeen
from protocol.units import HOUR_US, MINUTE_US
from sim.engine import Engine
from sim.market.contracts import INVERSE, PF_XBTUSD

D = Decimal
PI = INVERSE[BTC]
TRIFLE = Fraction(1, 10**12)
"""Coins; a hundred-thousandth of a cent."""


def exchange_of(coins: str = "1", **terms: Any) -> Engine:
    """Bitcoin's two perpetuals; no fees unless told."""
    terms = {"slippage_pct": D(0), "taker_fee_pct": D(0), "maker_fee_pct": D(0), **terms}
    return Engine((PF_XBTUSD, PI), D(1000), equity_coin=D(coins), **terms)


def pi_tick(mark: int, at: int = START, rate: str = "0") -> Any:
    """A tick of the inverse contract, its spread within a dollar."""
    return tick(mark, at, PI.symbol, rate, half_spread=0)


def trade(exchange: Engine, size: int, number: int = 0) -> CommandAnswered:
    """Buy (above zero) or sell so many dollars at market."""
    wish = place(f"order {number}", "buy" if size > 0 else "sell", str(abs(size)), symbol=PI.symbol)
    (answered,) = (m for m in exchange.send(wish, exchange.last_at) if isinstance(m, CommandAnswered))
    return answered


def coin_profit(size: int, entry: int, exit_: int) -> Fraction:
    """Textbook: contracts x (1 / entry - 1 / exit)."""
    return size * (Fraction(1, entry) - Fraction(1, exit_))


def equity(exchange: Engine) -> Fraction:
    """The coin account's, exactly."""
    return Fraction(exchange.account(PI.symbol).equity_usd)


marks = st.integers(20_000, 150_000)
sizes = st.integers(1, 20_000).flatmap(lambda size: st.sampled_from([size, -size]))


@settings(max_examples=200)
@given(sizes, marks, marks)
def test_profit_is_contracts_times_the_difference_of_reciprocals(size: int, entry: int, now: int) -> None:
    """Unrealised at the mark, and the same once it is closed there."""
    exchange = exchange_of("100")
    exchange.move(pi_tick(entry))
    trade(exchange, size)
    exchange.move(pi_tick(now, START + 1))
    expected = coin_profit(size, entry, now)
    assume(exchange.held(PI.symbol))
    assert abs(equity(exchange) - 100 - expected) < TRIFLE
    trade(exchange, -size, 1)
    assert exchange.positions() == ()
    assert abs(Fraction(exchange.state.coins[PI.symbol].balance) - 100 - expected) < TRIFLE


@settings(max_examples=150)
@given(sizes, marks)
def test_margin_is_the_level_of_the_dollars_held_in_coin(size: int, entry: int) -> None:
    """Contracts are dollars: the level follows from them, the margin is that fraction of contracts / entry."""
    exchange = exchange_of("10000")
    exchange.move(pi_tick(entry))
    trade(exchange, size * 1000)
    levels = [(start, im, mm) for start, im, mm in PI.margin_levels if start <= abs(size) * 1000]
    _, initial, maintenance = levels[-1]
    account = exchange.account(PI.symbol)
    worth = Fraction(abs(size) * 1000, entry)
    assert abs(Fraction(account.initial_margin_usd) - worth * Fraction(initial)) < TRIFLE
    assert abs(Fraction(account.maintenance_margin_usd) - worth * Fraction(maintenance)) < TRIFLE


@settings(max_examples=150)
@given(sizes, marks)
def test_it_is_liquidated_where_equity_meets_maintenance(size: int, entry: int) -> None:
    """The price told is the one at which 1 coin + profit = maintenance margin; a dollar before nothing happens, beyond it does."""
    exchange = exchange_of("1")
    exchange.move(pi_tick(entry))
    assume(trade(exchange, size * 10).outcome == "filled")
    (position,) = exchange.positions()
    maintenance = Fraction(exchange.account(PI.symbol).maintenance_margin_usd)
    # 1 + n (1/entry - 1/p) = maintenance, solved for p
    reciprocal = Fraction(1, entry) + (1 - maintenance) / (size * 10)
    if reciprocal <= 0:
        assert position.liquidation_price is None
        return
    assert position.liquidation_price is not None
    assert float(position.liquidation_price) == pytest.approx(float(1 / reciprocal), rel=1e-9)
    price, outward = int(position.liquidation_price), -1 if size > 0 else 1
    assume(10 < price < 10_000_000 and abs(price - entry) > 3)
    assert len(exchange.move(pi_tick(price - 2 * outward, START + 1))) == 1
    told = exchange.move(pi_tick(price + 2 * outward, START + 2))
    assert [m.fill.fill_type for m in told if isinstance(m, FillSeen)] == ["liquidation"]


def test_funding_is_paid_in_coin() -> None:
    """An hour at a relative rate r costs contracts x r / index."""
    exchange = exchange_of()
    exchange.move(pi_tick(50_000, rate="0.0001"))
    trade(exchange, 10_000)
    exchange.settle_funding(START + HOUR_US)
    paid = Fraction(exchange.state.coins[PI.symbol].funding)
    assert abs(paid - 10_000 * Fraction(1, 10_000) / 50_000) < TRIFLE
    assert exchange.books.funding == 0


def test_the_coin_account_and_the_dollar_account_do_not_know_each_other() -> None:
    """A liquidation in coin leaves dollars, their positions and their orders as they were."""
    exchange = exchange_of("0.01", taker_fee_pct=D("0.05"))
    exchange.move(tick(60_000))
    exchange.move(pi_tick(60_000))
    exchange.send(place("linear", "buy", "0.1"), START)
    exchange.send(place("linear stop", "sell", "0.1", "stp", stop_price=40_000, reduce_only=True), START)
    trade(exchange, 20_000)
    dollars = exchange.account()
    exchange.move(pi_tick(55_000, START + 1))
    assert exchange.held(PI.symbol) == 0
    assert exchange.held(BTC) == D("0.1")
    assert exchange.account() == dollars
    assert len(exchange.snapshot(START + 1).orders) == 1


steps = st.lists(
    st.tuples(st.sampled_from(["tick", "trade", "limit"]), sizes, st.integers(-6000, 6000)), min_size=10, max_size=50
)


@settings(max_examples=60)
@given(steps, st.sampled_from([None, D(3_000)]))
def test_the_coin_account_always_closes(script: list[tuple[str, int, int]], depth: Decimal | None) -> None:
    """After any ticks, trades, partial fills, funding and liquidations: start + realised - fees - funding + unrealised is what
    the fills, the marks and the fees come to when they are added up a second time.
    """
    exchange = exchange_of("0.02", taker_fee_pct=D("0.05"), maker_fee_pct=D("0.02"), depth_usd=depth)
    exchange.move(pi_tick(60_000, rate="0.0003"))
    at, coins, held = START, Fraction(1, 50), 0
    for number, (kind, size, shift) in enumerate(script):
        at += 13 * MINUTE_US
        told = []
        if at // HOUR_US != (at - 13 * MINUTE_US) // HOUR_US:
            told += exchange.settle_funding(at - at % HOUR_US)
        if kind == "tick":
            told += exchange.move(pi_tick(60_000 + shift, at, rate=str(D(shift) / 10_000_000)))
        else:
            terms: dict[str, Any] = {"limit_price": 60_000 + shift} if kind == "limit" else {}
            wish = place(
                f"o{number}",
                "buy" if size > 0 else "sell",
                str(abs(size)),
                "lmt" if terms else "mkt",
                symbol=PI.symbol,
                **terms,
            )
            told += exchange.send(wish, at)
        for message in told:
            if isinstance(message, FillSeen) and message.source == "stream":
                fill = message.fill
                signed = int(fill.size) if fill.side == "buy" else -int(fill.size)
                held += signed
                # Buying n dollars of an inverse contract is owing n / price coins against n dollars.
                coins += Fraction(signed) / Fraction(fill.price) - Fraction(fill.fee_usd or 0)
        books = exchange.state.coins[PI.symbol]
        mark = exchange.state.ticks[PI.symbol].mark
        due = Fraction(books.funding) - Fraction(exchange.account(PI.symbol).unrealized_funding_usd)
        assert int(exchange.held(PI.symbol)) == held
        assert abs(equity(exchange) - (coins - Fraction(held) / Fraction(mark) - due)) < TRIFLE * 10
    assert exchange.books.balance == 1000
