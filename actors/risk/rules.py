"""Every rule an entry must pass, as one table of reason codes and named functions. Pure; decides nothing but yes or no.

A rule sees a `Case` and answers with what it measured, the threshold, and whether it holds. What is unknown fails the rule that demands
it; rules that cannot be judged without it answer `SKIPPED`, which is not a failure of their own (smc-spec, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from actors.risk.sizing import HUNDRED, Plan, adverse_funding, fees_round_trip, liquidation_distance
from config.settings import Settings
from protocol.messages.futures import Account, Instrument, MarkPrice
from protocol.messages.signal import Signal
from protocol.messages.spot import SpotPrice
from protocol.units import HOUR_US, SECOND_US, TIMEFRAME_MS, Side, close_time_us, decimal

STOP_PCT_LEAST: Final = Decimal("0.002")
STOP_PCT_MOST: Final = Decimal("0.15")
"""Fractions: the collar for stops of fault-catalogue section 5. A stop the door would refuse must not be entered on."""
STOP_PCT_RANGE: Final = f"{STOP_PCT_LEAST}..{STOP_PCT_MOST}"
MAX_POSITION_SHARE: Final = Decimal("0.1")
"""Of the exchange's own maximum position (fault-catalogue section 5)."""
SPIKE_LEAST_SHARE: Final = Decimal("0.1")
"""Of `funding_max_pct`: below it no multiple of the mean is a spike."""
DRIFT_CYCLES: Final = 2
"""A symbol the reconciler found at odds is let alone for so many reconcile periods after the last finding."""


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """What is held and what may yet be: positions, approved entries not yet filled, entries of unknown outcome."""

    held: tuple[str, ...]
    pending: tuple[str, ...]
    notional_usd: Decimal
    pending_margin_usd: Decimal
    pending_maintenance_usd: Decimal


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known at the moment of decision `at`. None is unknown. `stop_pct`, `take_profit_pct` are fractions."""

    at: int
    settings: Settings
    signal: Signal
    stop_pct: Decimal
    take_profit_pct: Decimal
    seen: bool
    life_began_at: int
    symbol: str | None
    instrument: Instrument | None
    mark: MarkPrice | None
    spot: SpotPrice | None
    account: Account | None
    plan: Plan | None
    exposure: Exposure
    daily_loss_hit: bool
    daily_loss_pct: Decimal | None
    drawdown_pct: Decimal | None
    cooldown_until: int
    entries_today: int
    max_hold_bars: int
    drifted_at: int | None
    funding_mean: Decimal | None = None


Value = Decimal | int | float | str | bool | None


class Finding(msgspec.Struct, frozen=True):
    """What a rule measured. `passed` None: could not be judged."""

    passed: bool | None
    value: Value = None
    threshold: Value = None


SKIPPED: Final = Finding(None)
Rule = Callable[[Case], Finding]


def at_most(value: Decimal | float, threshold: Decimal | float) -> Finding:
    """Passes when `value` does not exceed `threshold`."""
    return Finding(value <= threshold, value, threshold)


def at_least(value: Decimal | float, threshold: Decimal | float) -> Finding:
    """Passes when `value` does not fall short of `threshold`."""
    return Finding(value >= threshold, value, threshold)


def age_s(at: int, then: int) -> float:
    """Seconds between `then` and now. A time in the future is as suspect as one in the past."""
    return abs(at - then) / SECOND_US


# --- the signal itself ---------------------------------------------------------------------------------------


def alive(case: Case) -> Finding:
    """A signal is only as good as its candle: after `valid_until` it is history."""
    return Finding(case.at < case.signal.valid_until, case.at, case.signal.valid_until)


def first_seen(case: Case) -> Finding:
    """One entry a signal, for ever."""
    return Finding(not case.seen, case.signal.id)


def of_this_life(case: Case) -> Finding:
    """Its candle ended in this life of the process. A life that the store lost may have asked for an entry on it, on other terms."""
    ended_at = close_time_us(case.signal.candle_time_ms, case.signal.timeframe)
    return at_least(ended_at, case.life_began_at)


def stop_in_range(case: Case) -> Finding:
    """The stop lies where the exchange and the door will take it. A NaN fails."""
    inside = case.stop_pct.is_finite() and STOP_PCT_LEAST <= case.stop_pct <= STOP_PCT_MOST
    return Finding(inside, case.stop_pct, STOP_PCT_RANGE)


def target_in_range(case: Case) -> Finding:
    """The target lies beyond entry, and above zero for a short."""
    target = case.take_profit_pct
    inside = target.is_finite() and target > 0 and (case.signal.side == "long" or target < 1)
    return Finding(inside, target, "above 0, below 1 for a short")


# --- the market ----------------------------------------------------------------------------------------------


def symbol_configured(case: Case) -> Finding:
    """Only markets named in the settings are traded."""
    return Finding(case.symbol is not None, case.signal.symbol)


def instrument_listed(case: Case) -> Finding:
    """The contract's rules are known."""
    return SKIPPED if case.symbol is None else Finding(case.instrument is not None, case.symbol)


