"""What the daemon wrote down, and what its stores still hold of it: a disk forgets, spoils and is put back.

Knows no invariant, and of the exchange only whether it shows anything of an order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Final

from protocol.messages.base import Message
from protocol.messages.futures import (
    CancelOrder,
    EditOrder,
    EnterPosition,
    Filled,
    OrderAdmitted,
    PlaceOrder,
    SignalRefused,
)
from protocol.messages.signal import Signal
from sim.faults.host import Record

KEPT: Final = frozenset(
    {Filled, PlaceOrder, EnterPosition, Signal, SignalRefused, OrderAdmitted, CancelOrder, EditOrder}
)
CAUSES_MOST: Final = 200_000


class Journal:
    """All that ever became durable, in whatever life. `is_traced`: whether the exchange shows anything of an order."""

    def __init__(self, now_us: Callable[[], int], is_traced: Callable[[str], bool]) -> None:
        self._now_us, self._is_traced = now_us, is_traced
        self.records = 0
        self.causes: dict[str, str] = {}
        """Every message of the last hours that was said or answered, and what it followed from."""
        self.signals: dict[str, Signal] = {}
        self.refused: set[str] = set()
        """Signals."""
        self.approved: dict[str, EnterPosition] = {}
        self.admitted: dict[str, OrderAdmitted] = {}
        self.changes = Counter[str]()
        """Edits and cancels by the order they name."""
        self.intents: dict[str, PlaceOrder] = {}
        """By client order id."""
        self.decided: dict[str, int] = {}
        """When each of them became durable, of those that the store still knows."""
        self.forgotten: list[str] = []
        """The others, as it was put back."""
        self.unrecorded: set[str] = set()
        """Orders that left while no intent of them could be written down."""
        self.listened_at: int | None = None
        """When the daemon first listened."""
        self.booked: set[str] = set()
        """Fills that an earlier life had told and made durable."""
        self.damaged = False
        """Whether this life began on memories that are not as they were written."""
        self.forgot = False
        """Whether something was lost before it that it would have needed."""
        self._fills: dict[str, int] = {}
        self._fills_once: set[str] = set()
        """Fills told in what the store holds, and in what it ever held."""
        self._forgets = self._spoiled = False
        """Whether the next life lacks something; whether anything was ever damaged: a later damage or an old copy may bring it back whole."""

    @property
    def fills(self) -> Collection[str]:
        """Fills that the next life may find told."""
        return self._fills_once if self._spoiled else self._fills

    def unknowable(self, name: str) -> bool:
        """Whether the store lost an order, or never had it, and no list of the exchange shows it: nobody can know that its id was used, until the
        exchange refuses it (storms 101355, 320061, 410291, 410313).
        """
        return (name in self.forgotten or name in self.unrecorded) and not self._is_traced(name)

    def began(self, *, damaged: bool) -> None:
        """A life reads what is there."""
        self.damaged = damaged
        self.forgot, self._forgets = self._forgets, False
        self.booked |= self._fills.keys()

    def wrote(self, records: Sequence[Record]) -> None:
        """Records became durable."""
        self.records += len(records)
        if self.listened_at is None and any(actor == "futures_feed" for actor, _, _ in records):
            self.listened_at = self._now_us()
        if len(self.causes) > CAUSES_MOST:
            self.causes = dict(islice(self.causes.items(), len(self.causes) // 2, None))  # the older half
        causes, kept = self.causes, KEPT
        for actor, received, answers in records:
            if type(received) in kept:  # nearly all there is are prices
                self._keep(received)
            if answers:  # else it is nobody's cause
                causes[received.id] = received.cause
            for message in answers:
                causes[message.id] = message.cause
                if type(message) not in kept:
                    continue
                if isinstance(message, Filled) and actor == "futures_feed":
                    self._fills[message.fill.fill_id] = self._now_us()
                    self._fills_once.add(message.fill.fill_id)
                self._keep(message)

    def _keep(self, message: Message) -> None:
        match message:
            case PlaceOrder(client_order_id=name):
                if name not in self.intents or self.unknowable(name):
                    self.intents[name] = message
                self.decided.setdefault(name, self._now_us())
            case EnterPosition():
                self.approved.setdefault(message.signal_id, message)
            case Signal():
                self.signals.setdefault(message.id, message)
            case SignalRefused():
                self.refused.add(message.signal_id)
            case CancelOrder():
                self.changes[message.subject] += 1
            case EditOrder():
                self.changes[message.client_order_id] += 1
            case OrderAdmitted(order=PlaceOrder(client_order_id=name)):
                self.admitted[name] = message

    def spoiled(self) -> None:
        """Memories of actors are damaged: nothing of them will be read again."""
        self._spoiled = True
        self.rolled_back(0)

    def rolled_back(self, to_us: int) -> None:
        """The store is as it was at `to_us`: what was booked since will be told again."""
        self._forgets = True
        self._fills = {name: at for name, at in self._fills.items() if at <= to_us}
        self.booked &= self._fills.keys()
        self.forgotten += [name for name, at in self.decided.items() if at > to_us]
        self.decided = {name: at for name, at in self.decided.items() if at <= to_us}
