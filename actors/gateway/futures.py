"""Kraken futures: `protocol.ports.FuturesExchange` over REST and WebSocket v1. Decides nothing, retries nothing.

REST and stream share one thing: the orders that were shown, because a cancellation on the stream may name an order
without its terms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Final, TypeVar

import httpx
import structlog
import trio

from actors.gateway.budget import Budget, Priority
from actors.gateway.channel import Channel, Connect, Reading, answers_as_feed_lost, deadline, one_error, opened
from actors.gateway.errors import GatewayError, KeyRefused, Throttled, Unreachable
from actors.gateway.http import Departure, FuturesHttp
from actors.gateway.quarantine import report
from actors.gateway.secret import Secret
from config.settings import ExecutionSettings
from protocol.kraken import account as own
from protocol.kraken import endpoints, futures_rest, futures_ws, orders
from protocol.kraken.faults import Action, judge
from protocol.kraken.markets import maintenance, parse_notifications
from protocol.kraken.wire import MalformedPayload, Parsed, Refused, write_iso_ms
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import (
    Account,
    CancelOrder,
    CommandAnswered,
    EditOrder,
    Fill,
    InstrumentsSeen,
    NoticesSeen,
    OpenOrder,
    OrderSeen,
    Outcome,
    PlaceOrder,
    Position,
    Readable,
    SnapshotFailed,
    SnapshotSeen,
)
from protocol.ports import Clock, Command, FeedLost
from protocol.units import BEHIND_S, MILLISECOND_US

FILL_ROWS: Final = 100
"""Rows of a full page of fills."""
FILL_PAGES_MOST: Final = 40
LOOK_UP_PART: Final = 0.2
"""A look-up may take this part of what a request may."""
LOOKED_UP: Final[Mapping[str, Outcome]] = {
    "ENTERED_BOOK": "placed",
    "TRIGGER_PLACED": "placed",
    "FULLY_EXECUTED": "filled",
}
"""What `orders/status` proves. An order that was refused or cancelled may have traded before: reconciliation tells."""

_URGENCY: Final[Mapping[bool, Priority]] = {False: "read", True: "protect"}

T = TypeVar("T")

log = structlog.get_logger(__name__)


class FuturesGateway:
    """`http` has the exchange's base URL; `connect` opens its WebSocket. Raises BadSecret when `secret` is not base64.

    `hear_time` is told the exchange's own time (microseconds UTC) of each heartbeat. `fills_until` answers how far
    whoever books fills has them without a gap (exchange time, microseconds UTC); None: the newest page will do.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        connect: Connect,
        clock: Clock,
        *,
        key: str,
        secret: Secret,
        settings: ExecutionSettings,
        budget: Budget | None = None,
        hear_time: Callable[[int], None] = lambda _at: None,
        nonce: Callable[[], int] | None = None,
        fills_until: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._timeout_s = settings.request_timeout_s
        self.http = FuturesHttp(
            http, clock, key=key, secret=secret, timeout_s=self._timeout_s, budget=budget, nonce=nonce
        )
        self._connect = connect
        self._clock = clock
        self._hear_time = hear_time
        self._shown: dict[str, OpenOrder] = {}
        self._stops: dict[str, Departure] = {}
        """How far the last stop of a symbol got."""
        self._fills_until = fills_until

    # --- what is asked for at any time ------------------------------------------------------------------------------------

    async def instruments(self) -> InstrumentsSeen:
        """The contract rules. Raises FeedLost."""
        parsed = await self._read_as(futures_rest.parse_instruments, self.http.public(endpoints.INSTRUMENTS))
        report(parsed.quarantined)
        at = self._clock.now_us()
        return from_edge(InstrumentsSeen, at, at, instruments=parsed.values)

    async def notices(self) -> NoticesSeen:
        """The maintenance that is announced. Raises FeedLost."""
        parsed = await self._read_as(parse_notifications, self.http.get(endpoints.NOTIFICATIONS))
        report(parsed.quarantined)
        at = self._clock.now_us()
        return from_edge(NoticesSeen, at, at, maintenance=maintenance(parsed.values))

    async def isolated(self) -> Mapping[str, Decimal]:
        """The contracts that the account has isolated, and at which leverage. Raises FeedLost: a row that cannot be read may be ours."""
        parsed = await self._read_as(own.parse_leverage_preferences, self.http.get(endpoints.LEVERAGE_PREFERENCES))
        report(parsed.quarantined)
        if parsed.quarantined:
            raise FeedLost(f"futures: {parsed.quarantined[0]}")
        return dict(parsed.values)

    async def server_time(self) -> int:
        """The exchange's clock, microseconds UTC in whole milliseconds. Raises FeedLost."""
        return await self._read_as(futures_rest.parse_server_time, self.http.public(endpoints.TICKERS))

    async def _read_as(self, parse: Callable[[bytes], T], answer: Awaitable[bytes]) -> T:
        """An answer as `parse` reads it. Raises FeedLost."""
        try:
            data = await answer
        except GatewayError as error:
            raise FeedLost(str(error)) from error
        with answers_as_feed_lost("futures"):
            return parse(data)

    # --- stream ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def stream(self, symbols: Sequence[str]) -> AsyncIterator[AsyncIterator[Message | None]]:
        """Public and private facts; entered when every feed is acknowledged. See protocol.ports.FuturesExchange."""
        async with opened(self._connect) as channel:
            with deadline(self._timeout_s, "futures subscription"):
                early = await self._subscribe(channel, symbols)
            yield Reading(channel, lambda data: self._said(self._read(data)), early)

    async def _subscribe(self, channel: Channel, symbols: Sequence[str]) -> list[Message | None]:
        # One at a time: an error does not say which request it answers.
        early: list[Message | None] = []
        await self._ask(channel, endpoints.FEED_HEARTBEAT, (), early)
        await self._ask(channel, endpoints.FEED_TICKER, symbols, early)
        await channel.send(futures_ws.write_challenge_request(self.http.key))
        while not isinstance(frame := await self._frame(channel), futures_ws.Challenge):
            early.extend(self._said(frame))
        signed = self.http.challenge(frame.message)
        for feed in endpoints.PRIVATE_FEEDS:
            await channel.send(futures_ws.write_private_subscribe(feed, self.http.key, frame.message, signed))
            await self._acknowledged(channel, feed, (), early)
        return early

    async def _ask(self, channel: Channel, feed: str, symbols: Sequence[str], early: list[Message | None]) -> None:
        await channel.send(futures_ws.write_subscribe(feed, symbols))
        await self._acknowledged(channel, feed, symbols, early)

    async def _acknowledged(
        self, channel: Channel, feed: str, symbols: Sequence[str], early: list[Message | None]
    ) -> None:
        """Wait until `feed` is on for all `symbols`, which may take several frames; keep what is said meanwhile."""
        missing = set(symbols)
        while True:
            frame = await self._frame(channel)
            if isinstance(frame, futures_ws.FuturesRefusal):
                raise FeedLost(f"futures refused {feed}: {frame.message}")
            if isinstance(frame, futures_ws.Subscribed) and frame.feed == feed:
                missing.difference_update(frame.product_ids)
                if not missing:
                    return
            else:
                early.extend(self._said(frame))

    async def _frame(self, channel: Channel) -> futures_ws.FuturesFrame:
        return self._read(await channel.receive())

    def _read(self, data: str | bytes) -> futures_ws.FuturesFrame:
        try:
            frame = futures_ws.parse_futures_frame(data, self._clock.now_us(), self._shown)
        except MalformedPayload as error:
            raise FeedLost(f"futures: {error}") from error
        if isinstance(frame, futures_ws.FuturesHeartbeat) and frame.time is not None:
            self._hear_time(frame.time)
        return frame

    def _said(self, frame: futures_ws.FuturesFrame) -> Sequence[Message | None]:
        if isinstance(frame, futures_ws.FuturesRefusal):
            if frame.event != "alert":
                raise FeedLost(f"futures refused a request: {frame.message}")
            log.warning("futures_alert", text=frame.message)
        if not isinstance(frame, futures_ws.Told):
            return (None,)
        report(frame.quarantined)
        if frame.quarantined and frame.feed == endpoints.FEED_OPEN_POSITIONS:
            # Positions that cannot be read may not look like positions that did not change.
            raise FeedLost(f"futures: {frame.quarantined[0]}")
        for message in frame.messages:
            if isinstance(message, OrderSeen):
                self._note(message)
        return frame.messages or (None,)

    def _note(self, seen: OrderSeen) -> None:
        if seen.open:
            self._shown[seen.order.order_id] = seen.order
        else:
            self._shown.pop(seen.order.order_id, None)

    # --- truth by REST ---------------------------------------------------------------------------------------------

    async def snapshot(self, *, urgent: bool = False) -> SnapshotSeen | SnapshotFailed:
        """The truth by REST; partial truth is none, as what is left out would read as flat or cancelled."""
        began_at, priority, shown = self._clock.now_us(), _URGENCY[urgent], tuple(self._shown)
        try:
            resting = futures_rest.parse_open_orders(
                await self.http.get(endpoints.OPEN_ORDERS, priority=priority), self._shown
            )
            positions = futures_rest.parse_open_positions(
                await self.http.get(endpoints.OPEN_POSITIONS, priority=priority)
            )
            # After the positions: whatever moved them is in the fills.
            fills, account, ahead_us = await self._fills_and_account(priority)
        except (GatewayError, Refused, MalformedPayload) as error:
            return self._failed(error)
        doubtful: tuple[Parsed[OpenOrder] | Parsed[Position] | Parsed[Fill], ...] = (resting, positions, fills)
        for parsed in doubtful:
            report(parsed.quarantined)
        unread = (*resting.quarantined, *positions.quarantined)
        if unread:
            readable = Readable(began_at=began_at, orders=resting.values, positions=positions.values)
            return self._failed(unread[0], readable)
        unlisted = await self._unlisted(shown, resting.values, priority)
        for order in resting.values:
            # The stream may show it later, and an answer that called it over was wrong (storm 420238).
            self._shown.setdefault(order.order_id, order)
        at = self._clock.now_us()
        return from_edge(
            SnapshotSeen,
            at,
            began_at,
            at,
            began_at=began_at,
            orders=(*resting.values, *unlisted),
            positions=positions.values,
            fills=fills.values,
            account=account,
            ahead_us=ahead_us,
        )

    async def _unlisted(
        self, shown: Sequence[str], listed: Sequence[OpenOrder], priority: Priority
    ) -> Sequence[OpenOrder]:
        """Orders that were shown before a list was asked for, are not in it and rest all the same: lists trail (fault-catalogue 20).

        What is not said to rest is forgotten, so that it is asked for once. No answer leaves the list as it is: whoever reads
        it wants a second one anyway, and a look-up that fails must not keep the rest of the truth from an exit.
        """
        found = {order.order_id for order in listed}
        doubted = [name for name in shown if name in self._shown and name not in found]
        if not doubted:
            return ()
        try:
            form = [("orderIds", name) for name in doubted]
            statuses = await self._statuses(form, priority)
        except (GatewayError, Refused, MalformedPayload) as error:
            log.warning("orders_not_looked_up", orders=doubted, reason=str(error))
            return ()
        resting = {status.order_id for status in statuses if LOOKED_UP.get(status.status) == "placed"}
        for name in doubted:
            if name not in resting:
                self._shown.pop(name, None)
        return tuple(self._shown[name] for name in doubted if name in self._shown)

    async def _statuses(
        self, form: Sequence[tuple[str, str]], priority: Priority
    ) -> Sequence[futures_rest.OrderStatus]:
        """What the exchange still knows of the orders that `form` names."""
        parsed = futures_rest.parse_orders_status(await self.http.post(endpoints.ORDERS_STATUS, form, priority))
        report(parsed.quarantined)
        return parsed.values

    async def _fills_and_account(self, priority: Priority) -> tuple[Parsed[Fill], Account, int | None]:
        """Both at once, which keeps a second connection open: a target leaves beside its stop and must not connect first.

        And by how much our clock is ahead of the one that answered.
        """
        told: list[tuple[Account, int | None]] = []

        async def account() -> None:
            await trio.sleep(BEHIND_S)
            asked_at = self._clock.now_us()
            data = await self.http.get(endpoints.ACCOUNTS, priority=priority)
            told.append((futures_rest.parse_accounts(data), _ahead_us(data, asked_at, self._clock.now_us())))

        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(account)
                fills = await self._fills(self._fills_until(), priority)
        return fills, *told[0]

    async def _fills(self, until: int | None, priority: Priority) -> Parsed[Fill]:
        """The newest fills; further pages as long as they may not reach back to `until`.

        Raises as the requests do, and MalformedPayload when the pages do not reach back that far: a gap is no truth.
        """
        pages = [futures_rest.parse_fills(await self.http.get(endpoints.FILLS, priority=priority))]
        while until is not None and _begins_after(pages[-1], until):
            if len(pages) == FILL_PAGES_MOST:
                raise MalformedPayload("fills", "fillTime", f"{FILL_PAGES_MOST} pages do not reach the last fill read")
            # One millisecond later: fills of the same one may lie on both sides of the edge. Where a whole page told nothing new that
            # millisecond holds more than a page: the rest of it cannot be had, and asking again would go on for ever (storm 60149).
            later_us = 0 if _nothing_new(pages) else MILLISECOND_US
            query = {"lastFillTime": write_iso_ms(pages[-1].values[0].time + later_us)}
            data = await self.http.get(endpoints.FILLS, query, cost=endpoints.COST_FILLS_PAGED, priority=priority)
            pages.append(futures_rest.parse_fills(data))
        # The older page first: it holds its newest millisecond whole and in order, the page after it may hold the end of it (storm 40404).
        known = {fill.fill_id: fill for page in reversed(pages) for fill in page.values}
        fills = tuple(sorted(known.values(), key=lambda fill: fill.time))
        return Parsed(fills, tuple(problem for page in pages for problem in page.quarantined))

    def _failed(self, error: Exception, readable: Readable | None = None) -> SnapshotFailed:
        at = self._clock.now_us()
        return from_edge(
            SnapshotFailed, at, at, reason=f"{type(error).__name__}: {error}", action=_action(error), readable=readable
        )

    # --- wishes ----------------------------------------------------------------------------------------------------

    async def send(self, command: Command) -> Sequence[Message]:
        """Carry out one wish, once. See protocol.ports.FuturesExchange for what is promised."""
        path, form = orders.write_command(command)
        departure, behind = self._turn(command)
        priority: Priority = "protect" if _protects(command) else "enter"
        try:
            data = await self.http.post(path, form, priority, departure=departure, behind=behind)
            parsed = orders.parse_answer(command, data, self._clock.now_us())
        except (Throttled, KeyRefused) as error:
            # Nothing took effect: both say so of themselves.
            return (self._answered(command, "rejected", str(error), error.action),)
        except (Unreachable, MalformedPayload) as error:
            log.warning("command_unknown", command=command.id, symbol=command.symbol, reason=str(error))
            return await self._looked_up(command, str(error))
        report(parsed.quarantined)
        doubt = next(
            (m.status for m in parsed.values if isinstance(m, CommandAnswered) and m.action == "look_up"), None
        )
        if doubt is not None and isinstance(command, PlaceOrder):
            # There already, says the exchange: what became of it is asked for, as a list may forget it (storm 70871).
            return await self._looked_up(command, doubt)
        self._remember(command, parsed.values)
        return parsed.values

    def _turn(self, command: Command) -> tuple[Departure | None, Departure | None]:
        """Its own departure, if a command is waited for, and the one it leaves behind: a target gets ready beside its stop, on a
        connection of its own, which may have to be opened first.
        """
        if not isinstance(command, PlaceOrder):
            return None, None
        if command.role == "stop":
            departure = self._stops[command.symbol] = Departure()
            return departure, None
        return None, self._stops.get(command.symbol) if command.role == "target" else None

    async def _looked_up(self, command: Command, doubt: str) -> Sequence[Message]:
        """What `orders/status` knows of a placement whose answer was lost, asked once; else the doubt.

        Absence proves nothing: the request may still arrive.
        """
        if isinstance(command, PlaceOrder):
            # A stop that is in doubt must not wait for long: its resend is refused as a duplicate if it arrived.
            with trio.move_on_after(self._timeout_s * LOOK_UP_PART), suppress(GatewayError, Refused, MalformedPayload):
                for status in await self._statuses([("cliOrdIds", command.client_order_id)], "protect"):
                    outcome = LOOKED_UP.get(status.status)
                    if status.client_order_id == command.client_order_id and outcome is not None:
                        found = f"{status.status} (looked up after: {doubt})"
                        at = self._clock.now_us()
                        answer = orders.answered(command, at, outcome, found, order_id=status.order_id)
                        self._remember(command, (answer,))
                        return (answer,)
        return (self._answered(command, "unknown", doubt, "look_up"),)

    def _answered(self, command: Command, outcome: Outcome, status: str, action: Action) -> CommandAnswered:
        return orders.answered(command, self._clock.now_us(), outcome, status, action=action)

    def _remember(self, command: Command, messages: Iterable[Message]) -> None:
        """An order we placed counts as shown: the stream may cancel it in short before it ever shows it."""
        for answer in messages:
            if not isinstance(answer, CommandAnswered):
                continue
            if isinstance(command, PlaceOrder) and answer.outcome == "placed" and answer.order_id is not None:
                self._shown.setdefault(answer.order_id, orders.resting(command, answer.order_id))