def instrument_linear(case: Case) -> Finding:
    """Inverse contracts earn and lose in coin: nothing here is sized for that."""
    return SKIPPED if case.instrument is None else Finding(not case.instrument.inverse, case.instrument.inverse, False)


def instrument_tradeable(case: Case) -> Finding:
    """The exchange lists the contract as tradeable."""
    return SKIPPED if case.instrument is None else Finding(case.instrument.tradeable, case.instrument.tradeable, True)


def not_suspended(case: Case) -> Finding:
    """The contract trades now."""
    return SKIPPED if case.mark is None else Finding(not case.mark.suspended, case.mark.suspended, False)


def not_post_only(case: Case) -> Finding:
    """Market orders are taken now."""
    return SKIPPED if case.mark is None else Finding(not case.mark.post_only, case.mark.post_only, False)


def no_recent_drift(case: Case) -> Finding:
    """Our view of the symbol agreed with the exchange's lately."""
    if case.drifted_at is None:
        return Finding(True)
    return at_least(age_s(case.at, case.drifted_at), DRIFT_CYCLES * case.settings.execution.reconcile_s)


# --- prices --------------------------------------------------------------------------------------------------


def mark_known(case: Case) -> Finding:
    """There is a mark."""
    return Finding(case.mark is not None, None if case.mark is None else case.mark.mark)


def mark_fresh(case: Case) -> Finding:
    """By the exchange's own time, at the moment of decision."""
    if case.mark is None:
        return SKIPPED
    return at_most(age_s(case.at, case.mark.mark_time), case.settings.risk.mark_age_max_s)


def spot_known(case: Case) -> Finding:
    """There is a spot price."""
    return Finding(case.spot is not None, None if case.spot is None else case.spot.price)


def spot_fresh(case: Case) -> Finding:
    """The spot price is of this moment."""
    return SKIPPED if case.spot is None else at_most(age_s(case.at, case.spot.at), case.settings.risk.spot_age_max_s)


def basis_of_one_moment(case: Case) -> Finding:
    """Two prices far apart in time say nothing about the basis (fault-catalogue 10)."""
    if case.mark is None or case.spot is None:
        return SKIPPED
    return at_most(age_s(case.spot.at, case.mark.mark_time), case.settings.risk.basis_skew_max_s)


def basis_narrow(case: Case) -> Finding:
    """Signals are made on spot and traded on the perpetual: the two must agree."""
    basis = basis_pct(case.mark, case.spot)
    return SKIPPED if basis is None else at_most(basis, case.settings.risk.basis_max_pct)


