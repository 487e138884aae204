"""The entry rules of smc-spec section 4 as one table, evaluated lazily in order.

`judge` runs the table over a `View` of one closed execution candle. Stopped at the first failure it gives the reason of a hold
at next to no cost; run completely it gives the full record. Knows no message, no position and nothing beyond the view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

import msgspec

from actors.strategy import kernel as k
from actors.strategy.names import fvg_id, number, ob_id, pool_id
from actors.strategy.series import Candle, Series
from config.strategy import BiasTimeframe, ExecTimeframe, StrategyParams

DAY_MS: Final = 86_400_000
SKIPPED: Final = "skipped"
ZoneKind = Literal["pair", "ob", "fvg"]
TIMEFRAME_RANK: Final[Mapping[str, int]] = {"15m": 0, "1h": 1, "4h": 2, "1d": 3}
SIDE_NAME: Final[Mapping[int, str]] = {1: "bullish", -1: "bearish", 0: "neutral"}


class Result(msgspec.Struct, frozen=True):
    """One rule's answer. `passed` None: not evaluated, because something it needs is not there."""

    code: str
    passed: bool | None
    value: float | int | str | None = None
    threshold: float | int | str | None = None


class Zone(msgspec.Struct, frozen=True):
    """A usable entry zone; a pair is the intersection of an order block and a gap."""

    kind: ZoneKind
    id: str
    members: tuple[str, ...]
    top: float
    bottom: float
    extreme: float | None  # origin of the block's impulse
    known: int  # bar


class Target(msgspec.Struct, frozen=True):
    """A level that price may be drawn to. `members` 0: the previous day's extreme."""

    level: float
    members: int
    timeframe: str
    open_time_ms: int
    id: str


class Stop(NamedTuple):
    """`price` None: there is no stop on the right side of entry."""

    price: float | None
    moved_to_min: bool


class Reading(NamedTuple):
    """What one bias series says at a decision's time."""

    timeframe: BiasTimeframe
    bars: int
    is_fresh: bool
    side: int  # of its newest closed candle, by bias_mode


class Extremes(NamedTuple):
    """High and low of the execution bars that opened on one UTC day."""

    day: int
    high: float
    low: float


@dataclass
class View:
    """All that a decision may look at: the execution series after its bar i, bias as of its close, and this series' memory."""

    params: StrategyParams
    timeframe: ExecTimeframe
    series: Series
    readings: tuple[Reading, ...]
    side: int  # combined side of the bias, 0 when neutral or stale
    bias_series: Mapping[BiasTimeframe, Series]
    data_fault: str | None
    today: Extremes | None
    last_signal_bar: int | None
    used_zones: Mapping[str, int]

    def __post_init__(self) -> None:
        series = self.series
        self.bar = series.bars - 1  # index of the newest candle since the anchor
        self.candle = series.candle()
        self.close_time_ms = series.close_time_ms  # the decision's time T
        self.atr = series.f[k.ATR]  # NaN before it exists

    @cached_property
    def zone(self) -> Zone | None:
        """The chosen entry zone of the combined side."""
        return choose_zone(self, self.side)

    @cached_property
    def stop(self) -> Stop:
        """Where the idea is wrong. Needs a zone."""
        assert self.zone is not None
        return place_stop(self, self.zone)

    @cached_property
    def targets(self) -> list[Target]:
        """Candidates beyond entry, best first."""
        return rank_targets(self, self.side)

    @cached_property
    def take_profit(self) -> float | None:
        """The price to take profit at: before the nearest level, or a multiple of the risk."""
        entry, d = self.candle.close, self.side
        if self.targets:
            price = self.targets[0].level - d * self.params.tp_offset_atr * self.atr
        else:
            stop = self.stop.price if self.zone is not None else None
            if stop is None or self.params.tp_fallback_r == 0:
                return None
            price = entry + self.params.tp_fallback_r * (entry - stop)
        return price if price > 0 else None


