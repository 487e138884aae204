"""A market that a person isolates on the exchange: no entry leaves in it, exits go on, and it is over when they set it back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest
from house import Hooked, House, open_house
from script import XBT
from trio.testing import MockClock

from protocol.messages.control import Alert
from protocol.messages.futures import EntryBlocked, InstrumentsListed, TradeClosed
from protocol.ports import FeedLost


def told(house: House) -> list[tuple[str, str]]:
    """What the person heard of how markets are margined: how urgent, and how it begins."""
    alerts = [alert for alert in house.heard(Alert) if alert.code == "MARGIN_MODE" and alert.severity != "info"]
    return [(alert.severity, alert.text.partition(" and ")[0].partition(": ")[0]) for alert in alerts]


async def test_no_entry_leaves_in_an_isolated_market_until_it_is_set_back(
    house: House, autojump_clock: MockClock
) -> None:
    """Read on the next connection and told once, however often it is read again; back within a minute of the person's doing."""
    house.venue.leverage[XBT] = Decimal(3)
    house.hang_up()
    await house.settle(200)
    assert told(house) == [("warning", f"{XBT} is isolated at 3x")]

    house.signal()
    await house.until(lambda: bool(house.heard(EntryBlocked)), 10)
    assert house.heard(EntryBlocked)[0].reasons == ("pretrade.tradeable",)
    assert "margin is isolated at 3x" in house.heard(EntryBlocked)[0].text
    assert house.sent == []

    del house.venue.leverage[XBT]
    await house.settle(61)
    assert told(house)[1:] == [("warning", f"{XBT} is at cross margin")]
    await house.open_position("second")
    assert house.protected
    await house.settle(61)
    listed = len(house.heard(InstrumentsListed))
    await house.settle(300)
    assert len(house.heard(InstrumentsListed)) == listed, "nobody looks each minute any more"


async def test_a_position_shown_isolated_has_the_settings_read(house: House, autojump_clock: MockClock) -> None:
    """No connection ends: the list of positions says it. Stop, target and exit go on; the next entry stays in."""
    await house.open_position()
    house.venue.leverage[XBT] = Decimal("5.5")
    await house.settle(30)
    assert told(house) == [("critical", f"{XBT} is isolated at 5.5x")]
    assert house.protected

    house.change_of_character()
    await house.until(lambda: bool(house.heard(TradeClosed)), 30)
    assert (house.position, house.orders) == (0, {})
    house.enter("second")
    await house.until(lambda: bool(house.heard(EntryBlocked)), 10)
    assert house.heard(EntryBlocked)[0].reasons == ("pretrade.tradeable",)
    assert len(house.entry_fills) == 1


async def test_an_account_that_does_not_tell_keeps_entries_in_and_nothing_else(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown is not cross: the stream stands, entries wait, and a minute after the account tells they leave."""

    async def silent(self: Hooked) -> Mapping[str, Decimal]:
        raise FeedLost("HTTP 403")

    with monkeypatch.context() as patch:
        patch.setattr(Hooked, "isolated", silent)
        async with open_house() as house:
            assert house.gate.closed_by() == ()
            house.enter("first")
            await house.until(lambda: bool(house.heard(EntryBlocked)), 10)
            assert "margin is unknown" in house.heard(EntryBlocked)[0].text
            await house.settle(200)
            assert {severity for severity, _ in told(house)} == {"warning"}
            assert len(told(house)) == 2, "once for each market"
            patch.undo()
            await house.settle(61)
            await house.open_position("second")
            assert house.protected


async def test_what_was_read_stands_while_it_cannot_be_read_again(
    house: House, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed reading on a new connection forgets neither that a market is isolated nor that another is not."""

    async def silent(self: Hooked) -> Mapping[str, Decimal]:
        raise FeedLost("HTTP 503")

    house.venue.leverage["PF_ETHUSD"] = Decimal(3)
    house.hang_up()
    await house.settle(10)
    monkeypatch.setattr(Hooked, "isolated", silent)
    house.hang_up()
    await house.settle(100)
    margins = {rules.symbol: rules.margin for rules in house.heard(InstrumentsListed)[-1].instruments}
    assert margins == {XBT: "cross", "PF_ETHUSD": "isolated at 3x"}
    assert told(house) == [("warning", "PF_ETHUSD is isolated at 3x")]
    await house.open_position()
    assert house.protected
