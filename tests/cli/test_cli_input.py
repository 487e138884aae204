"""Bad input: one line that names the field and the file, exit 2, nothing written. And what each command says of itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from actors.cli.app import app
from protocol.ports import JournalFailed
from sim.report.page import keep

HEAD = "time,open,high,low,close,volume\n"
FIRST, SECOND, THIRD = (1_767_571_200_000 + 900_000 * i for i in range(3))
GOOD = f"{HEAD}{FIRST},10,12,9,11,1\n"

CONFIGS = {
    "range": ("risk: {leverage_cap: 11}", "risk.leverage_cap: 11 is above 10"),
    "unknown": ("riskk: {a: 1}", "riskk: no such setting, did you mean risk?"),
    "type": ("risk: {risk_pct: lots}", "risk.risk_pct"),
    "malformed": ("risk: {a: [\n", "line 2"),
    "twice": ("risk: {}\nrisk: {}\n", "'risk' stands twice"),
}
CANDLES = {
    "nan": (f"{GOOD}{SECOND},10,nan,9,11,1\n", "row 2, column high"),
    "high below low": (f"{GOOD}{SECOND},10,8,9,11,1\n", "row 2, column high"),
    "unsorted": (f"{GOOD}{THIRD},10,12,9,11,1\n{SECOND},10,12,9,11,1\n", "row 3, column time"),
    "no column": ("time,open\n1,2\n", "column 'high' is missing"),
    "empty": (HEAD, "holds no rows"),
    "seconds": (f"{HEAD}{FIRST // 1000},10,12,9,11,1\n", "row 1, column time: 1767571200 is before 2001"),
    "microseconds": (f"{GOOD}{FIRST * 1000},10,12,9,11,1\n", "row 2, column time: 1767571200000000 is after 2286"),
}
OPTIONS = {
    "mode": (["run", "--mode", "papre"], "--mode 'papre'"),
    "no mode": (["run"], "--mode"),
    "env": (["run", "--mode", "paper", "--env", "moon"], "--env 'moon'"),
    "env of a mode": (["run", "--mode", "live", "--env", "paper"], "env"),
    "no key": (["run", "--mode", "live"], "environment variable KRAKEN_SMC_API_KEY"),
    "duration": (["run", "--mode", "paper", "--for", "5x"], "--for '5x'"),
    "no duration": (["run", "--mode", "paper", "--for", "0s"], "--for '0s'"),
    "speed": (["run", "--mode", "paper", "--speed", "fast"], "--speed"),
    "seed": (["run", "--mode", "paper", "--seed", "-1"], "--seed"),
    "log": (["run", "--mode", "paper", "--log", "loud"], "--log 'loud'"),
    "option": (["run", "--mode", "paper", "--nope"], "--nope"),
    "command": (["rum"], "'rum'"),
    "status mode": (["status", "--mode", "moon"], "--mode 'moon'"),
    "explain mode": (["explain", "x", "--mode", "moon"], "--mode 'moon'"),
    "latch mode": (["kill-switch", "status", "--mode", "moon"], "--mode 'moon'"),
    "config mode": (["config", "check", "--mode", "moon"], "--mode 'moon'"),
    "reason": (["kill-switch", "ack"], "--reason"),
    "empty reason": (["kill-switch", "ack", "--reason", " "], "--reason is empty"),
    "no reason to halt": (["entries", "halt", "--reason", ""], "--reason is empty"),
    "driver": (["backtest", "--driver", "car"], "--driver 'car'"),
    "pair": (["backtest", "--data", "BTC/USD"], "--data 'BTC/USD': write SYMBOL=FILE"),
    "symbol": (["backtest", "--data", "X/USD=x.csv"], "unknown symbol 'X/USD'"),
    "no file": (["backtest", "--data", "BTC/USD=none.csv"], "there is no file none.csv"),
    "file twice": (["backtest", *["--data", f"BTC/USD={__file__}"] * 2], "BTC/USD is given twice"),
    "history twice": (["backtest", *["--history", f"BTC/USD:1d={__file__}"] * 2], "BTC/USD 1d is given twice"),
    "report": (["backtest", "--report", "none/r.html"], "--report none/r.html: there is no folder none"),
    "report is a folder": (["backtest", "--report", "."], "--report .: is a directory"),
    "chart is a folder": (["chart", "--data", "x.csv", "--out", "."], "--out .: is a directory"),
    "gaps": (["backtest", "--gap-policy", "leap"], "--gap-policy 'leap'"),
    "path alone": (["backtest", "--synthetic", "--path", f"BTC/USD={__file__}"], "--path goes with --data"),
    "day": (["backtest", "--start", "2023-02-30"], "--start '2023-02-30'"),
    "backwards": (["backtest", "--start", "2024-01-02", "--end", "2024-01-01"], "--end 2024-01-01"),
    "timeframe": (["analyze", "--data", "x.csv", "--tf", "7m"], "--tf '7m'"),
    "analyze nothing": (["analyze", "--data", "none.csv", "--tf", "15m"], "none.csv: no such file"),
    "parameter": (["analyze", "--data", "x.csv", "--tf", "15m", "--set", "swing_lef=3"], "did you mean swing_left?"),
    "no value": (["decide", "--data", "A/B=x.csv", "--set", "swing_left"], "--set 'swing_left': write NAME=VALUE"),
    "preset": (["decide", "--data", "A/B=x.csv", "--preset", "wild"], "'wild' is not one of classic, runner"),
    "gap policy": (["analyze", "--data", "x.csv", "--tf", "15m", "--gap-policy", "leap"], "gap_policy: 'leap'"),
    "decide pair": (["decide", "--data", "x.csv"], "--data 'x.csv': write SYMBOL=FILE"),
    "symbol twice": (["decide", "--data", "A/B=x.csv", "--data", "A/B=y.csv"], "A/B is given twice"),
    "theme": (["chart", "--data", "x.csv", "--out", "x.html", "--theme", "red"], "--theme 'red'"),
    "chart folder": (
        ["chart", "--data", "x.csv", "--out", "none/x.html"],
        "--out none/x.html: there is no folder none",
    ),
    "picture folder": (
        ["chart", "--data", "x.csv", "--out", "x.html", "--png", "no/x.png"],
        "--png no/x.png: there is no folder no",
    ),
    "chart nothing": (["chart", "--data", "none.csv", "--out", "x.html"], "none.csv: no such file"),
    "from": (["decide", "--data", "A/B=x.csv", "--from", "noon"], "--from: 'noon'"),
    "outside": (["backtest", "--start", "1999-01-01"], "--start"),
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State goes to ./state by default: that must be ours."""
    monkeypatch.chdir(tmp_path)


