"""Initial margin is compared with what the listed positions ask for, and only what no move of the mark explains is a difference."""

from __future__ import annotations

from decimal import Decimal

from protocol.margin import asked_usd, unexplained_usd
from protocol.messages.futures import Position
from sim.market.contracts import PF_XBTUSD
from tests.fakes import facts

D = Decimal
HELD = Position(symbol=PF_XBTUSD.symbol, size=D(-1), entry_price=D(50_000))


def test_positions_ask_for_the_margin_of_their_tier() -> None:
    """At entry prices, whatever the side; nothing held asks for nothing."""
    rules = {PF_XBTUSD.symbol: PF_XBTUSD}
    first = PF_XBTUSD.margin_levels[0][1]
    assert asked_usd((HELD,), rules) == 50_000 * first
    assert asked_usd((), rules) == 0


def test_what_is_asked_for_may_be_unknown() -> None:
    """Without the contract's rules."""
    assert asked_usd((HELD,), {}) is None


def test_only_what_no_move_of_the_mark_explains_is_unexplained() -> None:
    """Half of what is asked for and ten dollars are within reason, above and below."""
    assert [unexplained_usd(D(used), D(100)) for used in (49, 50, 150, 151)] == [-51, 0, 0, 51]
    assert [unexplained_usd(D(used), D(0)) for used in (10, 11)] == [0, 11]


def test_an_inverse_contract_asks_nothing_of_the_dollars() -> None:
    """It is margined in its coin: a hedge explains no margin of this account, and keeps nobody from seeing what is hidden in it."""
    rules = {HELD.symbol: facts.instrument()}
    hedge = facts.position(-1000, "PI_XBTUSD")
    assert asked_usd((HELD, hedge), rules) == asked_usd((HELD,), rules)
    assert asked_usd((hedge,), {"PI_XBTUSD": facts.instrument("PI_XBTUSD", inverse=True)}) == 0
