"""The figures of a backtest report, drawn from its document. Pure: data in, plotly figures out; colours suit dark and light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from protocol.units import HOUR_US
from sim.curve import Curve
from sim.report.account import TradeAccount
from sim.report.chart import FALL, FONT, GRID, NEUTRAL, RISE, TEXT

ACCENT: Final = "#4278ff"
BUCKET_US: Final = 4 * HOUR_US
"""Equity is drawn with its lowest and its last point of each such span: no fall is lost, and the file stays small."""
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Document = Mapping[str, Any]


def styled(figure: go.Figure, **layout: Any) -> go.Figure:
    """The common look."""
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_layout(
        font={"family": FONT, "size": 12, "color": TEXT},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 64, "r": 16, "t": 16, "b": 40},
        showlegend=False,
        hovermode="x unified",
        hoverlabel={"font": {"family": FONT, "size": 12}},
        **layout,
    )
    return figure


def equity_and_drawdown(curve: Curve) -> go.Figure:
    """Equity above, the fall below its highest point so far beneath."""
    kept = _thinned(curve)
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.04)
    x = [at / 1000 for at, _, _ in kept]
    line = {"color": ACCENT, "width": 1.6}
    figure.add_trace(
        go.Scatter(
            x=x, y=[usd for _, usd, _ in kept], line=line, name="equity", hovertemplate="%{y:,.2f} USD<extra></extra>"
        ),
        row=1,
        col=1,
    )
    figure.add_trace(
        go.Scatter(
            x=x,
            y=[-fall for _, _, fall in kept],
            fill="tozeroy",
            fillcolor="rgba(242,54,69,0.18)",
            line={"color": FALL, "width": 1.1},
            name="drawdown",
            hovertemplate="%{y:.2f} %<extra></extra>",
        ),
        row=2,
        col=1,
    )
    figure.update_xaxes(type="date")
    figure.update_yaxes(title_text="equity, USD", tickformat=",.0f", row=1, col=1)
    figure.update_yaxes(title_text="below peak, %", ticksuffix="", row=2, col=1)
    return styled(figure)


def _thinned(curve: Curve) -> list[tuple[int, float, float]]:
    """(moment, equity, fall below the peak so far in percent) of the points worth drawing."""
    peaks = np.maximum.accumulate(curve.equity_usd)
    falls = np.where(peaks > 0, (peaks - curve.equity_usd) / peaks * 100, 0.0)
    rows = list(zip(curve.at_us.tolist(), curve.equity_usd.tolist(), falls.tolist(), strict=True))
    kept: list[tuple[int, float, float]] = []
    for _, span in groupby(rows, key=lambda row: row[0] // BUCKET_US):
        *before, last = span
        lowest = max([*before, last], key=lambda row: row[2])
        kept += [last] if lowest == last else [lowest, last]
    return kept


def months(returns_pct: Mapping[str, float]) -> go.Figure:
    """A year a row, a month a column, the year's compounded return at the end."""
    years = sorted({name[:4] for name in returns_pct})
    rows, texts = [], []
    for year in years:
        row: list[float | None] = [returns_pct.get(f"{year}-{month:02}") for month in range(1, 13)]
        grown = 1.0
        for value in row:
            grown *= 1 + (value or 0.0) / 100
        rows.append([*row, (grown - 1) * 100])
        texts.append(["" if value is None else f"{value:+.1f}" for value in rows[-1]])
    most = max((abs(value) for row in rows for value in row[:-1] if value is not None), default=1.0) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=rows,
            x=[*MONTHS, "year"],
            y=years,
            text=texts,
            texttemplate="%{text}",
            colorscale=[[0, "rgba(242,54,69,0.6)"], [0.5, "rgba(128,136,150,0.10)"], [1, "rgba(8,153,129,0.6)"]],
            zmin=-most,
            zmax=most,
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{y} %{x}: %{text} %<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.update_xaxes(side="top", showgrid=False)
    return styled(figure).update_layout(hovermode="closest", margin={"t": 30, "b": 10})


