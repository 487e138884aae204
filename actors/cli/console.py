"""One line per event that matters to a person. Pure: a message in, a line or nothing out."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from rich.text import Text

from protocol.messages import control as c
from protocol.messages import futures as f
from protocol.messages import signal as g
from protocol.messages import spot as s
from protocol.messages.base import Message
from protocol.units import moment

Part = str | tuple[str, str]
"""Text, or text and its style. Never markup: what a person or the exchange wrote is no formatting of ours."""


def _money(value: Decimal) -> str:
    return f"{value:+,.2f} USD"


def _percent(fraction: float | Decimal) -> str:
    return f"{float(fraction) * 100:.2f} %"


def _signal(m: g.Signal) -> list[Part]:
    return [
        ("signal", "bold"),
        f"   {m.symbol} {m.timeframe} {m.side} at {m.entry:,.2f}, stop {_percent(m.stop_pct)}, "
        f"target {_percent(m.take_profit_pct)} ({m.zone_id})",
    ]


def _enter(m: f.EnterPosition) -> list[Part]:
    return [("approved", "green"), f" {m.symbol} {m.side} {m.size}, leverage {m.leverage:.2f}x of equity"]


def _refused(m: f.SignalRefused) -> list[Part]:
    return [("refused", "yellow"), f"  {m.symbol}: {', '.join(m.reasons)}"]


def _blocked(m: f.EntryBlocked) -> list[Part]:
    return [("blocked", "yellow"), f"  {m.symbol}: {m.text}"]


def _admitted(m: f.OrderAdmitted) -> list[Part] | None:
    return [f"rounded  {m.symbol} {'; '.join(m.changes)}"] if m.changes else None


def _place(m: f.PlaceOrder) -> list[Part]:
    price = m.stop_price or m.limit_price
    at = f" at {price:,}" if price is not None else ""
    return [
        f"order    {m.symbol} {m.role}: {m.side} {m.size} {m.order_type}{at}{' reduce-only' if m.reduce_only else ''}"
    ]


def _filled(m: f.Filled) -> list[Part]:
    fill = m.fill
    fee = f", fee {fill.fee_usd:.2f} USD" if fill.fee_usd is not None else ""
    return [f"fill     {fill.symbol} {fill.side} {fill.size} at {fill.price:,}{fee}"]


def _protected(m: f.Protected) -> list[Part]:
    return [
        ("protect", "green"),
        f"  {m.symbol} {m.size}: stop {m.stop_price:,}, target {m.target_price:,} rest on the exchange",
    ]


def _closed(m: f.TradeClosed) -> list[Part]:
    colour = "green" if m.pnl_usd > 0 else "red"
    return [
        ("exit", colour),
        f"     {m.symbol} {m.side} {m.size} at {m.exit_price:,} ({m.reason}): ",
        (f"PnL {_money(m.pnl_usd)}", colour),
        f" ({m.r_multiple:+.2f} R) after {m.fees_usd:.2f} USD fees",
    ]


def _alert(m: c.Alert) -> list[Part] | None:
    if m.severity == "info":
        return None  # for the journal
    return [(m.code, {"warning": "yellow", "critical": "bold red"}[m.severity]), f" {m.text}"]


def _progress(m: c.KillProgress) -> list[Part]:
    if m.flat and not m.working_orders:
        return ["kill     flat, nothing working"]
    return [f"kill     open: {', '.join(m.open_positions) or 'none'}, {m.working_orders} orders working"]


LINES: dict[type[Message], Callable[[Any], list[Part] | None]] = {
    g.Signal: _signal,
    f.EnterPosition: _enter,
    f.SignalRefused: _refused,
    f.EntryBlocked: _blocked,
    f.OrderAdmitted: _admitted,
    f.PlaceOrder: _place,
    f.Filled: _filled,
    f.Protected: _protected,
    f.Rehearsed: lambda m: [("dry run", "cyan"), f"  {m.symbol} would send {m.payload}"],
    f.OrderRejected: lambda m: [("rejected", "red"), f" {m.symbol} {m.client_order_id}: {m.status}"],
    f.OrderUnknown: lambda m: [("unknown", "yellow"), f"  {m.symbol} {m.client_order_id}: outcome not known yet"],
    f.TradeClosed: _closed,
    s.SpotFault: lambda m: [(m.code, "yellow"), f" {m.symbol} {m.timeframe}: {m.detail}"],
    c.Alert: _alert,
    c.Drift: lambda m: [("drift", "yellow"), f"    {m.symbol} {m.kind}: ours {m.ours}, exchange {m.theirs}"],
    c.HaltEntries: lambda m: [("halt", "yellow"), f"     entries halted: {m.reason} ({m.key})"],
    c.ResumeEntries: lambda m: [f"resume   entries resumed ({m.key})"],
    c.PersonAsked: lambda m: [f"person   {m.by} asks: {m.ask} {m.symbol}, {m.reason}"],
    c.PersonAnswered: lambda m: [f"person   {'done' if m.done else 'not done'}: {m.text}"],
    c.Latch: lambda m: [("KILL", "bold red"), f"     latched by {m.by}: {m.reason}"],
    c.KillProgress: _progress,
}


def line(message: Message) -> Text | None:
    """The line for a person; None when the event matters to the journal only."""
    write = LINES.get(type(message))
    parts = None if write is None else write(message)
    return None if parts is None else Text.assemble((moment(message.at), "dim"), " ", *parts)