def assert_one_line(result: Result, *named: str) -> None:
    """Exit 2, nothing on stdout, one line on stderr that names all of `named`, nothing written."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    for name in named:
        assert name in result.stderr
    assert not Path("state").exists()


@pytest.mark.parametrize("case", CONFIGS)
@pytest.mark.parametrize("words", [["run", "--mode", "paper"], ["config", "check"], ["backtest"]], ids=lambda w: w[0])
def test_bad_config(case: str, words: list[str], tmp_path: Path) -> None:
    """A setting that cannot be used is told with its file, by every command that reads settings."""
    text, told = CONFIGS[case]
    file = tmp_path / "own.yaml"
    file.write_text(text)
    assert_one_line(CliRunner().invoke(app, [*words, "--config", str(file)]), str(file), told)


def test_missing_config() -> None:
    """A settings file that is not there is named."""
    result = CliRunner().invoke(app, ["run", "--mode", "paper", "--config", "none.yaml"])
    assert_one_line(result, "none.yaml: cannot be read: No such file")


@pytest.mark.parametrize("case", CANDLES)
def test_bad_candles(case: str, tmp_path: Path) -> None:
    """A candle file that cannot be used is told with file, row and column."""
    text, told = CANDLES[case]
    file = tmp_path / "candles.csv"
    file.write_text(text)
    assert_one_line(CliRunner().invoke(app, ["backtest", "--data", f"BTC/USD={file}"]), str(file), told)


@pytest.mark.parametrize(
    "words", [["decide", "--data", "A/B={}"], ["chart", "--out", "x.html", "--data", "{}"]], ids=lambda w: w[0]
)
def test_longer_candles(words: list[str], tmp_path: Path) -> None:
    """A file of hourly candles is not taken for one of 15m candles with gaps."""
    file = tmp_path / "hours.csv"
    file.write_text(HEAD + "".join(f"{FIRST + 3_600_000 * i},10,12,9,11,1\n" for i in range(3)))
    result = CliRunner().invoke(app, [word.format(file) for word in words])
    assert_one_line(result, str(file), "candles of 60 minutes")


@pytest.mark.parametrize("case", OPTIONS)
def test_bad_option(case: str) -> None:
    """An option that cannot be used is named."""
    words, told = OPTIONS[case]
    assert_one_line(CliRunner().invoke(app, words), told)


def test_config_commands() -> None:
    """The packaged settings are sound, and every effective value can be read as JSON."""
    checked = CliRunner().invoke(app, ["config", "check"])
    assert (checked.exit_code, checked.stdout[:4]) == (0, "ok: ")
    shown = json.loads(CliRunner().invoke(app, ["config", "show", "--json"]).stdout)
    assert shown["risk"]["leverage_cap"] is not None
    assert shown["mode"] == "paper"


def test_before_any_run() -> None:
    """Without a state there is nothing to show, the latch is off, and looking writes nothing."""
    status = CliRunner().invoke(app, ["status"])
    assert (status.exit_code, status.stdout) == (1, "")
    assert "start one with `run --mode paper`" in status.stderr
    assert CliRunner().invoke(app, ["explain", "x"]).exit_code == 1
    assert CliRunner().invoke(app, ["kill-switch", "status"]).stdout == "not latched\n"
    latch = json.loads(CliRunner().invoke(app, ["kill-switch", "status", "--json"]).stdout)
    assert latch["latched"] is False
    assert not Path("state").exists()


def commands() -> dict[tuple[str, ...], object]:
    """Every command by its words, groups included."""
    found: dict[tuple[str, ...], object] = {(): get_command(app)}
    waiting = [()]
    while waiting:
        words = waiting.pop()
        for name, command in getattr(found[words], "commands", {}).items():
            found[*words, name] = command
            waiting.append((*words, name))
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help(words: tuple[str, ...]) -> None:
    """Every command says what it is for, and so does each of its options."""
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    command = commands()[words]
    for parameter in command.params:  # type: ignore[attr-defined]
        assert "[" not in (getattr(parameter, "help", None) or ""), "rich takes brackets for markup and shows nothing"
    assert command.help  # type: ignore[attr-defined]
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []  # type: ignore[attr-defined]


def test_ctrl_c_within_a_nursery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a storm as it ends everything else: by the code a shell expects, without a traceback."""

    def interrupted(*_: object) -> None:
        raise BaseExceptionGroup("", [BaseExceptionGroup("", [KeyboardInterrupt()])])

    monkeypatch.setattr("actors.modes.storms.one_storm", interrupted)
    result = CliRunner().invoke(app, ["simulate", "--seeds", "1"])
    assert (result.exit_code, result.output) == (130, "")
    assert isinstance(result.exception, SystemExit)


