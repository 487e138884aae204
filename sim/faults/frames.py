"""The network's edge for streams: each frame of a WebSocket, both ways, passed, held, dropped, doubled, reordered, spoiled.

Sits between the venue's session and its socket (`wrap`), so the same rules hold in memory and over TCP. A frame is read
only while a rule might strike it. Knows Kraken's frames and nothing of who listens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

import msgspec
import trio

from protocol.kraken.endpoints import PRIVATE_FEEDS, SPOT_WS_PATH
from protocol.kraken.futures_ws import write_refusal
from protocol.kraken.wire import encode, parse_iso_us, write_iso_us
from protocol.units import MILLISECOND_US, SECOND_US
from sim.faults.timeline import Active, Faults
from sim.venue.socket import Socket, SocketClosed

FLAP_LOOK_S: Final = 0.5
GOING_AWAY: Final = 1001
CANDLE_MS: Final = 900_000


class Frame(NamedTuple):
    """A frame to the daemon. `feed` is the connection (spot | futures), `channel` what it is about, `body` its JSON."""

    feed: str
    channel: str
    symbol: str
    body: dict[str, Any]


class Fate(NamedTuple):
    """What becomes of a frame: each text goes out so many seconds from now; none at all is a dropped frame. `behind`: after so many others."""

    copies: tuple[tuple[float, str], ...]
    behind: int = 0


Rule = Callable[[Active, Frame, str], Fate | None]
"""None: this frame passes the rule untouched."""


def pass_on(text: str, *delays_s: float) -> Fate:
    """The frame after each of these delays."""
    return Fate(tuple((delay, text) for delay in delays_s))


DROP: Final = Fate(())


class Wire:
    """One connection's socket under the faults. Frames that are held back leave in order of their moments."""

    def __init__(
        self, socket: Socket, path: str, faults: Faults, watch: Callable[[str, str], None] | None = None
    ) -> None:
        self._socket = socket
        self.feed = "spot" if path == SPOT_WS_PATH else "futures"
        self._faults = faults
        self._watch = watch
        self._held: list[tuple[int, int, str]] = []
        self._behind: list[tuple[int, str]] = []
        """Frames that wait until so many others have gone."""
        self._count = 0
        self._more = trio.Event()
        self._draining = False
        self.opened_us = faults.now_us()
        self._open = True

    # --- to the daemon ------------------------------------------------------------------------------------------

    async def send(self, text: str) -> None:
        """One frame of the exchange. Raises SocketClosed."""
        rules = self._faults.active("stream")
        if self._cut():
            return
        if not (rules or self._held or self._behind):
            await self._deliver(text)
            return
        fate = self._judge(text, rules)
        if fate.behind:
            self._behind += [(fate.behind, copy) for _, copy in fate.copies]
            return
        for delay_s, copy in fate.copies:
            if delay_s <= 0 and not self._held:
                await self._deliver(copy)
            else:
                self._hold(copy, delay_s)
        await self._overtaken()

    async def _overtaken(self) -> None:
        """One more has gone: those that waited for it alone go now."""
        left, self._behind = [(ahead - 1, text) for ahead, text in self._behind], []
        for ahead, text in left:
            if ahead:
                self._behind.append((ahead, text))
            else:
                await self._deliver(text)

    def send_now(self, text: str) -> bool:
        """The same without waiting, while nothing is wrong."""
        if self._held or self._behind or not (self._faults.calm or self._passes()) or not self._socket.send_now(text):
            return False
        if self._watch is not None:
            self._watch(self.feed, text)
        return True

    def _passes(self) -> bool:
        """Whether no fault of streams or of the network would have a say."""
        return not (self._faults.active("stream") or self._cut())

    def _cut(self) -> bool:
        """Whether the network between is gone without a word: a frame that is sent now never arrives."""
        return any(
            active.kind == "net.part"
            and active.text("set") != "rest"
            and active.text("how") == "silent"
            and self._faults.strikes(active)
            for active in self._faults.active("rest")
        )

    async def _deliver(self, text: str) -> None:
        if '"full_fill"' in text and '"is_cancel":true' in text:
            self._faults.injected["ws.fill_cancel"] += 1
        if self._watch is not None:
            self._watch(self.feed, text)
        await self._socket.send(text)

    def _judge(self, text: str, rules: list[Active]) -> Fate:
        frame = _read(self.feed, text)
        for active in rules:
            rule = RULES.get(active.kind)
            if rule is None or not _concerns(active, frame):
                continue
            fate = rule(active, frame, text)
            if fate is not None and self._faults.strikes(active):
                return fate
        return pass_on(text, 0)

    def _hold(self, text: str, delay_s: float) -> None:
        self._count += 1
        heappush(self._held, (self._faults.now_us() + round(delay_s * SECOND_US), self._count, text))
        self._more.set()
        if not self._draining and self._faults.nursery is not None:
            self._draining = True
            self._faults.nursery.start_soon(self._release)

    async def _release(self) -> None:
        try:
            while self._held and self._open:
                due, _, text = self._held[0]
                self._more = trio.Event()
                with trio.move_on_after(max(0, due - self._faults.now_us()) / SECOND_US):
                    await self._more.wait()
                    continue  # an earlier one may have come, or the end
                heappop(self._held)
                await self._deliver(text)
        except SocketClosed:
            self._held.clear()
        finally:
            self._draining = False

    # --- from the daemon ----------------------------------------------------------------------------------------

    async def receive(self) -> str:
        """The next request that comes through. Raises SocketClosed."""
        while True:
            text = await self._socket.receive()
            if self._cut():
                continue
            refused = self._refuse_proof(text)
            if refused is None:
                return text
            if refused:
                await self._deliver(refused)

    def _refuse_proof(self, text: str) -> str | None:
        """None: let it through. Empty: it is lost. Else what is answered in the venue's stead."""
        for active in self._faults.active("stream"):
            if active.kind == "ws.auth" and '"challenge"' in text and self._faults.strikes(active):
                refusal = encode(write_refusal("alert", "Failed to subscribe to authenticated feed")).decode()
                return "" if active.text("mode") == "hang" else refusal
        return None

    async def close(self, code: int, reason: str) -> None:
        """Idempotent."""
        self._open = False
        self._more.set()
        await self._socket.close(code, reason)

    @property
    def open(self) -> bool:
        """Whether the connection still stands."""
        return self._open


