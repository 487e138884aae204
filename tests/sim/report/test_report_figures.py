"""Every figure of a report is made again from the trade list and the equity points, by other means than the report's own."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from protocol.messages.futures import Filled, SignalRefused
from protocol.units import DAY_US
from sim.report.account import Execution
from sim.report.bootstrap import intervals
from sim.report.breakdown import falls
from sim.report.document import Findings, find
from tests.fakes.backtests import Ran, busy_backtest

pytestmark = pytest.mark.slow

FULL = Decimal("1e-6")


@pytest.fixture(scope="module")
def ran() -> Ran:
    """The run."""
    return busy_backtest()


@pytest.fixture(scope="module")
def found(ran: Ran) -> Findings:
    """What is said of it."""
    return find(*ran, {"basis": "", "funding": "", "path": ""})


@pytest.fixture(scope="module")
def document(found: Findings) -> dict[str, Any]:
    """The document of `--json`."""
    return found.document


def money(rows: list[dict[str, Any]], name: str) -> Decimal:
    """The sum of a column."""
    return sum((Decimal(row[name]) for row in rows), Decimal(0))


def equity(ran: Ran) -> list[tuple[int, float]]:
    """The points of the curve."""
    return list(zip(ran.result.curve.at_us.tolist(), ran.result.curve.equity_usd.tolist(), strict=True))


def test_there_is_something_to_count(document: dict[str, Any]) -> None:
    """Both symbols, both sides, several exits and both signs: no figure is empty by luck."""
    trades = document["trades"]
    assert len(trades) == document["trade_count"] >= 30
    for name in ("symbol", "side", "reason"):
        assert len({row[name] for row in trades}) >= 2
    assert {Decimal(row["net_usd"]) > 0 for row in trades} == {True, False}


def test_money_adds_up(document: dict[str, Any], ran: Ran) -> None:
    """Net = gross - slippage - fees - funding for each trade, and all trades make the change of equity and the account's books."""
    rows = [*document["trades"], *document["open_trades"]]
    for row in rows:
        gross, slippage, fees, funding, net = (
            Decimal(row[f"{name}_usd"]) for name in ("gross", "slippage", "fees", "funding", "net")
        )
        assert gross - slippage - fees - funding == net
    start, end = ran.result.books.start, ran.result.equity_usd
    assert abs(money(rows, "net_usd") - (end - start)) < FULL
    assert abs(money(rows, "fees_usd") - ran.result.books.fees) < FULL
    if not document["open_trades"]:
        assert abs(money(rows, "funding_usd") - ran.result.books.funding) < FULL
    assert Decimal(document["net_usd"]) == end - start
    assert document["return_pct"] == pytest.approx(float(end / start - 1) * 100)
    for name in ("gross", "slippage", "fees", "funding", "net"):
        assert Decimal(document["costs"][f"{name}_usd"]) == money(rows, f"{name}_usd")


def test_each_trade(document: dict[str, Any], found: Findings, ran: Ran) -> None:
    """Fills, sizes, prices and R of a trade follow from its executions; fills of all trades are all fills there were."""
    closed = [trade for trade in found.trades if trade.closed_at is not None]
    for trade, row in zip(closed, document["trades"], strict=True):
        way = 1 if trade.side == "long" else -1
        assert sum(fill.size for fill in trade.fills) == 0
        bought = [fill for fill in trade.fills if fill.size * way > 0]
        sold = [fill for fill in trade.fills if fill.size * way < 0]
        assert sum(abs(fill.size) for fill in bought) == Decimal(row["size"])
        assert sum(abs(fill.size) * fill.price for fill in bought) / trade.size == Decimal(row["entry_price"])
        assert abs(sum(abs(fill.size) * fill.price for fill in sold) / trade.size - Decimal(row["exit_price"])) < FULL
        cash = -sum(fill.size * fill.price for fill in trade.fills)
        assert abs(cash - trade.fees_usd - Decimal(row["pnl_usd"])) < FULL
        assert trade.risk_usd is not None
        assert trade.net_r == pytest.approx(float(trade.net_usd / trade.risk_usd))
        assert float(row["r_multiple"]) == pytest.approx(float(Decimal(row["pnl_usd"]) / trade.risk_usd), abs=1e-4)
    assert sum(len(trade.fills) for trade in found.trades) == len(ran.result.of(Filled))


