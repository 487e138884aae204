"""What the simulated exchange remembers. Data only; it is saved and restored whole.

Knows no rule: `rules` says what is refused, `sums` does the sums, `exchange` moves things.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from protocol.messages.futures import Fill, OpenOrder
from sim.market.tick import Tick


class Trail(msgspec.Struct, frozen=True):
    """How far a trailing stop stays behind the best price: percent of it, or quote currency."""

    deviation: Decimal
    unit: Literal["PERCENT", "QUOTE_CURRENCY"] = "PERCENT"


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """An order the exchange holds. `rank` is its place in arrival order; `fills` counts for derived ids."""

    order: OpenOrder
    rank: int
    placed_at: int
    updated_at: int
    fills: int = 0
    trail: Trail | None = None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An order that is no longer there, and why."""

    order: OpenOrder
    reason: str
    placed_at: int
    at: int


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A position. `size` is signed; `cost` is its signed value at entry (`sums.value`), kept instead of the average price
    because it is exact.

    `funding` is what has accrued as cost (above zero: we pay) up to `since` and is not realised yet. Money is US dollars, of an
    inverse contract its coin.
    """

    symbol: str
    size: Decimal
    cost: Decimal
    since: int
    filled_at: int
    funding: Decimal = Decimal(0)
    inverse: bool = False

    @property
    def entry_price(self) -> Decimal:
        """Average entry, USD a coin."""
        return -self.size / self.cost if self.inverse else self.cost / self.size


class FundingRate(msgspec.Struct, frozen=True, kw_only=True):
    """What one contract pays an hour (USD; inverse: coin), fixed by the first tick of `hour` (microseconds UTC)."""

    hour: int
    absolute: Decimal


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """An account's totals since it was opened, in its own currency: US dollars, or the coin of an inverse contract.

    Fees and funding are costs: above zero is money lost.
    """

    start: Decimal
    realised: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)

    @property
    def balance(self) -> Decimal:
        """Cash: everything realised."""
        return self.start + self.realised - self.fees - self.funding


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a balance, as the account log shows it. `account` is "" for dollars, else the inverse contract.

    `info` is Kraken's word: `futures trade`, `futures liquidation`, `funding rate change`.
    """

    number: int
    at: int
    info: str
    account: str
    symbol: str
    old_balance: Decimal
    new_balance: Decimal
    mark: Decimal
    old_size: Decimal = Decimal(0)
    new_size: Decimal = Decimal(0)
    old_entry: Decimal = Decimal(0)
    new_entry: Decimal = Decimal(0)
    price: Decimal | None = None
    realised: Decimal | None = None
    fee: Decimal | None = None
    funding_rate: Decimal | None = None
    funding: Decimal | None = None
    fill_id: str = ""


class State(msgspec.Struct, kw_only=True):
    """The whole exchange. Mutable: the engine owns the only reference. Dictionaries keep arrival order."""

    books: Books
    coins: dict[str, Books] = {}
    """Inverse contract -> the account that margins it, in its coin."""
    now: int = 0
    working: dict[str, Working] = {}
    ended: dict[str, Ended] = {}
    client_ids: dict[str, str] = {}
    """Client order id -> order id, of every order that was ever accepted: they are unique for ever."""
    holdings: dict[str, Holding] = {}
    ticks: dict[str, Tick] = {}
    rates: dict[str, FundingRate] = {}
    closed_markets: dict[str, str] = {}
    """Symbol -> `suspended`, `cancel_only` or `post_only`."""
    fills: list[Fill] = []
    log: list[LogEntry] = []
    logged: int = 0
    orders_taken: int = 0
    frames: int = 0
    revalued: int = 0
    traded_usd: list[tuple[int, Decimal]] = []
    """(day since 1970, value of what was executed on it), oldest first, for the fee tiers."""


_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
_decoder = msgspec.json.Decoder(State)


def to_bytes(state: State) -> bytes:
    """The state as JSON; equal states give equal bytes but for the arrival order of their orders."""
    return _encoder.encode(state)


def from_bytes(data: bytes) -> State:
    """The state written by `to_bytes`. Raises msgspec.DecodeError or ValidationError when it is not one."""
    return _decoder.decode(data)
