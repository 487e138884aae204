"""Report figures against sums done by hand."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from protocol.units import DAY_US, HOUR_US
from sim.curve import Curve
from sim.report.account import TradeAccount
from sim.report.metrics import Metrics, daily_returns, drawdown, measure, sharpe, sortino

START = 1_767_571_200_000_000  # midnight UTC


def trade(net: str, r: float | None, opened_h: int, closed_h: int) -> TradeAccount:
    """A closed trade: hours since the start."""
    one = Decimal(1)
    return TradeAccount(
        trade_id=str(opened_h), symbol="PF_XBTUSD", spot_symbol="BTC/USD", timeframe="15m", side="long", size=one,
        opened_at=START + opened_h * HOUR_US, closed_at=START + closed_h * HOUR_US, entry_price=one, exit_price=one,
        stop_price=None, target_price=None, reason="x", zone_id="z", leverage_x=one, gross_usd=Decimal(net) + 2,
        slippage_usd=Decimal(0), fees_usd=one, funding_usd=one, net_usd=Decimal(net), risk_usd=None, net_r=r,
        mae_r=None, mfe_r=None, fills=(),
    )  # fmt: skip


def daily(*usd: int) -> Curve:
    """Equity at consecutive midnights."""
    return Curve.of([(START + i * DAY_US, value) for i, value in enumerate(usd)])


def measured(trades: list[TradeAccount], curve: Curve, **more: object) -> Metrics:
    """Metrics with two dollars of fees and one of funding."""
    start, end = (Decimal(round(usd)) for usd in (curve.equity_usd[[0, -1]].tolist() if len(curve) else (0, 0)))
    known = {"start_usd": start, "end_usd": end, "fees_usd": Decimal(2), "funding_usd": Decimal(1)}
    return measure(trades, curve, **known, **more)  # type: ignore[arg-type]


def test_trade_figures() -> None:
    """Three wins of 300 in all against one loss of 120: factor 2.5, win rate 75 %, expectancy 45 dollars and 0.5 R, all after funding."""
    m = measured(
        [trade("100", 1, 0, 1), trade("150", 1.5, 2, 3), trade("50", 0.5, 4, 5), trade("-120", -1, 6, 7)],
        daily(1000, 1180),
    )
    assert (m.trades, m.trades_net_usd, m.fees_usd, m.funding_usd) == (4, Decimal(180), Decimal(2), Decimal(1))
    assert (m.win_rate_pct, m.profit_factor, m.expectancy_usd, m.expectancy_r) == (75.0, 2.5, Decimal(45), 0.5)
    assert (m.net_usd, m.days) == (Decimal(180), 1.0)
    assert m.return_pct == pytest.approx(18)


def test_without_trades_there_are_no_ratios() -> None:
    """No trades: counts and sums are zero, every ratio is unknown."""
    m = measured([], daily(1000, 1000, 1000))
    assert (m.trades, m.trades_net_usd, m.max_drawdown_pct, m.exposure_pct) == (0, 0, 0.0, 0.0)
    assert (m.win_rate_pct, m.profit_factor, m.expectancy_usd, m.expectancy_r, m.sharpe, m.sortino) == (None,) * 6


def test_without_losses_there_is_no_profit_factor() -> None:
    """A division by nothing is not infinity but unknown; a trade at exactly zero is neither won nor lost."""
    m = measured([trade("10", 1, 0, 1), trade("0", 0, 2, 3)], daily(1000, 1010))
    assert m.profit_factor is None
    assert m.win_rate_pct == 50.0


def test_without_equity_nothing_is_claimed() -> None:
    """No points: no drawdown, no return, no span."""
    m = measured([], daily())
    assert (m.days, m.net_usd, m.return_pct, m.cagr_pct, m.max_drawdown_pct, m.exposure_pct) == (None,) * 6


def test_drawdown_is_measured_from_the_highest_point_so_far() -> None:
    """100, 120, 90, 130, 110: a quarter of 120; in money 30."""
    percent, usd = drawdown(daily(100, 120, 90, 130, 110))
    assert percent == pytest.approx(25)
    assert usd == 30
    percent, usd = drawdown(daily(100, 80, 1000, 900))
    assert percent == pytest.approx(20)
    assert usd == 100


def test_sharpe_and_sortino_by_hand() -> None:
    """Daily returns +10 %, -5 %, +1 %: mean 2 %, deviation sqrt(0.0057), downside sqrt(0.0025 / 3)."""
    returns = [0.10, -0.05, 0.01]
    assert sharpe(returns) == pytest.approx(0.02 / math.sqrt((0.08**2 + 0.07**2 + 0.01**2) / 2) * math.sqrt(365))
    assert sortino(returns) == pytest.approx(0.02 / math.sqrt(0.0025 / 3) * math.sqrt(365))
    assert sharpe([0.1]) is None
    assert sharpe([0.25, 0.25]) is None
    assert sortino([0.1, 0.2]) is None


def test_days_end_at_midnight_utc() -> None:
    """Points inside a day do not count for daily returns."""
    curve = Curve.of([(START, 100), (START + HOUR_US, 500), (START + DAY_US, 110)])
    assert daily_returns(curve) == [pytest.approx(0.10)]


def test_growth_a_year_is_compounded_and_needs_a_month() -> None:
    """+10 % in 73 days is 1.1 to the fifth a year; in 29 days it is no statement, and neither is ruin."""

    def cagr(days: int, end: int) -> float | None:
        return measured([], Curve.of([(START, 100), (START + days * DAY_US, end)])).cagr_pct

    assert cagr(73, 110) == pytest.approx(61.051)
    assert cagr(29, 110) is None
    assert cagr(73, -1) is None


def test_exposure_counts_overlapping_trades_once() -> None:
    """Hours 2 to 8, 4 to 10 and 20 to the end of a day: twelve of twenty-four."""
    trades = [trade("1", 1, 2, 8), trade("1", 1, 4, 10)]
    m = measured(trades, daily(1000, 1000), open_since_us=[START + 20 * HOUR_US])
    assert m.exposure_pct == pytest.approx(50)
