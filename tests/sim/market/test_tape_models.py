"""What a recorded market does not say is modelled as the settings say: basis, volatility in the slippage, native history."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from actors.modes.account import engine_for
from actors.modes.backtest import Sources, told_sources
from config.settings import Settings
from protocol.units import DAY_US, HOUR_US, TIMEFRAME_MS, Timeframe
from sim.market.files import BadCandleFile, Candles
from sim.market.longer import aggregate
from sim.market.slippage import slippage_of
from sim.market.synthetic import generate
from sim.market.tape import Tape
from sim.market.track import BAR_US
from sim.stage import Stage

BTC, XBT = "BTC/USD", "PF_XBTUSD"
DAY_MS = DAY_US // 1000
START_MS = 20_454 * DAY_MS


def written(folder: Path, name: str, candles: Candles) -> Path:
    """Candles as a file."""
    columns = {column: getattr(candles, column) for column in ("time", "open", "high", "low", "close", "volume")}
    pd.DataFrame(columns).to_parquet(folder / name)
    return folder / name


def settings(**market: object) -> Settings:
    """One symbol, and how its market is modelled."""
    symbols = [{"spot": BTC, "futures": XBT}]
    return Settings.model_validate({"symbols": symbols, "market": market})


@pytest.fixture(scope="module")
def market() -> Candles:
    """Ten days, of which the first five may be known as longer candles only."""
    return generate(BTC, 5, START_MS, 960).candles


def test_a_static_basis_moves_every_mark_by_the_same_share(tmp_path: Path, market: Candles) -> None:
    """A quarter of a percent above spot, at any moment."""
    tape = Tape.recorded(settings(basis_pct="0.25"), {BTC: written(tmp_path, "s.parquet", market)})
    for at in range(tape.start_us, tape.start_us + DAY_US, 7 * BAR_US + 1):
        tick = tape.tick(XBT, at)
        assert float(tick.mark / tick.index) == pytest.approx(1.0025, abs=2e-5)


def test_a_stochastic_basis_is_a_matter_of_the_seed(tmp_path: Path, market: Candles) -> None:
    """Equal seeds give equal marks, others do not; spot is the file's in any case."""
    file = written(tmp_path, "s.parquet", market)
    one, same, other = (Tape.recorded(settings(basis="stochastic", seed=seed), {BTC: file}) for seed in (1, 1, 2))
    track = one.tracks[BTC]
    np.testing.assert_array_equal(track.basis, same.tracks[BTC].basis)
    assert not np.array_equal(track.basis, other.tracks[BTC].basis)
    assert 0 < np.abs(track.basis).mean() < 0.01
    np.testing.assert_array_equal(track.candles.close, market.close)


def test_mark_candles_of_an_hour_give_the_basis_at_each_full_hour(tmp_path: Path, market: Candles) -> None:
    """Both ended at the same moment: there the mark is the file's close, and between two such closes the basis is a line."""
    hours = aggregate(market, "1h")
    marks = replace(hours, **{name: getattr(hours, name) * 1.002 for name in ("open", "high", "low", "close")})
    file = written(tmp_path, "s.parquet", market)
    tape = Tape.recorded(settings(), {BTC: file}, perp={BTC: written(tmp_path, "m.parquet", marks)})
    np.testing.assert_allclose(tape.tracks[BTC].basis, 0.002, rtol=1e-9)
    days = written(tmp_path, "d.parquet", aggregate(market, "1d"))
    with pytest.raises(BadCandleFile, match=r"candles of 1 or 5 or 15 or 60 minutes are needed here; this holds 1440"):
        Tape.recorded(settings(), {BTC: file}, perp={BTC: days})


def test_funding_that_nobody_recorded_is_modelled(tmp_path: Path, market: Candles) -> None:
    """Nothing by default; a fixed rate an hour; or a walk of the seed's, another one each hour."""
    file = written(tmp_path, "s.parquet", market)
    hours = range(START_MS * 1000 + 1, START_MS * 1000 + 2 * DAY_US, HOUR_US)

    def rates(**terms: object) -> list[Decimal]:
        tape = Tape.recorded(settings(**terms), {BTC: file})
        return [tape.funding_rate(XBT, at) for at in hours]

    assert set(rates()) == {Decimal(0)}
    assert set(rates(funding_pct="0.00125")) == {Decimal("0.0000125")}
    walk = rates(funding="stochastic", seed=1)
    assert len(set(walk)) > 40
    assert walk == rates(funding="stochastic", seed=1) != rates(funding="stochastic", seed=2)
    paid = Tape.recorded(settings(funding_pct="0.00125"), {BTC: file}).tracks[BTC].funding_paid
    assert paid[96] == pytest.approx(24 * 0.0000125 * market.open[:96:4].mean(), rel=1e-4)