# --- bias (section 3) ------------------------------------------------------------------------------------------------


def series_side(params: StrategyParams, series: Series) -> int:
    """Side of a bias series at its newest closed candle: +1, -1, or 0."""
    f = series.f
    close, ema, band = series.candle().close, f[k.EMA], params.bias_ema_band_atr * f[k.ATR]
    by_ema = 1 if close > ema + band else (-1 if close < ema - band else 0)
    by_structure = series.i[k.TREND]
    match params.bias_mode:
        case "ema":
            return by_ema
        case "structure":
            return by_structure
        case "both":
            return by_ema if by_ema == by_structure else 0


def combined_side(params: StrategyParams, readings: tuple[Reading, ...]) -> int:
    """One side from all bias series; 0 when any of them is stale."""
    if not all(reading.is_fresh for reading in readings):
        return 0
    primary, others = readings[0].side, [reading.side for reading in readings[1:]]
    match params.bias_combine:
        case "primary_only":
            agreed = True
        case "primary_not_opposed":
            agreed = all(side != -primary for side in others)
        case "all":
            agreed = all(side == primary for side in others)
    return primary if agreed else 0


# --- zones (C) -------------------------------------------------------------------------------------------------------


def choose_zone(view: View, d: int) -> Zone | None:
    """The zone this bar is about: touched ones first, then by kind, nearness, youth and name."""
    p, a = view.params, view.series.arrays
    block_row, gap_row = view.series.choose_zone(d, "ob" in p.entry_zones, "fvg" in p.entry_zones, p.require_confluence)
    block = _zone_at("ob", d, a.ob_i, a.ob_f, block_row) if block_row != k.NO_ROW else None
    gap = _zone_at("fvg", d, a.fvg_i, a.fvg_f, gap_row) if gap_row != k.NO_ROW else None
    if block is None or gap is None:
        return block or gap
    return Zone(
        "pair",
        f"{block.id}+{gap.id}",
        (block.id, gap.id),
        min(block.top, gap.top),
        max(block.bottom, gap.bottom),
        block.extreme,
        max(block.known, gap.known),
    )


def _zone_at(kind: Literal["ob", "fvg"], d: int, table_i: k.Ints, table_f: k.Floats, row: int) -> Zone:
    named, known = int(table_i[row, k.ID_TIME]), int(table_i[row, k.BORN])
    top, bottom, extreme, _ = table_f[row].tolist()
    name = ob_id(d, named) if kind == "ob" else fvg_id(d, named)
    return Zone(kind, name, (name,), top, bottom, number(extreme), known)


def _is_touched(zone: Zone, candle: Candle, d: int) -> bool:
    return candle.low <= zone.top if d > 0 else candle.high >= zone.bottom


# --- stop and target (E) -----------------------------------------------------------------------------------------------


def place_stop(view: View, zone: Zone) -> Stop:
    """Beyond the zone and its impulse, at least the minimum distance from entry."""
    p, d, entry, atr = view.params, view.side, view.candle.close, view.atr
    wrong = zone.bottom if d > 0 else zone.top
    if zone.extreme is not None:
        wrong = min(wrong, zone.extreme) if d > 0 else max(wrong, zone.extreme)
    price = wrong - d * (p.sl_buffer_atr * atr)
    moved = d * (entry - price) < p.sl_min_atr * atr
    if moved:
        price = entry - d * (p.sl_min_atr * atr)
    if not d * price < d * entry or not price > 0:
        return Stop(None, moved)
    return Stop(price, moved)


def rank_targets(view: View, d: int) -> list[Target]:
    """Levels beyond entry that liquidity rests at, nearest first; ties by strength, timeframe, age."""
    p = view.params
    least = d * view.candle.close + p.tp_min_atr * view.atr
    beyond = _pool_targets(view.series, view.timeframe, d, p.tp_min_count, least)
    for timeframe in p.bias_tfs:
        beyond += _pool_targets(view.bias_series[timeframe], timeframe, d, p.tp_min_count, least)
    beyond += [target for target in _previous_day(view, d) if d * target.level > least]
    beyond.sort(key=lambda t: (d * t.level, -t.members, -TIMEFRAME_RANK[t.timeframe], t.open_time_ms))
    return beyond


