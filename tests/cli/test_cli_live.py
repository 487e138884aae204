"""`run --mode live --env dev` as a process against `venue serve` as another: the whole live path, over loopback TCP."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from homes import Home, ended
from served import Served, serving
from typer.testing import CliRunner

from actors.cli.app import app
from actors.gateway.credentials import KEY, SECRET
from actors.ledger.journal import open_reader

pytestmark = pytest.mark.slow

SPEED: Final = "60"
FAST: Final = """
symbols: [{spot: BTC/USD, futures: PF_XBTUSD}]
profile: standard
risk: {cost_max_r: 2}
market: {tick_s: 5, seed: 97}
strategy: {preset: classic, max_hold_bars: 1}
"""
"""A position opens at 00:30:03 and is closed a quarter of an hour later."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A venue of its own, stopped at the end with exit 0."""
    config = tmp_path / "fast.yaml"
    config.write_text(FAST)
    with serving(config, "--speed", SPEED) as served:
        yield served
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(timeout=20) == 0


def test_a_whole_trade(served: Served, tmp_path: Path) -> None:
    """Entry, stop and target on the exchange, exit, clean stop; and the secret is written nowhere."""
    home = Home(tmp_path / "state", served.config, "live", served.variables)
    daemon = home.start()
    held = home.page_where(lambda page: any(row["stop_price"] and row["target_price"] for row in page["positions"]))
    truth = served.truth()
    (position,) = truth.positions
    assert str(position.size) == str(held["positions"][0]["size"])
    assert sorted((order.order_type, order.size, order.reduce_only, order.trigger) for order in truth.orders) == [
        ("stp", abs(position.size), True, "mark"),
        ("take_profit", abs(position.size), True, "mark"),
    ]
    home.page_where(lambda page: page["trades_closed"] == 1)
    daemon.send_signal(signal.SIGTERM)
    code, out, err = ended(daemon)
    assert (code, err) == (0, "")
    assert "exit.time" in out
    after = served.truth()
    assert ([p for p in after.positions if p.size], after.orders) == ([], ())
    with open_reader(f"sqlite:///{home.path / 'ledger.sqlite'}") as reader:
        assert sorted(row["role"] for row in reader.orders()) == ["entry", "exit", "stop", "target"]
    secret = served.variables[SECRET]
    assert secret not in out
    assert [file for file in home.root.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()] == []


def test_the_two_must_agree_on_the_pace(served: Served, tmp_path: Path) -> None:
    """A daemon at another pace than its venue says so and ends with exit 1, before it trades."""
    home = Home(tmp_path / "state", served.config, "live", served.variables)
    code, _, err = ended(home.start("--speed", "1"))
    assert (code, err.count("\n")) == (1, 1)
    assert "give `run` and `venue serve` the same --speed" in err


@pytest.mark.parametrize(
    ("variables", "code", "told"),
    [
        ({KEY: "k", SECRET: "not base64!"}, 2, f"{SECRET}: the API secret is not base64"),
        ({KEY: "k", f"{SECRET}_FILE": "none.txt"}, 2, f"{SECRET}_FILE: none.txt cannot be read"),
        ({KEY: "k", SECRET: "c2Vj", f"{SECRET}_FILE": "x"}, 2, "give one of them"),
        ({KEY: "k", SECRET: "c2Vj", "KRAKEN_SMC__EXCHANGE__FUTURES_URL": "https://futures.kraken.com"}, 3, "loopback only"),
        ({KEY: "k", SECRET: "c2Vj", "KRAKEN_SMC__EXCHANGE__FUTURES_URL": "http://127.0.0.1:9"}, 1, "does not answer"),
    ],
)  # fmt: skip
def test_refusals(
    variables: dict[str, str], code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands between the daemon and its exchange is one line that says what to do."""
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["run", "--mode", "live", "--env", "dev"])
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
    assert told in result.stderr
    assert "c2Vj" not in result.output


def test_real_money_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Env prod stays closed, whatever keys there are, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(KEY, "k")
    monkeypatch.setenv(SECRET, "c2Vj")
    result = CliRunner().invoke(app, ["run", "--mode", "live", "--env", "prod"])
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "real money is closed" in result.stderr
    assert not Path("state").exists()
