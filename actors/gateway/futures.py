"""Kraken futures: `protocol.ports.FuturesExchange` over REST and WebSocket v1. Decides nothing, retries nothing.

REST and stream share one thing: the orders that were shown, because a cancellation on the stream may name an order
without its terms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
import structlog
import trio

from actors.gateway.budget import Budget
from actors.gateway.channel import Channel, Connect, Reading, answers_as_feed_lost, deadline, opened
from actors.gateway.errors import GatewayError, KeyRefused, Throttled, Unreachable
from actors.gateway.quarantine import report
from actors.gateway.secret import Secret
from config.settings import ExecutionSettings
from protocol.kraken import endpoints, futures_rest, futures_ws, orders
from protocol.kraken.signing import futures_authent, futures_challenge
from protocol.kraken.wire import MalformedPayload, Parsed, Refused
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import (
    CancelOrder,
    CommandAnswered,
    EditOrder,
    Fill,
    InstrumentsSeen,
    OpenOrder,
    OrderSeen,
    Outcome,
    PlaceOrder,
    Position,
    SnapshotFailed,
    SnapshotSeen,
)
from protocol.ports import Clock, Command, FeedLost
from protocol.units import SECOND_US

LIMIT_REACHED = "apiLimitExceeded"

log = structlog.get_logger(__name__)


class FuturesGateway:
    """`http` has the exchange's base URL; `connect` opens its WebSocket. Raises BadSecret when `secret` is not base64.

    `hear_time` is told the exchange's own time (microseconds UTC) of each heartbeat.
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
    ) -> None:
        futures_challenge(secret.reveal(), "")
        self._http = http
        self._connect = connect
        self._clock = clock
        self._key = key
        self._secret = secret
        self._timeout_s = settings.request_timeout_s
        self._budget = budget or Budget()
        self._hear_time = hear_time
        self._shown: dict[str, OpenOrder] = {}

    # --- public ----------------------------------------------------------------------------------------------------

    async def instruments(self) -> InstrumentsSeen:
        """The contract rules. Raises FeedLost."""
        try:
            data = await self._get(endpoints.INSTRUMENTS, signed=False)
        except GatewayError as error:
            raise FeedLost(str(error)) from error
        with answers_as_feed_lost("futures"):
            parsed = futures_rest.parse_instruments(data)
        report(parsed.quarantined)
        at = self._clock.now_us()
        return from_edge(InstrumentsSeen, at, at, instruments=parsed.values)

    async def server_time(self) -> int:
        """The exchange's clock, microseconds UTC in whole milliseconds. Raises FeedLost."""
        try:
            data = await self._get(endpoints.TICKERS, signed=False)
        except GatewayError as error:
            raise FeedLost(str(error)) from error
        with answers_as_feed_lost("futures"):
            return futures_rest.parse_server_time(data)

    # --- stream ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def stream(self, symbols: Sequence[str]) -> AsyncIterator[AsyncIterator[Message | None]]:
        """Public and private facts; entered when every feed is acknowledged. See protocol.ports.FuturesExchange."""
        async with opened(self._connect, futures_ws.write_ping) as channel:
            self._shown.clear()
            with deadline(self._timeout_s, "futures subscription"):
                early = await self._subscribe(channel, symbols)

            async def read() -> Iterable[Message | None]:
                return self._said(await self._frame(channel))

            yield Reading(read, early)

    async def _subscribe(self, channel: Channel, symbols: Sequence[str]) -> list[Message | None]:
        # One at a time: an error does not say which request it answers.
        early: list[Message | None] = []
        await self._ask(channel, endpoints.FEED_HEARTBEAT, (), early)
        await self._ask(channel, endpoints.FEED_TICKER, symbols, early)
        await channel.send(futures_ws.write_challenge_request(self._key))
        while not isinstance(frame := await self._frame(channel), futures_ws.Challenge):
            early.extend(self._said(frame))
        signed = futures_challenge(self._secret.reveal(), frame.message)
        for feed in endpoints.PRIVATE_FEEDS:
            await channel.send(futures_ws.write_private_subscribe(feed, self._key, frame.message, signed))
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
        data = await channel.receive()
        with answers_as_feed_lost("futures"):
            frame = futures_ws.parse_futures_frame(data, self._clock.now_us(), self._shown)
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

    async def snapshot(self) -> SnapshotSeen | SnapshotFailed:
        """The truth by REST; partial truth is none, as what is left out would read as flat or cancelled."""
        began_at = self._clock.now_us()
        try:
            resting = futures_rest.parse_open_orders(await self._get(endpoints.OPEN_ORDERS), self._shown)
            positions = futures_rest.parse_open_positions(await self._get(endpoints.OPEN_POSITIONS))
            # After the positions: whatever moved them is in the fills.
            fills = futures_rest.parse_fills(await self._get(endpoints.FILLS))
            account = futures_rest.parse_accounts(await self._get(endpoints.ACCOUNTS))
        except (GatewayError, Refused, MalformedPayload) as error:
            return self._failed(f"{type(error).__name__}: {error}")
        doubtful: tuple[Parsed[OpenOrder] | Parsed[Position] | Parsed[Fill], ...] = (resting, positions, fills)
        for parsed in doubtful:
            report(parsed.quarantined)
        unread = (*resting.quarantined, *positions.quarantined)
        if unread:
            return self._failed(f"{type(unread[0]).__name__}: {unread[0]}")
        at = self._clock.now_us()
        return from_edge(
            SnapshotSeen,
            at,
            began_at,
            at,
            began_at=began_at,
            orders=resting.values,
            positions=positions.values,
            fills=fills.values,
            account=account,
        )

    def _failed(self, reason: str) -> SnapshotFailed:
        at = self._clock.now_us()
        return from_edge(SnapshotFailed, at, at, reason=reason)

    # --- wishes ----------------------------------------------------------------------------------------------------

    async def send(self, command: Command) -> Sequence[Message]:
        """Carry out one wish, once. See protocol.ports.FuturesExchange for what is promised."""
        path, form = orders.write_command(command)
        try:
            data = await self._post(path, form, urgent=_protects(command))
            parsed = orders.parse_answer(command, data, self._clock.now_us())
        except (Throttled, KeyRefused) as error:
            # Nothing took effect: both say so of themselves.
            return (self._answered(command, "rejected", str(error)),)
        except (Unreachable, MalformedPayload) as error:
            log.warning("command_unknown", command=command.id, symbol=command.symbol, reason=str(error))
            return (self._answered(command, "unknown", str(error)),)
        report(parsed.quarantined)
        self._remember(command, parsed.values)
        return parsed.values

    def _answered(self, command: Command, outcome: Outcome, status: str) -> CommandAnswered:
        return orders.answered(command, self._clock.now_us(), outcome, status)

    def _remember(self, command: Command, messages: Iterable[Message]) -> None:
        """An order we placed counts as shown: the stream may cancel it in short before it ever shows it."""
        for answer in messages:
            if not isinstance(answer, CommandAnswered):
                continue
            if answer.status == LIMIT_REACHED:
                self._budget.drain(self._clock.now_us())
            if isinstance(command, PlaceOrder) and answer.outcome == "placed" and answer.order_id is not None:
                self._shown.setdefault(answer.order_id, orders.resting(command, answer.order_id))

    # --- requests --------------------------------------------------------------------------------------------------

    async def _get(self, path: str, *, signed: bool = True) -> bytes:
        headers = self._signed(path, "") if signed else {}
        return await self._request("GET", path, b"", headers, urgent=False)

    async def _post(self, path: str, form: Mapping[str, str], *, urgent: bool) -> bytes:
        # Signed byte for byte as it is sent.
        body = urlencode(form)
        headers = self._signed(path, body) | {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._request("POST", path, body.encode(), headers, urgent=urgent)

    def _signed(self, path: str, post_data: str) -> dict[str, str]:
        # No nonce: it is optional, and one less way to be refused.
        return {"APIKey": self._key, "Authent": futures_authent(self._secret.reveal(), post_data, path)}

    async def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str], *, urgent: bool) -> bytes:
        await self._afford(path, urgent=urgent)
        try:
            with trio.fail_after(self._timeout_s):
                response = await self._http.request(method, path, content=body, headers=dict(headers))
        except trio.TooSlowError as error:
            raise Unreachable(f"{path}: no answer within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, OSError) as error:
            raise Unreachable(f"{path}: {error!r}") from error
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise KeyRefused(f"{path}: HTTP {response.status_code}")
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            self._budget.drain(self._clock.now_us())
            raise Throttled(f"{path}: HTTP {response.status_code}")
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise Unreachable(f"{path}: HTTP {response.status_code}")
        return response.content

    async def _afford(self, path: str, *, urgent: bool) -> None:
        with trio.move_on_after(self._timeout_s):
            # Waiting for time, not for an event.
            while wait_us := self._budget.take(endpoints.COST[path], self._clock.now_us(), urgent=urgent):  # noqa: ASYNC110
                await trio.sleep(wait_us / SECOND_US)
            return
        raise Throttled(f"{path}: our own rate limit, nothing was sent")


def _protects(command: Command) -> bool:
    """Whether a wish may use the reserve: it can only make exposure smaller or keep it guarded."""
    if isinstance(command, PlaceOrder):
        return command.reduce_only
    return isinstance(command, CancelOrder) or (isinstance(command, EditOrder) and command.role != "entry")
