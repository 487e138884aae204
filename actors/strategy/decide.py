"""Candles in, signals out: the pure heart of the strategy actor (smc-spec sections 3 to 5).

It sees spot candles only and never learns of positions. `message.at` is the only now, and it decides one thing alone:
whether a signal is still worth sending. All else follows from the candles, so that a replay gives the same decisions.

The state holds numpy arrays and is changed in place: the documented exception to frozen states, for speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from actors.strategy import kernel as k
from actors.strategy.market import BASE, Market, Track
from actors.strategy.names import number
from actors.strategy.rules import View, combined_side, first_failure, judge
from actors.strategy.series import Candle, CandleRefused, Series
from actors.strategy.snapshot import signal_id, take_snapshot
from config.strategy import RULE_VERSION, StrategyParams, params_hash
from protocol.messages.base import Message, follow
from protocol.messages.control import Alert
from protocol.messages.signal import Held, Signal, StructureRead
from protocol.messages.spot import CandleClosed
from protocol.units import TIMEFRAME_MS, close_time_us

NOTHING: Final[tuple[Message, ...]] = ()
LOST: Final = "arbitration.lower_precedence"
EXPIRED: Final = "signal.expired"
STICKY: Final = frozenset({"data.revised"})  # stays until an operator has looked


@dataclass
class State:
    """Markets by spot symbol under one set of parameters."""

    params: StrategyParams
    params_hash: str
    markets: dict[str, Market] = field(default_factory=dict)


def initial(params: StrategyParams, symbols: Sequence[str]) -> State:
    """The state before the first candle. `symbols` are spot symbols as in `BTC/USD`; candles of others are ignored."""
    return State(params, params_hash(params), {symbol: Market(symbol, params) for symbol in symbols})


def step(state: State, message: Message) -> tuple[State, Sequence[Message]]:
    """Take one message. Only CandleClosed says anything to the strategy."""
    if not isinstance(message, CandleClosed) or message.symbol not in state.markets:
        return state, NOTHING
    market, answers = absorb(state, message)
    if market is not None:
        answers += _decided(state, market, message)
    return state, answers


def absorb(state: State, message: CandleClosed) -> tuple[Market | None, list[Message]]:
    """Take a candle into its market; returns the market if there is something new to decide on, and what to say about it.

    A seed, a repetition and a refused candle leave nothing to decide.
    """
    candle = Candle(message.open_time_ms, message.open, message.high, message.low, message.close, message.volume)
    if message.at < close_time_us(message.open_time_ms, message.timeframe):
        return None, _refused(state, message, "data.not_closed")
    market = state.markets[message.symbol]
    if message.timeframe != BASE:
        market.seed(message.timeframe, candle)
        return None, []
    if state.params.gap_policy == "reset" and 0 < market.base.close_time_ms < candle.open_time_ms:
        market = state.markets[message.symbol] = Market(message.symbol, state.params, market.data_epoch + 1)
    try:
        is_new = market.take(candle, message.synthetic)
    except CandleRefused as refused:
        if market.fault not in STICKY:
            market.fault = refused.code
        return None, _refused(state, message, refused.code)
    if not is_new:
        return None, []
    if market.fault not in STICKY:
        market.fault = None
    return market, [
        follow(message, Alert, text, code="data.gap", severity="warning", text=f"{market.symbol} {text}")
        for text in market.left_out
    ]


def _refused(state: State, message: CandleClosed, code: str) -> list[Message]:
    """Rule A1 for the execution candles that would have ended with the refused one."""
    close_ms = message.open_time_ms + TIMEFRAME_MS[message.timeframe]
    return [
        follow(
            message,
            Held,
            tf,
            symbol=message.symbol,
            timeframe=tf,
            candle_time_ms=close_ms - TIMEFRAME_MS[tf],
            reason=code,
        )
        for tf in state.params.exec_tfs
        if message.timeframe == BASE and close_ms % TIMEFRAME_MS[tf] == 0
    ]


def resolve(params: StrategyParams, market: Market) -> list[tuple[View, str | None]]:
    """The execution candles that closed with the newest base candle, each with the reason to hold or None for a signal.

    At most one of them is a signal: the first by `exec_precedence`.
    """
    at_ms = market.base.close_time_ms
    closing = [(tf, track) for tf, track in market.tracks.items() if track.series.close_time_ms == at_ms]
    if not closing:
        return []
    readings = market.readings(at_ms)
    side = combined_side(params, readings)
    views = [
        View(
            params=params,
            timeframe=tf,
            series=track.series,
            readings=readings,
            side=side,
            bias_series=market.bias,
            data_fault=_fault(market, track),
            today=track.today,
            last_signal_bar=track.last_signal_bar,
            used_zones=track.used_zones,
        )
        for tf, track in closing
    ]
    verdicts = [(view, first_failure(view)) for view in views]
    standing = [view.timeframe for view, reason in verdicts if reason is None]
    if len(standing) > 1:
        winner = min(standing, key=params.exec_precedence.index)
        return [(v, LOST if reason is None and v.timeframe != winner else reason) for v, reason in verdicts]
    return verdicts


def _decided(state: State, market: Market, message: CandleClosed) -> list[Message]:
    """What the execution candles that closed with this base candle mean, then what was decided on them."""
    verdicts = resolve(state.params, market)
    answers: list[Message] = [read_structure(market, message, view) for view, _ in verdicts]
    for view, reason in verdicts:
        if reason is None:
            answers.append(enter_or_expire(state, market, message, view))
        else:
            answers.append(_held(message, view, reason))
    return answers


def _fault(market: Market, track: Track) -> str | None:
    if market.fault is not None:
        return market.fault
    if market.mismatched:
        return "data.htf_mismatch"
    return "data.gap" if track.is_synthetic else None


def _held(message: CandleClosed, view: View, reason: str) -> Held:
    return follow(
        message,
        Held,
        view.timeframe,
        symbol=message.symbol,
        timeframe=view.timeframe,
        candle_time_ms=view.candle.open_time_ms,
        reason=reason,
    )


def enter_or_expire(state: State, market: Market, message: CandleClosed, view: View) -> Message:
    """A decision for entry: it stands and uses up its zone whether or not it is sent in time."""
    params, candle, zone, stop, target = state.params, view.candle, view.zone, view.stop.price, view.take_profit
    assert zone is not None
    assert stop is not None
    assert target is not None
    length_ms = TIMEFRAME_MS[view.timeframe]
    valid_until_ms = view.close_time_ms + params.signal_ttl_bars * length_ms
    longest_life = max(params.ob_max_age, params.fvg_max_age)
    if message.at >= valid_until_ms * 1000:
        market.tracks[view.timeframe].use(zone.members, longest_life)
        return _held(message, view, EXPIRED)
    snapshot = take_snapshot(
        view,
        symbol=market.symbol,
        results=judge(view),
        params_hash=state.params_hash,
        data_epoch=market.data_epoch,
        valid_until_ms=valid_until_ms,
    )
    market.tracks[view.timeframe].use(zone.members, longest_life)
    return Signal(
        id=signal_id(market.symbol, view.timeframe, candle.open_time_ms, state.params_hash),
        cause=message.id,
        at=message.at,
        symbol=market.symbol,
        timeframe=view.timeframe,
        side="long" if view.side > 0 else "short",
        candle_time_ms=candle.open_time_ms,
        entry=candle.close,
        stop=stop,
        take_profit=target,
        stop_pct=abs(candle.close - stop) / candle.close,
        take_profit_pct=abs(target - candle.close) / candle.close,
        zone_id=zone.id,
        reason="signal.long" if view.side > 0 else "signal.short",
        valid_until=valid_until_ms * 1000,
        rule_version=RULE_VERSION,
        params_hash=state.params_hash,
        snapshot=snapshot,
    )


def read_structure(market: Market, message: CandleClosed, view: View) -> StructureRead:
    """What this bar says to whoever holds a position (section 5)."""
    series, candle = view.series, view.candle
    buffer = view.params.sl_buffer_atr * view.atr
    four_hours = market.bias["4h"]
    is_new = series.close_time_ms - series.tf_ms < four_hours.close_time_ms <= series.close_time_ms
    return follow(
        message,
        StructureRead,
        view.timeframe,
        symbol=market.symbol,
        timeframe=view.timeframe,
        candle_time_ms=candle.open_time_ms,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        atr=number(view.atr),
        choch=choch_at(series, view.bar),
        choch_4h=choch_at(four_hours, four_hours.bars - 1) if is_new else 0,
        bias=view.side,
        trail_long=number(series.f[k.SWING_LEVEL + 1] - buffer),
        trail_short=number(series.f[k.SWING_LEVEL] + buffer),
    )


def choch_at(series: Series, bar: int) -> int:
    """Direction of the change of character known at `bar`, 0 if there was none."""
    i = series.i
    if bar < 0:
        return 0
    return 1 if i[k.CHOCH_BAR] == bar else (-1 if i[k.CHOCH_BAR + 1] == bar else 0)
