"""Money on the simulated exchange: accounting closes, funding, margin, liquidation, saving."""

from __future__ import annotations

from decimal import Decimal

import pytest
from engines import BTC, ETH, START, cancel, edit, engine, place, tick
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.messages.futures import AccountSeen, FillSeen, OrderSeen, PositionsSeen
from protocol.units import HOUR_US, MINUTE_US, SECOND_US
from sim.engine import Engine
from sim.engine.fees import KRAKEN, Schedule
from sim.engine.state import Trail
from sim.engine.terms import Terms
from sim.market.contracts import contract

D = Decimal


def closes(exchange: Engine) -> bool:
    """start + realised - fees - funding + unrealised - accrued funding = equity."""
    books = exchange.books
    cash = books.start + books.realised - books.fees - books.funding
    return cash + exchange.unrealised_usd - exchange.funding_due_usd == exchange.equity_usd


def logged(exchange: Engine) -> Decimal:
    """The balance to which the account log leads; a break in it fails."""
    balance = exchange.books.start
    for entry in exchange.state.log:
        assert entry.old_balance == balance
        change = (entry.realised or D(0)) - (entry.fee or D(0)) + (entry.funding or D(0))
        assert entry.new_balance == balance + change
        balance = entry.new_balance
    return balance


moves = st.tuples(
    st.just("tick"),
    st.sampled_from([BTC, ETH]),
    st.integers(900, 1100),
    st.integers(-300, 300),
)
orders = st.tuples(
    st.sampled_from(["mkt", "lmt", "ioc", "fok", "stp", "take_profit", "trailing_stop", "edit", "cancel"]),
    st.sampled_from(["buy", "sell"]),
    st.one_of(st.integers(1, 2_000), st.integers(1, 40_000)),
    st.integers(-20, 20),
)


@settings(max_examples=150)
@given(
    st.lists(st.one_of(moves, orders), min_size=20, max_size=80),
    st.sampled_from([None, D(5_000)]),
    st.sampled_from([2_000, 50_000]),
    st.sampled_from([None, KRAKEN]),
)
def test_the_account_always_closes(
    script: list[tuple[str, str, int, int]], depth: Decimal | None, equity: int, schedule: Schedule | None
) -> None:
    """After every event of any sequence of ticks, hours and orders (partial fills and liquidations among them) the books sum to
    equity exactly, equity is what fills, fees and marks say when they are added up a second way, and the account log, entry by
    entry, leads to the balance.
    """
    exchange = engine(equity=equity, slippage_pct=D("0.02"), depth_usd=depth, schedule=schedule)
    exchange.move(tick(60_000))
    exchange.move(tick(60_000, symbol=ETH))
    at, cash, held = START, D(equity), {BTC: D(0), ETH: D(0)}
    names: list[str] = []
    for number, (kind, which, amount, shift) in enumerate(script):
        at += 7 * MINUTE_US
        if kind == "tick":
            if at // HOUR_US != (at - 7 * MINUTE_US) // HOUR_US:
                exchange.settle_funding(at - at % HOUR_US)
            messages = exchange.move(tick(60 * amount, at, which, rate=str(D(shift) / 100_000)))
        elif kind == "cancel":
            messages = exchange.send(cancel(names[amount % len(names)] if names else "none"), at)
        elif kind == "edit":
            name = names[amount % len(names)] if names else "none"
            messages = exchange.send(edit(name, str(D(amount) / 10_000), stop_price=60_000 + shift * 50), at)
        else:
            price = 60_000 + shift * 50
            terms: dict[str, object] = (
                {"limit_price": price} if kind in ("lmt", "ioc", "fok") else {"stop_price": price}
            )
            names.append(f"order-{number}")
            wish = place(
                names[-1],
                which,
                str(D(amount) / 10_000),
                kind,
                **({} if kind in ("mkt", "trailing_stop") else terms),
                reduce_only=amount % 3 == 0,
            )
            messages = exchange.answer(wish, at, Terms(trail=Trail(D(1)))).messages
        for message in messages:
            if isinstance(message, FillSeen) and message.source == "stream":
                fill = message.fill
                signed = fill.signed_size
                held[fill.symbol] += signed
                cash -= signed * fill.price + (fill.fee_usd or D(0))
        assert closes(exchange)
        marks = {symbol: exchange.state.ticks[symbol].mark for symbol in held}
        worth = cash + sum(size * marks[symbol] for symbol, size in held.items())
        assert worth - exchange.books.funding - exchange.funding_due_usd == exchange.equity_usd
        assert {p.symbol: p.size for p in exchange.positions()} == {s: z for s, z in held.items() if z}
        assert logged(exchange) == exchange.books.balance


