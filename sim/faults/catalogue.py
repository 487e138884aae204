"""Every fault by name: its numbers in the fault catalogue, the seam it strikes at, its parameters and their usual ranges.

A table. How a fault works is beside its seam; what must hold meanwhile is in `sim.checkers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import numpy as np

from config.settings import Settings

Seam = Literal["rest", "stream", "connect", "market", "account", "disk", "process", "clock", "person"]
Value = str | int | float
Rng = np.random.Generator


class OneOf(NamedTuple):
    """A word of a list."""

    words: tuple[str, ...]

    def draw(self, rng: Rng) -> Value:
        return self.words[int(rng.integers(len(self.words)))]

    def fault(self, value: object) -> str | None:
        """What is wrong with a value a person wrote; None when it will do."""
        return None if value in self.words else f"must be one of {', '.join(map(str, self.words))}"


class Between(NamedTuple):
    """A number; drawn evenly, or evenly in its logarithm when the range is wide."""

    low: float
    high: float

    def draw(self, rng: Rng) -> Value:
        if self.low > 0 and self.high / self.low > 20:
            return round(float(np.exp(rng.uniform(np.log(self.low), np.log(self.high)))), 4)
        return round(float(rng.uniform(self.low, self.high)), 4)

    def fault(self, value: object) -> str | None:
        """What is wrong with a value a person wrote: only its type, for a person may want more than is usual."""
        return None if isinstance(value, int | float) and not isinstance(value, bool) else "must be a number"


class Whole(NamedTuple):
    """A whole number, both ends included; drawn as `Between` is."""

    low: int
    high: int

    def draw(self, rng: Rng) -> Value:
        if self.low > 0 and self.high / self.low > 20:
            return int(np.exp(rng.uniform(np.log(self.low), np.log(self.high + 1))))
        return int(rng.integers(self.low, self.high + 1))

    def fault(self, value: object) -> str | None:
        """What is wrong with a value a person wrote."""
        return None if isinstance(value, int) and not isinstance(value, bool) else "must be a whole number"


class Usual(NamedTuple):
    """One of these whole numbers; a person may name another."""

    numbers: tuple[int, ...]

    def draw(self, rng: Rng) -> Value:
        return self.numbers[int(rng.integers(len(self.numbers)))]

    def fault(self, value: object) -> str | None:
        """What is wrong with a value a person wrote."""
        return Whole(0, 0).fault(value)


class Symbol(NamedTuple):
    """One of `words`; a person may name a market of the daemon's instead, as the feed that is to be struck spells it."""

    words: tuple[str, ...]

    def draw(self, rng: Rng) -> Value:
        return OneOf(self.words).draw(rng)

    def fault(self, value: object) -> str | None:
        """What is wrong with a value a person wrote; None when it will do."""
        return OneOf((*self.words, *SYMBOLS)).fault(value)


Draw = OneOf | Between | Whole | Usual | Symbol
SYMBOLS: Final = tuple(name for pair in Settings().symbols for name in (pair.futures, pair.spot))


class Spec(NamedTuple):
    """One kind of fault. `for_s`: how long it lasts when drawn, None: an event. `p`: its usual chance per occasion. `more`: what a person may
    name besides; it is not drawn.
    """

    numbers: tuple[int, ...]
    seam: Seam
    does: str
    for_s: Draw | None = None
    p: Draw | None = None
    params: Mapping[str, Draw] = MappingProxyType({})
    more: Mapping[str, Draw] = MappingProxyType({})


FEED: Final = OneOf(("spot", "futures"))
SYMBOL: Final = Symbol(("any",))
"""Drawn plans strike at all."""
PRIVATE: Final = OneOf(("fills", "open_orders", "open_positions", "balances"))
WISH: Final = OneOf(("send", "edit", "cancel"))
READ: Final = OneOf(("orders", "positions", "fills", "accounts"))
CHANCE: Final = Between(0.1, 1)
SHORT: Final = Between(10, 120)
LONG: Final = Between(30, 900)
CHILDREN: Final = OneOf(("kill_switch", "executor", "risk", "reconciler", "futures_feed", "strategy", "spot_feed"))
MUTABLE: Final = ("risk.risk_pct", "risk.leverage_cap", "risk.mark_age_max_s", "execution.protect_within_s")
"""Settings with a ceiling: a wrong unit shows."""
REFUSALS: Final = (
    "outsidePriceCollar", "insufficientAvailableFunds", "tooManySmallOrders", "marketSuspended", "maxPositionViolation",
    "wouldNotReducePosition",
)  # fmt: skip

