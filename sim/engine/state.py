"""What the simulated exchange remembers. Data only; it is saved and restored whole.

Knows no rule: `rules` says what is refused, `sums` does the sums, `exchange` moves things.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from protocol.messages.futures import Fill, OpenOrder
from sim.tick import Tick


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """An order the exchange holds. `rank` is its place in arrival order; `fills` counts for derived ids."""

    order: OpenOrder
    rank: int
    placed_at: int
    updated_at: int
    fills: int = 0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An order that is no longer there, and why."""

    order: OpenOrder
    reason: str
    placed_at: int
    at: int


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A position. `size` is signed; `cost_usd` = signed size x average entry, kept instead of the average because it is exact.

    `funding_usd` is what has accrued as cost (above zero: we pay) up to `since` and is not realised yet.
    """

    symbol: str
    size: Decimal
    cost_usd: Decimal
    since: int
    filled_at: int
    funding_usd: Decimal = Decimal(0)

    @property
    def entry_price(self) -> Decimal:
        """Average entry in USD a contract."""
        return self.cost_usd / self.size


class FundingRate(msgspec.Struct, frozen=True, kw_only=True):
    """What one contract pays an hour, fixed by the first tick of `hour` (microseconds UTC)."""

    hour: int
    usd: Decimal


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """The account's totals since it was opened. Fees and funding are costs: above zero is money lost."""

    start_usd: Decimal
    realised_usd: Decimal = Decimal(0)
    fees_usd: Decimal = Decimal(0)
    funding_usd: Decimal = Decimal(0)

    @property
    def balance_usd(self) -> Decimal:
        """Cash: everything realised."""
        return self.start_usd + self.realised_usd - self.fees_usd - self.funding_usd


class State(msgspec.Struct, kw_only=True):
    """The whole exchange. Mutable: the engine owns the only reference. Dictionaries keep arrival order."""

    books: Books
    now: int = 0
    working: dict[str, Working] = {}
    ended: dict[str, Ended] = {}
    client_ids: dict[str, str] = {}
    """Client order id -> order id, of every order that was ever accepted: they are unique for ever."""
    holdings: dict[str, Holding] = {}
    ticks: dict[str, Tick] = {}
    rates: dict[str, FundingRate] = {}
    closed_markets: dict[str, str] = {}
    """Symbol -> `suspended` or `post_only`."""
    fills: list[Fill] = []
    orders_taken: int = 0
    frames: int = 0
    revalued: int = 0


_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
_decoder = msgspec.json.Decoder(State)


def to_bytes(state: State) -> bytes:
    """The state as JSON; equal states give equal bytes but for the arrival order of their orders."""
    return _encoder.encode(state)


def from_bytes(data: bytes) -> State:
    """The state written by `to_bytes`. Raises msgspec.DecodeError or ValidationError when it is not one."""
    return _decoder.decode(data)
