"""One line per event that matters to a person. Pure: a message in, a line or nothing out."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from rich.markup import escape

from protocol.messages import control as c
from protocol.messages import futures as f
from protocol.messages import signal as g
from protocol.messages import spot as s
from protocol.messages.base import Message
from protocol.units import moment


def _money(value: Decimal) -> str:
    return f"{value:+,.2f} USD"


def _percent(fraction: float | Decimal) -> str:
    return f"{float(fraction) * 100:.2f} %"


def _signal(m: g.Signal) -> str:
    return (
        f"[bold]signal[/]   {m.symbol} {m.timeframe} {m.side} at {m.entry:,.2f}, stop {_percent(m.stop_pct)}, "
        f"target {_percent(m.take_profit_pct)} ({m.zone_id})"
    )


def _enter(m: f.EnterPosition) -> str:
    return f"[green]approved[/] {m.symbol} {m.side} {m.size}, leverage {m.leverage:.2f}x of equity"


def _refused(m: f.SignalRefused) -> str:
    return f"[yellow]refused[/]  {m.symbol}: {', '.join(m.reasons)}"


def _blocked(m: f.EntryBlocked) -> str:
    return f"[yellow]blocked[/]  {m.symbol}: {m.text}"


def _admitted(m: f.OrderAdmitted) -> str | None:
    return f"rounded  {m.symbol} {'; '.join(m.changes)}" if m.changes else None


def _place(m: f.PlaceOrder) -> str:
    price = m.stop_price or m.limit_price
    at = f" at {price:,}" if price is not None else ""
    return (
        f"order    {m.symbol} {m.role}: {m.side} {m.size} {m.order_type}{at}{' reduce-only' if m.reduce_only else ''}"
    )


def _filled(m: f.Filled) -> str:
    fill = m.fill
    fee = f", fee {fill.fee_usd:.2f} USD" if fill.fee_usd is not None else ""
    return f"fill     {fill.symbol} {fill.side} {fill.size} at {fill.price:,}{fee}"


def _protected(m: f.Protected) -> str:
    return (
        f"[green]protect[/]  {m.symbol} {m.size}: stop {m.stop_price:,}, target {m.target_price:,} rest on the exchange"
    )


def _closed(m: f.TradeClosed) -> str:
    colour = "green" if m.pnl_usd > 0 else "red"
    return (
        f"[{colour}]exit[/]     {m.symbol} {m.side} {m.size} at {m.exit_price:,} ({m.reason}): "
        f"[{colour}]PnL {_money(m.pnl_usd)}[/] ({m.r_multiple:+.2f} R) after {m.fees_usd:.2f} USD fees"
    )


def _alert(m: c.Alert) -> str | None:
    if m.severity == "info":
        return None  # for the journal
    colour = {"warning": "yellow", "critical": "bold red"}[m.severity]
    return f"[{colour}]{m.code}[/] {escape(m.text)}"


LINES: dict[type[Message], Callable[[Any], str | None]] = {
    g.Signal: _signal,
    f.EnterPosition: _enter,
    f.SignalRefused: _refused,
    f.EntryBlocked: _blocked,
    f.OrderAdmitted: _admitted,
    f.PlaceOrder: _place,
    f.Filled: _filled,
    f.Protected: _protected,
    f.Rehearsed: lambda m: f"[cyan]dry run[/]  {m.symbol} would send {escape(m.payload)}",
    f.OrderRejected: lambda m: f"[red]rejected[/] {m.symbol} {m.client_order_id}: {escape(m.status)}",
    f.OrderUnknown: lambda m: f"[yellow]unknown[/]  {m.symbol} {m.client_order_id}: outcome not known yet",
    f.TradeClosed: _closed,
    s.SpotFault: lambda m: f"[yellow]{m.code}[/] {m.symbol} {m.timeframe}: {escape(m.detail)}",
    c.Alert: _alert,
    c.Drift: lambda m: f"[yellow]drift[/]    {m.symbol} {m.kind}: ours {m.ours}, exchange {m.theirs}",
    c.HaltEntries: lambda m: f"[yellow]halt[/]     entries halted: {m.reason} ({m.key})",
    c.ResumeEntries: lambda m: f"resume   entries resumed ({m.key})",
    c.PersonAsked: lambda m: f"person   {m.by} asks: {m.ask} {m.symbol}, {escape(m.reason)}",
    c.PersonAnswered: lambda m: f"person   {'done' if m.done else 'not done'}: {escape(m.text)}",
    c.Latch: lambda m: f"[bold red]KILL[/]     latched by {m.by}: {m.reason}",
    c.KillProgress: lambda m: (
        "kill     flat, nothing working"
        if m.flat and not m.working_orders
        else f"kill     open: {', '.join(m.open_positions) or 'none'}, {m.working_orders} orders working"
    ),
}


def line(message: Message) -> str | None:
    """The line for a person, with rich markup; None when the event matters to the journal only."""
    write = LINES.get(type(message))
    text = None if write is None else write(message)
    return None if text is None else f"[dim]{moment(message.at)}[/] {text}"
