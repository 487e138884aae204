"""The stage: which moments are visited, in which order, and that skipping the rest changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from stages import BTC, SETTINGS, TAPE, XBT, bracket, order, play, stage

from actors.modes.account import engine_for
from config.settings import Settings
from protocol.messages.base import Message
from protocol.messages.futures import CommandAnswered, Fill, FillSeen, TickerSeen
from protocol.messages.spot import CandleSeen
from protocol.units import DAY_US, HOUR_US, SECOND_US
from sim.market.tape import Tape
from sim.market.track import BAR_US, LEG_US
from sim.stage import Stage

SETTLE_US = SETTINGS.feeds.settle_ms * 1000
END_US = TAPE.start_us + DAY_US


def grids(stage: Stage, until_us: int) -> list[tuple[int, str, str]]:
    """(grid moment since the start, kind, symbol) of all moments up to a time, nothing being traded."""
    now, found = TAPE.start_us, []
    while (moment := stage.next(now)) is not None and moment.at <= until_us:
        now = moment.at
        stage.happen(moment)
        found.append((moment.grid - TAPE.start_us, moment.kind, moment.spot))
    return found


def test_while_flat_only_boundaries_and_settled_candles_are_visited() -> None:
    """One quarter of an hour with nothing open: the boundary and the settled candle, symbol by symbol, mark before spot."""
    eth = "ETH/USD"
    assert grids(stage(), TAPE.start_us + BAR_US - 1) == [
        (0, "funding", BTC),
        (0, "tick", BTC),
        (0, "running", BTC),
        (0, "tick", eth),
        (0, "running", eth),
        (SETTLE_US, "tick", BTC),
        (SETTLE_US, "running", BTC),
        (SETTLE_US, "closed", BTC),
        (SETTLE_US, "tick", eth),
        (SETTLE_US, "running", eth),
        (SETTLE_US, "closed", eth),
    ]


def test_every_moment_has_a_time_of_its_own_and_every_message_says_it() -> None:
    """Times strictly increase, lie within a millisecond after the tick grid, and are the `at` of what is said."""
    played, now = stage(), TAPE.start_us
    while (moment := played.next(now)) is not None and moment.grid < TAPE.start_us + 2 * HOUR_US:
        assert now < moment.at < moment.grid + 1000
        now = moment.at
        assert all(message.at == now for message in played.happen(moment))


def test_each_closed_candle_is_told_once_after_its_last_running_form() -> None:
    """The source shows a candle whole at its end and final once it has settled, with the same values."""
    candles = [m for m in play(stage(), END_US) if isinstance(m, CandleSeen) and m.symbol == BTC]
    final = [c for c in candles if c.final]
    assert [c.open_time_ms for c in final] == [
        c.open_time_ms for c in TAPE.candles(BTC, "15m", TAPE.start_us // 1000 - 900_000, END_US - SETTLE_US)
    ]
    for candle in final[1:]:
        last = [c for c in candles if not c.final and c.open_time_ms == candle.open_time_ms][-1]
        assert (last.open, last.high, last.low, last.close, last.volume) == (
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            candle.volume,
        )


def test_with_a_position_the_turns_of_its_path_are_visited_too() -> None:
    """An open position adds +300 s and +600 s for its own symbol only."""
    played = stage()
    now = TAPE.start_us + SECOND_US
    play(played, now)
    played.send(order("entry", now, "buy", "mkt"), now)
    moments = []
    while (moment := played.next(now)) is not None and moment.grid < TAPE.start_us + BAR_US:
        now = moment.at
        played.happen(moment)
        moments.append((moment.grid - TAPE.start_us, moment.spot))
    turns = [m for m in moments if m[0] not in (0, SETTLE_US)]
    assert turns == [(LEG_US, BTC)] * 2 + [(2 * LEG_US, BTC)] * 2


def fills(messages: Sequence[Message]) -> dict[str, Fill]:
    """Executions by their id."""
    return {m.fill.fill_id: m.fill for m in messages if isinstance(m, FillSeen)}


@pytest.mark.parametrize("hour", range(0, 48, 5))
@pytest.mark.parametrize(("stop", "target"), [("0.3", "0.4"), ("1.2", "0.15")])
def test_skipping_moments_changes_no_fill(hour: int, stop: str, target: str) -> None:
    """A bracket ends in the same fills, same price, same second, whether every second is visited or only what matters."""
    begin = TAPE.start_us + hour * HOUR_US + 7 * SECOND_US
    until = begin + 3 * HOUR_US
    wishes = bracket(begin, TAPE.tick(XBT, begin).mark, Decimal(stop), Decimal(target))

    skipping = stage()
    said = [m for wish in wishes for m in skipping.send(wish, begin)]
    said += play(skipping, until, begin)

    walking = stage()
    walked = [m for wish in wishes for m in walking.send(wish, begin)]
    for at in range(begin + SECOND_US, until + 1, SECOND_US):
        walked += walking.engine.move(TAPE.tick(XBT, at))

    def seen(messages: Sequence[Message]) -> list[tuple[str, Decimal, Decimal, int]]:
        return [(f.fill_id, f.price, f.size, f.time // SECOND_US) for f in fills(messages).values()]

    assert seen(said) == seen(walked)
    ticks = (sum(isinstance(m, TickerSeen) and m.symbol == XBT for m in messages) for messages in (said, walked))
    assert next(ticks) * 20 < next(ticks)


def test_a_resting_limit_fills_in_the_same_second_as_on_a_full_walk() -> None:
    """A limit fills on bid or ask, a little beyond the mark that reaches it: that second is visited too."""
    begin = TAPE.start_us + 5 * SECOND_US
    limit = round(TAPE.tick(XBT, begin).mark * Decimal("0.998"))
    wish = order("limit", begin, "buy", "lmt", limit_price=Decimal(limit))
    skipping, walking = stage(), stage()
    said = [*skipping.send(wish, begin), *play(skipping, END_US, begin)]
    walked = walking.send(wish, begin)
    ours = fills(said)
    assert len(ours) == 1
    for at in range(begin + SECOND_US, next(iter(ours.values())).time + SECOND_US, SECOND_US):
        walked += walking.engine.move(TAPE.tick(XBT, at))
    theirs = fills(walked)
    assert [(f.price, f.time // SECOND_US) for f in ours.values()] == [
        (f.price, f.time // SECOND_US) for f in theirs.values()
    ]


def test_a_wish_meets_the_price_of_its_own_moment() -> None:
    """Between visits the exchange first learns today's price: a market order never fills at a stale one."""
    played = stage()
    play(played, TAPE.start_us + SECOND_US)
    at = TAPE.start_us + 450 * SECOND_US + 123
    said = played.send(order("entry", at, "buy", "mkt"), at)
    now = TAPE.tick(XBT, at)
    (fill,) = fills(said).values()
    assert now.ask <= fill.price <= now.ask * Decimal("1.0002")
    assert isinstance(said[0], TickerSeen)
    assert [m.outcome for m in said if isinstance(m, CommandAnswered)] == ["filled"]