async def sever(wires: Sequence[Wire]) -> None:
    """Break connections for good."""
    for wire in wires:
        with trio.move_on_after(1):
            await wire.close(GOING_AWAY, "no route to host")


async def flap(active: Active, faults: Faults, wires: Callable[[], list[Wire]]) -> None:
    """Break each connection of the feed once it is a period old, while the fault lasts."""
    while active in faults.active("stream"):
        await trio.sleep(FLAP_LOOK_S)
        for wire in wires():
            old_us = faults.now_us() - wire.opened_us
            if wire.feed == active.text("feed") and old_us >= active.number("period_s") * SECOND_US:
                faults.strikes(active)
                with trio.move_on_after(1):
                    await wire.close(GOING_AWAY, "going away")


def refused(faults: Faults, path: str) -> int | None:
    """Whether a new connection is refused now: by this status of HTTP, 0: nobody answers. None: it is not."""
    feed = "spot" if path == SPOT_WS_PATH else "futures"
    for active in faults.active("connect"):
        if active.kind == "md.refuse" and active.text("feed") == feed and faults.strikes(active):
            return int(active.get("code", 0))
    return 0 if _cut_off(faults) else None


def _cut_off(faults: Faults) -> bool:
    """Whether no connection at all can be had."""
    for active in faults.active("process"):
        if active.kind == "host.exhaust" and active.text("what") == "fd":
            return faults.strikes(active)
    for active in faults.active("rest"):
        if active.kind == "sec.e" and faults.strikes(active):
            return True
        if active.kind == "net.part" and active.text("set") != "rest" and active.text("how") == "refused":
            return faults.strikes(active)
    return False


def _read(feed: str, text: str) -> Frame:
    body = msgspec.json.decode(text)
    if feed == "spot":
        rows = body.get("data")
        symbol = rows[0].get("symbol", "") if isinstance(rows, list) and rows and isinstance(rows[0], dict) else ""
        return Frame(feed, body.get("channel", "answer"), symbol, body)
    channel = "answer" if "event" in body else str(body.get("feed", ""))
    return Frame(feed, channel.removesuffix("_snapshot"), str(body.get("product_id", "")), body)


def _concerns(active: Active, frame: Frame) -> bool:
    """By connection or private feed, by channel, by symbol, as far as the fault names them."""
    feed, symbol = active.get("feed", ""), active.get("sym", "any")
    return (
        feed in ("", frame.feed, frame.channel)
        and active.get("channel", frame.channel) == frame.channel
        and symbol in ("any", frame.symbol)
    )


# --- rules -----------------------------------------------------------------------------------------------------------


def _drop(active: Active, frame: Frame, text: str) -> Fate | None:
    return DROP


def _drop_data(active: Active, frame: Frame, text: str) -> Fate | None:
    return None if frame.channel == "answer" else DROP


def _twice(active: Active, frame: Frame, text: str) -> Fate | None:
    return pass_on(text, 0, 0)


def _burst(active: Active, frame: Frame, text: str) -> Fate | None:
    return None if frame.channel == "answer" else pass_on(text, *[0] * int(active.number("x")))


def _late(active: Active, frame: Frame, text: str) -> Fate | None:
    return pass_on(text, active.number("d_s"))


def _any_time(active: Active, frame: Frame, text: str) -> Fate | None:
    if frame.channel == "answer" or (active.kind == "ws.reorder" and frame.channel not in PRIVATE_FEEDS):
        return None
    if window := int(active.get("window", 0)):
        return Fate(((0, text),), behind=int(active.rng.integers(1, window + 1)))
    return pass_on(text, float(active.rng.uniform(0, active.number("window_s"))))


def _late_candles(active: Active, frame: Frame, text: str) -> Fate | None:
    return _late(active, frame, text) if frame.channel == "ohlc" else None


