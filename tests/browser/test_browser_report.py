"""The backtest report, opened in a real browser without a network: what it shows is what the document says."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.cli.app import app
from sim.report.document import Findings, find
from sim.report.html import CARDS, SHOWN_CUTS, TRADE_COLUMNS, report
from sim.report.prose import DEFINITIONS
from tests.fakes.backtests import busy_backtest

pytestmark = pytest.mark.slow

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def found() -> Findings:
    """What there is to show."""
    return find(*busy_backtest(), {"basis": "none", "funding": "none", "path": "straight"})


@pytest.fixture(scope="module")
def file(found: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small busy backtest."""
    ran = busy_backtest()
    out = tmp_path_factory.mktemp("report") / "report.html"
    out.write_text(report("<b>Test</b>", ran.settings, ran.tape, ran.result, found), encoding="utf-8")
    return out


def number(text: str) -> Decimal:
    """A number as a person reads it."""
    return Decimal(text.replace(",", "").replace("−", "-"))


def close_to(shown: str, value: Any) -> bool:
    """Whether a text shows a value as far as its digits go; what cannot be known is `none`."""
    if value is None:
        return shown == "none"
    digits = len(shown.partition(".")[2])
    return abs(number(shown) - Decimal(str(value))) <= Decimal("0.6") * Decimal(10) ** -digits


def assert_shows(page: Any) -> dict[str, Any]:
    """All cards, metrics, cuts and trades show the document's figures; returns the document."""
    document: dict[str, Any] = json.loads(page.locator("#document").text_content())
    for name, *_ in CARDS:
        assert close_to(page.locator(f"#card-{name}").text_content(), document[name]), name
    for name in DEFINITIONS:
        assert close_to(page.locator(f"#metric-{name}").text_content(), document[name]), name
    assert page.locator("[id^=metric-]").count() == len(DEFINITIONS)
    rows = "[...document.querySelectorAll('#{} tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    cells = page.evaluate(rows.format("trades"))
    trades = [*document["trades"], *document["open_trades"]]
    assert len(cells) == len(trades)
    for cell, trade in zip(cells, trades, strict=True):
        shown = dict(zip(TRADE_COLUMNS, cell, strict=True))
        for column, name in WORDS.items():
            assert shown[column] == trade[name]
        for column, name in NUMBERS.items():
            assert close_to(shown[column], trade[name]), (column, trade["trade_id"])
        assert shown["opened"] == moment(trade["opened_at"])
        assert shown["closed"] == ("open" if trade["closed_at"] is None else moment(trade["closed_at"]))
    assert WORDS.keys() | NUMBERS.keys() | {"opened", "closed"} == set(TRADE_COLUMNS)
    cuts = [(name, one) for by in SHOWN_CUTS for name, one in document["by"][by].items()]
    shown_cuts = [cell for cell in page.evaluate(rows.format("cuts")) if len(cell) > 1]
    assert len(shown_cuts) == len(cuts)
    for cell, (name, one) in zip(shown_cuts, cuts, strict=True):
        assert cell[0] == name
        fields = ("trades", *(f"{column}_usd" for column in MONEY), "win_rate_pct", "profit_factor", "expectancy_r")
        assert all(close_to(text, one[field]) for text, field in zip(cell[1:], fields, strict=True)), name
    return document


MONEY = ("gross", "slippage", "fees", "funding", "net")
WORDS = {"symbol": "symbol", "side": "side", "tf": "timeframe", "why": "reason", "size": "size"}
NUMBERS = {
    "entry": "entry_price", "exit": "exit_price", "R": "net_r", "MAE, R": "mae_r", "MFE, R": "mfe_r", "leverage": "leverage_x",
    **{name: f"{name}_usd" for name in MONEY},
}  # fmt: skip
"""Column of the trade table -> field of a trade."""