CANDLE = (50_000.0, 50_600.0, 49_400.0, 49_800.0)
"""It falls, so its path goes to the high first and to the low later."""


@pytest.mark.parametrize(
    ("intrabar", "expected"),
    [("pessimistic", "49700"), ("path", "50400")],
)
def test_a_candle_that_reaches_stop_and_target_gives_the_stop(intrabar: str, expected: str, tmp_path: Path) -> None:
    """Bought at its third second: the made-up path meets the target first, the pessimistic exchange gives it all the same to the stop."""
    settings = Settings.model_validate(
        {
            "symbols": [{"spot": BTC, "futures": XBT}],
            "market": {"spread_pct": 0, "slippage_pct": 0, "intrabar": intrabar},
        }
    )
    flat = (50_000.0,) * 4
    rows = [[1_700_006_400_000 + 900_000 * i, *bar, 1] for i, bar in enumerate((flat, CANDLE, flat))]
    file = tmp_path / "spot.csv"
    file.write_text(
        "\n".join(",".join(map(str, row)) for row in (["time", "open", "high", "low", "close", "volume"], *rows))
    )
    tape = Tape.recorded(settings, {BTC: file})
    played = Stage(tape, engine_for(settings, tape), settings)
    begin = tape.start_us + BAR_US + 3 * SECOND_US
    wishes = [
        order("entry", begin, "buy", "mkt"),
        order("stop", begin, "sell", "stp", stop_price=Decimal(49_700), reduce_only=True, role="stop"),
        order("target", begin, "sell", "take_profit", stop_price=Decimal(50_400), reduce_only=True, role="target"),
    ]
    said = [m for wish in wishes for m in played.send(wish, begin)]
    said += play(played, tape.end_us, begin)
    out = [fill for fill in fills(said).values() if fill.side == "sell"]
    assert [fill.client_order_id for fill in out] == ["stop" if intrabar == "pessimistic" else "target"]
    assert abs(out[0].price - Decimal(expected)) <= 4


def test_the_tape_ends() -> None:
    """No moment lies beyond the end of the data."""
    assert stage().next(TAPE.end_us + SECOND_US) is None