def _pool_targets(series: Series, timeframe: str, d: int, least_count: int, least: float) -> list[Target]:
    """Pools of a side, of enough members, whose level lies beyond `least` (d times a price)."""
    a, count = series.arrays, series.i[k.POOL_COUNT]
    return [
        Target(level, whole[k.COUNT], timeframe, whole[k.ID_TIME], pool_id(d, whole[k.ID_TIME]))
        for whole, level in zip(a.pool_i[:count].tolist(), a.pool_f[:count, k.LEVEL].tolist(), strict=True)
        if whole[k.DIR] == d and whole[k.COUNT] >= least_count and d * level > least
    ]


def _previous_day(view: View, d: int) -> list[Target]:
    """The extreme of the UTC day that ended last, unless an execution bar has traded beyond it since."""
    day_end = view.close_time_ms // DAY_MS * DAY_MS
    daily = view.bias_series.get("1d")
    if not view.params.tp_use_prev_day or daily is None or daily.close_time_ms != day_end:
        return []
    candle = daily.candle()
    level = candle.high if d > 0 else candle.low
    if view.today is not None and view.today.day == day_end // DAY_MS:
        reached = view.today.high if d > 0 else view.today.low
        if d * reached > d * level:
            return []
    return [Target(level, 0, "1d", candle.open_time_ms, f"day.{'h' if d > 0 else 'l'}.{candle.open_time_ms}")]


# --- the rules, in order -----------------------------------------------------------------------------------------------


def _data(v: View) -> Iterator[Result]:
    yield Result(v.data_fault or "data.ok", v.data_fault is None)


def _warmup(v: View) -> Iterator[Result]:
    p = v.params
    if v.series.bars < p.warmup_bars_exec:
        yield Result("warmup.exec", False, v.series.bars, p.warmup_bars_exec)
        return
    for reading in v.readings:
        needed = p.warmup_bars_4h if reading.timeframe == "4h" else p.warmup_bars_1d
        if reading.bars < needed:
            yield Result(f"warmup.{reading.timeframe}", False, reading.bars, needed)
            return
    yield Result("warmup.ok", True, v.series.bars, p.warmup_bars_exec)


def _bias(v: View) -> Iterator[Result]:
    stale = next((reading for reading in v.readings if not reading.is_fresh), None)
    if stale is not None:
        yield Result(f"bias.{stale.timeframe}.stale", False)
        return
    primary = v.readings[0]
    for reading in v.readings:
        code = f"bias.{reading.timeframe}.{SIDE_NAME[reading.side]}"
        judged = v.params.bias_combine != "primary_only"
        if reading is primary:
            passed = reading.side != 0
        elif judged and reading.side == -primary.side:
            code, passed = f"bias.{reading.timeframe}.opposed", False
        else:
            passed = reading.side != 0 or v.params.bias_combine != "all"
        yield Result(code, passed, reading.side)
        if not passed:
            return


def _combined(v: View) -> Iterator[Result]:
    yield Result("bias.combined.long" if v.side > 0 else "bias.combined.short", v.side != 0, v.side)


def _structure(v: View) -> Iterator[Result]:
    trend = v.series.i[k.TREND]
    code = {v.side: "structure.aligned", 0: "structure.none"}.get(trend, "structure.opposed")
    yield Result(code, trend == v.side, trend, v.side)


def _setup(v: View) -> Iterator[Result]:
    i, side = v.series.i, 0 if v.side > 0 else 1
    broken = i[k.BREAK_BAR + side]
    age = v.bar - broken if broken >= 0 else None
    if age is None or age > v.params.setup_max_age:
        yield Result("structure.too_old", False, age, v.params.setup_max_age)
    else:
        code = "structure.choch" if i[k.BREAK_IS_CHOCH + side] else "structure.bos"
        yield Result(code, True, age, v.params.setup_max_age)


