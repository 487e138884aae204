"""The daemon as a process: stopped, killed at any moment, flattened, latched, acknowledged; and what is told of it."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest
from homes import Home, ended, wait_for

from actors.ledger.journal import open_reader
from actors.modes.account import SYNTHETIC_DAYS, engine_for
from actors.state import StateDirectory
from config.load import load
from protocol.messages.futures import OpenOrder, Position
from protocol.units import SECOND_US
from sim.market.tape import Tape

pytestmark = pytest.mark.slow

STOPPED_WITHIN_S = 5.0
CRASHES_AFTER_S = (5, 70, 40)
"""Market time from each start to a kill at the least; the position is open throughout."""


def on_exchange(home: Home) -> tuple[tuple[Position, ...], tuple[OpenOrder, ...]]:
    """Positions and working orders of the saved exchange."""
    settings = load("paper", "dev", Path(home.options[1]), {}, {})
    tape = Tape.synthetic(settings, days=SYNTHETIC_DAYS)
    engine = engine_for(settings, tape)
    engine.restore((home.path / "venue.msgpack").read_bytes())
    truth = engine.snapshot(engine.state.now)
    return tuple(p for p in truth.positions if p.size), truth.orders


def roles(home: Home) -> Counter[str]:
    """How many orders of each role were ever sent."""
    with open_reader(f"sqlite:///{home.path / 'ledger.sqlite'}") as reader:
        return Counter(row["role"] for row in reader.orders())


def assert_protected(home: Home) -> None:
    """One position on the exchange, with a reduce-only stop over all of it."""
    (position,), orders = on_exchange(home)
    assert position.size
    stops = [order for order in orders if order.order_type == "stp"]
    assert [(stop.size, stop.reduce_only) for stop in stops] == [(abs(position.size), True)]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stop_signal(holding: Home, how: signal.Signals) -> None:
    """A stop signal ends the daemon in seconds with exit 0; the position keeps its stop and the files are whole."""
    daemon = holding.start()
    holding.page_where(lambda page: bool(page["positions"]) and page["entries"] == "open")
    daemon.send_signal(how)
    daemon.wait(STOPPED_WITHIN_S)
    assert ended(daemon)[0] == 0
    assert holding.status is not None
    assert_protected(holding)
    assert roles(holding)["entry"] == 1


def test_killed_at_any_moment(holding: Home) -> None:
    """`kill -9` with a position open: each next start finds it protected, enters no second time, and ends the trade."""
    for seconds in CRASHES_AFTER_S:
        daemon = holding.start()
        begun = (holding.status or {"at": 0})["at"]
        until = begun + seconds * SECOND_US
        page = holding.page_where(lambda page, until=until: page["at"] >= until and bool(page["positions"]))  # type: ignore[misc]
        daemon.kill()
        daemon.wait()
        assert page["positions"][0]["stop_price"] is not None
        assert_protected(holding)
        assert roles(holding)["entry"] == 1
    code, out, err = ended(holding.start("--trades", "1"))
    assert (code, err) == (0, "")
    assert "exit.time" in out
    assert on_exchange(holding)[0] == ()
    assert roles(holding)["entry"] == 1


def test_emergency_with_the_daemon_up(holding: Home) -> None:
    """The running daemon latches, flattens and says so; another daemon and an acknowledgement are refused meanwhile."""
    daemon = holding.start()
    holding.page_where(lambda page: bool(page["positions"]) and page["entries"] == "open")
    code, _, err = ended(holding.start())
    assert code == 3
    assert err.count("\n") == 1
    assert "a daemon is running on this state" in err
    killed = holding.command("kill-switch", "--emergency", "--reason", "drill")
    assert killed.exit_code == 0, killed.output
    assert daemon.poll() is None
    acknowledged = holding.command("kill-switch", "ack", "--reason", "looked")
    assert (acknowledged.exit_code, acknowledged.stderr.count("\n")) == (3, 1)
    assert "a daemon is running" in acknowledged.stderr
    daemon.terminate()
    assert ended(daemon)[0] == 0
    assert on_exchange(holding) == ((), ())


@pytest.mark.parametrize("how", ["signal SIGUSR1", "dashboard: drill"])
def test_other_hands_on_the_kill_switch(holding: Home, how: str) -> None:
    """A signal to the process, or the request a dashboard writes: the daemon latches with that reason and is flat."""
    daemon = holding.start()
    holding.page_where(lambda page: bool(page["positions"]) and page["entries"] == "open")
    if how.startswith("signal"):
        daemon.send_signal(signal.SIGUSR1)
    else:
        StateDirectory(holding.root, "paper", "dev").request_kill(how)
    holding.page_where(lambda page: page["latched"] and page["kill_done"])
    daemon.terminate()
    assert ended(daemon)[0] == 0
    assert on_exchange(holding) == ((), ())
    assert how in holding.command("kill-switch", "status").stdout


def test_emergency_with_the_daemon_down(holding: Home) -> None:
    """Flattened on the exchange itself; `run` refuses and says why until a person acknowledges, then trades again."""
    assert_protected(holding)
    killed = holding.command("kill-switch", "--emergency", "--reason", "drill")
    assert killed.exit_code == 0, killed.output
    assert on_exchange(holding) == ((), ())
    assert "drill" in holding.command("kill-switch", "status").stdout
    code, _, err = ended(holding.start())
    assert code == 3
    assert err.startswith("refused: the kill switch is latched since 2026-01-05 00:3")
    assert "drill" in err
    assert "kill-switch ack" in err
    assert err.count("\n") == 1
    assert roles(holding)["entry"] == 1
    acknowledged = holding.command("kill-switch", "ack", "--reason", "looked")
    assert acknowledged.exit_code == 0, acknowledged.output
    assert holding.command("kill-switch", "status").stdout == "not latched\n"
    daemon = holding.start()
    assert holding.page_where(lambda page: page["entries"] == "open")["latched"] is False
    daemon.terminate()
    assert ended(daemon)[0] == 0


def test_explain_and_status_of_a_trade(holding: Home) -> None:
    """A finished trade is told from candle to exit by its signal's id, for a person and as JSON."""
    code, _, err = ended(holding.start("--trades", "1"))
    assert (code, err) == (0, "")
    with open_reader(f"sqlite:///{holding.path / 'ledger.sqlite'}") as reader:
        (trade,) = [row for row in reader.trades() if row["closed_at"] is not None]
        (signal_id,) = {row["signal_id"] for row in reader.orders() if row["role"] == "entry"}
    told = holding.command("explain", signal_id)
    assert told.exit_code == 0
    assert told.stdout.index("signal ") < told.stdout.index("approved ") < told.stdout.index(" entry: ")
    assert told.stdout.index(" entry: ") < told.stdout.index("protect ") < told.stdout.index("exit.time")
    kinds = [row["type"] for row in json.loads(holding.command("explain", signal_id, "--json").stdout)]
    assert {"CandleClosed", "Signal", "EnterPosition", "PlaceOrder", "Filled", "Protected", "TradeClosed"} <= set(kinds)
    assert trade["symbol"] == "PF_XBTUSD"
    page = json.loads(holding.command("status", "--json").stdout)
    assert (page["running"], page["positions"], page["trades_closed"]) == (False, [], 1)
    assert "not running" in holding.command("status").stdout


