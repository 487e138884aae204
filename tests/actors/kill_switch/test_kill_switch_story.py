"""The kill switch against a small exchange that fills in parts, loses readings and delivers stale ones."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kill_switch import decide
from config.settings import Settings
from protocol.ids import client_order_id
from protocol.messages.base import Message, from_edge
from protocol.messages.control import KillRequested, Started, WakeAt, Woken
from protocol.messages.futures import (
    Account,
    CancelOrder,
    ExchangeSnapshot,
    OpenOrder,
    PlaceOrder,
    Position,
    PositionChanged,
    RequestSnapshot,
    SnapshotMissed,
)
from protocol.ports import LatchState
from protocol.protection import is_stop_of

XBT, ETH = "PF_XBTUSD", "PF_ETHUSD"
SECOND = 1_000_000
T = 1_767_571_200 * SECOND
ZERO = Decimal(0)


class Exchange:
    """Positions and orders; `mood` yields, per decision asked of it, how it behaves (0 well .. 3 badly)."""

    def __init__(self, sizes: dict[str, int], entries: int, moods: list[int]) -> None:
        self.sizes = {symbol: Decimal(size) for symbol, size in sizes.items()}
        self.orders = {o.order_id: o for o in self._protection()} | {
            f"e{n}": _order(f"e{n}", ETH if n % 2 else XBT, "buy", reduce_only=False) for n in range(entries)
        }
        self._moods = iter(moods)
        self._ids: set[str] = set()

    def _protection(self) -> list[OpenOrder]:
        return [
            _order(f"{kind}-{symbol}", symbol, "sell" if size > 0 else "buy", reduce_only=True, kind=kind)
            for symbol, size in self.sizes.items()
            for kind in ("stop", "take_profit")
            if size
        ]

    def mood(self) -> int:
        """How it behaves this time; well for ever when the plan of faults is used up."""
        return next(self._moods, 0)

    def reading(self, began_at: int) -> tuple[tuple[OpenOrder, ...], tuple[Position, ...], int]:
        """What a reading that begins now will show."""
        positions = tuple(Position(symbol=s, size=z, entry_price=Decimal(100)) for s, z in self.sizes.items() if z)
        return tuple(self.orders.values()), positions, began_at

    def cancel(self, wish: CancelOrder) -> None:
        """Remove the order; its position must be flat when it is a stop."""
        for order in list(self.orders.values()):
            if order.order_id == wish.order_id or (
                wish.order_id is None and order.client_order_id == wish.client_order_id
            ):
                assert not is_stop_of(order, self.sizes[order.symbol]), "the stop of an open position was cancelled"
                del self.orders[order.order_id]

    def place(self, wish: PlaceOrder) -> Decimal:
        """Fill a reduce-only market order, perhaps in part or not at all; the size of the position after it."""
        size = self.sizes[wish.symbol]
        assert wish.reduce_only, "only reductions leave"
        assert wish.order_type == "mkt"
        assert wish.size <= abs(size), "more than the position was to be sold"
        assert wish.client_order_id not in self._ids, "a client order id was used twice"
        self._ids.add(wish.client_order_id)
        done = {0: wish.size, 1: wish.size // 2, 2: ZERO, 3: ZERO}[self.mood()]
        self.sizes[wish.symbol] = size - done if size > 0 else size + done
        return self.sizes[wish.symbol]


def _order(order_id: str, symbol: str, side: str, *, reduce_only: bool, kind: str = "lmt") -> OpenOrder:
    return OpenOrder(
        order_id=order_id,
        client_order_id=client_order_id(order_id, kind),
        symbol=symbol,
        side=side,  # type: ignore[arg-type]
        order_type=kind,
        size=Decimal(4),
        filled=ZERO,
        limit_price=None,
        stop_price=None,
        reduce_only=reduce_only,
        trigger="mark",
    )


@settings(max_examples=60)
@given(
    xbt=st.integers(-5, 5),
    eth=st.integers(-5, 5),
    entries=st.integers(0, 3),
    moods=st.lists(st.integers(0, 3), max_size=12),
    crash_at=st.integers(0, 12),
)
def test_the_account_ends_flat_whatever_the_exchange_does(
    xbt: int, eth: int, entries: int, moods: list[int], crash_at: int
) -> None:
    """Law: no stop goes before its position, nothing but reductions leaves, no id twice, and the end is flat; a crash
    of the switch anywhere changes none of it.
    """
    exchange = Exchange({XBT: xbt, ETH: eth}, entries, moods)
    state = decide.initial(Settings(), LatchState(latched=False))
    at, wake = T, T
    inbox: list[Message] = [from_edge(KillRequested, T, reason="test", by="a person")]
    done = False
    for turn in range(200):
        if turn == crash_at and turn > 0:
            state = decide.initial(Settings(), LatchState(latched=True, reason="test", by="a person", at=T))
            inbox = [from_edge(Started, at, turn, restarted=True)]
        if not inbox:
            if state.since is None:
                done = True
                break
            at = wake
            inbox = [from_edge(Woken, at, turn, key="kill")]
        at = max(at, inbox[0].at)
        state, answers = decide.step(state, inbox.pop(0))
        for answer in answers:
            match answer:
                case WakeAt(due=due):
                    wake = due
                case CancelOrder():
                    exchange.cancel(answer)
                case PlaceOrder():
                    size = exchange.place(answer)
                    position = Position(symbol=answer.symbol, size=size, entry_price=Decimal(100))
                    inbox.append(from_edge(PositionChanged, at, answer.id, position=position))
                case RequestSnapshot():
                    inbox.extend(_answers(exchange, at))
                case _:
                    pass

    assert done
    assert exchange.orders == {}
    assert set(exchange.sizes.values()) == {ZERO}


def _answers(exchange: Exchange, at: int) -> list[Message]:
    """A reading, a slow one and another reader's beside it, a missed one, or none for now."""
    mood = exchange.mood()
    if mood == 2:
        return [from_edge(SnapshotMissed, at + SECOND, at, reason="timeout")]
    if mood == 3:
        return []
    orders, positions, began_at = exchange.reading(at)
    account = Account(
        equity_usd=Decimal(1),
        balance_usd=Decimal(1),
        available_margin_usd=Decimal(1),
        initial_margin_usd=ZERO,
        maintenance_margin_usd=ZERO,
    )
    return [
        from_edge(
            ExchangeSnapshot,
            at + SECOND // 4 + mood * (2 * SECOND + beside),
            at,
            beside,
            began_at=began_at + beside,
            orders=orders,
            positions=positions,
            account=account,
        )
        for beside in range(1 + mood)
    ]
