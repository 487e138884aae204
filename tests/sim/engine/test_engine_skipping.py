"""The fast driver's licence: looking only where `levels` are crossed changes nothing that was traded or paid."""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal

import numpy as np
from engines import BTC, ETH, START, engine, place, tick
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.messages.base import Message
from protocol.messages.futures import AccountSeen, FillSeen, OrderSeen
from protocol.units import HOUR_US, MINUTE_US
from sim.engine import Engine

SYMBOLS = (BTC, ETH)
STEPS = 130
"""Minutes: two full hours and a little."""


def path(steps: list[int]) -> list[int]:
    """Marks minute by minute."""
    marks = [60_000]
    for step in steps:
        marks.append(max(marks[-1] + step, 100))
    return marks


def side_of(exchange: Engine, symbol: str, mark: int) -> int:
    """Between which two of the levels a mark lies; a mark on a level counts as beyond it from either side."""
    levels = exchange.levels(symbol)
    return 2 * bisect_left(levels, Decimal(mark)) + (Decimal(mark) in levels)


def life(paths: dict[str, list[int]], sizes: tuple[int, int], *, skipping: bool) -> tuple[list[Message], Engine]:
    """Two positions with stop and target, watched for two hours; what was told but for the tickers."""
    exchange = engine(equity=30_000)
    told: list[Message] = []
    seen = 0

    def visit(minute: int) -> None:
        nonlocal seen
        if minute == seen:
            return
        seen = minute
        for offset, symbol in enumerate(SYMBOLS):
            at = START + minute * MINUTE_US + offset
            told.extend(exchange.move(tick(paths[symbol][minute], at, symbol, rate="0.0001"))[1:])

    for offset, (symbol, size) in enumerate(zip(SYMBOLS, sizes, strict=True)):
        exchange.move(tick(60_000, START + offset, symbol, rate="0.0001"))
        entry, out = ("buy", "sell") if size > 0 else ("sell", "buy")
        exchange.send(place(f"entry {symbol}", entry, str(abs(size)), symbol=symbol), START + offset)
        stop, target = (58_000, 63_000) if size > 0 else (62_000, 57_000)
        for name, kind, price in (("stop", "stp", stop), ("target", "take_profit", target)):
            terms = {"stop_price": price, "reduce_only": True, "symbol": symbol}
            exchange.send(place(f"{name} {symbol}", out, "0.2", kind, **terms), START + offset)
    for minute in range(1, STEPS):
        at = START + minute * MINUTE_US
        boundary = minute % 15 == 0
        here = {symbol: paths[symbol][minute] for symbol in SYMBOLS}
        last = {symbol: int(exchange.state.ticks[symbol].mark) for symbol in SYMBOLS}
        crossed = any(side_of(exchange, s, here[s]) != side_of(exchange, s, last[s]) for s in SYMBOLS)
        if boundary or crossed or not skipping:
            visit(minute - 1)
            if at % HOUR_US == 0:
                told += exchange.settle_funding(at)
            visit(minute)
    return told, exchange


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([50, 200, 900]), st.sampled_from([(1, 1), (1, -1), (-2, 2), (3, 3)]))
def test_skipping_between_crossings_changes_nothing(seed: int, most: int, sizes: tuple[int, int]) -> None:
    """Fills, orders, accounts told and the books are the same, liquidations included, when the ticks between are skipped and
    every held contract is looked at whenever one of them is, at that moment and at the one before it.
    """
    steps = np.random.default_rng(seed).integers(-most, most, size=(2, STEPS))
    paths = {symbol: path(row.tolist()) for symbol, row in zip(SYMBOLS, steps, strict=True)}
    every, watched = life(paths, sizes, skipping=False)
    few, glanced = life(paths, sizes, skipping=True)
    for kind in (FillSeen, OrderSeen, AccountSeen):
        assert [m for m in few if isinstance(m, kind)] == [m for m in every if isinstance(m, kind)]
    assert glanced.books == watched.books


@given(st.lists(st.tuples(st.integers(-40, 40), st.integers(50_000, 70_000)), min_size=1, max_size=30), st.booleans())
def test_hours_passed_over_are_paid_like_hours_played(terms: list[tuple[int, int]], is_long: bool) -> None:
    """Books, position and rate are the same to the last digit as after settling and ticking hour by hour."""
    played, passed = engine(), engine()
    for exchange in (played, passed):
        exchange.move(tick(60_000, START, rate="0.0001"))
        exchange.send(place("entry", "buy" if is_long else "sell", "0.3"), START)
    rates = [(Decimal(rate).scaleb(-5), Decimal(index)) for rate, index in terms]
    hours = range(START + HOUR_US, START + (len(terms) + 1) * HOUR_US, HOUR_US)
    for hour, (rate, index) in zip(hours, rates, strict=True):
        played.settle_funding(hour + 1)
        played.move(tick(int(index), hour + 2, rate=str(rate)))
    passed.pass_hours(hours, 1, {BTC: [(rate, int(index / passed.rules[BTC].tick)) for rate, index in rates]})
    assert (passed.books, passed.state.holdings, passed.state.rates) == (
        played.books,
        played.state.holdings,
        played.state.rates,
    )
    assert str(passed.books.funding) == str(played.books.funding)