def test_a_fault_beside_ctrl_c_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed on the way out is not hidden by the interrupt."""

    def interrupted(*_: object) -> None:
        raise BaseExceptionGroup("", [KeyboardInterrupt(), ValueError("lost")])

    monkeypatch.setattr("actors.modes.storms.one_storm", interrupted)
    with pytest.raises(BaseExceptionGroup):
        CliRunner().invoke(app, ["simulate", "--seeds", "1"])


@pytest.mark.parametrize("nested", [False, True])
def test_what_the_machine_refuses(nested: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk or a file of another user's is one line that names it, and exit 1; so is one met within a nursery."""
    error: Exception = PermissionError(13, "Permission denied", "state/paper-dev/daemon.lock")

    def refused(*_: object) -> None:
        raise ExceptionGroup("", [error]) if nested else error

    monkeypatch.setattr("actors.state.StateDirectory.read_status", refused)
    result = CliRunner().invoke(app, ["status"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: state/paper-dev/daemon.lock: Permission denied\n"


@pytest.mark.parametrize("output", ["ascii", "closed"])
def test_any_terminal(output: str, tmp_path: Path) -> None:
    """A letter that the terminal lacks is written by its code, and an output that is closed takes nothing: the command is done all the same."""
    file = tmp_path / "\u00e4.csv"
    file.write_text(GOOD.replace("volume", "turnover"))
    closed = " >&-" if output == "closed" else ""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m actors config check --config '{file}'{closed}"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "\\xe4.csv" in done.stderr


def test_a_full_disk_leaves_no_half_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report of yesterday is as it was, nothing lies beside it, and the line names the file."""
    file = tmp_path / "report.html"
    keep("yesterday", file)

    def full(self: Path, text: str, encoding: str) -> None:
        self.write_bytes(text[:3].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space") as caught:
        keep("today", file)
    assert caught.value.filename == str(file)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("report.html", b"yesterday")]


def test_a_journal_that_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`backtest --state` on a full disk is one line that names the option."""

    def full(*_: object, **__: object) -> None:
        raise JournalFailed("database or disk is full")

    monkeypatch.setattr("actors.modes.backtest.run_backtest", full)
    result = CliRunner().invoke(app, ["backtest", "--synthetic", "--state", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: --state {tmp_path}: the journal could not be kept: database or disk is full\n"


def test_books_that_are_no_file(tmp_path: Path) -> None:
    """It is the books that are named, not the port."""
    result = CliRunner().invoke(app, ["venue", "serve", "--port", "0", "--books", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (1, f"error: {tmp_path}: Is a directory\n")


def test_a_store_that_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that the disk refuses names the series' file and leaves nothing beside it."""

    def full(_: object, new: Path, **__: object) -> None:
        new.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    file = tmp_path / "candles.csv"
    file.write_text(GOOD)
    monkeypatch.setattr("pandas.DataFrame.to_parquet", full)
    result = CliRunner().invoke(app, ["data", "import", f"BTC/USD={file}", "--state", str(tmp_path / "kept")])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "BTC-USD_15m.parquet: could not be written" in result.stderr
    assert [one for one in (tmp_path / "kept").rglob("*") if one.is_file()] == []