def test_excursions(found: Findings, ran: Ran) -> None:
    """Worst and best mark: what a look each five seconds finds, and never less."""
    for trade in found.trades[:12]:
        assert trade.closed_at is not None
        assert trade.risk_usd is not None
        track = ran.tape.tracks[trade.spot_symbol]
        looks = [track.mark(at) for at in (*range(trade.opened_at, trade.closed_at, 5_000_000), trade.closed_at)]
        way, distance = (1 if trade.side == "long" else -1), float(trade.risk_usd / trade.size)
        runs = [(mark - float(trade.entry_price)) * way / distance for mark in looks]
        assert trade.mae_r is not None
        assert trade.mfe_r is not None
        assert trade.mae_r <= min(runs) + 1e-9
        assert trade.mfe_r >= max(runs) - 1e-9
        assert (trade.mae_r, trade.mfe_r) == (pytest.approx(min(runs), abs=0.05), pytest.approx(max(runs), abs=0.05))


def test_ratios(document: dict[str, Any]) -> None:
    """Win rate, profit factor and expectancy, counted by hand."""
    results = [Decimal(row["pnl_usd"]) for row in document["trades"]]
    wins, losses = [r for r in results if r > 0], [r for r in results if r < 0]
    assert document["win_rate_pct"] == pytest.approx(len(wins) / len(results) * 100)
    assert document["profit_factor"] == pytest.approx(float(sum(wins) / -sum(losses)))
    assert float(document["expectancy_usd"]) == pytest.approx(float(statistics.mean(results)))
    multiples = [float(row["r_multiple"]) for row in document["trades"]]
    assert document["expectancy_r"] == pytest.approx(statistics.mean(multiples))


def test_daily_ratios(document: dict[str, Any]) -> None:
    """Sharpe, Sortino and CAGR from the midnights, with the statistics library."""
    midnights = [float(usd) for _, usd in document["equity_daily"]]
    returns = [after / before - 1 for before, after in pairwise(midnights)]
    assert len(returns) == round(document["days"])
    assert document["sharpe"] == pytest.approx(statistics.mean(returns) / statistics.stdev(returns) * 365**0.5)
    downside = statistics.mean(min(r, 0) ** 2 for r in returns) ** 0.5
    assert document["sortino"] == pytest.approx(statistics.mean(returns) / downside * 365**0.5)
    assert document["cagr_pct"] is None  # three weeks say nothing of a year


def test_drawdown(document: dict[str, Any], ran: Ran) -> None:
    """The deepest fall is the deepest of all pairs of points; the longest is the longest time below a peak."""
    points = equity(ran)
    deepest, longest, peak = 0.0, 0.0, points[0]
    for at, usd in points:
        if usd >= peak[1]:
            peak = (at, usd)
        deepest = max(deepest, (peak[1] - usd) / peak[1] * 100)
    assert document["max_drawdown_pct"] == pytest.approx(deepest)
    assert document["drawdowns"]["deepest"]["depth_pct"] == pytest.approx(deepest)
    highs = [at for i, (at, usd) in enumerate(points) if usd >= max(u for _, u in points[: i + 1])]
    ends = [*highs[1:], points[-1][0]]
    for high, end in zip(highs, ends, strict=True):
        below = any(high < at <= end and usd < dict(points)[high] for at, usd in points)
        longest = max(longest, (end - high) / DAY_US if below else 0.0)
    assert document["drawdowns"]["longest"]["days"] == pytest.approx(longest)


