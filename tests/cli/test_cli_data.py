"""`data` on a store, and a backtest that reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import trio
from trio.testing import MockClock
from typer.testing import CliRunner, Result

from actors.cli.app import app
from actors.gateway.futures_data import FuturesData
from actors.gateway.spot import SpotGateway
from actors.modes.fetch import Fetcher, FetchFailed, public_futures
from actors.modes.sites import engine_for
from config.load import load
from protocol.units import HOUR_US, decimal
from sim.clock import SimulatedClock
from sim.market.store import SeriesName, Store
from sim.market.tape import Tape
from sim.venue import Venue

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "samples"
ONE_MARKET = "symbols: [{spot: BTC/USD, futures: PF_XBTUSD}]\n"
START = 1_767_571_200_000


def cli(*words: str) -> Result:
    """One command."""
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in, with settings for one market."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.yaml").write_text(ONE_MARKET)
    return tmp_path


def walk(count: int) -> pd.DataFrame:
    """A candle file of ours: a slow wave."""
    close = 50_000 + 500 * np.sin(np.arange(count) / 40)
    open_ = np.concatenate([[close[0]], close[:-1]])
    return pd.DataFrame({
        "time": START + np.arange(count) * 900_000, "open": open_, "high": np.maximum(open_, close) + 5,
        "low": np.minimum(open_, close) - 5, "close": close, "volume": 1.0,
    })  # fmt: skip


def test_import_check_and_backtest(home: Path) -> None:
    """What was imported is sound by `check`, and is what a backtest without --data trades."""
    walk(3000).to_csv("walk.csv", index=False)
    imported = cli("data", "import", "BTC/USD=walk.csv", "--config", "one.yaml")
    assert (imported.exit_code, imported.stdout) == (0, "spot BTC/USD 15m: 3000 new\n")
    checked = cli("data", "check", "--config", "one.yaml", "--json")
    (row,) = json.loads(checked.stdout)
    assert (row["series"], row["sound"], row["rows"], row["missing"]) == ("spot BTC/USD 15m", True, 3000, 0)
    assert "spot BTC/USD 15m" in cli("data", "check", "--config", "one.yaml").stdout
    result = json.loads(cli("backtest", "--config", "one.yaml", "--json").stdout)
    by_file = json.loads(cli("backtest", "--config", "one.yaml", "--data", "BTC/USD=walk.csv", "--json").stdout)
    assert {k: v for k, v in result.items() if k != "run_s"} == {k: v for k, v in by_file.items() if k != "run_s"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["BTC/USD"], "write SYMBOL=FILE"),
        (["X/USD=walk.csv"], "X/USD"),
        (["BTC/USD=none.csv"], "there is no file none.csv"),
        (["BTC/USD=bad.csv"], "row 1, column high"),
        (["BTC/USD=bad.csv", "--kind", "gold"], "--kind 'gold'"),
        (["BTC/USD=bad.csv", "--tf", "3m"], "--tf '3m'"),
    ],
)
def test_bad_imports(words: list[str], told: str, home: Path) -> None:
    """One line, exit 2, nothing written."""
    (home / "bad.csv").write_text(f"time,open,high,low,close,volume\n{START},10,8,9,11,1\n")
    result = cli("data", "import", *words, "--config", "one.yaml")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert told in result.stderr
    assert not (home / "state").exists()


def test_a_series_that_cannot_be_used_fails_the_check(home: Path) -> None:
    """Exit 1, and what is wrong is said."""
    table = walk(10)
    table.loc[4, "high"] = 1.0
    Store(home / "state" / "data").add(SeriesName("spot", "BTC/USD", "15m"), table)
    checked = cli("data", "check", "--config", "one.yaml")
    assert checked.exit_code == 1
    assert "1 rows without sense" in checked.stdout


def test_fetch_without_an_exchange(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers: one line that says who and why in words, exit 1, nothing written."""
    monkeypatch.setenv("KRAKEN_SMC__EXCHANGE__SPOT_URL", "http://127.0.0.1:9")
    result = cli("data", "fetch", "--env", "dev", "--config", "one.yaml")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
    assert result.stderr == "error: 127.0.0.1/0/public/Time: cannot be reached: connection refused\n"
    assert not (home / "state").exists()


async def test_fetch_goes_on_where_it_was(home: Path, autojump_clock: MockClock) -> None:
    """From the simulated exchange in memory; cut off in the middle, a second fetch brings the rest and doubles nothing."""
    settings = load("live", "dev", home / "one.yaml", {}, {})
    tape = Tape.synthetic(settings, days=2)
    clock = SimulatedClock(tape.start_us)
    venue = Venue(engine_for(settings, tape), tape, clock, settings.futures_of, tick_s=900)
    store = Store(home / "data")
    said: list[tuple[str, int]] = []

    async with trio.open_nursery() as nursery, venue.http_client() as http:
        await nursery.start(venue.run)
        spot = SpotGateway(http, _unused, clock, settings.feeds)
        futures = public_futures(http, clock, settings)
        cut = Fetcher(store, spot, _Cut(futures), clock, lambda name, rows: said.append((name, rows)))
        with pytest.raises(FetchFailed):
            await cut.run([("BTC/USD", "PF_XBTUSD")])
        assert [rows for _, rows in said[:4]] == [719, 719, 719, 450]
        await trio.sleep(3600)
        said.clear()
        whole = Fetcher(store, spot, futures, clock, lambda name, rows: said.append((name, rows)))
        await whole.run([("BTC/USD", "PF_XBTUSD")])
        rates = await futures.funding_rates("PF_XBTUSD")
        nursery.cancel_scope.cancel()

    fetched = dict(said)
    assert fetched["spot BTC/USD 15m"] == 4
    assert fetched["spot BTC/USD 1h"] == 1
    assert fetched["funding BTC/USD"] > 0
    times = store.read(SeriesName("spot", "BTC/USD", "15m"))
    assert times is not None
    assert np.diff(times["time"]).tolist() == [900_000] * 722

    # Kraken names an hour's rate by its beginning, the store by its end: the newest row is the hour that is running.
    assert rates[-1].time == clock.now_us() // HOUR_US * HOUR_US
    assert [rate.relative for rate in rates] == [tape.funding_rate("PF_XBTUSD", rate.time + 1) for rate in rates]
    kept = store.read(SeriesName("funding", "BTC/USD", None))
    assert kept is not None
    assert (kept["time"] * 1000).tolist() == [rate.time + HOUR_US for rate in rates]
    ends = [(int(time) * 1000, decimal(rate)) for time, rate in zip(kept["time"], kept["rate"], strict=True)]
    assert [rate for _, rate in ends] == [tape.funding_rate("PF_XBTUSD", end - 1) for end, _ in ends]


class _Cut(FuturesData):
    """A futures side whose first page of candles breaks off."""

    def __init__(self, inner: FuturesData) -> None:
        self.inner = inner

    async def chart(self, *_: Any) -> Any:
        from protocol.ports import FeedLost

        raise FeedLost("cut off")


def _unused() -> Any:
    raise AssertionError("no stream was expected")


@pytest.mark.skipif(not SAMPLES.exists(), reason="the sample candles are not at hand")
def test_real_samples_are_sound(home: Path) -> None:
    """Real 15m candles come in whole."""
    file = SAMPLES / "binance_spot_BTCUSDT_15m_29d_2025-05.csv"
    assert cli("data", "import", f"BTC/USD={file}", "--config", "one.yaml").exit_code == 0
    (row,) = json.loads(cli("data", "check", "--config", "one.yaml", "--json").stdout)
    assert (row["sound"], row["rows"]) == (True, 29 * 96)
