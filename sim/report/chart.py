"""A chart of candles with the structure the strategy saw and the trades that came of it. Pure: data in, a plotly figure out.

A candle is drawn over its whole time. What became known at a candle's close begins or ends in its middle, an entry or exit at its own moment.
Colours are for dark and light pages alike; the page supplies background and text colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final, Literal

import msgspec
import plotly.graph_objects as go

from protocol.units import moment
from sim.market.files import Candles
from sim.report.labels import Frame, Label, place
from sim.report.structure import Break, Pool, Structure, Swing, Zone

RISE, FALL = "#089981", "#f23645"
BUY_ZONE, SELL_ZONE = "66,120,255", "236,64,160"
LIQUIDITY, NEUTRAL = "#b8860b", "#8a8f98"
GRID: Final = "rgba(128,136,150,0.18)"
FONT: Final = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
TEXT: Final = "#5d6673"
LABEL: Final = {"size": 10, "family": FONT}
WIDTH_PX, HEIGHT_PX = 1400, 720
HEADROOM: Final = 0.06
"""Of the price range, above and below the candles."""
LABELLED_SWINGS: Final = 400
"""Candles in view beyond which swing labels are only told on hover."""


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with its terms and, unless it is still open, its exit. Texts are told on hover, one line each."""

    side: Literal["long", "short"]
    entry_ms: int
    entry: float
    stop: float
    target: float
    exit_ms: int | None
    exit: float | None
    entry_text: tuple[str, ...]
    exit_text: tuple[str, ...] = ()


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What one chart shows. `candles`: those in view; `lines`: further curves by name, a value a candle, None where unknown."""

    title: str
    subtitle: str
    candles: Candles
    tf_ms: int
    structure: Structure
    trades: tuple[Trade, ...] = ()
    lines: dict[str, tuple[float | None, ...]] = msgspec.field(default_factory=dict)
    has_volume: bool = False


def draw(view: View) -> go.Figure:
    """The figure. Every kind of thing can be switched off in its legend."""
    candles, half = view.candles, view.tf_ms // 2
    start, end = int(candles.time[0]), int(candles.time[-1]) + view.tf_ms
    room = (float(candles.high.max()) - float(candles.low.min())) * HEADROOM or float(candles.close[-1]) * 0.01
    frame = Frame(
        start, end, float(candles.low.min()) - room, float(candles.high.max()) + room, WIDTH_PX - 90, HEIGHT_PX - 114
    )
    figure = go.Figure()
    for traces in (
        _zones(view.structure.zones, frame, half),
        _pools(view.structure.pools, frame, half),
        _trade_lines(view.trades, frame),
        _breaks(view.structure.breaks, half),
        [_candles(candles, half)],
        _lines(view, half),
        _sweeps(view.structure.pools, half),
        _swings(view.structure.swings, half, are_labelled=len(candles.time) <= LABELLED_SWINGS),
        _labels(view, frame, half),
        _entries_and_exits(view.trades),
    ):
        figure.add_traces(traces)
    if view.has_volume:
        figure.add_trace(_volume(candles, half))
    _lay_out(figure, view, frame)
    return figure


def _lay_out(figure: go.Figure, view: View, frame: Frame) -> None:
    axis: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID, "tickfont": {"size": 11}}
    spike = {"showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "dot", "spikecolor": NEUTRAL}
    figure.update_layout(
        font={"family": FONT, "size": 12, "color": TEXT},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 12, "r": 78, "t": 30, "b": 84},
        legend={"orientation": "h", "x": 0, "y": -0.07, "yanchor": "top", "font": {"size": 11}, "tracegroupgap": 0},
        dragmode="pan",
        hovermode="closest",
        hoverlabel={"font": {"family": FONT, "size": 12}, "align": "left"},
        xaxis={
            **axis,
            **spike,
            "type": "date",
            "range": [frame.x0, frame.x1],
            "rangeslider": {"visible": False},
            "showgrid": True,
        },
        yaxis={
            **axis,
            **spike,
            "side": "right",
            "range": [frame.y0, frame.y1],
            "domain": [0.16, 1] if view.has_volume else [0, 1],
            "tickformat": _price_format(frame.y1),
            "hoverformat": ",.2f" if frame.y1 >= 10 else ".6g",
        },
    )
    if view.has_volume:
        figure.update_layout(
            xaxis_anchor="y2", yaxis2={**axis, "domain": [0, 0.13], "side": "right", "nticks": 3, "fixedrange": True}
        )


def _price_format(highest: float) -> str:
    return ",.0f" if highest >= 10_000 else ",.2f" if highest >= 10 else ".5g"


def price(value: float) -> str:
    """A price for a person: cents above ten dollars, six digits below."""
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:.6g}"


def at(time_ms: int) -> str:
    """A time for a person, to the minute."""
    return moment(time_ms * 1000)[:16]


# --- candles -----------------------------------------------------------------------------------------------------------


def _candles(c: Candles, half: int) -> go.Candlestick:
    return go.Candlestick(
        x=(c.time + half).tolist(),
        open=c.open.tolist(),
        high=c.high.tolist(),
        low=c.low.tolist(),
        close=c.close.tolist(),
        name="candles",
        showlegend=False,
        increasing={"line": {"color": RISE, "width": 1}, "fillcolor": RISE},
        decreasing={"line": {"color": FALL, "width": 1}, "fillcolor": FALL},
        whiskerwidth=0,
    )


def _volume(c: Candles, half: int) -> go.Bar:
    colours = [RISE if rises else FALL for rises in (c.close >= c.open).tolist()]
    return go.Bar(
        x=(c.time + half).tolist(),
        y=c.volume.tolist(),
        yaxis="y2",
        marker={"color": colours, "opacity": 0.45, "line": {"width": 0}},
        name="volume",
        showlegend=False,
        hovertemplate="volume %{y:,.4g}<extra></extra>",
    )


def _lines(view: View, half: int) -> list[go.Scatter]:
    x = (view.candles.time + half).tolist()
    return [
        go.Scatter(
            x=x,
            y=list(values),
            name=name,
            mode="lines",
            line={"width": 1.2, "color": NEUTRAL},
            hovertemplate=f"{escape(name)} %{{y:,.6~g}}<extra></extra>",
            visible="legendonly",
        )
        for name, values in view.lines.items()
    ]


# --- zones and liquidity -----------------------------------------------------------------------------------------------

ZONES: Final[tuple[tuple[str, int, str, str, str], ...]] = (
    ("OB", 1, "bullish order block", BUY_ZONE, "0.20"),
    ("OB", -1, "bearish order block", SELL_ZONE, "0.16"),
    ("FVG", 1, "bullish gap (FVG)", "8,153,129", "0.13"),
    ("FVG", -1, "bearish gap (FVG)", "242,110,34", "0.14"),
    ("breaker", 1, "bullish breaker", BUY_ZONE, "0.07"),
    ("breaker", -1, "bearish breaker", SELL_ZONE, "0.07"),
)


def _zones(zones: Sequence[Zone], frame: Frame, half: int) -> list[go.Scatter]:
    """Rectangles up to the candle that mitigated them; one trace for each kind and direction, and its hover points."""
    traces = []
    for kind, direction, name, colour, opacity in ZONES:
        those = [
            zone
            for zone in zones
            if (zone.kind, zone.direction) == (kind, direction) and zone.bottom < frame.y1 and zone.top > frame.y0
        ]
        if not those:
            continue
        visible = "legendonly" if kind == "breaker" else True
        x: list[float | None] = []
        y: list[float | None] = []
        for zone in those:
            left, right = _span(zone, frame, half)
            x += [left, right, right, left, left, None]
            y += [zone.bottom, zone.bottom, zone.top, zone.top, zone.bottom, None]
        shared: dict[str, Any] = {"legendgroup": name, "visible": visible, "name": name}
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                fill="toself",
                mode="lines",
                fillcolor=f"rgba({colour},{opacity})",
                line={
                    "width": 1 if kind != "FVG" else 0.5,
                    "color": f"rgba({colour},0.55)",
                    "dash": "dot" if kind == "breaker" else "solid",
                },
                hoverinfo="skip",
                **shared,
            )
        )
        traces.append(_hover([_zone_point(zone, frame, half) for zone in those], colour=f"rgb({colour})", **shared))
    return traces


def _span(thing: Zone | Pool, frame: Frame, half: int) -> tuple[float, float]:
    """From the left edge of the source candle to the middle of the ending one, within the frame."""
    end = frame.x1 if thing.end_ms is None else thing.end_ms + half
    return max(frame.x0, thing.start_ms), min(frame.x1, end)


def _zone_point(zone: Zone, frame: Frame, half: int) -> tuple[float, float, str]:
    left, right = _span(zone, frame, half)
    kind = {"OB": "order block", "FVG": "gap", "breaker": "breaker"}[zone.kind]
    until = "" if zone.end_ms is None else f" {at(zone.end_ms)}"
    text = (
        f"<b>{'bullish' if zone.direction > 0 else 'bearish'} {kind}</b> {zone.id}<br>{price(zone.bottom)} to "
        f"{price(zone.top)}<br>known {at(zone.known_ms)}<br>{zone.fate}{until}"
    )
    return (left + right) / 2, (zone.top + zone.bottom) / 2, text


def _pools(pools: Sequence[Pool], frame: Frame, half: int) -> list[go.Scatter]:
    """Equal highs and lows as dotted levels; single swings' liquidity only on demand."""
    traces = []
    for name, those, visible in (
        ("equal highs / lows", [pool for pool in pools if pool.count > 1], True),
        ("liquidity of single swings", [pool for pool in pools if pool.count == 1], "legendonly"),
    ):
        shown = [pool for pool in those if frame.y0 < pool.level < frame.y1]
        if not shown:
            continue
        x: list[float | None] = []
        y: list[float | None] = []
        for pool in shown:
            x += [*_span(pool, frame, half), None]
            y += [pool.level, pool.level, None]
        shared: dict[str, Any] = {"legendgroup": name, "visible": visible, "name": name}
        line = {"width": 1.3, "color": LIQUIDITY, "dash": "dot"}
        traces.append(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", **shared))
        points = [(_span(pool, frame, half)[1], pool.level, _pool_text(pool)) for pool in shown]
        traces.append(_hover(points, colour=LIQUIDITY, **shared))
    return traces


def _pool_text(pool: Pool) -> str:
    side = "buy-side" if pool.direction > 0 else "sell-side"
    ended = "" if pool.end_ms is None else f" {at(pool.end_ms)}"
    return f"<b>{side} liquidity</b> at {price(pool.level)}<br>{pool.count} swing{'s' * (pool.count > 1)} since {at(pool.start_ms)}<br>{pool.fate}{ended}"


def _sweeps(pools: Sequence[Pool], half: int) -> list[go.Scatter]:
    swept = [pool for pool in pools if pool.fate == "swept"]
    if not swept:
        return []
    return [
        go.Scatter(
            x=[(pool.end_ms or 0) + half for pool in swept],
            y=[pool.level for pool in swept],
            mode="markers",
            name="sweep",
            marker={
                "symbol": "x-thin",
                "size": [9 if pool.count > 1 else 6 for pool in swept],
                "line": {"width": 1.6, "color": LIQUIDITY},
            },
            hovertext=[_pool_text(pool) for pool in swept],
            hoverinfo="text",
        )
    ]


def _hover(points: Iterable[tuple[float, float, str]], *, colour: str, **shared: Any) -> go.Scatter:
    """Unseen points that tell a text."""
    x, y, texts = zip(*points, strict=True)
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"size": 14, "opacity": 0, "color": colour},
        hovertext=texts,
        hoverinfo="text",
        showlegend=False,
        **shared,
    )