def test_a_persons_hands(holding: Home) -> None:
    """A running daemon shows what closing would send, closes, holds entries back, and answers; afterwards the exchange is asked."""
    daemon = holding.start()
    page = holding.page_where(lambda page: bool(page["positions"]) and page["entries"] == "open")
    symbol = page["positions"][0]["symbol"]
    shown = holding.command("close", symbol, "--reason", "news", "--dry-run", "--json")
    assert shown.exit_code == 0, shown.output
    (payload,) = json.loads(shown.stdout)["payloads"]
    assert "reduceOnly=true" in payload
    assert json.loads(holding.command("positions", "--json").stdout)["positions"][0]["symbol"] == symbol
    closed = holding.command("close", symbol, "--reason", "news")
    assert (closed.exit_code, "reduce-only" in closed.stdout) == (0, True), closed.output
    holding.page_where(lambda page: not page["positions"])
    halted = holding.command("entries", "halt", "--reason", "lunch", "--json")
    assert json.loads(halted.stdout)["done"] is True
    holding.page_where(lambda page: "gate.halt:person" in page["closed_by"])
    daemon.terminate()
    assert ended(daemon)[0] == 0
    listed = json.loads(holding.command("orders", "--json").stdout)
    assert (listed["source"], listed["orders"]) == ("exchange", [])
    assert holding.command("close", symbol, "--reason", "again").exit_code == 1
    assert holding.command("close", "XRP/USD", "--reason", "typo").exit_code == 2


def test_a_position_is_closed_without_a_daemon(holding: Home) -> None:
    """On the exchange itself, through the same door: dry first, then for good; nothing is left resting."""
    assert_protected(holding)
    symbol = on_exchange(holding)[0][0].symbol
    shown = json.loads(holding.command("close", symbol, "--reason", "news", "--dry-run", "--json").stdout)
    assert any("reduceOnly=true" in line for line in shown["payloads"])
    assert_protected(holding)
    closed = holding.command("close", symbol, "--reason", "news", "--json")
    assert closed.exit_code == 0, closed.output
    assert on_exchange(holding) == ((), ())


def test_a_kill_can_be_rehearsed(holding: Home) -> None:
    """The flatten and the target's cancel as they would go on the wire; the stop stays until flat. Nothing is sent, nothing latched."""
    before = on_exchange(holding)
    shown = holding.command("kill-switch", "--emergency", "--dry-run")
    assert shown.exit_code == 0, shown.output
    calls = [line.split("?")[0].split(" ")[1] for line in shown.output.splitlines() if line.startswith("POST ")]
    assert [call.rsplit("/", 1)[1] for call in calls] == ["cancelorder", "sendorder"]
    assert "reduceOnly=true" in shown.output
    assert shown.output.endswith("dry run: nothing was sent, nothing is latched\n")
    assert on_exchange(holding) == before
    assert "not latched" in holding.command("kill-switch", "status").output
    assert roles(holding) == {"entry": 1, "stop": 1, "target": 1}


def test_a_rehearsal_of_paper_needs_its_daemon_down(holding: Home) -> None:
    """Its exchange is in there: one line, exit 3."""
    holding.start()
    state = StateDirectory(holding.root, "paper", "dev")
    wait_for(lambda: state.owned_by_other() or None)
    refused = holding.command("kill-switch", "--emergency", "--dry-run")
    assert (refused.exit_code, refused.stderr.count("\n")) == (3, 1)
    assert "stop it" in refused.stderr