def moment(at_us: int) -> str:
    """A minute as the table tells it."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M")


def test_figures(file: Path, pages: Any) -> None:
    """All eight figures are drawn, tables show the document, the heading is text; no complaint, no network."""
    page = pages.open(file)
    page.wait_for_selector("#plot-stakes .scatterlayer .trace path")
    assert_shows(page)
    assert page.locator("[data-figure] .main-svg").count() >= 8
    assert page.locator("h1").text_content() == "<b>Test</b>"
    assert "market orders" in page.locator("#assumed").text_content()


def test_drawn_equals_document(file: Path, pages: Any) -> None:
    """Curves and bars carry the document's numbers: last equity, deepest fall, costs, months, refusals."""
    page = pages.open(file)
    page.wait_for_selector("#plot-stakes .scatterlayer .trace path")
    document = json.loads(page.locator("#document").text_content())
    drawn = page.evaluate(
        "Object.fromEntries(['equity', 'costs', 'months', 'refusals', 'by-month', 'multiples'].map(n => ['plot-' + n, "
        "document.getElementById('plot-' + n).data.map(t => ({x: t.x, y: t.y, z: t.z}))]).map(([n, d]) => [n.slice(5), d]))"
    )
    equity, fall = drawn["equity"]
    assert equity["y"][-1] == pytest.approx(float(document["end_equity_usd"]))
    assert -min(fall["y"]) == pytest.approx(document["max_drawdown_pct"])
    costs = document["costs"]
    assert drawn["costs"][0]["y"] == pytest.approx(
        [
            float(costs["gross_usd"]),
            *(-float(costs[f"{name}_usd"]) for name in ("slippage", "fees", "funding")),
            float(costs["net_usd"]),
        ]
    )
    assert drawn["months"][0]["z"][0][0] == pytest.approx(document["monthly_returns_pct"]["2026-01"])
    refused = dict(zip(drawn["refusals"][0]["y"], drawn["refusals"][0]["x"], strict=True))
    assert refused == document["decisions"]["refused_by"] | document["decisions"]["blocked_by"]
    assert sum(len(trace["x"]) for trace in drawn["multiples"]) == document["trade_count"]


def test_trade_chart(file: Path, pages: Any) -> None:
    """A trade's link draws its chart: candles, entry at its price, exit with its reason; another replaces it."""
    page = pages.open(file)
    page.wait_for_selector("#plot-stakes .scatterlayer .trace path")
    document = json.loads(page.locator("#document").text_content())
    for trade in document["trades"][:2]:
        page.click(f"#row-{trade['trade_id']} a")
        page.wait_for_function(
            f"document.getElementById('trade-title').textContent.includes({json.dumps(trade['reason'])}) && "
            "document.getElementById('plot-trade').data?.some(t => t.name === 'exit' && "
            f"Math.abs(t.y[0] - {trade['exit_price']}) < 1e-6)"
        )
        facts = page.locator("#trade-facts").text_content()
        assert all(
            word in facts for word in (trade["trade_id"], trade["zone_id"], trade["reason"], f"{trade['net_r']:+.2f} R")
        )
        entry = page.evaluate("document.getElementById('plot-trade').data.find(t => t.name === 'entry')")
        assert entry["y"] == pytest.approx([float(trade["entry_price"])])
        assert trade["zone_id"] in entry["hovertext"][0]
    assert page.url.endswith(f"#trade-{trade['trade_id']}")


def test_numbers_in_cells_follow_the_theme(file: Path, pages: Any) -> None:
    """Light or dark, the monthly returns are written in the page's own colour."""
    page = pages.open(file)
    page.wait_for_selector("#plot-stakes .scatterlayer .trace path")
    seen = set()
    for _ in range(2):
        page.click("#theme")
        page.wait_for_timeout(200)
        colour = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--text').trim()")
        assert page.evaluate("document.getElementById('plot-months').data[0].textfont.color") == colour
        seen.add(colour)
    assert len(seen) == 2


def test_sorting(file: Path, pages: Any) -> None:
    """A click on a heading sorts by it, a second one the other way."""
    page = pages.open(file)
    column = TRADE_COLUMNS.index("net")
    values = f"[...document.querySelectorAll('#trades tbody tr')].map(r => Number(r.cells[{column}].dataset.value))"
    heading = page.locator("#trades th").nth(column)
    heading.click()
    up = page.evaluate(values)
    heading.click()
    assert up == sorted(up)
    assert page.evaluate(values) == sorted(up, reverse=True)


def real(kind: str) -> list[str]:
    """Options that name the real files of a kind."""
    names = {"data": "spot_{}USDT_15m", "perp": "perp_{}USDT_15m", "funding": "funding_{}USDT_8h"}
    return [
        word
        for coin in ("BTC", "ETH")
        for word in (f"--{kind}", f"{coin}/USD={SHARED / f'binance_{names[kind].format(coin)}__b.parquet'}")
    ]


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_candles(tmp_path: Path, pages: Any) -> None:
    """The report on real BTC and ETH candles, with the real basis and the real funding."""
    out = tmp_path / "real.html"
    words = ["backtest", *real("data"), *real("perp"), *real("funding"), "--start", "2024-02-04", "--end", "2024-02-24"]
    result = CliRunner().invoke(app, [*words, "--report", str(out)])
    assert result.exit_code == 0, result.output
    page = pages.open(out)
    page.wait_for_selector("#plot-stakes .scatterlayer .trace path")
    document = assert_shows(page)
    assert document["trade_count"] >= 3
    assert re.search(
        r"historical, perpetual candles of BTC/USD, ETH/USD.*historical rates", page.locator("#assumed").text_content()
    )