# --- breaks and swings -------------------------------------------------------------------------------------------------


def _breaks(breaks: Sequence[Break], half: int) -> list[go.Scatter]:
    traces = []
    for kind, direction, dash in (
        ("BOS", 1, "solid"),
        ("BOS", -1, "solid"),
        ("CHoCH", 1, "dash"),
        ("CHoCH", -1, "dash"),
    ):
        those = [one for one in breaks if (one.kind, one.direction) == (kind, direction)]
        if not those:
            continue
        name = f"{kind} {'up' if direction > 0 else 'down'}"
        x: list[float | None] = []
        y: list[float | None] = []
        for one in those:
            x += [one.start_ms + half, one.end_ms + half, None]
            y += [one.level, one.level, None]
        colour = RISE if direction > 0 else FALL
        shared: dict[str, Any] = {"legendgroup": name, "name": name}
        traces.append(
            go.Scatter(
                x=x, y=y, mode="lines", line={"width": 1.3, "color": colour, "dash": dash}, hoverinfo="skip", **shared
            )
        )
        texts = [
            (
                one.end_ms + half,
                one.level,
                f"<b>{name}</b> of {price(one.level)}<br>swing {at(one.start_ms)}<br>broken by the close of {at(one.end_ms)}",
            )
            for one in those
        ]
        traces.append(_hover(texts, colour=colour, **shared))
    return traces