def basis_pct(mark: MarkPrice | None, spot: SpotPrice | None) -> Decimal | None:
    """|spot - mark| / spot in percent, None when either is unknown."""
    if mark is None or spot is None:
        return None
    price = _as_decimal(spot.price)
    return abs(price - mark.mark) / price * HUNDRED


@lru_cache(maxsize=16)
def _as_decimal(price: float) -> Decimal:
    """A spot price is set against many marks."""
    return decimal(price)


def spread_narrow(case: Case) -> Finding:
    """The book has two sides, uncrossed and close together (fault-catalogue 11)."""
    if case.mark is None:
        return SKIPPED
    bid, ask = case.mark.bid, case.mark.ask
    if not 0 < bid <= ask:
        return Finding(False, f"{bid}/{ask}", "0 < bid <= ask")
    return at_most(spread_pct(case.mark), case.settings.risk.spread_max_pct)


def book_known(case: Case) -> Finding:
    """What the best price holds is known, where the size of an entry depends on it."""
    if case.settings.risk.book_share_max_pct == 0:
        return Finding(True, None, "off")
    if case.mark is None:
        return SKIPPED
    held = best_size(case.mark, case.signal.side)
    return Finding(held is not None, held)


def best_size(mark: MarkPrice, side: Side) -> Decimal | None:
    """Contracts at the best price that an entry of `side` meets; None: not told."""
    return mark.ask_size if side == "long" else mark.bid_size


def book_leaves(mark: MarkPrice, side: Side, settings: Settings) -> Decimal | None:
    """The most contracts that a thin book lets an entry of `side` take; None: not asked, or not known."""
    share_pct, held = settings.risk.book_share_max_pct, best_size(mark, side)
    return None if share_pct == 0 or held is None else held * share_pct / HUNDRED


# --- what we hold --------------------------------------------------------------------------------------------


def not_held(case: Case) -> Finding:
    """No pyramiding, no averaging down, no reversal: one position a symbol, and it is left alone."""
    return SKIPPED if case.symbol is None else Finding(case.symbol not in case.exposure.held, case.symbol)


def not_pending(case: Case) -> Finding:
    """An entry on the way counts as held."""
    return SKIPPED if case.symbol is None else Finding(case.symbol not in case.exposure.pending, case.symbol)


def positions_few(case: Case) -> Finding:
    """Held and pending together, this one included."""
    others = {*case.exposure.held, *case.exposure.pending} - {case.symbol}
    return at_most(len(others) + 1, case.settings.risk.positions_max)


def entries_few(case: Case) -> Finding:
    """Repeated automated execution is throttled (fault-catalogue section 5)."""
    return at_most(case.entries_today + 1, case.settings.risk.entries_per_day_max)


# --- losses --------------------------------------------------------------------------------------------------


def equity_known(case: Case) -> Finding:
    """There is an account, with something in it."""
    equity = None if case.account is None else case.account.equity_usd
    return Finding(equity is not None and equity > 0, equity, "above 0")


def daily_loss_small(case: Case) -> Finding:
    """Once the day's loss limit was reached the day is over, recovered or not."""
    threshold = case.settings.risk.daily_loss_max_pct
    if case.daily_loss_pct is None:
        return SKIPPED
    return Finding(not case.daily_loss_hit and case.daily_loss_pct < threshold, case.daily_loss_pct, threshold)


def drawdown_small(case: Case) -> Finding:
    """No increase beyond the drawdown limit."""
    threshold = case.settings.risk.drawdown_max_pct
    return (
        SKIPPED if case.drawdown_pct is None else Finding(case.drawdown_pct < threshold, case.drawdown_pct, threshold)
    )


def cooled_down(case: Case) -> Finding:
    """After a streak of losses entries rest."""
    return Finding(case.at >= case.cooldown_until, case.at, case.cooldown_until)


# --- costs ---------------------------------------------------------------------------------------------------


def funding_known(case: Case) -> Finding:
    """The funding rate is known: unknown is not zero."""
    return SKIPPED if case.mark is None else Finding(case.mark.funding_rate is not None, case.mark.funding_rate)


