"""The reconciler beside a faithful exchange whose readings arrive late: it must stay silent, and notice when that ends."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.reconciler import decide
from actors.reconciler.decide import State
from config.settings import Settings
from protocol.ids import client_order_id
from protocol.messages.base import Message, from_edge
from protocol.messages.control import Drift
from protocol.messages.futures import (
    Account,
    ExchangeSnapshot,
    Fill,
    Filled,
    OpenOrder,
    OrderAccepted,
    OrderGone,
    Position,
)

XBT, ETH = "PF_XBTUSD", "PF_ETHUSD"
SECOND = 1_000_000
T = 1_767_571_200 * SECOND
POSITION_KINDS = {"ghost_position", "size_mismatch", "side_mismatch", "foreign_position"}
ACCOUNT = Account(
    equity_usd=Decimal(1),
    balance_usd=Decimal(1),
    available_margin_usd=Decimal(1),
    initial_margin_usd=Decimal(0),
    maintenance_margin_usd=Decimal(0),
)


class World(msgspec.Struct):
    """What the exchange holds: positions, each with a stop for exactly its size, and resting entries."""

    sizes: dict[str, int] = {}
    orders: dict[str, OpenOrder] = {}

    def trade(self, at: int, symbol: str, size: int) -> list[Message]:
        """An execution of ours and the stop that follows it."""
        self.sizes[symbol] = self.sizes.get(symbol, 0) + size
        fill = Fill(
            fill_id=f"f{at}",
            order_id=f"m{at}",
            client_order_id=client_order_id(str(at), "entry"),
            symbol=symbol,
            side="buy" if size > 0 else "sell",
            size=Decimal(abs(size)),
            price=Decimal(100),
            time=at,
            fill_type="taker",
        )
        stop = order(f"stop-{symbol}", symbol, -self.sizes[symbol], kind="stop")
        told: list[Message] = [from_edge(Filled, at, at, fill=fill)]
        if self.sizes[symbol]:
            self.orders[stop.order_id] = stop
            return [*told, from_edge(OrderAccepted, at, stop.order_id, at, order=stop)]
        return [*told, *self.leave(at, stop.order_id)]

    def rest(self, at: int, name: str, symbol: str) -> list[Message]:
        """An entry of ours rests, or leaves if it did."""
        if name in self.orders:
            return self.leave(at, name)
        self.orders[name] = order(name, symbol, 1)
        return [from_edge(OrderAccepted, at, name, at, order=self.orders[name])]

    def leave(self, at: int, name: str) -> list[Message]:
        """An order leaves."""
        if name not in self.orders:
            return []
        left = self.orders.pop(name)
        return [
            from_edge(
                OrderGone,
                at,
                name,
                at,
                client_order_id=left.client_order_id,
                order_id=name,
                symbol=left.symbol,
                reason="x",
            )
        ]

    def reading(self, began_at: int) -> ExchangeSnapshot:
        """The truth as of now."""
        return from_edge(
            ExchangeSnapshot,
            began_at,
            began_at,
            began_at=began_at,
            orders=tuple(self.orders.values()),
            positions=tuple(
                Position(symbol=s, size=Decimal(z), entry_price=Decimal(100)) for s, z in self.sizes.items() if z
            ),
            account=ACCOUNT,
        )


def order(name: str, symbol: str, signed: int, kind: str = "lmt") -> OpenOrder:
    """An order of ours; a stop is reduce-only on mark."""
    return OpenOrder(
        order_id=name,
        client_order_id=client_order_id(name, kind),
        symbol=symbol,
        side="buy" if signed > 0 else "sell",
        order_type=kind,
        size=Decimal(abs(signed)),
        filled=Decimal(0),
        limit_price=None,
        stop_price=None,
        reduce_only=kind == "stop",
        trigger="mark" if kind == "stop" else None,
    )


symbols = st.sampled_from([XBT, ETH])
events = st.lists(
    st.one_of(
        st.tuples(st.just("trade"), symbols, st.sampled_from([-2, -1, 1, 2])),
        st.tuples(st.just("rest"), symbols, st.integers(0, 2)),
        st.tuples(st.just("read"), symbols, st.integers(0, 3)),
    ),
    max_size=40,
)


def live(world: World, story: list[tuple[str, str, int]]) -> tuple[State, list[Message], int]:
    """Everything the reconciler says of the story; readings arrive up to three events late."""
    state, out = decide.initial(Settings()), list[Message]()
    on_the_way: list[tuple[int, ExchangeSnapshot]] = []
    at = T
    for turn, (what, symbol, number) in enumerate(story):
        at += SECOND
        told: list[Message] = []
        if what == "trade":
            told = world.trade(at, symbol, number)
        elif what == "rest":
            told = world.rest(at, f"{symbol}-{number}", symbol)
        else:
            on_the_way.append((turn + number, world.reading(at)))
        told += [replace(snapshot, at=at) for due, snapshot in on_the_way if due == turn]
        for message in told:
            state, answers = decide.step(state, message)
            out.extend(answers)
    return state, out, at


@given(story=events)
def test_a_faithful_exchange_is_never_suspected(story: list[tuple[str, str, int]]) -> None:
    """Law: late, overlapping and missing readings of an account that agrees with us are no drift."""
    _, out, _ = live(World(), story)

    assert [m for m in out if isinstance(m, Drift)] == []


@given(story=events, lost=st.sampled_from(["position", "stop"]), extra=st.sampled_from([-3, 3]))
def test_a_difference_is_found_by_the_second_quiet_reading(
    story: list[tuple[str, str, int]], lost: str, extra: int
) -> None:
    """Law: whatever went before, a changed size or a vanished stop is reported, and then the view agrees again."""
    world = World()
    state, _, at = live(world, [*story, ("trade", XBT, 7), ("read", XBT, 0), ("read", XBT, 0)])
    if lost == "position":
        world.sizes[XBT] = world.sizes.get(XBT, 0) + extra
    else:
        world.orders.pop(f"stop-{XBT}", None)
    kinds: list[list[str]] = []
    for look in range(1, 4):
        state, answers = decide.step(state, world.reading(at + (30 + look) * SECOND))
        kinds.append([m.kind for m in answers if isinstance(m, Drift)])

    found = {kind for pass_ in kinds[:2] for kind in pass_}
    if lost == "position":
        assert found & POSITION_KINDS
        assert not {"size_mismatch", "side_mismatch", "ghost_position"} & set(kinds[2])
    elif world.sizes.get(XBT, 0):
        assert "missing_stop" in found
