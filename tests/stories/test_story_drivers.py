"""Two drivers, one program: a real week with trades through the fast loop and through the shell of live trading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.modes.backtest import Sources, run_backtest
from config.load import load
from sim.market.files import parse_moment

DATA = Path("../shared/data")
CLASSIC = {"strategy": {"preset": "classic"}, "risk": {"cost_max_r": 2}}


def files(kind: str) -> dict[str, Path]:
    return {f"{coin}/USD": DATA / f"binance_{kind.format(coin=coin)}__b.parquet" for coin in ("BTC", "ETH")}


def week(driver: str) -> dict[str, Any]:
    """Everything of the run but how long it took, and how many steps: the shell takes some for heartbeats."""
    result = run_backtest(
        load("backtest", "paper", None, CLASSIC, {}),
        Sources(
            data=files("spot_{coin}USDT_15m"),
            perp=files("perp_{coin}USDT_15m"),
            funding=files("funding_{coin}USDT_8h"),
        ),
        start_us=parse_moment("2024-10-14") * 1000,
        end_us=parse_moment("2024-10-21") * 1000,
        driver=driver,
    )
    return {name: value for name, value in result.items() if name not in ("run_s", "audit")}


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the real candles are not here")
def test_both_drivers_trade_a_real_week_alike() -> None:
    """Same decisions, orders, fills, costs and equity, with real basis and real funding."""
    loop = week("loop")

    assert loop["trade_count"] >= 2
    assert float(loop["funding_usd"]) != 0
    assert week("trio") == loop