def funding_bearable(case: Case) -> Finding:
    """What the position would pay an hour."""
    if case.mark is None or case.mark.funding_rate is None:
        return SKIPPED
    return at_most(
        adverse_funding(case.signal.side, case.mark.funding_rate) * HUNDRED, case.settings.risk.funding_max_pct
    )


def funding_usual(case: Case) -> Finding:
    """No spike: the rate is not far above what it was in the last hours. Rates of no consequence are no spike."""
    times = case.settings.risk.funding_spike_x
    if times == 0:
        return Finding(True, None, "off")
    if case.mark is None or case.mark.funding_rate is None or case.funding_mean is None:
        return SKIPPED
    paid_pct = adverse_funding(case.signal.side, case.mark.funding_rate) * HUNDRED
    least_pct = case.settings.risk.funding_max_pct * SPIKE_LEAST_SHARE
    return at_most(paid_pct, max(times * case.funding_mean * HUNDRED, least_pct))


def spread_pct(mark: MarkPrice) -> Decimal:
    """(ask - bid) / mark in percent."""
    return (mark.ask - mark.bid) / mark.mark * HUNDRED


def spread_is_wide(mark: MarkPrice, settings: Settings) -> bool:
    """Whether the market is thin enough to trade less and to expect more slippage."""
    limit = settings.risk.spread_wide_pct
    return limit > 0 and spread_pct(mark) >= limit


def slippage(mark: MarkPrice, settings: Settings) -> Decimal:
    """Expected on a market order, as a fraction of notional, by the condition of the market."""
    risk = settings.risk
    return (risk.slippage_wide_pct if spread_is_wide(mark, settings) else risk.slippage_pct) / HUNDRED


def costs_bearable(case: Case) -> Finding:
    """Fees and slippage both ways and expected funding, measured in R (the stop distance)."""
    if case.mark is None or case.mark.funding_rate is None or case.plan is None:
        return SKIPPED
    funding = adverse_funding(case.signal.side, case.mark.funding_rate) * expected_hold_h(case)
    slips = 2 * slippage(case.mark, case.settings)
    costs = fees_round_trip(case.settings.risk.taker_fee_pct) + slips + funding
    return at_most(costs / case.stop_pct, case.settings.risk.cost_max_r)


def expected_hold_h(case: Case) -> Decimal:
    """Hours for which funding is reckoned: as long as trades last on average, or at most."""
    expected_h = case.settings.risk.expected_hold_h
    bar_h = Decimal(TIMEFRAME_MS[case.signal.timeframe] * 1000) / HOUR_US
    return min(case.max_hold_bars * bar_h, expected_h) if case.max_hold_bars else expected_h


# --- size ----------------------------------------------------------------------------------------------------


def size_tradeable(case: Case) -> Finding:
    """The size the risk allows is at least one lot."""
    if case.plan is None or case.instrument is None:
        return SKIPPED
    return Finding(case.plan.size >= case.instrument.lot, case.plan.size, case.instrument.lot)


def size_within_contract(case: Case) -> Finding:
    """A small share of what the exchange lets one account hold."""
    if case.plan is None or case.instrument is None:
        return SKIPPED
    return at_most(case.plan.size, case.instrument.max_position * MAX_POSITION_SHARE)


def notional_small(case: Case) -> Finding:
    """Maximum order value: the setting, and never more than equity (fault-catalogue section 5)."""
    if case.plan is None or case.account is None:
        return SKIPPED
    limit = min(case.settings.execution.order_notional_max_usd, case.account.equity_usd)
    return at_most(case.plan.notional_usd, limit)


def exposure_small(case: Case) -> Finding:
    """Everything held, pending and this entry against equity. The size is not cut to fit: refused."""
    if case.plan is None or case.account is None:
        return SKIPPED
    total = case.exposure.notional_usd + case.plan.notional_usd
    return at_most(total, case.settings.risk.exposure_max_x * case.account.equity_usd)


