"""The worked example of the documents, played on the engine: every number on the page is the engine's."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from engines import BTC, START, cancel, engine, place, tick

from protocol.messages.base import Message
from protocol.messages.futures import FillSeen
from protocol.units import HOUR_US, MINUTE_US

PAGE = (Path(__file__).parents[3] / "docs" / "worked-example.md").read_text(encoding="utf-8")
ZERO = Decimal(0)


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().replace(",", "") for cell in line.strip("|").split("|")] for line in lines[2:]]


def clock(at: int) -> str:
    """Time of day."""
    minutes = (at - START) // MINUTE_US
    return f"{minutes // 60:02}:{minutes % 60:02}:00"


class Played(NamedTuple):
    """What the engine did. `paid`: (from, until, signed size, funding paid)."""

    fills: list[FillSeen]
    realised: list[Decimal]
    paid: list[tuple[int, int, Decimal, Decimal]]
    fees: Decimal
    funding: Decimal
    end: Decimal


@pytest.fixture(scope="module")
def played() -> Played:
    """Both trades."""
    venue = engine(10_000, slippage_pct=Decimal("0.01"), depth_usd=Decimal(5000))
    fills: list[FillSeen] = []
    realised: list[Decimal] = []
    paid: list[tuple[int, int, Decimal, Decimal]] = []
    size, since, funding, number = ZERO, START, ZERO, 0

    def hear(at: int, messages: list[Message]) -> None:
        nonlocal size, since, funding
        if venue.books.funding != funding:
            paid.append((since, at, size, venue.books.funding - funding))
            funding = venue.books.funding
        fills.extend(m for m in messages if isinstance(m, FillSeen) and m.source == "stream")  # replies tell no fee
        held = sum((position.size for position in venue.positions()), ZERO)
        if held != size or at % HOUR_US == 0:
            size, since = held, at
        # start + realised - fees - funding + unrealised = equity, at every event
        books = venue.books
        assert books.balance + venue.unrealised_usd - venue.funding_due_usd == venue.equity_usd

    wishes = {
        "00:00:00": (place("entry-1", "buy", "0.15", "lmt", limit_price=50_007),),
        "00:20:00": (place("stop-1", "sell", "0.15", "stp", stop_price=49_500, reduce_only=True),),
        "02:30:00": (place("exit-1", "sell", "0.15"), cancel("stop-1")),
        "03:00:00": (
            place("entry-2", "sell", "0.08"),
            place("stop-2", "buy", "0.08", "stp", stop_price=51_500, reduce_only=True),
        ),
    }
    for time, mark, bid, ask, rate in table("The market"):
        hours, minutes, _ = map(int, time.split(":"))
        at = START + hours * HOUR_US + minutes * MINUTE_US
        if minutes == 0 and hours:
            hear(at, venue.settle_funding(at))
        moved = tick(mark, at, rate=rate)
        assert (str(moved.bid), str(moved.ask)) == (bid, ask)
        hear(at, venue.move(moved))
        for wish in wishes.get(time, ()):
            hear(at, venue.send(wish, at))
        if not venue.positions() and len(fills) > number:
            realised.append(venue.books.realised - sum(realised, ZERO))
            number = len(fills)
    return Played(fills, realised, paid, venue.books.fees, venue.books.funding, venue.equity_usd)


def test_fills(played: Played) -> None:
    """Time, order, side, size, price, liquidity and fee of every fill, in order."""
    rows = []
    for message in played.fills:
        fill = message.fill
        assert fill.symbol == BTC
        assert fill.fee_usd is not None
        told = (clock(fill.time), fill.client_order_id, fill.side, f"{fill.size:.4f}", f"{fill.price}", fill.fill_type)
        rows.append([*map(str, told), f"{fill.fee_usd:.8f}"])
        assert fill.fee_usd == round(fill.fee_usd, 8)
    assert rows == table("The fills")


def test_funding(played: Played) -> None:
    """Each stretch of funding: from, until, size and what was paid, exactly; the page's factors multiply to it."""
    page = table("Funding, across two settlements")
    assert [[clock(since), clock(at), f"{size:.4f}", f"{usd:.4f}"] for since, at, size, usd in played.paid] == [
        [*row[:3], row[5]] for row in page
    ]
    for (since, at, size, usd), row in zip(played.paid, page, strict=True):
        over, under = (Decimal(part) for part in (row[4] + "/1").split("/")[:2])
        assert Decimal(at - since) * under == over * HOUR_US
        assert size * Decimal(row[3]) * over / under == pytest.approx(usd, abs=Decimal("1e-10"))
        assert usd == Decimal(row[5])


def test_account(played: Played) -> None:
    """The sums of the account, to the last digit."""
    first, second = played.realised
    rows = {
        "start": Decimal(10_000),
        "realised trade 1": first,
        "realised trade 2": second,
        "fees": -played.fees,
        "funding": -played.funding,
        "end": played.end,
    }
    assert {name: Decimal(usd) for name, usd in table("The account")} == rows
    assert sum(list(rows.values())[:-1], ZERO) == played.end