def _swings(swings: Sequence[Swing], half: int, *, are_labelled: bool) -> list[go.Scatter]:
    """Marks where there are no labels, unseen points for the hover where there are."""
    if not swings:
        return []
    return [
        go.Scatter(
            x=[swing.time_ms + half for swing in swings],
            y=[swing.level for swing in swings],
            mode="markers",
            name="swings",
            legendgroup="swings",
            marker={
                "symbol": ["triangle-down-open" if swing.direction > 0 else "triangle-up-open" for swing in swings],
                "size": 9 if are_labelled else 5,
                "opacity": 0 if are_labelled else 1,
                "color": NEUTRAL,
                "line": {"width": 1},
            },
            hovertext=[
                f"<b>swing {'high' if s.direction > 0 else 'low'} {s.label or ''}</b> {price(s.level)}<br>{at(s.time_ms)}, "
                f"known {at(s.known_ms)}"
                for s in swings
            ],
            hoverinfo="text",
        )
    ]


class _Text(msgspec.Struct, frozen=True):
    """A label, the legend entry it belongs to and its colour."""

    label: Label
    group: str
    colour: str


def _labels(view: View, frame: Frame, half: int) -> list[go.Scatter]:
    """All texts that find a free place; breaks come first, then equal highs and lows, order blocks, swings."""
    structure = view.structure
    texts = [
        _Text(
            Label((one.start_ms + one.end_ms) / 2 + half, one.level, one.kind, one.direction > 0),
            f"{one.kind} {'up' if one.direction > 0 else 'down'}",
            RISE if one.direction > 0 else FALL,
        )
        for kind in ("CHoCH", "BOS")
        for one in structure.breaks
        if one.kind == kind
    ]
    for pool in structure.pools:
        if pool.count > 1:
            left, right = _span(pool, frame, half)
            text = f"{'EQH' if pool.direction > 0 else 'EQL'} ×{pool.count}"
            texts.append(
                _Text(Label((left + right) / 2, pool.level, text, pool.direction > 0), "equal highs / lows", LIQUIDITY)
            )
    for zone in structure.zones:
        if zone.kind == "OB":
            left, right = _span(zone, frame, half)
            name = next(name for kind, d, name, _, _ in ZONES if (kind, d) == ("OB", zone.direction))
            colour = f"rgb({BUY_ZONE if zone.direction > 0 else SELL_ZONE})"
            edge = zone.bottom if zone.direction > 0 else zone.top
            texts.append(_Text(Label((left + right) / 2, edge, "OB", zone.direction > 0), name, colour))
    if len(view.candles) <= LABELLED_SWINGS:
        texts += [
            _Text(Label(s.time_ms + half, s.level, s.label, s.direction > 0), "swings", NEUTRAL)
            for s in structure.swings
            if s.label is not None
        ]
    shown = [text for text, fits in zip(texts, place([text.label for text in texts], frame), strict=True) if fits]
    return [
        go.Scatter(
            x=[text.label.x for text in those],
            y=[text.label.y for text in those],
            text=[text.label.text for text in those],
            textposition=["top center" if text.label.is_above else "bottom center" for text in those],
            textfont={**LABEL, "color": colour},
            mode="text",
            hoverinfo="skip",
            legendgroup=group,
            showlegend=False,
        )
        for group, colour in dict.fromkeys((text.group, text.colour) for text in shown)
        for those in [[text for text in shown if (text.group, text.colour) == (group, colour)]]
    ]


