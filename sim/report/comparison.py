"""Several backtests side by side as one HTML file: a table of figures and the equity curves. Pure: documents in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Any, Final

import plotly.graph_objects as go

from sim.report.figures import styled
from sim.report.html import STYLE
from sim.report.page import page, place
from sim.report.prose import DEFINITIONS, span

Document = Mapping[str, Any]

COLUMNS: Final[tuple[tuple[str, str, str], ...]] = (
    ("trade_count", "trades", "d"),
    ("return_pct", "return, %", "+.2f"),
    ("cagr_pct", "a year, %", "+.2f"),
    ("max_drawdown_pct", "drawdown, %", ".2f"),
    ("sharpe", "Sharpe", ".2f"),
    ("sortino", "Sortino", ".2f"),
    ("profit_factor", "profit factor", ".2f"),
    ("win_rate_pct", "win rate, %", ".1f"),
    ("expectancy_r", "expectancy, R", "+.3f"),
    ("exposure_pct", "in the market, %", ".1f"),
    ("leverage_max_x", "leverage, x", ".2f"),
)
"""Field of the document, heading, form."""
MONEY: Final = {"gross": "+,.2f", "slippage": ",.2f", "fees": ",.2f", "funding": ",.2f", "net": "+,.2f"}
"""Costs are what was paid: without a plus sign."""
COLOURS: Final = (
    "#4278ff", "#f2832a", "#089981", "#c2409c", "#b8860b", "#7a5cff", "#f23645", "#12a4c4", "#8a8f98", "#6a994e",
)  # fmt: skip
DASHES: Final = ("solid", "dash", "dot")
"""For more runs than there are colours."""

ALL: Final = tuple(name for name, _, _ in COLUMNS)


def row(document: Document, only: Sequence[str] = ALL) -> list[str]:
    """One run's figures as text: those of `only` in the order of COLUMNS, then MONEY."""
    ratios = [
        "none" if document[name] is None else format(document[name], form) for name, _, form in COLUMNS if name in only
    ]
    return [*ratios, *(format(Decimal(document["costs"][f"{name}_usd"]), form) for name, form in MONEY.items())]


def headings(only: Sequence[str] = ALL) -> list[str]:
    """What stands above `row`."""
    return [*(heading for name, heading, _ in COLUMNS if name in only), *(f"{name}, USD" for name in MONEY)]


def comparison(title: str, subtitle: str, documents: Sequence[Document], *, note: str = "") -> str:
    """The file. Curves begin at 100; `documents` each have a `name`."""
    said = [f' title="{escape(DEFINITIONS[name])}"' for name in ALL] + [""] * len(MONEY)
    head = "".join(f"<th{title}>{escape(name)}</th>" for name, title in zip(headings(), said, strict=True))
    rows = "".join(
        f'<tr><td class="text">{escape(one["name"])}</td>' + "".join(f"<td>{cell}</td>" for cell in row(one)) + "</tr>"
        for one in documents
    )
    body = f"""{STYLE}<style>main {{ max-width: 1640px; }} #runs th, #runs td {{ padding: 4px 6px; font-size: 12.5px; }}</style><main>
<p>{escape(note)}</p>
<h2>Figures <small>the pointer on a heading shows its definition; money with open trades, ratios of the closed ones</small></h2>
<div class="wide"><table id="runs"><thead><tr><th class="text">run</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>
{_assumed(documents)}
<h2>Equity <small>each from 100; click a name to hide it</small></h2>{place("curves", "520px")}
<h2>Return against deepest drawdown</h2>{place("scatter", "380px")}
</main>"""
    return page(title, subtitle, body, {"curves": _curves(documents), "scatter": _scatter(documents)})


def _assumed(documents: Sequence[Document]) -> str:
    """What all runs took for granted, and in what they differ."""
    names = list(dict.fromkeys(name for one in documents for name in one["assumed"]))
    told = {"days": [span(one["period"]) for one in documents]}
    told |= {name: [str(one["assumed"].get(name, "none")) for one in documents] for name in names}
    same = "; ".join(f"{name} {values[0]}" for name, values in told.items() if len(set(values)) == 1)
    unlike = [name for name, values in told.items() if len(set(values)) > 1]
    rows = "".join(
        f'<tr><td class="text">{escape(one["name"])}</td>'
        + "".join(f'<td class="prose">{escape(told[name][place_])}</td>' for name in unlike)
        + "</tr>"
        for place_, one in enumerate(documents)
    )
    head = "".join(f'<th class="text">{escape(name)}</th>' for name in unlike)
    table = (
        f'<div class="wide"><table id="unlike"><thead><tr><th class="text">run</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        if unlike
        else ""
    )
    return f'<h2>What was assumed</h2><p class="faint" id="assumed">By all: {escape(same)}.</p>{table}'


def _curves(documents: Sequence[Document]) -> go.Figure:
    figure = go.Figure()
    for place_, one in enumerate(documents):
        points = [(at / 1000, float(usd)) for at, usd in one["equity_daily"]]
        first = float(one["start_equity_usd"] or 1)
        figure.add_trace(
            go.Scatter(
                x=[at for at, _ in points],
                y=[round(100 * usd / first, 4) for _, usd in points],
                name=one["name"],
                line={
                    "width": 1.5,
                    "color": COLOURS[place_ % len(COLOURS)],
                    "dash": DASHES[place_ // len(COLOURS) % len(DASHES)],
                },
                hovertemplate="%{y:.2f}<extra>" + escape(one["name"]) + "</extra>",
            )
        )
    figure.update_xaxes(type="date")
    return styled(figure).update_layout(showlegend=True, legend={"orientation": "h", "y": -0.1}, hovermode="closest")


def _scatter(documents: Sequence[Document]) -> go.Figure:
    some = [one for one in documents if one["return_pct"] is not None and one["max_drawdown_pct"] is not None]
    figure = go.Figure(
        go.Scatter(
            x=[one["max_drawdown_pct"] for one in some],
            y=[one["return_pct"] for one in some],
            mode="markers",
            hovertext=[one["name"] for one in some],
            marker={"size": 10, "color": [COLOURS[documents.index(one) % len(COLOURS)] for one in some]},
            hovertemplate="%{hovertext}<br>return %{y:.2f} %, drawdown %{x:.2f} %<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="deepest drawdown, %", rangemode="tozero")
    figure.update_yaxes(title_text="return, %")
    return styled(figure).update_layout(hovermode="closest")