def test_slippage_grows_with_the_range_of_the_candle_before(tmp_path: Path, market: Candles) -> None:
    """A tenth of the last closed candle's range; nothing of the running one is known."""
    tape = Tape.recorded(settings(slippage_range_share="0.1"), {BTC: written(tmp_path, "s.parquet", market)})
    range_pct = (market.high[9] - market.low[9]) / market.close[9] * 100
    for into_s in (0, 3, 899):
        tick = tape.tick(XBT, tape.start_us + 10 * BAR_US + into_s * 1_000_000)
        assert float(tick.range_pct) == pytest.approx(range_pct)
        assert (
            slippage_of(settings(slippage_range_share="0.1", slippage_pct=0).market)(tick, Decimal(9))
            == tick.range_pct / 10
        )
    assert (
        Tape.recorded(settings(), {BTC: written(tmp_path, "s.parquet", market)}).tick(XBT, tape.start_us).range_pct == 0
    )


@pytest.mark.parametrize("is_listed", [False, True])
def test_a_candle_without_trades_does_not_make_a_market_cheap(tmp_path: Path, market: Candles, is_listed: bool) -> None:
    """The conditions are those of the last candle that was traded, whether the source lacks those after it or lists them flat
    and without volume: no turnover is no free order.
    """
    file = written(tmp_path, "s.parquet", market)
    table = pd.read_parquet(file)
    if is_listed:
        table.loc[[10, 11], ["open", "high", "low", "close"]] = table.close[9]
        table.loc[[10, 11], "volume"] = 0.0
    else:
        table = table.drop(index=[10, 11])
    table.to_parquet(file)
    modelled = settings(slippage_range_share="0.1", slippage_size_pct="0.3", spread_range_share="0.1", spread_pct=0)
    tape = Tape.recorded(modelled, {BTC: file})
    before, *holes = (tape.tick(XBT, tape.start_us + bar * BAR_US) for bar in (10, 11, 12))
    assert before.turnover_usd > 0
    for hole in holes:
        assert (hole.range_pct, hole.turnover_usd) == (before.range_pct, before.turnover_usd)
        assert hole.ask - hole.bid == before.ask - before.bid > 2


def test_native_candles_come_before_our_own(tmp_path: Path, market: Candles) -> None:
    """Days known only as days lead up to those made of 15m candles, without a gap and without one told twice."""
    days = aggregate(market, "1d")
    halfway = market.time[480]
    spot = written(tmp_path, "s.parquet", market.between(int(halfway), None))
    native = written(tmp_path, "d.parquet", days)
    tape = Tape.recorded(settings(), {BTC: spot}, history={(BTC, "1d"): native})
    told = tape.candles(BTC, "1d", None, tape.end_us)
    assert [candle.open_time_ms for candle in told] == days.time.tolist()
    assert [candle.close for candle in told] == days.close.tolist()
    assert len(Tape.recorded(settings(), {BTC: spot}).candles(BTC, "1d", None, tape.end_us)) == 5