def test_longs_pay_a_positive_rate_by_the_hour() -> None:
    """An hour costs size x index at its first tick x relative rate, realised at the full hour, half of it for half an hour."""
    exchange = engine()
    exchange.move(tick(60_000, rate="0.0001"))
    exchange.send(place("entry", "buy", "0.5"), START + HOUR_US // 2)
    exchange.move(tick(66_000, START + HOUR_US - 1, rate="0.0001"))
    messages = exchange.settle_funding(START + HOUR_US)
    assert exchange.books.funding == D("1.5")
    assert [type(m) for m in messages] == [PositionsSeen, AccountSeen]


def test_funding_is_realised_when_the_size_changes() -> None:
    """Accrued funding moves to the balance with a fill and accrues anew on the new size."""
    exchange = engine()
    exchange.move(tick(60_000, rate="0.001"))
    exchange.send(place("entry", "sell", "1"), START)
    exchange.send(place("exit", "buy", "1", reduce_only=True), START + HOUR_US // 4)
    assert exchange.books.funding == D(-15)
    assert exchange.settle_funding(START + HOUR_US) == []


def test_funding_does_not_depend_on_how_many_ticks_were_looked_at() -> None:
    """Every second or only the first of the hour: the same sum to the last digit."""
    totals = set()
    for step in (HOUR_US, 61 * SECOND_US):
        exchange = engine()
        for at in range(START, START + HOUR_US, step):
            exchange.move(tick(60_000 + at % 977, at, rate="0.0000123"))
            if at == START:
                exchange.send(place("entry", "buy", "0.3"), START)
        exchange.settle_funding(START + HOUR_US)
        totals.add(exchange.books.funding)
    assert len(totals) == 1


def test_funding_is_capped() -> None:
    """No hour costs more than a quarter percent."""
    exchange = engine()
    exchange.move(tick(60_000, rate="0.5"))
    exchange.send(place("entry", "buy", "1"), START)
    exchange.settle_funding(START + HOUR_US)
    assert exchange.books.funding == D(150)


@pytest.mark.parametrize(("side", "direction"), [("buy", -1), ("sell", 1)])
def test_liquidation_happens_at_the_price_that_was_told(side: str, direction: int) -> None:
    """One tick before the reported liquidation price the position lives, one beyond it is closed and its orders are gone."""
    exchange = engine(equity=10_000)
    exchange.move(tick(60_000))
    exchange.send(place("entry", side, "1"), START)
    exchange.send(place("bid", "buy", "0.01", "lmt", limit_price=1), START)
    (position,) = exchange.positions()
    price = position.liquidation_price
    assert price is not None
    assert price in exchange.levels(BTC)
    assert len(exchange.move(tick(int(price) - direction, START + 1))) == 1
    messages = exchange.move(tick(int(price) + 2 * direction, START + 2))
    fills = [m.fill.fill_type for m in messages if isinstance(m, FillSeen)]
    reasons = [m.reason for m in messages if isinstance(m, OrderSeen)]
    assert (fills, reasons) == (["liquidation"], ["liquidation", "full_fill"])
    assert not exchange.busy(BTC)
    assert closes(exchange)


def test_with_two_positions_no_liquidation_comes_before_one_level_is_crossed() -> None:
    """Each gets half of what may be lost, so looking only at crossings of `levels` misses nothing."""
    exchange = engine(equity=20_000)
    for symbol in (BTC, ETH):
        exchange.move(tick(60_000, symbol=symbol))
        exchange.send(place(f"entry {symbol}", "buy", "1", symbol=symbol), START)
    levels = {symbol: int(exchange.levels(symbol)[0]) for symbol in (BTC, ETH)}
    for at, symbol in enumerate((BTC, ETH), 1):
        assert len(exchange.move(tick(levels[symbol] + 1, START + at, symbol))) == 1
    messages = exchange.move(tick(levels[BTC] - 10, START + 3))
    assert any(isinstance(m, FillSeen) for m in messages)


def test_an_account_that_is_liquidated_by_a_gap_ends_below_zero_and_says_so() -> None:
    """Nothing is hidden: the loss beyond the balance stays in the books."""
    exchange = engine(equity=2_000)
    exchange.move(tick(60_000))
    exchange.send(place("entry", "buy", "1"), START)
    exchange.move(tick(50_000, START + 1))
    assert exchange.equity_usd < 0
    assert closes(exchange)


def test_an_open_position_is_revalued_once_an_interval() -> None:
    """Positions and account come with the first tick of each interval, when all that is held has ticked."""
    exchange = engine()
    for symbol in (BTC, ETH):
        exchange.move(tick(60_000, symbol=symbol))
        exchange.send(place(f"entry {symbol}", "buy", "0.1", symbol=symbol), START)
    quarter = START + 15 * MINUTE_US
    assert len(exchange.move(tick(60_500, quarter))) == 1
    later = exchange.move(tick(60_500, quarter + 1, ETH))
    assert [type(m) for m in later[1:]] == [PositionsSeen, AccountSeen]
    assert len(exchange.move(tick(60_600, quarter + 2))) == 1


def test_a_saved_exchange_goes_on_as_if_nothing_had_happened() -> None:
    """After save and restore the same ticks give the same messages."""
    first = engine()
    first.move(tick(60_000, rate="0.0001"))
    first.send(place("entry", "buy", "0.5"), START)
    first.send(place("stop", "sell", "0.5", "stp", stop_price=59_000, reduce_only=True), START)
    second = engine()
    second.restore(first.save())
    assert second.save() == first.save()
    at = START + MINUTE_US
    assert second.move(tick(58_500, at)) == first.move(tick(58_500, at))
    assert second.equity_usd == first.equity_usd


def test_a_saved_account_is_not_taken_up_without_its_contracts() -> None:
    """Positions that nobody would value are refused by name."""
    first = engine()
    first.move(tick(60_000))
    first.send(place("entry", "buy", "0.5"), START)
    other = Engine((contract("PF_SOLUSD"),), D(1))
    with pytest.raises(ValueError, match="PF_XBTUSD"):
        other.restore(first.save())


def test_a_contract_without_published_rules_gets_plausible_ones() -> None:
    """Tick and lot follow the price; inverse contracts are refused."""
    doge = contract("PF_DOGEUSD", D("0.1234"))
    assert (doge.tick, doge.lot) == (D("0.00001"), D(1))
    with pytest.raises(ValueError, match="PI_XBTUSD"):
        contract("PI_XBTUSD")