# --- trades ------------------------------------------------------------------------------------------------------------


def _trade_lines(trades: Sequence[Trade], frame: Frame) -> list[go.Scatter]:
    """Stop, target and the way from entry to exit, while each trade lasted. A single trade's risk and reward are shaded."""
    if not trades:
        return []
    traces = []
    shade = {"fill": "toself"} if len(trades) == 1 else {}
    for name, colour, edge in (("target", RISE, "target"), ("stop", FALL, "stop")):
        x: list[float | None] = []
        y: list[float | None] = []
        for trade in trades:
            right = frame.x1 if trade.exit_ms is None else trade.exit_ms
            level = getattr(trade, edge)
            x += [trade.entry_ms, right, *([right, trade.entry_ms, trade.entry_ms] if shade else []), None]
            y += [level, level, *([trade.entry, trade.entry, level] if shade else []), None]
        line = {"width": 1.2, "color": _translucent(colour, 0.8), "dash": "longdash"}
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                line=line,
                fillcolor=_translucent(colour, 0.09),
                name=name,
                hoverinfo="skip",
                **shade,
            )
        )
    ended = [trade for trade in trades if trade.exit_ms is not None]
    way = (
        [(trade.entry_ms, trade.exit_ms, None) for trade in ended],
        [(trade.entry, trade.exit, None) for trade in ended],
    )
    x, y = ([one for triple in triples for one in triple] for triples in way)
    traces.append(
        go.Scatter(
            x=x, y=y, mode="lines", line={"width": 1.4, "color": NEUTRAL}, name="entry to exit", hoverinfo="skip"
        )
    )
    return traces


