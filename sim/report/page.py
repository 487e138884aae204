"""One HTML file that needs nothing else: plotly's script from the installed package, figures, light and dark. It is kept whole or not
at all.

Knows no market; callers supply figures and HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Literal

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

Theme = Literal["auto", "light", "dark"]

STYLE = """
:root { color-scheme: light; --page: #ffffff; --card: #f6f7f9; --text: #20262e; --faint: #5d6673; --line: #dfe3e8;
  --good: #078a74; --bad: #d42a3a; --accent: #2962ff; }
:root.dark { color-scheme: dark; --page: #131722; --card: #1c212e; --text: #e3e7ee; --faint: #a3acba; --line: #2c3342;
  --good: #26c2a3; --bad: #ff6470; --accent: #7fa2ff; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 14px/1.5 Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header { display: flex; align-items: baseline; gap: 16px; padding: 10px 16px 4px; }
h1 { font-size: 17px; margin: 0; }
header small { color: var(--faint); font-size: 13px; }
#theme { margin-left: auto; border: 1px solid var(--line); border-radius: 6px;
  background: var(--card); color: var(--text); padding: 3px 10px; font: inherit; font-size: 12px; cursor: pointer; }
@media print { #theme { display: none; } }
"""

SCRIPT = """
"use strict";
const CONFIG = {responsive: true, scrollZoom: true, displaylogo: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "toggleSpikelines"]};
const drawn = {};
const isDark = () => document.documentElement.classList.contains("dark");
const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--text").trim();
function draw(id, into) {
  const figure = JSON.parse(document.getElementById("figure-" + id).textContent);
  figure.layout.font = {...figure.layout.font, color: ink()};
  figure.data.filter(trace => trace.type === "heatmap").forEach(trace => { trace.textfont = {color: ink()}; });
  figure.layout.modebar = {bgcolor: "rgba(0,0,0,0)", color: "#8a8f98", activecolor: "#2962ff"};
  drawn[into] = true;
  return Plotly.newPlot(into, figure.data, figure.layout, CONFIG).then(plot => { fitPrices(plot); return plot; });
}
// Candles: moving along the time keeps the prices in view, unless the price axis itself was moved.
function fitPrices(plot) {
  const candles = plot.data.find(trace => trace.type === "candlestick");
  if (!candles) return;
  plot.on("plotly_relayout", change => {
    if (change["yaxis.range[0]"] !== undefined || change["xaxis.range[0]"] === undefined) return;
    const [from, to] = plot.layout.xaxis.range.map(x => typeof x === "number" ? x : Date.parse(String(x).replace(" ", "T") + "Z"));
    let low = Infinity, high = -Infinity;
    candles.x.forEach((x, i) => { if (x >= from && x <= to) { low = Math.min(low, candles.low[i]); high = Math.max(high, candles.high[i]); } });
    if (high > low) Plotly.relayout(plot, {"yaxis.range": [low - (high - low) * 0.06, high + (high - low) * 0.06]});
  });
}
function setTheme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  document.getElementById("theme").textContent = dark ? "light" : "dark";
  for (const id of Object.keys(drawn)) {
    const hasCells = document.getElementById(id).data.some(trace => trace.type === "heatmap");
    if (hasCells) draw(id.slice(5), id); else Plotly.relayout(id, {"font.color": ink()});
  }
}
const wanted = document.documentElement.dataset.theme;
setTheme(wanted === "dark" || (wanted === "auto" && matchMedia("(prefers-color-scheme: dark)").matches));
document.getElementById("theme").addEventListener("click", () => setTheme(!isDark()));
document.querySelectorAll("[data-figure]").forEach(place => draw(place.dataset.figure, place.id));
"""


def page(
    title: str, subtitle: str, body: str, figures: Mapping[str, go.Figure], *, theme: Theme = "auto", more: str = ""
) -> str:
    """The file's text. `body` holds `place(name)` where the figure `name` belongs; `more` is a script that runs last."""
    return f"""<!DOCTYPE html>
<html lang="en" data-theme="{theme}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header><h1>{escape(title)}</h1><small>{escape(subtitle)}</small>
<button id="theme" type="button" title="light or dark">dark</button></header>
{body}
{"".join(_data(name, figure) for name, figure in figures.items())}
<script>{SCRIPT}{more}</script>
</body>
</html>
"""


def place(name: str, height: str) -> str:
    """Where a figure is drawn when the page opens. `height` as CSS says it."""
    return f'<div id="plot-{name}" data-figure="{name}" style="height: {height}"></div>'


def _data(name: str, figure: go.Figure) -> str:
    # "<" is escaped so that no text of the data can end the script element.
    text = plotly.io.to_json(figure, validate=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="figure-{name}">{text}</script>\n'


def keep(html: str, file: Path) -> None:
    """Write `file` whole, or leave it as it was. Raises OSError, which names it."""
    if file.exists() and not file.is_file():  # a terminal, a pipe, a directory
        file.write_text(html, encoding="utf-8")
        return
    target = file.resolve()
    new = target.with_name(f"{target.name}.new")
    try:
        new.write_text(html, encoding="utf-8")
        new.replace(target)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(file)) from error
