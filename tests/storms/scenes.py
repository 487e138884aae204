"""The moments at which positions open in the markets of the storms, found by a backtest. `make goldens` writes them down."""

from __future__ import annotations

import json

from actors.modes.backtest import by_loop, for_history
from protocol.messages.futures import TradeClosed, TradeOpened
from sim.storm.scene import FILE, MARKETS, SETTINGS, Moments, market_of, moments_in


def found(number: int) -> dict[str, tuple[int, ...]]:
    """The moments of one market, from the strategy and the sizing as they are now."""
    tape = market_of(number)
    result = by_loop(for_history(SETTINGS, {}), tape, lambda done_us, total_us: None)
    opened = {message.trade_id: message.at for message in result.of(TradeOpened)}
    ended = {message.trade_id: message.reason for message in result.of(TradeClosed)}
    return moments_in(opened, ended, tape.start_us)


def written(all_moments: Moments) -> str:
    """As they stand in the file: a line a kind."""
    rows = (
        f'"{number}": {{\n' + ",\n".join(f' "{kind}": {json.dumps(list(bars))}' for kind, bars in kinds.items()) + "\n}"
        for number, kinds in all_moments.items()
    )
    return "{\n" + ",\n".join(rows) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(written({number: found(number) for number in MARKETS}))
