"""The comparison of several backtests, opened in a real browser without a network."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sim.report.comparison import COLOURS, COLUMNS, comparison, headings, row
from sim.report.document import find
from tests.fakes.backtests import busy_backtest

pytestmark = pytest.mark.slow


def test_runs_side_by_side(tmp_path: Path, pages: Any) -> None:
    """A row and a curve a run, from 100; what all assumed is told once, what differs in a table; names are text."""
    one = {
        "name": "<i>plain</i>",
        **find(*busy_backtest(), {"basis": "none", "funding": "none", "path": "straight"}).document,
    }
    other = {**one, "name": "dear", "assumed": {**one["assumed"], "slippage": "fixed: 1 %"}}
    file = tmp_path / "comparison.html"
    file.write_text(comparison("Matrix", "two runs", [one, other], note="Each with a fresh account."), encoding="utf-8")
    page = pages.open(file)
    page.wait_for_selector("#plot-curves .scatterlayer .trace path")
    cells = page.evaluate(
        "[...document.querySelectorAll('#runs tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    assert cells == [[run["name"], *row(run)] for run in (one, other)]
    assert page.locator("#runs th").count() == 1 + len(headings())
    assert page.locator("#runs th[title]").all_text_contents() == [heading for _, heading, _ in COLUMNS]
    assert Decimal(cells[0][-1].replace(",", "")) == round(Decimal(one["costs"]["net_usd"]), 2)
    unlike = page.evaluate(
        "[...document.querySelectorAll('#unlike tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    assert unlike == [["run", "slippage"], ["<i>plain</i>", "fixed: 0.01 %"], ["dear", "fixed: 1 %"]]
    said = page.locator("#assumed").text_content()
    assert "intrabar pessimistic" in said
    assert "days 2026-01-05 to 2026-01-25" in said
    assert "slippage" not in said
    drawn = page.evaluate("document.getElementById('plot-curves').data.map(t => [t.name, t.y[0], t.y.at(-1)])")
    assert [name for name, _, _ in drawn] == ["<i>plain</i>", "dear"]
    assert drawn[0][1] == 100
    assert drawn[0][2] == pytest.approx(100 + one["return_pct"], abs=1e-3)


def test_more_runs_than_colours_stay_apart(tmp_path: Path, pages: Any) -> None:
    """No two curves look alike, and a run that begins within a day is drawn from what its account began with."""
    one = find(*busy_backtest(), {"basis": "none", "funding": "none", "path": "straight"}).document
    late = {**one, "equity_daily": one["equity_daily"][3:]}
    runs = [{**late, "name": f"run {number}"} for number in range(len(COLOURS) + 2)]
    file = tmp_path / "comparison.html"
    file.write_text(comparison("Matrix", "many runs", runs), encoding="utf-8")
    page = pages.open(file)
    page.wait_for_selector("#plot-curves .scatterlayer .trace path")
    drawn = page.evaluate("document.getElementById('plot-curves').data.map(t => [t.line.color + t.line.dash, t.y[0]])")
    assert len({look for look, _ in drawn}) == len(runs)
    assert drawn[0][1] == pytest.approx(100 * late["equity_daily"][0][1] / float(one["start_equity_usd"]), abs=1e-3)
