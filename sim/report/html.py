"""The report of a backtest as one HTML file that needs nothing else: figures, tables, each trade's chart. Pure: text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from typing import Any, Final

import msgspec
import plotly.graph_objects as go

from config.settings import Settings
from protocol.units import HOUR_US, SECOND_US
from sim.loop import Result
from sim.market.tape import Tape
from sim.report import figures as f
from sim.report.document import Findings
from sim.report.page import page, place
from sim.report.prose import DEFINITIONS, assumed_text, course, day, decided, span
from sim.report.trade_charts import trade_charts

STYLE: Final = """
<style>
main { max-width: 1320px; margin: 0 auto; padding: 0 16px 60px; }
h2 { font-size: 15px; margin: 34px 0 8px; } h2 small { font-weight: normal; color: var(--faint); }
p { max-width: 95ch; } .faint { color: var(--faint); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 10px; margin: 14px 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 9px 12px; }
.card b { display: block; font-size: 19px; font-variant-numeric: tabular-nums; } .card span { color: var(--faint); font-size: 12px; }
.good { color: var(--good); } .bad { color: var(--bad); }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 24px; } @media (max-width: 900px) { .two { grid-template-columns: 1fr; } }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; width: 100%; }
th, td { padding: 4px 9px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--faint); font-weight: 600; cursor: default; } td.text, th.text { text-align: left; }
#trades th, #trades td { padding: 4px 6px; font-size: 12.5px; } #cuts td.by { color: var(--faint); padding-top: 14px; }
#trades th { cursor: pointer; position: sticky; top: 0; background: var(--page); } #trades tbody tr { cursor: pointer; }
#trades tbody tr:hover, #trades tbody tr.chosen { background: var(--card); }
#trades a { color: var(--accent); text-decoration: none; } .scroll { max-height: 520px; overflow: auto; }
td.prose { white-space: normal; text-align: left; color: var(--faint); }
#trade-chart { scroll-margin-top: 10px; } summary { cursor: pointer; color: var(--faint); }
</style>
"""

SCRIPT: Final = """
const body = document.querySelector("#trades tbody");
async function show(id) {
  const row = document.getElementById("row-" + id);
  if (!row) return;
  body.querySelectorAll(".chosen").forEach(one => one.classList.remove("chosen"));
  row.classList.add("chosen");
  document.getElementById("trade-title").textContent = row.dataset.title;
  document.getElementById("trade-facts").textContent = row.dataset.facts;
  if (!document.getElementById("figure-trade-" + id)) return;
  document.getElementById("plot-trade").style.height = "620px";
  if (drawn["plot-trade"]) Plotly.purge("plot-trade");
  await draw("trade-" + id, "plot-trade");
  document.getElementById("trade-chart").scrollIntoView({block: "start"});
}
body.addEventListener("click", event => { const row = event.target.closest("tr"); if (row) location.hash = "trade-" + row.id.slice(4); });
const follow = () => { if (location.hash.startsWith("#trade-")) show(location.hash.slice(7)); };
addEventListener("hashchange", follow);
follow();
document.querySelectorAll("#trades th").forEach((head, column) => head.addEventListener("click", () => {
  const up = head.dataset.up !== "yes"; head.dataset.up = up ? "yes" : "no";
  const key = row => { const cell = row.cells[column], v = cell.dataset.value; return v === undefined ? cell.textContent : Number(v); };
  [...body.rows].sort((a, b) => (key(a) > key(b) ? 1 : key(a) < key(b) ? -1 : 0) * (up ? 1 : -1)).forEach(row => body.append(row));
}));
"""


def report(title: str, settings: Settings, tape: Tape, result: Result, findings: Findings) -> str:
    """The whole file. The document it shows is in it as well, as JSON under the id `document`."""
    document = findings.document
    closed = [trade for trade in findings.trades if trade.closed_at is not None]
    drawn: dict[str, go.Figure] = {
        "equity": f.equity_and_drawdown(result.curve),
        "months": f.months(document["monthly_returns_pct"]),
        "costs": f.costs(document),
        "multiples": f.multiples(closed),
        "excursions": f.excursions(closed),
        "stakes": f.stakes(result.curve),
        "refusals": f.refusals(document),
        "by-month": f.by_month(document),
    }
    charts = {f"trade-{name}": chart for name, chart in trade_charts(findings.trades, tape, settings.strategy)}
    years = len({name[:4] for name in document["monthly_returns_pct"]})
    body = f"""{STYLE}