def test_cuts(document: dict[str, Any]) -> None:
    """Each cut holds every closed trade once, and its sums are those of its rows."""
    keys = {
        "symbol": lambda row: row["symbol"],
        "side": lambda row: row["side"],
        "timeframe": lambda row: row["timeframe"],
        "exit": lambda row: row["reason"],
        "month": lambda row: datetime.fromtimestamp(row["closed_at"] // 1_000_000, UTC).strftime("%Y-%m"),
        "symbol and year": lambda row: (
            f"{row['symbol']} {datetime.fromtimestamp(row['closed_at'] // 1_000_000, UTC).year}"
        ),
        "year": lambda row: str(datetime.fromtimestamp(row["closed_at"] // 1_000_000, UTC).year),
    }
    assert set(keys) == set(document["by"])
    for by, key in keys.items():
        filed: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in document["trades"]:
            filed[key(row)].append(row)
        assert list(document["by"][by]) == sorted(filed)
        for name, rows in filed.items():
            group = document["by"][by][name]
            nets = [Decimal(row["net_usd"]) for row in rows]
            assert group["trades"] == len(rows)
            for column in ("gross", "slippage", "fees", "funding", "net"):
                assert Decimal(group[f"{column}_usd"]) == money(rows, f"{column}_usd")
            assert group["win_rate_pct"] == pytest.approx(100 * sum(net > 0 for net in nets) / len(nets))
            assert group["expectancy_r"] == pytest.approx(statistics.mean(row["net_r"] for row in rows))
            lost = -sum(net for net in nets if net < 0)
            won = sum(net for net in nets if net > 0)
            assert group["profit_factor"] == (pytest.approx(float(won / lost)) if lost else None)


def test_months(document: dict[str, Any], ran: Ran) -> None:
    """Monthly returns compound to the whole return; a month ends with its last midnight."""
    grown = 1.0
    for value in document["monthly_returns_pct"].values():
        grown *= 1 + value / 100
    assert (grown - 1) * 100 == pytest.approx(document["return_pct"])
    points = dict(equity(ran))
    (month,) = document["monthly_returns_pct"]  # the run lies within one
    assert month == "2026-01"
    assert document["monthly_returns_pct"][month] == pytest.approx(
        float(points[max(points)] / points[min(points)] - 1) * 100
    )


def test_exposure(document: dict[str, Any], found: Findings, ran: Ran) -> None:
    """Time in the market counted in 15m steps, leverage and liquidation distance from positions, marks and equity at each."""
    spans = [(trade.opened_at, trade.closed_at or ran.tape.end_us) for trade in found.trades]
    covered, reached = 0, 0
    for opened, closed in sorted(spans):
        covered += max(0, closed - max(opened, reached))
        reached = max(reached, closed)
    assert document["exposure_pct"] == pytest.approx(100 * covered / (ran.tape.end_us - ran.tape.start_us))
    highest, nearest, rows = 0.0, 1e9, 0
    for at, usd in equity(ran):
        notional = maintenance = 0.0
        held: list[float] = []
        for trade in found.trades:
            size = float(sum(fill.size for fill in trade.fills if fill.at <= at + 1000))
            if size:
                track = ran.tape.tracks[trade.spot_symbol]
                mark = float(ran.tape.tick(trade.symbol, at + 5).mark)
                held.append(abs(size) * mark)
                notional += held[-1]
                cost = abs(size) * float(trade.entry_price)
                levels = [m for start, _, m in track.instrument.margin_levels if cost >= start]
                maintenance += cost * float(levels[-1])
        if held:
            rows += 1
            highest = max(highest, notional / usd)
            nearest = min(nearest, *(100 * (usd - maintenance) / one for one in held), 1e9)
    assert rows == int((ran.result.curve.notional_usd > 0).sum()) > 100
    assert document["leverage_max_x"] == pytest.approx(highest)
    assert document["liquidation_distance_min_pct"] == pytest.approx(nearest)


def test_decisions(document: dict[str, Any], ran: Ran) -> None:
    """Every signal was approved or refused, and each reason is counted."""
    decisions = document["decisions"]
    assert decisions["signals"] == decisions["approved"] + decisions["refused"]
    counted = Counter(reason for one in ran.result.of(SignalRefused) for reason in one.reasons)
    assert decisions["refused_by"] == dict(counted)


def test_intervals(document: dict[str, Any]) -> None:
    """An interval holds its figure, the same seed gives the same, a higher level is wider, too few trades give none."""
    sure = document["confidence"]["intervals"]
    for name in ("expectancy_r", "win_rate_pct", "profit_factor", "sharpe", "return_pct"):
        low, high = sure[name]
        assert low < document[name] < high
    rows = [float(row["pnl_usd"]) for row in document["trades"]]
    once, again = (intervals(rows, rows, rows, seed=5) for _ in range(2))
    wide = intervals(rows, rows, rows, seed=5, level_pct=99)
    assert once == again
    assert once["expectancy_usd"] is not None
    assert wide["expectancy_usd"] is not None
    assert wide["expectancy_usd"][0] < once["expectancy_usd"][0]
    mean, error = statistics.mean(rows), statistics.stdev(rows) / len(rows) ** 0.5
    assert once["expectancy_usd"] == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=error / 3)
    assert set(intervals(rows[:5], rows[:5], rows[:5]).values()) == {None}


def test_falls() -> None:
    """Falls end where the peak is reached again; the last may be open."""
    points = [(at * DAY_US, Decimal(usd)) for at, usd in enumerate([100, 90, 95, 100, 110, 99, 105])]
    first, last = falls(points)
    assert (first.peak_at, first.bottom_at, first.recovered_at) == (0, DAY_US, 3 * DAY_US)
    assert (first.depth_pct, first.days) == (10, 3)
    assert (last.bottom_at, last.recovered_at, last.depth_pct, last.days) == (5 * DAY_US, None, 10, 2)
    assert falls([]) == []


def test_slippage() -> None:
    """Bought above the mark and sold below it are both costs."""
    bought = Execution(at=0, size=Decimal(2), price=Decimal(101), mark=Decimal(100))
    sold = Execution(at=0, size=Decimal(-2), price=Decimal(99), mark=Decimal(100))
    assert bought.slippage_usd == sold.slippage_usd == 2