def _no_candles(active: Active, frame: Frame, text: str) -> Fate | None:
    """As long as the fault lasts, or of the first so many intervals of each symbol."""
    if frame.channel != "ohlc":
        return None
    most, rows = int(active.get("n", 0)), frame.body.get("data")
    if not (most and isinstance(rows, list)):
        return DROP
    key = f"gone {frame.symbol}"
    gone = str(active.memory.get(key, "")).split()
    fresh = sorted({str(row.get("interval_begin")) for row in rows} - {*gone})
    if len(gone) + len(fresh) > most:
        return None
    active.memory[key] = " ".join([*gone, *fresh])
    return DROP


def _old_again(active: Active, frame: Frame, text: str) -> Fate | None:
    before = active.memory.get(frame.channel)
    active.memory[frame.channel] = text
    return None if before is None else Fate(((0, text), (0, str(before))))


def _short_snapshot(active: Active, frame: Frame, text: str) -> Fate | None:
    if frame.body.get("feed") != "fills_snapshot" or not frame.body.get("fills"):
        return None
    kept = frame.body["fills"][: -int(active.number("lag"))][-int(active.number("n_old")) or len(frame.body["fills"]) :]
    return pass_on(_text({**frame.body, "fills": kept}), 0)


def _revise(active: Active, frame: Frame, text: str) -> Fate | None:
    """The candle that has just closed is told once more, with another close."""
    rows = frame.body.get("data")
    if frame.channel != "ohlc" or frame.body.get("type") != "update" or not rows:
        return None
    key = f"last {frame.symbol}"
    before = active.memory.get(key)
    active.memory[key] = rows[-1]
    if not isinstance(before, dict) or before.get("interval_begin") == rows[-1].get("interval_begin"):
        return None
    close = float(before["close"]) * (1 + active.number("delta_pct") / 100)
    revised = {
        **before,
        "close": close,
        "high": max(float(before["high"]), close),
        "low": min(float(before["low"]), close),
    }
    return Fate(((0, text), (0.2, _text({**frame.body, "data": [revised]}))))


def _off_grid(active: Active, frame: Frame, text: str) -> Fate | None:
    rows = frame.body.get("data")
    if frame.channel != "ohlc" or not rows:
        return None
    shift_us = int(active.number("offset_s")) * SECOND_US
    moved = [{**row, "interval_begin": _moved(str(row["interval_begin"]), shift_us)} for row in rows]
    return pass_on(_text({**frame.body, "data": moved}), 0)


def _moved(moment: str, by_us: int) -> str:
    return write_iso_us(parse_iso_us(moment, "ohlc", "interval_begin") + by_us)


def _timestamps(active: Active, frame: Frame, text: str) -> Fate | None:
    if frame.channel != "ticker" or "time" not in frame.body:
        return None
    body = dict(frame.body)
    mode = active.text("mode")
    if mode == "missing":
        del body["time"]
    else:
        body["time"] += (3_600 if mode == "future" else -3_600) * SECOND_US // MILLISECOND_US
    return pass_on(_text(body), 0)


def _garble(active: Active, frame: Frame, text: str) -> Fate | None:
    """Spoil one number of a frame, or the frame."""
    if frame.channel not in GARBLED:
        return None
    kind = active.text("kind")
    if kind == "junk":
        return pass_on(text[: len(text) // 2], 0)
    names, symbol = GARBLED[frame.channel]
    rows = frame.body.get("data")
    target: dict[str, Any] = dict(rows[0]) if isinstance(rows, list) and rows else dict(frame.body)
    name = names[int(active.rng.integers(len(names)))]
    if kind == "missing":
        target.pop(name, None)
    elif kind == "alias":
        target[symbol] = str(target.get(symbol, "")).replace("BTC", "XBT").replace("PF_XBT", "PF_BTC")
    else:
        target[name] = {"nan": "NaN", "zero": 0, "negative": -1, "string": "none"}[kind]
    whole = {**frame.body, "data": [target, *rows[1:]]} if isinstance(rows, list) and rows else target
    return pass_on(_text(whole), 0)


GARBLED: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "ticker": (("markPrice", "index", "bid", "ask"), "product_id"),
    "ohlc": (("open", "high", "low", "close", "volume"), "symbol"),
}


def _text(body: Mapping[str, Any]) -> str:
    return encode(dict(body)).decode()


RULES: Final[Mapping[str, Rule]] = {
    "md.stall": _drop,
    "md.mute": _drop_data,
    "ws.drop": _drop_data,
    "md.gap": _no_candles,
    "md.dup": _twice,
    "md.burst": _burst,
    "md.reorder": _any_time,
    "ws.reorder": _any_time,
    "md.lag": _late,
    "ws.delay": _late,
    "md.bar_delay": _late_candles,
    "md.revise": _revise,
    "md.misalign": _off_grid,
    "md.garble": _garble,
    "ws.snapshot": _short_snapshot,
    "ws.stale": _old_again,
    "venue.ts": _timestamps,
}