ZONE_CODE: Final = {"ob": "ob.unmitigated", "fvg": "fvg.unmitigated", "pair": "zone.confluence"}
RETEST_CODE: Final = {"ob": "ob.retest", "fvg": "fvg.retest", "pair": "ob.retest"}


def _zone(v: View) -> Iterator[Result]:
    if v.zone is None:
        yield Result("zone.none", False)
    else:
        yield Result(ZONE_CODE[v.zone.kind], True, v.zone.id)


def _retest(v: View) -> Iterator[Result]:
    if v.zone is None:
        yield Result(SKIPPED, None)
        return
    touched = _is_touched(v.zone, v.candle, v.side)
    probe, near = (v.candle.low, v.zone.top) if v.side > 0 else (v.candle.high, v.zone.bottom)
    yield Result(RETEST_CODE[v.zone.kind] if touched else "zone.no_retest", touched, probe, near)


def _rejection(v: View) -> Iterator[Result]:
    if v.zone is None:
        yield Result(SKIPPED, None)
        return
    d, c = v.side, v.candle
    far = v.zone.bottom if d > 0 else v.zone.top
    if v.params.confirm_mode == "touch":
        threshold, passed = far, d * c.close >= d * far
    else:
        threshold = (v.zone.top + v.zone.bottom) / 2.0
        passed = d * c.close > d * c.open and d * c.close >= d * threshold
    yield Result("zone.rejection" if passed else "zone.no_rejection", passed, c.close, threshold)


def _fresh(v: View) -> Iterator[Result]:
    if v.zone is None:
        yield Result(SKIPPED, None)
        return
    used = next((member for member in v.zone.members if member in v.used_zones), None)
    yield Result("zone.fresh" if used is None else "zone.already_used", used is None, used)


def _discount(v: View) -> Iterator[Result]:
    if not v.params.pd_filter:
        yield Result("pd.off", True)
        return
    pos, band = number(v.series.f[k.RANGE_POS]), v.params.pd_band
    if pos is None:
        yield Result("pd.undefined", False)
        return
    inside = (pos <= 0.5 - band, pos >= 0.5 + band)
    right, wrong = inside if v.side > 0 else inside[::-1]
    code = "pd.ok" if right else ("pd.wrong_half" if wrong else "pd.equilibrium")
    yield Result(code, right, pos, 0.5 - v.side * band)


def _strength(v: View) -> Iterator[Result]:
    f, p = v.series.f, v.params
    adx, plus, minus = number(f[k.ADX]), f[k.PLUS_DI], f[k.MINUS_DI]
    if adx is None or not adx >= p.adx_min:
        yield Result("adx.below_threshold", False, adx, p.adx_min)
    elif p.adx_di_align and not v.side * plus > v.side * minus:
        yield Result("adx.di_opposed", False, number(plus), number(minus))
    else:
        yield Result("adx.ok", True, adx, p.adx_min)


def _volatility(v: View) -> Iterator[Result]:
    p, share = v.params, v.atr / v.candle.close
    passed = p.atr_pct_min <= share <= p.atr_pct_max
    threshold = p.atr_pct_min if share < p.atr_pct_min else p.atr_pct_max
    yield Result("atr.ok" if passed else "atr.out_of_range", passed, number(share), threshold)


def _age(v: View, column: int, d: int) -> int | None:
    """Bars since the last event of direction `d`, None if there was none."""
    bar = v.series.i[column + (0 if d > 0 else 1)]
    return v.bar - bar if bar >= 0 else None