def multiples(trades: Sequence[TradeAccount]) -> go.Figure:
    """How often which multiple of the risk was made, after all costs."""
    values = [trade.net_r for trade in trades if trade.net_r is not None]
    figure = go.Figure()
    for name, colour, some in (
        ("loss", FALL, [v for v in values if v <= 0]),
        ("profit", RISE, [v for v in values if v > 0]),
    ):
        figure.add_trace(
            go.Histogram(
                x=some,
                xbins={"start": -20, "end": 40, "size": 0.25},
                marker={"color": colour, "opacity": 0.8},
                name=name,
                hovertemplate="%{x} R: %{y} trades<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="result in R, after all costs")
    figure.update_yaxes(title_text="trades")
    if values:
        figure.update_xaxes(range=[min(values) - 0.5, max(values) + 0.5])
    return styled(figure, barmode="overlay", bargap=0.05).update_layout(hovermode="closest")


def excursions(trades: Sequence[TradeAccount]) -> go.Figure:
    """Each trade's worst against its best mark, coloured by what it made in the end."""
    those = [trade for trade in trades if trade.mae_r is not None and trade.net_r is not None]
    figure = go.Figure()
    for name, colour, is_win in (("loss", FALL, False), ("profit", RISE, True)):
        some = [trade for trade in those if (trade.net_usd > 0) == is_win]
        figure.add_trace(
            go.Scatter(
                x=[trade.mae_r for trade in some],
                y=[trade.mfe_r for trade in some],
                mode="markers",
                name=name,
                marker={"color": colour, "size": 7, "opacity": 0.75},
                hovertext=[f"{t.symbol} {t.side}: {t.net_r:+.2f} R ({t.reason})" for t in some],
                hovertemplate="%{hovertext}<br>worst %{x:.2f} R, best %{y:.2f} R<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="worst mark while open (MAE), R")
    figure.update_yaxes(title_text="best mark while open (MFE), R")
    return styled(figure).update_layout(hovermode="closest")


def costs(document: Document) -> go.Figure:
    """From what the trades made at the marks to what was left."""
    sums = document["costs"]
    names = ["gross", "slippage", "fees", "funding", "net"]
    values = [float(Decimal(sums[f"{name}_usd"])) for name in names]
    shown = [values[0], -values[1], -values[2], -values[3], values[4]]
    figure = go.Figure(
        go.Waterfall(
            x=names,
            y=shown,
            measure=["absolute", "relative", "relative", "relative", "total"],
            text=[f"{value:+,.0f}" for value in shown],
            textposition="outside",
            cliponaxis=False,
            increasing={"marker": {"color": RISE}},
            decreasing={"marker": {"color": FALL}},
            totals={"marker": {"color": ACCENT}},
            connector={"line": {"color": NEUTRAL, "width": 1, "dash": "dot"}},
            hovertemplate="%{x}: %{y:,.2f} USD<extra></extra>",
        )
    )
    figure.update_yaxes(title_text="USD", tickformat=",.0f")
    return styled(figure).update_layout(hovermode="closest", margin={"t": 28})


def stakes(curve: Curve) -> go.Figure:
    """Effective leverage, and how far the nearest liquidation was; gaps where nothing was open."""
    is_open = curve.notional_usd > 0
    columns = (curve.at_us, curve.notional_usd / curve.equity_usd, curve.liquidation_pct)
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.06)
    x: list[float | None] = []
    leverage: list[float | None] = []
    distance: list[float | None] = []
    last = None
    for at, lever, away in zip(*(column[is_open].tolist() for column in columns), strict=True):
        if last is not None and at - last > HOUR_US:
            x.append(None)
            leverage.append(None)
            distance.append(None)
            last = None
        if last is None or at % HOUR_US == 0:
            x.append(at / 1000)
            leverage.append(round(lever, 4))
            distance.append(round(away, 2))
        last = at
    for row, values, colour, form in ((1, leverage, ACCENT, "%{y:.2f}x"), (2, distance, FALL, "%{y:.0f} % away")):
        figure.add_trace(
            go.Scatter(
                x=x,
                y=values,
                line={"color": colour, "width": 1.2},
                connectgaps=False,
                hovertemplate=f"{form}<extra></extra>",
            ),
            row=row,
            col=1,
        )
    figure.update_xaxes(type="date")
    figure.update_yaxes(title_text="leverage, x equity", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="to liquidation, %", type="log", row=2, col=1)
    return styled(figure)


def refusals(document: Document) -> go.Figure:
    """Why signals were not taken; one refusal may have several reasons."""
    decisions = document["decisions"]
    counted = {**decisions["refused_by"], **decisions["blocked_by"]}
    names = sorted(counted, key=lambda name: (counted[name], name))
    figure = go.Figure(
        go.Bar(
            x=[counted[name] for name in names],
            y=names,
            orientation="h",
            marker={"color": NEUTRAL},
            text=[counted[name] for name in names],
            hovertemplate="%{y}: %{x}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="signals")
    figure.update_yaxes(automargin=True)
    return styled(figure).update_layout(hovermode="closest")


def by_month(document: Document) -> go.Figure:
    """Net result of the trades that closed in each month, and their sum."""
    cuts = document["by"]["month"]
    nets = [float(Decimal(one["net_usd"])) for one in cuts.values()]
    total, sums = 0.0, []
    for net in nets:
        total += net
        sums.append(round(total, 2))
    figure = go.Figure(
        [
            go.Bar(
                x=list(cuts),
                y=nets,
                marker={"color": [RISE if net > 0 else FALL for net in nets], "opacity": 0.8},
                hovertemplate="%{x}: %{y:,.2f} USD<extra></extra>",
            ),
            go.Scatter(
                x=list(cuts),
                y=sums,
                mode="lines",
                line={"color": ACCENT, "width": 1.5},
                hovertemplate="so far %{y:,.2f} USD<extra></extra>",
            ),
        ]
    )
    figure.update_yaxes(title_text="net, USD", tickformat=",.0f")
    figure.update_xaxes(type="category")
    return styled(figure)