@pytest.mark.parametrize(("timeframe", "cut"), [("1d", 480), ("4h", 480), ("1d", 500), ("4h", 500)])
def test_trading_waits_for_the_native_candle_that_leads_up_to_our_own(
    tmp_path: Path, market: Candles, timeframe: Timeframe, cut: int
) -> None:
    """One that is not settled at the start is a hole before our own, and the strategy then uses none of what came before."""
    spot = written(tmp_path, "s.parquet", market.between(int(market.time[cut]), None))
    longer = aggregate(market, timeframe)
    native = written(tmp_path, "n.parquet", longer)
    tape = Tape.recorded(settings(), {BTC: spot}, history={(BTC, timeframe): native})
    ours_ms = -(-int(market.time[cut]) // TIMEFRAME_MS[timeframe]) * TIMEFRAME_MS[timeframe]
    assert tape.start_us == ours_ms * 1000 + BAR_US
    stage = Stage(tape, engine_for(settings(), tape), settings())
    known = [candle.open_time_ms for candle in stage.history(BTC, timeframe, None, tape.start_us)]
    assert known == longer.time[longer.time < ours_ms].tolist()
    assert tape.led[BTC, timeframe] == len(known)


def test_native_candles_before_a_hole_move_no_start(tmp_path: Path, market: Candles) -> None:
    """They are of no use; trading begins with the data, and only what follows the last hole counts."""
    spot = written(tmp_path, "s.parquet", market.between(int(market.time[480]), None))
    days = aggregate(market, "1d")
    for left_out, led in ((days.time[4], 0), (days.time[1], 3)):
        kept = written(tmp_path, "d.parquet", days)
        table = pd.read_parquet(kept)
        table[table.time != left_out].to_parquet(kept)
        tape = Tape.recorded(settings(), {BTC: spot}, history={(BTC, "1d"): kept})
        assert tape.led == {(BTC, "1d"): led}
        assert tape.start_us == int(market.time[480]) * 1000 + BAR_US * (led > 0)


def test_a_source_that_tells_a_part_of_the_run_is_told_with_its_share(tmp_path: Path, market: Candles) -> None:
    """Basis and funding beyond what was recorded are no history: the rate of the last day may stand for years."""
    spot = written(tmp_path, "s.parquet", market)
    hours = np.arange(START_MS, START_MS + 10 * DAY_MS + 1, 8 * 3_600_000)
    hour = aggregate(market, "1h")

    def said(begin: int, end: int, hole: slice, start: int = 0) -> dict[str, str]:
        """Days for which there are marks and rates, hours left out, the day on which trading begins."""
        perp = written(tmp_path, "p.parquet", hour.between(START_MS + begin * DAY_MS, START_MS + end * DAY_MS))
        kept = hours[(hours >= START_MS + begin * DAY_MS) & (hours <= START_MS + end * DAY_MS)]
        pd.DataFrame({"time": np.delete(kept, hole), "rate": 1e-4}).to_parquet(tmp_path / "f.parquet")
        files = Sources(data={BTC: spot}, perp={BTC: perp}, funding={BTC: tmp_path / "f.parquet"})
        start_ms = START_MS + start * DAY_MS
        tape = Tape.recorded(settings(), files.data, perp=files.perp, funding=files.funding, start_ms=start_ms)
        return told_sources(settings(), tape, files)

    whole = said(0, 10, slice(0))
    assert (whole["basis"], whole["funding"]) == (
        "historical, perpetual candles of BTC/USD",
        "hourly, historical rates of BTC/USD",
    )
    part = "BTC/USD ({} % of the run; elsewhere as the nearest known)"
    for told, funding in (
        (said(0, 4, slice(0)), 40),
        (said(6, 10, slice(0)), 43),
    ):  # the first rate is of the hours before it
        assert told["basis"].endswith(part.format(40))
        assert told["funding"].endswith(part.format(funding))
    assert said(0, 10, slice(3, 6))["funding"].endswith(part.format(90))  # a day's three rates are lost
    assert said(0, 10, slice(3, 6), start=2)["funding"] == whole["funding"]
    assert said(0, 4, slice(0), start=5)["basis"].endswith(part.format(0))


def test_a_history_that_is_not_used_is_told_so(tmp_path: Path, market: Candles) -> None:
    """Days that end before the 15m candles begin warm nothing."""
    spot = written(tmp_path, "s.parquet", market.between(int(market.time[480]), None))
    days = aggregate(market, "1d")
    for end, said in ((5, "BTC/USD 1d (5)"), (4, "BTC/USD 1d (unused: they do not lead up to the 15m candles)")):
        native = written(tmp_path, "d.parquet", days.between(None, START_MS + end * DAY_MS))
        files = Sources(data={BTC: spot}, history={(BTC, "1d"): native})
        tape = Tape.recorded(settings(), files.data, history=files.history)
        assert told_sources(settings(), tape, files)["history"] == said


@pytest.mark.parametrize(("tick_s", "said"), [(1, "marks each second on it"), (900, "marks every 900 seconds on it")])
def test_the_report_says_how_often_the_price_is_looked_at(tick_s: int, said: str) -> None:
    """What lies between two marks is not seen, and stops there do not fire: the assumption is the setting's, not the default's."""
    modelled = settings(tick_s=tick_s)
    tape = Tape.synthetic(modelled, days=1, history_days=1)
    assert said in told_sources(modelled, tape, Sources())["path"]