def _divergence(v: View) -> Iterator[Result]:
    p = v.params
    match p.rsi_div_mode:
        case "off":
            yield Result("rsi.off", True)
        case "require":
            age = _age(v, k.DIV_BAR, v.side)
            passed = age is not None and age <= p.div_valid_bars
            yield Result("rsi.divergence" if passed else "rsi.no_divergence", passed, age, p.div_valid_bars)
        case "veto":
            age = _age(v, k.DIV_BAR, -v.side)
            passed = age is None or age > p.div_valid_bars
            yield Result("rsi.not_opposed" if passed else "rsi.divergence_opposed", passed, age, p.div_valid_bars)


def _sweep(v: View) -> Iterator[Result]:
    if not v.params.require_sweep:
        yield Result("liq.off", True)
        return
    age = _age(v, k.SWEPT_BAR, -v.side)  # a long wants the lows swept
    passed = age is not None and age <= v.params.sweep_valid_bars
    yield Result("liq.swept" if passed else "liq.no_sweep", passed, age, v.params.sweep_valid_bars)


def _stop(v: View) -> Iterator[Result]:
    if v.zone is None:
        yield Result(SKIPPED, None)
        return
    price, entry, most = v.stop.price, v.candle.close, v.params.sl_pct_max
    if price is None:
        yield Result("stop.wrong_side", False, None, entry)
        return
    share = abs(entry - price) / entry
    if share > most:
        yield Result("stop.too_wide", False, share, most)
    else:
        yield Result("stop.moved_to_min" if v.stop.moved_to_min else "stop.ok", True, share, most)


def _target(v: View) -> Iterator[Result]:
    if v.targets:
        first = v.targets[0]
        code = "target.liquidity" if first.members else "target.prev_day"
        has_price = v.take_profit is not None
        yield Result(code if has_price else "target.none", has_price, first.level)
        return
    no_stop = v.zone is None or v.stop.price is None
    passed = v.params.tp_fallback_r > 0 and (no_stop or v.take_profit is not None)
    yield Result("target.fallback_r" if passed else "target.none", passed, v.take_profit if passed else None)


def _reward(v: View) -> Iterator[Result]:
    stop = v.stop.price if v.zone is not None else None
    if stop is None or v.take_profit is None:
        yield Result(SKIPPED, None)
        return
    entry = v.candle.close
    ratio = (v.take_profit - entry) / (entry - stop)
    passed = ratio >= v.params.rr_min
    yield Result("rr.ok" if passed else "rr.too_low", passed, ratio, v.params.rr_min)


def _cooldown(v: View) -> Iterator[Result]:
    since = None if v.last_signal_bar is None else v.bar - v.last_signal_bar
    passed = since is None or since >= v.params.cooldown_bars
    yield Result("cooldown.ok" if passed else "cooldown.active", passed, since, v.params.cooldown_bars)


Rule = Callable[[View], Iterator[Result]]

RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("A1", _data),
    ("A2", _warmup),
    ("A3", _bias),
    ("A4", _combined),
    ("B1", _structure),
    ("B2", _setup),
    ("C1", _zone),
    ("C2", _retest),
    ("C3", _rejection),
    ("C4", _fresh),
    ("D1", _discount),
    ("D2", _strength),
    ("D3", _volatility),
    ("D4", _divergence),
    ("D5", _sweep),
    ("E1", _stop),
    ("E2", _target),
    ("E3", _reward),
    ("F1", _cooldown),
)


PLACE: Final = {name: place for place, (name, _) in enumerate(RULES)}


def first_failure(view: View, since: str = "A1") -> str | None:
    """Code of the first rule that fails, None if all pass. Evaluates nothing after it, and nothing before `since`."""
    for _, rule in RULES[PLACE[since] :]:
        for result in rule(view):
            if result.passed is False:
                return result.code
    return None


def judge(view: View) -> list[tuple[str, Result]]:
    """All rules with their names: stage A up to its first failure (then the rest are skipped), B to F completely."""
    results: list[tuple[str, Result]] = []
    ended = False
    for name, rule in RULES:
        if ended:
            results.append((name, Result(SKIPPED, None)))
            continue
        for result in rule(view):
            results.append((name, result))
            ended = ended or (result.passed is False and name.startswith("A"))
    return results