CATALOGUE: Final[Mapping[str, Spec]] = MappingProxyType({
    # A. market data
    "md.stall": Spec((1,), "stream", "the socket stays open and says nothing any more", LONG, None, {"feed": FEED}),
    "md.mute": Spec((2,), "stream", "one channel falls silent, the others go on", LONG, None,
                    {"channel": OneOf(("ohlc", "ticker", "fills", "open_orders", "open_positions")), "sym": SYMBOL}),
    "md.flap": Spec((3,), "stream", "the connection breaks every few seconds", SHORT, None,
                    {"feed": FEED, "period_s": Between(1, 20)}),
    "md.refuse": Spec((3,), "connect", "connections are refused", SHORT, CHANCE, {"feed": FEED},
                      {"code": Usual((429,))}),
    "md.dup": Spec((4,), "stream", "frames come twice", LONG, CHANCE, {"feed": FEED}),
    "md.reorder": Spec((4,), "stream", "a frame comes late, after others", LONG, Between(0.02, 0.2),
                       {"feed": FEED, "window_s": Between(0.05, 3)}, {"window": Whole(1, 50)}),
    "md.gap": Spec((5,), "stream", "candles of whole intervals are missing from the stream", Between(900, 2700), None,
                   {"sym": SYMBOL}, {"n": Whole(1, 20), "tf": OneOf(("15m",))}),
    "md.notrade": Spec((5,), "market", "nothing is traded on spot", Between(900, 1800), None, {"sym": SYMBOL}),
    "md.partial_last": Spec((6,), "rest", "candle history ends with a candle that is not over, and no later one", SHORT),
    "md.revise": Spec((6,), "stream", "a candle changes after its close", Between(900, 1800), Between(0.3, 1),
                      {"delta_pct": Between(0.01, 0.2)}),
    "md.bar_delay": Spec((6,), "stream", "candles come late", Between(900, 1800), None, {"d_s": Between(5, 120)}),
    "md.misalign": Spec((7,), "stream", "candles lie off the UTC grid", SHORT, None, {"offset_s": Whole(1, 899)}),
    "px.wick": Spec((8,), "market", "one price is far away for a moment", Between(1, 20), None,
                    {"target": OneOf(("last", "mark", "spot")), "size_pct": Between(-8, 8), "sym": SYMBOL}),
    "px.freeze": Spec((9,), "market", "a price stands still while the others move", LONG, None,
                      {"which": OneOf(("mark", "index")), "sym": SYMBOL}),
    "px.basis": Spec((10,), "market", "spot and perpetual part", LONG, None, {"bps": Between(-200, 200), "sym": SYMBOL}),
    "md.lag": Spec((10,), "stream", "one feed runs behind", LONG, None, {"feed": FEED, "d_s": Between(0.5, 20)}),
    "px.book": Spec((11,), "market", "the book is empty, crossed or thin", SHORT, None,
                    {"how": OneOf(("empty", "crossed", "thin")), "sym": SYMBOL}),
    "md.garble": Spec((12,), "stream", "frames hold nonsense", SHORT, Between(0.05, 0.3),
                      {"feed": FEED, "kind": OneOf(("nan", "zero", "negative", "string", "alias", "missing", "junk"))}),
    "md.burst": Spec((13,), "stream", "many times the usual frames", Between(5, 30), None,
                     {"feed": FEED, "x": Whole(10, 100)}),
    "sched.slow": Spec((13,), "process", "an actor takes its messages one by one, each after a while", SHORT, None,
                       {"who": CHILDREN, "d_s": Between(0.01, 0.5)}),
    # B. REST
    "rest.drop_reply": Spec((14,), "rest", "the wish is carried out and the reply is lost", LONG, CHANCE, {"op": WISH}),
    "rest.drop_request": Spec((15,), "rest", "the request is lost on its way", LONG, CHANCE, {"op": WISH}),
    "rest.delay_request": Spec((16,), "rest", "the request arrives late, perhaps after the client gave up", LONG, CHANCE,
                               {"op": WISH, "d_s": Between(1, 120)}),
    "rest.delay_reply": Spec((16,), "rest", "the reply comes late", LONG, CHANCE,
                             {"op": OneOf((*WISH.words, *READ.words)), "d_s": Between(0.1, 8)}),
    "rest.http": Spec((17,), "rest", "an error of HTTP, carried out or not", LONG, CHANCE,
                      {"op": WISH, "code": Usual((200, 500, 502, 503, 504)), "body": OneOf(("empty", "html", "cut", "error")),
                       "accepted": OneOf(("yes", "no"))}),
    "rest.limit": Spec((18,), "rest", "too many requests, then a ban", LONG, None,
                       {"budget": Whole(1, 6), "window_s": Between(2, 10), "ban_s": Between(1, 30)}),
    "rest.reject": Spec((19,), "rest", "a definitive refusal inside a success", LONG, CHANCE,
                        {"op": WISH, "status": OneOf(REFUSALS)}),
    "rest.stale": Spec((20,), "rest", "reads show the past", Between(5, 30), None, {"endpoint": READ}),
    "rest.forget": Spec((20,), "rest", "lists leave rows out", SHORT, CHANCE, {"endpoint": OneOf(("orders", "positions"))}),
    "ex.fast_fill": Spec((21,), "rest", "an order is gone before the reply, which tells no execution", LONG, CHANCE,
                         {"d_ms": Between(1, 200)}),
    "rest.misreport": Spec((22,), "rest", "an executed order is called cancelled with nothing filled", LONG, CHANCE),
    "rest.cancel_all": Spec((23,), "rest", "a cancellation lies about what it did", SHORT, CHANCE,
                            {"mode": OneOf(("nothing", "survivor", "first"))}),
    "rest.schema": Spec((24,), "rest", "one row has an unknown word or lacks a field", SHORT, CHANCE,
                        {"endpoint": READ, "kind": OneOf(("unknown", "missing"))}),
    "rest.page": Spec((25,), "rest", "the list of fills is cut short", LONG, None, {"limit": Whole(0, 3)},
                      {"gap": Whole(1, 100)}),
    "rest.auth": Spec((26,), "rest", "the key is refused", SHORT, None, {"scope": OneOf(("all", "trade"))}),
    "rest.dup_request": Spec((27,), "rest", "a proxy sends the request twice", LONG, CHANCE, {"op": WISH}),
    # C. private stream
    "ws.delay": Spec((28,), "stream", "one private feed comes late", LONG, None,
                     {"feed": PRIVATE, "d_s": Between(1, 60)}),
    "ws.drop": Spec((29,), "stream", "private frames never come", LONG, Between(0.05, 0.5), {"feed": PRIVATE}),
    "ws.snapshot": Spec((30,), "stream", "the snapshot of a new connection lacks the newest fills", LONG, None,
                        {"n_old": Whole(0, 50), "lag": Whole(1, 5)}),
    "ws.reorder": Spec((31,), "stream", "private frames overtake one another", LONG, CHANCE,
                       {"window_s": Between(0.01, 2)}),
    "ws.auth": Spec((32,), "stream", "public data flow and the private side stays shut", SHORT, None,
                    {"mode": OneOf(("hang", "refuse"))}),
    "ws.fill_cancel": Spec((33,), "stream", "a filled order is told as a cancellation: always, Kraken does so"),
    "ws.stale": Spec((34,), "stream", "an older frame comes after a newer one", LONG, CHANCE,
                     {"feed": OneOf(("balances", "open_positions"))}),
    # D. the exchange
    "ex.partial": Spec((35,), "account", "orders fill in small parts", LONG, None, {"depth_usd": Between(50, 1000)}),
    "ex.mode": Spec((36,), "account", "a market is closed or half closed", LONG, None,
                    {"mode": OneOf(("suspended", "post_only", "cancel_only", "limit_only", "reduce_only")), "sym": SYMBOL}),
    "ex.maint": Spec((37,), "account", "everything is down, then open again at another price", Between(30, 600), None,
                     {"reopen_gap_pct": Between(-1, 1)}, {"lead_s": Between(0, 3600)}),
    "ex.mkt_protect": Spec((38,), "account", "market orders are protected so closely that they fill in part", LONG, None,
                           {"pct": Between(0.01, 0.1), "depth_usd": Between(50, 500)}),
    "ex.stop_gap": Spec((39,), "account", "the market leaps over the stop", Between(10, 60), None,
                        {"pct": Between(0.1, 2)}),
    "ex.stop_unfilled": Spec((39,), "account", "a stop triggers and does not fill", LONG),
    "ex.kill_order": Spec((40,), "account", "an order disappears", None, None,
                          {"role": OneOf(("stop", "target", "all"))}),
    "ex.liquidate": Spec((41,), "account", "the exchange liquidates", None, None, {"fraction": Between(0.3, 1)}),
    "ex.unwind": Spec((42,), "account", "the exchange reduces the position", None, None, {"fraction": Between(0.3, 1)}),
    "ex.assign": Spec((42,), "account", "a position is pushed on us", None, None, {"notional_usd": Between(200, 3000)},
                      {"qty": Between(0.01, 1), "side": OneOf(("buy", "sell"))}),
    "ex.funding": Spec((43,), "market", "funding spikes or changes its sign", Between(1800, 5400), None,
                       {"rate_pct": Between(-0.2, 0.2)}),
    "ex.margin": Spec((47,), "account", "more margin is demanded; with `isolated_x` a market is isolated instead", LONG, None,
                      {"factor": Between(1.5, 5)}, {"isolated_x": Between(1, 50), "sym": SYMBOL}),
    "ex.spec": Spec((44,), "account", "a contract's rules change", None, None,
                    {"field": OneOf(("tick", "lot")), "factor": Whole(2, 10)}),
    "ex.delist": Spec((45,), "account", "a contract takes resting orders only, then is settled and gone", None, None,
                      {"notice_s": Between(0, 300), "sym": Symbol(("first", "last"))}),
    "ex.ro_stack": Spec((48,), "account", "a second reduce-only order is refused, or takes the first one away", LONG, None,
                        {"mode": OneOf(("refuse", "autocancel"))}),
    "ex.hold": Spec((46,), "rest", "taking orders are held back", LONG, None, {"ms": Between(20, 100)}),
    "op.manual": Spec((49,), "account", "a person trades by hand", None, None,
                      {"what": OneOf(("order", "close", "flip"))}),
    # E. process and host
    "proc.crash": Spec((50,), "process", "the process is killed: at its n-th task step, journal append, request ..", None, None,
                       {"hook": OneOf(("step", "step", "append", "append", "flush", "flushed", "request", "reply", "now")),
                        "nth": Whole(1, 400)}),
    "actor.raise": Spec((51,), "process", "a child dies, and again as soon as it is back", None, None,
                        {"who": CHILDREN, "n": Whole(1, 6)}),
    "actor.hang": Spec((52,), "process", "a child takes no message any more", Between(1, 20), None, {"who": CHILDREN}),
    "sched.block": Spec((52,), "process", "the event loop stands still", Between(1, 60)),
    "host.suspend": Spec((53,), "process", "the host sleeps", Between(30, 900)),
    "host.exhaust": Spec((54,), "process", "no file can be opened any more, or no memory be had", SHORT, None,
                         {"what": OneOf(("fd", "mem"))}),
    "proc.term": Spec((55,), "process", "the process is asked to stop", None),
    "proc.twin": Spec((56,), "account", "another daemon trades with the same key from another host", SHORT, None,
                      {"every_s": Between(15, 60)}),
    "net.part": Spec((57,), "rest", "part of the network is gone", LONG, None,
                     {"set": OneOf(("rest", "streams", "all")), "how": OneOf(("refused", "silent"))}),
    # F. storage
    "disk.full": Spec((58,), "disk", "nothing can be written any more", SHORT),
    "disk.fsync": Spec((59,), "disk", "making durable fails once", None),
    "disk.torn": Spec((60,), "disk", "the last record is half written when the process dies", None),
    "disk.flip": Spec((61, 67), "disk", "bytes of what actors remember are turned, and the process starts anew", None, None,
                      {"n": Whole(1, 8)}),
    "disk.misdirect": Spec((61,), "disk", "what two actors remember lies in the other's place, and the process starts anew"),
    "disk.rollback": Spec((62,), "disk", "the journal is an old copy, and the process starts anew on it", None, None,
                          {"age_s": Between(5, 1800)}),
    # G. configuration and the operator
    "cfg.mutate": Spec((63, 67), "person", "the process starts anew under a setting that cannot be meant", None, None,
                       {"field": OneOf(MUTABLE), "kind": OneOf(("times_100", "times_1000", "negative", "word", "tag", "renamed"))}),
    "op.act": Spec((64,), "person", "a person pulls the kill switch, then acknowledges it", None, None,
                   {"seq": OneOf(("kill", "kill,kill", "kill,ack", "ack,kill", "ack"))}),
    "op.sink": Spec((65,), "person", "nobody hears what the daemon says, or only much later", LONG, None,
                    {"mode": OneOf(("down", "slow"))}),
    "op.flood": Spec((65,), "person", "many things happen at once that a person must hear of", None, None, {"n": Whole(5, 25)}),
    # H. time
    "clock.skew": Spec((66,), "clock", "the host's clock is wrong", LONG, None, {"d_s": Between(-600, 600)}),
    "clock.drift": Spec((66,), "clock", "the host's clock runs fast or slow", LONG, None, {"ppm": Between(-5000, 5000)}),
    "venue.ts": Spec((66,), "stream", "the exchange's timestamps are missing or wrong", SHORT, None,
                     {"mode": OneOf(("missing", "future", "past"))}),
    "clock.step": Spec((66,), "clock", "the host's clock leaps ahead and stays there", None, None, {"d_s": Between(0.5, 30)}),
    # I. security; d and f are cfg.mutate and disk.flip
    "sec.a": Spec((67,), "rest", "the exchange's error shows the key back to us", SHORT, CHANCE),
    "sec.e": Spec((67,), "rest", "the exchange's certificate is wrong", SHORT, CHANCE),
    "sec.h": Spec((67,), "rest", "the exchange's words hold control characters and markup", SHORT, CHANCE, {"op": WISH}),
})  # fmt: skip