def leverage_small(case: Case) -> Finding:
    """A cap, never a target."""
    if case.plan is None or case.account is None:
        return SKIPPED
    leverage = (case.exposure.notional_usd + case.plan.notional_usd) / case.account.equity_usd
    return at_most(leverage, case.settings.risk.leverage_cap)


def margin_available(case: Case) -> Finding:
    """Initial margin and fee fit into what is free after pending entries took theirs."""
    if case.plan is None or case.account is None:
        return SKIPPED
    needed = case.plan.initial_margin_usd + case.plan.entry_fee_usd
    return at_most(needed, case.account.available_margin_usd - case.exposure.pending_margin_usd)


def liquidation_far(case: Case) -> Finding:
    """The distance to liquidation after this entry, in percent of the mark, on the conservative estimate."""
    distance = distance_after(case)
    return SKIPPED if distance is None else at_least(distance * HUNDRED, case.settings.risk.liquidation_buffer_pct)


def stop_before_liquidation(case: Case) -> Finding:
    """The stop lies between entry and liquidation with at least half the buffer to spare."""
    distance = distance_after(case)
    if distance is None:
        return SKIPPED
    return at_least((distance - case.stop_pct) * HUNDRED, case.settings.risk.liquidation_buffer_pct / 2)


def distance_after(case: Case) -> Decimal | None:
    """Distance to liquidation with this entry filled (fraction), None when it cannot be sized."""
    if case.plan is None or case.account is None:
        return None
    maintenance = (
        case.account.maintenance_margin_usd + case.exposure.pending_maintenance_usd + case.plan.maintenance_margin_usd
    )
    equity = case.account.margin_equity_usd - case.plan.entry_fee_usd
    return liquidation_distance(equity, maintenance, case.exposure.notional_usd + case.plan.notional_usd)


RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("signal.expired", alive),
    ("signal.seen", first_seen),
    ("signal.before_start", of_this_life),
    ("signal.stop_out_of_range", stop_in_range),
    ("signal.target_out_of_range", target_in_range),
    ("symbol.unknown", symbol_configured),
    ("symbol.drift", no_recent_drift),
    ("instrument.unknown", instrument_listed),
    ("instrument.inverse", instrument_linear),
    ("instrument.not_tradeable", instrument_tradeable),
    ("market.suspended", not_suspended),
    ("market.post_only", not_post_only),
    ("mark.unknown", mark_known),
    ("mark.stale", mark_fresh),
    ("spot.unknown", spot_known),
    ("spot.stale", spot_fresh),
    ("basis.skewed", basis_of_one_moment),
    ("basis.wide", basis_narrow),
    ("book.wide", spread_narrow),
    ("book.unknown", book_known),
    ("position.held", not_held),
    ("position.pending", not_pending),
    ("positions.max", positions_few),
    ("entries.max", entries_few),
    ("equity.unknown", equity_known),
    ("loss.daily", daily_loss_small),
    ("loss.drawdown", drawdown_small),
    ("loss.cooldown", cooled_down),
    ("funding.unknown", funding_known),
    ("funding.adverse", funding_bearable),
    ("funding.spike", funding_usual),
    ("cost.max", costs_bearable),
    ("size.zero", size_tradeable),
    ("size.max", size_within_contract),
    ("notional.max", notional_small),
    ("exposure.max", exposure_small),
    ("leverage.max", leverage_small),
    ("margin.insufficient", margin_available),
    ("liquidation.near", liquidation_far),
    ("liquidation.stop_beyond", stop_before_liquidation),
)
"""Reason code when the rule fails, and the rule. All are judged, in this order; the first failing code leads the reasons."""


def judge(case: Case) -> tuple[tuple[str, Finding], ...]:
    """Every rule's finding, in table order."""
    return tuple((code, rule(case)) for code, rule in RULES)
