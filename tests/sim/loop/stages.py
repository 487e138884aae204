"""Ready-made markets, exchanges and wishes for the tests of both drivers."""

from __future__ import annotations

from decimal import Decimal

from config.settings import Settings
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import PlaceOrder
from sim.engine import Engine
from sim.market.tape import Tape
from sim.stage import Stage

BTC, XBT = "BTC/USD", "PF_XBTUSD"
SETTINGS = Settings.model_validate({"feeds": {"spot_idle_s": 60, "futures_idle_s": 60}})
"""Patient feeds: a heartbeat each half minute is enough."""
TAPE = Tape.synthetic(SETTINGS, days=3, history_days=2)


def engine(tape: Tape = TAPE) -> Engine:
    """An account of 100,000 dollars on the tape's contracts."""
    return Engine(tape.instruments, Decimal(100_000))


def stage(tape: Tape = TAPE) -> Stage:
    """A fresh exchange on the shared market."""
    return Stage(tape, engine(tape), SETTINGS)


def order(name: str, at: int, side: str, order_type: str, **terms: object) -> PlaceOrder:
    """A wish for one hundredth of a bitcoin."""
    fields = {"symbol": XBT, "size": Decimal("0.01"), "role": "entry", **terms}
    return from_edge(
        PlaceOrder, at, name, client_order_id=name, signal_id="s", side=side, order_type=order_type, **fields
    )


def bracket(at: int, mark: Decimal, stop_pct: Decimal, target_pct: Decimal) -> list[PlaceOrder]:
    """A long entry at market with a reduce-only stop and target."""
    stop, target = (round(mark * (1 + pct / 100)) for pct in (-stop_pct, target_pct))
    return [
        order("entry", at, "buy", "mkt"),
        order("stop", at, "sell", "stp", stop_price=Decimal(stop), reduce_only=True, role="stop"),
        order("target", at, "sell", "take_profit", stop_price=Decimal(target), reduce_only=True, role="target"),
    ]


def play(stage: Stage, until_us: int, after: int | None = None) -> list[Message]:
    """All that is said from `after` to `until_us`."""
    now, said = after if after is not None else stage.tape.start_us, []
    while (moment := stage.next(now)) is not None and moment.at <= until_us:
        now = moment.at
        said += stage.happen(moment)
    return said
