"""`analyze`, `decide` and `chart` as processes: what they print is what the strategy's functions give."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.cli.app import app
from actors.cli.chart import BROWSERS, WINDOW
from actors.cli.research import columns, strategy_params
from actors.strategy.analyze import analyze
from actors.strategy.history import decide_history
from sim.market.files import Candles, read_candles
from sim.market.synthetic import generate

ROOT = Path(__file__).parents[2]
START_MS = 1_700_006_400_000  # 2023-11-15
DAYS = 45
EASY = ("bias_tfs=4h", "ema_period=20", "warmup_bars_4h=30", "warmup_bars_1d=30", "warmup_bars_exec=50", "adx_min=0")
"""Parameters that decide within days."""
SETS = tuple(word for pair in EASY for word in ("--set", pair))


def write(file: Path, candles: Candles, *, without: int = -1) -> Path:
    """Candles as a csv file, one of them left out."""
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(("time", "open", "high", "low", "close", "volume"))
        names = (candles.time, candles.open, candles.high, candles.low, candles.close, candles.volume)
        rows.writerows(row for at, row in enumerate(zip(*(x.tolist() for x in names), strict=True)) if at != without)
    return file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six weeks of a synthetic market."""
    candles = generate("BTC/USD", 97, START_MS, DAYS * 96).candles
    return write(tmp_path_factory.mktemp("candles") / "btc.csv", candles)


@pytest.fixture(scope="module")
def gapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one candle missing."""
    candles = generate("BTC/USD", 97, START_MS, DAYS * 96).candles
    return write(tmp_path_factory.mktemp("candles") / "gapped.csv", candles, without=2000)


def document(*words: str) -> Any:
    """The one JSON document of a process that says nothing else."""
    command = [sys.executable, "-m", "actors", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_wait_may_be_part_of_the_parameters() -> None:
    """No deployment waits here, so there is none to contradict: `settle_ms` names the parameters and nothing else."""
    assert strategy_params("runner", ["settle_ms=9000"]).settle_ms == 9000


@pytest.mark.slow
def test_analyze(file: Path) -> None:
    """The document is the public function's answer, a parameter set on the command line included."""
    params = strategy_params("runner", ["swing_left=3"])
    expected = analyze(columns(read_candles(file, "15m")), params, 900_000)
    found = document("analyze", "--data", str(file), "--tf", "15m", "--set", "swing_left=3")
    assert found == json.loads(json.dumps(expected))
    assert {event["type"] for event in found["events"]} >= {"SWING", "BOS", "CHOCH", "FVG_NEW", "OB_NEW", "POOL_NEW"}


@pytest.mark.slow
def test_decide(file: Path) -> None:
    """The document is the list of rows of both symbols, exits included."""
    params = strategy_params("runner", EASY)
    candles = columns(read_candles(file, "15m"))
    expected = decide_history({"BTC/USD": candles, "X/Y": candles}, params, exits=True)
    data = ("--data", f"BTC/USD={file}", "--data", f"X/Y={file}")
    found = document("decide", *data, *SETS, "--exits")
    assert found == json.loads(json.dumps(expected))
    assert len(found) == 2 * DAYS * 24
    signals = [row for row in found if row["side"] != "hold"]
    assert any(row["code"] == "exit.stop" for row in signals)
    assert {
        "entry",
        "stop",
        "tp",
        "zone_id",
        "tp_source",
        "id",
        "exit_time",
        "exit_price",
        "bars_held",
        "last_stop",
    } <= set(signals[0])


def said(*words: str) -> str:
    """What a person reads."""
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == 0, result.output
    return result.output


def test_decide_for_a_person(file: Path) -> None:
    """Signals and the funnel are tables; --from hides earlier decisions and changes none."""
    whole = said("decide", "--data", f"X/Y={file}", *SETS, "--exits")
    assert "zone.no_retest" in whole
    assert "exit.stop" in whole
    rows = json.loads(said("decide", "--data", f"X/Y={file}", *SETS, "--json"))
    late = json.loads(said("decide", "--data", f"X/Y={file}", *SETS, "--json", "--from", "2023-12-20"))
    assert late == [row for row in rows if row["time"] >= 1_703_030_400_000] != []


def test_presets_differ(file: Path) -> None:
    """`--preset classic` decides on both execution timeframes."""
    rows = json.loads(said("decide", "--data", f"X/Y={file}", "--preset", "classic", "--json"))
    assert {row["tf"] for row in rows} == {"15m", "1h"}


def test_analyze_for_a_person(gapped: Path) -> None:
    """The summary names indicators, events and what the file lacks."""
    text = said("analyze", "--data", str(gapped), "--tf", "15m", "--gap-policy", "reset")
    assert "not in the file: 2023-12-05 20:00:00Z" in text
    for name in ("atr", "ref_high", "CHOCH", "POOL_DEAD"):
        assert name in text
    filled = json.loads(said("analyze", "--data", str(gapped), "--tf", "15m", "--gap-policy", "fill", "--json"))
    assert len(filled["bars"]["trend"]) == DAYS * 96


def test_gap_halts(gapped: Path) -> None:
    """Under the default policy a missing candle is bad input for `analyze` and told by `decide`, which holds from there on."""
    refused = CliRunner().invoke(app, ["analyze", "--data", str(gapped), "--tf", "15m"])
    assert refused.exit_code == 2
    assert "data.gap" in refused.stderr
    assert "--gap-policy" in refused.stderr
    held = CliRunner().invoke(app, ["decide", "--data", f"X/Y={gapped}", "--json"])
    assert "X/Y: 1 candles are missing" in held.stderr
    assert {row["primary_reason"] for row in json.loads(held.stdout)[-100:]} == {"data.gap"}


def test_chart(file: Path, tmp_path: Path) -> None:
    """The picture is one file that asks for nothing from elsewhere, and says what it holds."""
    out = tmp_path / "chart[red].html"
    text = said("chart", "--data", str(file), "--out", str(out), *SETS)
    assert f"{out}: 300 candles, " in text
    page = out.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]*\b(src|href)=", page)


def test_no_browser(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a browser `--png` fails in one line, and the HTML file is there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "chart.html"
    result = CliRunner().invoke(
        app, ["chart", "--data", str(file), "--out", str(out), "--png", str(tmp_path / "c.png")]
    )
    assert result.exit_code == 1
    assert "no Chromium is installed" in result.stderr
    assert result.stderr.count("\n") == 1
    assert out.is_file()


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium is installed")
@pytest.mark.slow
def test_png(file: Path, tmp_path: Path) -> None:
    """With a browser the picture has the size of two screens' pixels."""
    out, png = tmp_path / "chart.html", tmp_path / "chart.png"
    said("chart", "--data", str(file), "--out", str(out), "--png", str(png))
    head = png.read_bytes()[:24]
    assert head[1:4] == b"PNG"
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (2 * WINDOW[0], 2 * WINDOW[1])