def _ahead_us(answer: bytes, asked_at: int, answered_at: int) -> int | None:
    """By how much at least our clock is ahead of the exchange's, which was read somewhere between two moments of ours; None: not shown."""
    try:
        there = futures_rest.parse_server_time(answer)
    except MalformedPayload:
        return None
    return asked_at - there if there < asked_at else min(answered_at - there, 0)


def _nothing_new(pages: Sequence[Parsed[Fill]]) -> bool:
    """Whether the last page holds only what earlier ones told."""
    known = {fill.fill_id for page in pages[:-1] for fill in page.values}
    return all(fill.fill_id in known for fill in pages[-1].values)


def _begins_after(page: Parsed[Fill], until: int) -> bool:
    """Whether fills between `until` and this page may exist: it is full, and none of it is older."""
    return len(page.values) + len(page.quarantined) >= FILL_ROWS and bool(page.values) and page.values[0].time >= until


def _action(error: Exception) -> Action:
    if isinstance(error, GatewayError):
        return error.action
    return judge(error.error).action if isinstance(error, Refused) else "retry"


def _protects(command: Command) -> bool:
    """Whether a wish may use the reserve: it can only make exposure smaller or keep it guarded."""
    if isinstance(command, PlaceOrder):
        return command.reduce_only
    return isinstance(command, CancelOrder) or (isinstance(command, EditOrder) and command.role != "entry")
