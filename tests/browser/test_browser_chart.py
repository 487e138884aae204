"""The chart, opened in a real browser without a network."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.cli.app import app
from sim.market.synthetic import generate

pytestmark = pytest.mark.slow

EASY = ("bias_tfs=4h", "ema_period=20", "warmup_bars_4h=30", "warmup_bars_1d=30", "warmup_bars_exec=50", "adx_min=0")
"""Parameters that decide within days."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart of six weeks of a synthetic market, of which two are in view."""
    folder = tmp_path_factory.mktemp("chart")
    c = generate("BTC/USD", 97, 1_700_006_400_000, 45 * 96).candles
    with (folder / "btc.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(("time", "open", "high", "low", "close", "volume"))
        rows.writerows(zip(*(x.tolist() for x in (c.time, c.open, c.high, c.low, c.close, c.volume)), strict=True))
    words = ["chart", "--data", str(folder / "btc.csv"), "--out", str(folder / "chart.html"), "--name", "<BTC> & co"]
    sets = [word for pair in EASY for word in ("--set", pair)]
    result = CliRunner().invoke(app, [*words, *sets, "--from", "2023-12-14", "--to", "2023-12-29", "--volume"])
    assert result.exit_code == 0, result.output
    return folder / "chart.html"


def traces(page: Any) -> dict[str, int]:
    """Points of each drawn trace that stands in the legend or holds candles."""
    return page.evaluate(  # type: ignore[no-any-return]
        "Object.fromEntries(document.getElementById('plot-chart').data.map(t => [t.name ?? '', (t.x ?? []).length]))"
    )


def test_everything_is_drawn(drawn: Path, pages: Any) -> None:
    """Candles, swings, breaks, gaps, order blocks, liquidity, entries and exits stand in the picture; no complaint, no network."""
    page = pages.open(drawn)
    page.wait_for_selector("#plot-chart .candlestick, #plot-chart .boxlayer .trace")
    found = traces(page)
    assert found["candles"] == 15 * 24
    assert {
        "swings",
        "sweep",
        "entry",
        "exit",
        "BOS up",
        "CHoCH down",
        "bullish order block",
        "bearish gap (FVG)",
    } <= set(found)
    assert page.title() == "<BTC> & co 1h"
    texts = page.locator("#plot-chart .textpoint text").all_text_contents()
    assert {"BOS", "CHoCH", "OB", "HH", "LL"} <= set(texts)


def test_reasons_are_told(drawn: Path, pages: Any) -> None:
    """The entry's hover names side, zone, stop and target; the exit's its rule and result."""
    page = pages.open(drawn)
    page.wait_for_selector("#plot-chart .points path")
    told = page.evaluate(
        "document.getElementById('plot-chart').data.filter(t => ['entry', 'exit'].includes(t.name)).map(t => t.hovertext[0])"
    )
    assert all(word in told[0] for word in ("1h at", "in ", "stop ", "target ", " R)"))
    assert "exit." in told[1]
    assert "R after" in told[1]


def test_dark_and_light(drawn: Path, pages: Any) -> None:
    """The button changes page and text colour both ways."""
    page = pages.open(drawn)
    page.wait_for_selector("#plot-chart .xtick text")
    look = "getComputedStyle(document.body).backgroundColor + document.getElementById('plot-chart').layout.font.color"
    light = page.evaluate(look)
    page.click("#theme")
    dark = page.evaluate(look)
    page.click("#theme")
    assert dark != light
    assert page.evaluate(look) == light


def test_prices_follow(drawn: Path, pages: Any) -> None:
    """Moving along the time fits the prices to the candles in view."""
    page = pages.open(drawn)
    page.wait_for_selector("#plot-chart .xtick text")
    part = page.evaluate(
        """async () => {
          const plot = document.getElementById("plot-chart"), candles = plot.data.find(t => t.type === "candlestick");
          await Plotly.relayout(plot, {"xaxis.range[0]": candles.x[100] - 1, "xaxis.range[1]": candles.x[120] + 1});
          await new Promise(done => setTimeout(done, 200));
          return [plot.layout.yaxis.range, Math.min(...candles.low.slice(100, 121)), Math.max(...candles.high.slice(100, 121))];
        }"""
    )
    (bottom, top), low, high = part
    assert bottom == pytest.approx(low - (high - low) * 0.06)
    assert top == pytest.approx(high + (high - low) * 0.06)