def _translucent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _entries_and_exits(trades: Sequence[Trade]) -> list[go.Scatter]:
    if not trades:
        return []
    entries = go.Scatter(
        x=[trade.entry_ms for trade in trades],
        y=[trade.entry for trade in trades],
        mode="markers",
        name="entry",
        marker={
            "symbol": ["triangle-up" if trade.side == "long" else "triangle-down" for trade in trades],
            "size": 13,
            "color": [RISE if trade.side == "long" else FALL for trade in trades],
            "line": {"width": 1.5, "color": "white"},
        },
        hovertext=["<br>".join(map(escape, trade.entry_text)) for trade in trades],
        hoverinfo="text",
    )
    ended = [trade for trade in trades if trade.exit_ms is not None]
    exits = go.Scatter(
        x=[trade.exit_ms for trade in ended],
        y=[trade.exit for trade in ended],
        mode="markers",
        name="exit",
        marker={
            "symbol": "square",
            "size": 9,
            "color": [RISE if _gain(trade) > 0 else FALL for trade in ended],
            "line": {"width": 1.5, "color": "white"},
        },
        hovertext=["<br>".join(map(escape, trade.exit_text)) for trade in ended],
        hoverinfo="text",
    )
    return [entries, exits]


def _gain(trade: Trade) -> float:
    assert trade.exit is not None
    return (trade.exit - trade.entry) * (1 if trade.side == "long" else -1)
