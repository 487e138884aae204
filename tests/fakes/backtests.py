"""A small backtest with many trades on both symbols of the synthetic market, run once for all tests that look at results."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from actors.modes.backtest import by_loop, for_history
from config.load import load
from config.settings import Settings
from sim.loop import Result
from sim.market.files import parse_moment
from sim.market.tape import Tape

BUSY: dict[str, Any] = {
    "strategy": {
        "preset": "classic",
        "pd_filter": False,
        "adx_min": 0,
        "max_hold_bars": 12,
        "cooldown_bars": 0,
        "rr_min": 0.5,
        "bias_combine": "primary_only",
    },
    "risk": {"cost_max_r": 3, "cooldown_h": 0, "entries_per_day_max": 50, "loss_streak_max": 50},
    "market": {"tick_s": 5},
}
"""Settings that trade several times a day, so that no ratio is missing."""
DAYS = 21


DATA = Path(__file__).parents[2].parent / "shared" / "data"
REAL: dict[str, Any] = {"strategy": {"preset": "classic"}, "risk": {"cost_max_r": 2}}


class Ran(NamedTuple):
    """A finished backtest."""

    settings: Settings
    tape: Tape
    result: Result


@cache
def busy_backtest() -> Ran:
    """Three weeks."""
    settings = for_history(load("backtest", "paper", None, BUSY, {}), {})
    tape = Tape.synthetic(settings, days=DAYS)
    result = by_loop(settings, tape, lambda done, total: None)
    return Ran(settings, tape, result)


@cache
def real_backtest() -> Ran | None:
    """Twenty days of October 2024: real candles, basis and funding of both symbols; None where the data is not here."""
    if not DATA.is_dir():
        return None
    files = {
        kind: {f"{coin}/USD": DATA / f"binance_{name.format(coin=coin)}__b.parquet" for coin in ("BTC", "ETH")}
        for kind, name in (
            ("spot", "spot_{coin}USDT_15m"),
            ("perp", "perp_{coin}USDT_15m"),
            ("funding", "funding_{coin}USDT_8h"),
        )
    }
    settings = for_history(load("backtest", "paper", None, REAL, {}), files["spot"])
    start, end = (parse_moment(f"2024-10-{day}") for day in ("04", "24"))
    tape = Tape.recorded(
        settings, files["spot"], perp=files["perp"], funding=files["funding"], start_ms=start, end_ms=end
    )
    return Ran(settings, tape, by_loop(settings, tape, lambda done, total: None))