<main>
{_cards(document)}
<h2>What was assumed</h2>
<p id="assumed">{escape(assumed_text(document))}</p>
{_settings(document)}
<h2>Equity and drawdown</h2>{place("equity", "420px")}
{_falls(document)}
<h2>Monthly returns <small>percent of equity, open positions at their marks</small></h2>{place("months", f"{60 + 38 * years}px")}
<h2>Trades, month by month <small>net, and their sum</small></h2>{place("by-month", "260px")}
<div class="two">
<div><h2>Costs against gross <small>open trades too</small></h2>{place("costs", "340px")}</div>
<div><h2>Results in R</h2>{place("multiples", "340px")}</div>
<div><h2>Worst and best mark of each trade</h2>{place("excursions", "340px")}</div>
<div><h2>Signals not taken <small>{escape(decided(document["decisions"]))}</small></h2>{place("refusals", "340px")}</div>
</div>
<h2>Effective leverage, and the way to liquidation <small>of the nearest position, its mark moving alone</small></h2>{place("stakes", "340px")}
<h2>By symbol, side, timeframe, exit, year, symbol and year <small>closed trades</small></h2>{_cuts(document)}
<h2>Trades <small>click for the chart, click a heading to sort; ticks are UTC</small></h2>
<div class="wide scroll">{_trades(document)}</div>
<div id="trade-chart"><h2 id="trade-title"></h2><p id="trade-facts" class="faint"></p><div id="plot-trade"></div></div>
<h2>Metrics</h2><div class="wide">{_metrics(document)}</div>
</main>
<script type="application/json" id="document">{_json(document)}</script>
"""
    subtitle = f"{span(document['period'])}, profile {document['profile']}, digest {document['digest'][:12]}"
    return page(title, subtitle, body, {**drawn, **charts}, more=SCRIPT)


def _json(document: Mapping[str, Any]) -> str:
    return msgspec.json.encode(document).decode().replace("<", "\\u003c")


# --- words for numbers -------------------------------------------------------------------------------------------------


def _minute(at: int) -> str:
    return datetime.fromtimestamp(at // SECOND_US, UTC).strftime("%Y-%m-%d %H:%M")


def usd(value: str | float | None) -> str:
    """Dollars with a sign and thousands."""
    return "none" if value is None else f"{Decimal(str(value)):+,.2f}"


def cost(value: str | float) -> str:
    """Dollars that were paid; below zero they were received."""
    return f"{Decimal(str(value)):,.2f}"


def plain(value: float | None, form: str = ".2f") -> str:
    """A ratio, or `none`."""
    return "none" if value is None else format(value, form)


def _tone(value: float | Decimal | None) -> str:
    return "" if not value else ' class="good"' if value > 0 else ' class="bad"'


def _cell(value: float | str | None, text: str, *, toned: bool = False) -> str:
    number = None if value is None else Decimal(str(value))
    sort = "" if number is None else f' data-value="{number}"'
    return f"<td{_tone(number) if toned else ''}{sort}>{escape(text)}</td>"


def _money(row: Mapping[str, Any]) -> str:
    """Gross, costs and net as cells; costs are without a plus sign."""
    forms = {"gross": usd, "slippage": cost, "fees": cost, "funding": cost, "net": usd}
    return "".join(
        _cell(row[f"{name}_usd"], form(row[f"{name}_usd"]), toned=name == "net") for name, form in forms.items()
    )


def _text(value: str) -> str:
    return f'<td class="text">{escape(value)}</td>'


# --- parts of the page -------------------------------------------------------------------------------------------------

CARDS: Final[tuple[tuple[str, str, Callable[[Any], str], bool], ...]] = (
    ("net_usd", "net, USD", usd, True),
    ("return_pct", "return, %", lambda v: plain(v, "+.2f"), True),
    ("cagr_pct", "a year (CAGR), %", lambda v: plain(v, "+.2f"), True),
    ("max_drawdown_pct", "deepest drawdown, %", plain, False),
    ("trade_count", "closed trades", str, False),
    ("win_rate_pct", "win rate, %", lambda v: plain(v, ".1f"), False),
    ("profit_factor", "profit factor", plain, False),
    ("expectancy_r", "expectancy, R", lambda v: plain(v, "+.3f"), True),
    ("sharpe", "Sharpe", plain, False),
    ("sortino", "Sortino", plain, False),
    ("exposure_pct", "time in the market, %", lambda v: plain(v, ".1f"), False),
    ("leverage_max_x", "highest leverage, x", plain, False),
)


def _cards(document: Mapping[str, Any]) -> str:
    """The figures a person looks for first, with what chance could have made of them."""
    sure = document["confidence"]["intervals"]
    cards = []
    for name, label, form, is_toned in CARDS:
        value = document[name]
        tone = _tone(Decimal(str(value))) if is_toned and value is not None else ""
        between = sure.get(name)
        chance = f"<span>{form(between[0])} to {form(between[1])}</span>" if between else ""
        cards.append(f'<div class="card"><span>{label}</span><b id="card-{name}"{tone}>{form(value)}</b>{chance}</div>')
    c = document["confidence"]
    return (
        f'<div class="cards">{"".join(cards)}</div><p class="faint">Small figures: {c["level_pct"]} % intervals from {c["resamples"]:,} '
        "resamples of these trades (ratios) and of these days in weekly blocks (return, Sharpe). They say what chance alone does to such "
        "figures, not what the future holds.</p>"
    )


def _settings(document: Mapping[str, Any]) -> str:
    """Every parameter of the strategy, the risk rules and the simulated exchange, folded away."""
    rows = "".join(
        f'<tr>{_text(f"{section}.{name}")}<td class="prose">{escape(str(value))}</td></tr>'
        for section, values in document["settings"].items()
        for name, value in values.items()
    )
    return f'<details id="settings"><summary>The settings of this run</summary><div class="wide"><table><tbody>{rows}</tbody></table></div></details>'


def _falls(document: Mapping[str, Any]) -> str:
    lines = []
    deepest, longest = (document["drawdowns"][name] for name in ("deepest", "longest"))
    named = {"deepest and longest": deepest} if deepest == longest else {"deepest": deepest, "longest": longest}
    for name, fall in named.items():
        if fall is not None:
            over = (
                "not recovered by the end" if fall["recovered_at"] is None else f"recovered {day(fall['recovered_at'])}"
            )
            lines.append(
                f"The {name} drawdown: {fall['depth_pct']:.2f} %, from {day(fall['peak_at'])}, lowest {day(fall['bottom_at'])}, {over}, "
                f"{fall['days']:.0f} days."
            )
    lines.append(f"The run begins on {day(document['period']['start'])}; {course(document['decisions'])}.")
    return f'<p class="faint" id="course">{escape(" ".join(lines))}</p>'


SHOWN_CUTS: Final = ("symbol", "side", "timeframe", "exit", "year", "symbol and year")
"""Months have a figure of their own."""


def _cuts(document: Mapping[str, Any]) -> str:
    """One table, a block of rows for each cut."""
    names = ("trades", "gross", "slippage", "fees", "funding", "net", "win rate, %", "profit factor", "expectancy, R")
    head = '<th class="text"></th>' + "".join(f"<th>{name}</th>" for name in names)
    rows = []
    for by in SHOWN_CUTS:
        rows.append(f'<tr><td class="text by" colspan="10">by {by}</td></tr>')
        for name, one in document["by"][by].items():
            ratios = (
                f"<td>{plain(one['win_rate_pct'], '.1f')}</td><td>{plain(one['profit_factor'])}</td>"
                f"<td>{plain(one['expectancy_r'], '+.3f')}</td>"
            )
            rows.append(f"<tr>{_text(name)}<td>{one['trades']}</td>{_money(one)}{ratios}</tr>")
    return (
        f'<div class="wide"><table id="cuts"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


TRADE_COLUMNS: Final = (
    "opened", "closed", "symbol", "side", "tf", "size", "entry", "exit", "why", "gross", "slippage", "fees", "funding", "net", "R",
    "MAE, R", "MFE, R", "leverage",
)  # fmt: skip


def _trades(document: Mapping[str, Any]) -> str:
    head = "".join(f"<th{' class=text' * (name in ('symbol', 'why'))}>{name}</th>" for name in TRADE_COLUMNS)
    rows = [_trade(row) for row in (*document["trades"], *document["open_trades"])]
    return f'<table id="trades"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _trade(row: Mapping[str, Any]) -> str:
    closed = row["closed_at"]
    title = f"{row['symbol']} {row['side']} {row['timeframe']}, {_minute(row['opened_at'])}: {row['reason']}, net {usd(row['net_usd'])} USD"
    cells = (
        f'<td data-value="{row["opened_at"]}"><a href="#trade-{row["trade_id"]}">{_minute(row["opened_at"])}</a></td>',
        _cell(closed, "open" if closed is None else _minute(closed)),
        _text(row["symbol"]),
        _text(row["side"]),
        _text(row["timeframe"]),
        _cell(row["size"], row["size"]),
        _cell(row["entry_price"], f"{Decimal(row['entry_price']):,.6g}"),
        _cell(row["exit_price"], f"{Decimal(row['exit_price']):,.6g}"),
        _text(row["reason"]),
        _money(row),
        _cell(row["net_r"], plain(row["net_r"], "+.2f"), toned=True),
        _cell(row["mae_r"], plain(row["mae_r"])),
        _cell(row["mfe_r"], plain(row["mfe_r"])),
        _cell(row["leverage_x"], f"{Decimal(row['leverage_x']):.2f}"),
    )
    return f'<tr id="row-{row["trade_id"]}" data-title="{escape(title)}" data-facts="{escape(_facts(row))}">{"".join(cells)}</tr>'


def _facts(row: Mapping[str, Any]) -> str:
    """One trade in a line: prices, how long, what it cost, how far it ran, and by which name `explain` knows it."""
    stop, target = (
        "none" if row[name] is None else f"{Decimal(row[name]):,.6g}" for name in ("stop_price", "target_price")
    )
    until = row["closed_at"]
    held = "still open" if until is None else f"held {(until - row['opened_at']) / HOUR_US:,.1f} h"
    costs = ", ".join(f"{name} {cost(row[f'{name}_usd'])}" for name in ("slippage", "fees", "funding"))
    return (
        f"{row['side']} {row['size']} at {Decimal(row['entry_price']):,.6g}, stop {stop}, target {target}, out at "
        f"{Decimal(row['exit_price']):,.6g} ({row['reason']}), {held}. Gross {usd(row['gross_usd'])}, {costs}, net {usd(row['net_usd'])} USD "
        f"({plain(row['net_r'], '+.2f')} R). Worst mark {plain(row['mae_r'], '+.2f')} R, best {plain(row['mfe_r'], '+.2f')} R. "
        f"Entered in zone {row['zone_id']}; the trade is {row['trade_id']}."
    )


def _metrics(document: Mapping[str, Any]) -> str:
    """Every figure with its definition."""
    rows: Sequence[str] = [
        f'<tr>{_text(name)}<td id="metric-{name}">{_shown(document[name])}</td><td class="prose">{escape(said)}</td></tr>'
        for name, said in DEFINITIONS.items()
    ]
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return (
        f"{value:,.4f}"
        if isinstance(value, float)
        else f"{Decimal(value):,.2f}"
        if isinstance(value, str)
        else str(value)
    )
