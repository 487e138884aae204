"""The curve drawn after a run against the exchange's own books at every boundary of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from houses import ROUTES, gate_and_door, parts
from stages import SETTINGS, TAPE, engine

from protocol.messages.base import Message
from protocol.messages.futures import TickerSeen
from protocol.units import SECOND_US
from sim.loop import run
from sim.market.track import BAR_US


def test_the_curve_is_what_the_books_say_at_every_boundary() -> None:
    """Equity, exposure and distance to liquidation, with fees, funding and open positions, to a millionth of a dollar."""
    gate, door = gate_and_door()
    venue = engine()
    last = SETTINGS.symbols[-1].futures
    seen: list[tuple[int, float, float, float]] = []

    def record(_actor: str, message: Message, _answers: Sequence[Message]) -> None:
        if isinstance(message, TickerSeen) and message.symbol == last and message.at % BAR_US < SECOND_US:
            held = [(position, venue.state.ticks[position.symbol].mark) for position in venue.positions()]
            notional = sum((abs(position.size) * mark for position, mark in held), start=0)
            away = [
                float(abs(mark - position.liquidation_price) / mark * 100)
                for position, mark in held
                if position.liquidation_price is not None
            ]
            boundary = message.at - message.at % BAR_US
            seen.append((boundary, float(venue.equity_usd), float(notional), min(away, default=np.nan)))

    result = run(parts(), ROUTES, gate=gate, door=door, engine=venue, tape=TAPE, settings=SETTINGS, record=record)
    at, equity, notional, away = (np.array(column) for column in zip(*seen, strict=True))
    assert result.curve.at_us.tolist() == at.tolist()
    assert len(np.unique(equity)) > 100
    np.testing.assert_allclose(result.curve.equity_usd, equity, rtol=0, atol=1e-6)
    np.testing.assert_allclose(result.curve.notional_usd, notional, rtol=1e-12)
    reachable = ~np.isnan(away)
    np.testing.assert_allclose(result.curve.liquidation_pct[reachable], away[reachable], rtol=1e-6)
