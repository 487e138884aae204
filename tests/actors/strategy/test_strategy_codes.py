"""Every reason code of smc-spec 4 and 5 can come about, and the engine says no other."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from actors.strategy import decide, rules, series
from actors.strategy.decide import State, absorb, enter_or_expire, initial, resolve, step
from actors.strategy.exits import ExitCode, Trade, follow_bar
from actors.strategy.rules import judge
from actors.strategy.series import Candles
from config.strategy import StrategyParams
from protocol.messages.base import from_edge
from protocol.messages.signal import Held, Signal, StructureRead
from protocol.messages.spot import CandleClosed
from tests.actors.strategy.strategy_candles import QUICK, START_MS, messages, native, part, walk

SYMBOL = "BTC/USD"
DAY = 96

DATA = "data.ok data.malformed data.not_closed data.gap data.revised data.htf_mismatch"
WARMUP = "warmup.ok warmup.exec warmup.4h warmup.1d"
BIAS = (
    "bias.4h.bullish bias.4h.bearish bias.4h.neutral bias.4h.stale bias.1d.bullish bias.1d.bearish bias.1d.neutral "
    "bias.1d.opposed bias.1d.stale bias.combined.long bias.combined.short"
)
STRUCTURE = "structure.aligned structure.opposed structure.none structure.bos structure.choch structure.too_old"
ZONE = (
    "ob.unmitigated fvg.unmitigated zone.confluence zone.none ob.retest fvg.retest zone.no_retest zone.rejection "
    "zone.no_rejection zone.fresh zone.already_used"
)
FILTERS = (
    "pd.ok pd.off pd.wrong_half pd.equilibrium pd.undefined adx.ok adx.below_threshold adx.di_opposed atr.ok "
    "atr.out_of_range rsi.off rsi.divergence rsi.not_opposed rsi.no_divergence rsi.divergence_opposed liq.off liq.swept "
    "liq.no_sweep"
)
ORDER = (
    "stop.ok stop.moved_to_min stop.wrong_side stop.too_wide target.liquidity target.prev_day target.fallback_r target.none "
    "rr.ok rr.too_low cooldown.ok cooldown.active"
)
ENDS = "signal.long signal.short arbitration.lower_precedence"
OURS = "skipped signal.expired"  # the null result, and a signal that is told too late to be sent
CODES = " ".join((DATA, WARMUP, BIAS, STRUCTURE, ZONE, FILTERS, ORDER, ENDS, OURS)).split()
# A candle that does not come at all is no message: risk answers for it (`spot.stale`), not the strategy.
ELSEWHERE = {"data.stale"}

# Settings that between them reach every code on two seeded markets.
SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "all agree": {"bias_combine": "all", "bias_mode": "ema", "bias_ema_band_atr": 1.0, "cooldown_bars": 40},
    "primary alone": {"bias_combine": "primary_only", "confirm_mode": "touch", "setup_max_age": 3},
    "half": {"pd_filter": True, "pd_band": 0.1, "adx_di_align": True, "adx_min": 0.0, "sl_min_atr": 0.0},
    "divergence": {"rsi_div_mode": "require", "require_sweep": True, "tp_min_count": 5, "tp_fallback_r": 0.0},
    "no divergence": {"rsi_div_mode": "veto", "atr_pct_max": 0.002, "sl_pct_max": 0.002, "tp_min_count": 5},
    "pairs": {"require_confluence": True, "ob_mitigation": "none", "tp_min_count": 5, "tp_min_atr": 0.0, "rr_min": 5.0},
    "no zones": {"ob_max_height_atr": 0.1, "entry_zones": ("ob",), "adx_min": 60.0},
    "loose": {
        "bias_mode": "ema",
        "confirm_mode": "touch",
        "cooldown_bars": 0,
        "adx_min": 0.0,
        "rr_min": 0.5,
        "setup_max_age": 500,
        "fvg_mitigation": "close_through",
        "ob_mitigation": "none",
        "sl_min_atr": 0.0,
        "sl_buffer_atr": 0.0,
    },
    "no swings": {
        "exec_tfs": ("1h",),
        "bias_mode": "ema",
        "ema_period": 2,
        "warmup_bars_4h": 4,
        "warmup_bars_1d": 4,
        "swing_left": 50,
        "swing_right": 50,
        "pd_filter": True,
    },
}


def told(state: State, message: CandleClosed) -> Iterator[str]:
    """All codes of all rules on one candle, and what was decided."""
    market, answers = absorb(state, message)
    yield from (answer.reason for answer in answers if isinstance(answer, Held))
    if market is None:
        return
    for view, reason in resolve(state.params, market):
        yield from (result.code for _, result in judge(view))
        if reason is not None:
            yield reason
        else:
            answer = enter_or_expire(state, market, message, view)
            assert isinstance(answer, Signal | Held)
            yield answer.reason


def played(params: StrategyParams, candles: Candles) -> set[str]:
    state = initial(params, [SYMBOL])
    return {code for message in messages(candles) if isinstance(message, CandleClosed) for code in told(state, message)}


@pytest.fixture(scope="module")
def seen() -> set[str]:
    """Codes of ordinary markets under all settings, and of feeds at fault."""
    found = at_fault()
    for changes in SETTINGS.values():
        found |= played(QUICK.model_copy(update=changes), walk(21, 24 * DAY, start=4000.0, tick=8.0))
    return found


def at_fault() -> set[str]:
    """One healthy life cut short in every way a feed can fail."""
    inputs = [m for m in messages(walk(21, 20 * DAY, start=4000.0)) if isinstance(m, CandleClosed)]
    last = inputs[-1]
    found: set[str] = set()
    four_hours = msgspec.structs.replace(
        last, timeframe="4h", open_time_ms=START_MS + 16 * 900_000, at=last.at, open=1.0, high=1.0, low=1.0, close=1.0
    )
    for wrong, then in (
        (msgspec.structs.replace(last, close=float("nan")), ()),
        (msgspec.structs.replace(last, at=0), ()),
        (msgspec.structs.replace(inputs[-2], volume=1e9), ()),
        (msgspec.structs.replace(last, open_time_ms=last.open_time_ms + 900_000, at=last.at + 900_000_000), ()),
        (
            msgspec.structs.replace(four_hours, open_time_ms=inputs[-1 - 32].open_time_ms // 14_400_000 * 14_400_000),
            (last,),
        ),
        (msgspec.structs.replace(last, at=last.at + 10**13), ()),
    ):
        state = initial(QUICK, [SYMBOL])
        for message in inputs[:-1]:
            step(state, message)
        for message in (wrong, *then):
            found |= set(told(state, message))
    late = initial(QUICK, [SYMBOL])
    for message in inputs:
        found |= set(told(late, msgspec.structs.replace(message, at=last.at + 10**13)))
    candles = walk(21, 22 * DAY, start=4000.0)
    begins_inside = initial(QUICK, [SYMBOL])  # the longer candles of its first day are known before they have closed
    for timeframe, length in (("1h", 4), ("4h", 16), ("1d", DAY)):
        for seed in native(candles, timeframe, length, 10**18):  # type: ignore[arg-type]
            step(begins_inside, seed)
    for message in messages(part(candles, 20 * DAY + 8, 22 * DAY)):
        assert isinstance(message, CandleClosed)
        found |= set(told(begins_inside, message))
    return found


@pytest.mark.parametrize("code", CODES)
def test_the_code_comes_about(code: str, seen: set[str]) -> None:
    """Some candle of some market under some setting is answered with it."""
    assert code in seen


def test_no_other_code_is_said(seen: set[str]) -> None:
    """What is said is in the specification's table, or noted here as ours."""
    assert seen <= {*CODES}
    written = "".join(inspect.getsource(module) for module in (rules, decide, series))
    literal = set(
        re.findall(
            r'"((?:data|structure|ob|fvg|zone|pd|adx|atr|rsi|liq|stop|target|rr|cooldown)\.[a-z_0-9]+)"', written
        )
    )
    assert literal <= {*CODES}
    assert not ELSEWHERE & (literal | seen)


READ = from_edge(
    StructureRead,
    0,
    symbol=SYMBOL,
    timeframe="1h",
    candle_time_ms=3_600_000,
    high=101.0,
    low=99.0,
    close=100.0,
    atr=2.0,
    choch=0,
    choch_4h=0,
    bias=0,
    trail_long=None,
    trail_short=None,
)
LONG = Trade(id="s", direction=1, entry=100.0, initial_stop=90.0, stop=90.0, target=130.0, best_close=100.0)
EXITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "exit.stop": ({"low": 90.0}, {}),
    "exit.target": ({"high": 130.0}, {}),
    "exit.choch": ({"choch_4h": -1}, {}),
    "exit.bias": ({"bias": -1}, {"exit_on_bias": True}),
    "exit.time": ({}, {"max_hold_bars": 1}),
}


@pytest.mark.parametrize("code", get_args(ExitCode))
def test_the_exit_code_comes_about(code: str) -> None:
    """Each exit of section 5 ends a trade that its own reading alone would end."""
    readings, changes = EXITS[code]
    _, out = follow_bar(LONG, msgspec.structs.replace(READ, **readings), 100.0, StrategyParams(**changes))
    assert out is not None
    assert out.code == code
