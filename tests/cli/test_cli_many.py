"""`backtest --matrix` and `--walk-forward`: the same figures as single runs, here, in processes and on a dask cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.cli.app import app

pytestmark = pytest.mark.slow

FAST = """
symbols: [{spot: BTC/USD, futures: PF_XBTUSD}, {spot: ETH/USD, futures: PF_ETHUSD}]
risk: {cost_max_r: 2}
market: {tick_s: 5}
strategy: {preset: classic, max_hold_bars: 1}
"""
MATRIX = """
start: 2026-01-05
end: 2026-01-06
vary: {market.seed: [97, 98]}
runs: {careful btc: {profile: conservative, symbols: [BTC/USD]}}
"""
NAMES = ["careful btc", "seed 97", "seed 98"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Settings and matrix."""
    config, matrix = tmp_path / "fast.yaml", tmp_path / "matrix.yaml"
    config.write_text(FAST)
    matrix.write_text(MATRIX)
    return str(config), str(matrix)


def document(*words: str) -> Any:
    """What `backtest ... --json` prints."""
    result = CliRunner().invoke(app, ["backtest", *words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def digests(runs: list[dict[str, Any]]) -> dict[str, str]:
    """Name -> digest, in order."""
    return {run["name"]: run["digest"] for run in runs}


def test_matrix(files: tuple[str, str], tmp_path: Path) -> None:
    """Each run of a matrix is the run that the command line alone would make; two processes give the same as one."""
    config, matrix = files
    out = tmp_path / "all.html"
    alone = digests(document("--config", config, "--matrix", matrix, "--jobs", "1")["runs"])
    assert list(alone) == NAMES
    assert len(set(alone.values())) == 3
    single = document("--config", config, "--start", "2026-01-05", "--end", "2026-01-06")
    assert alone["seed 97"] == single["digest"]
    side_by_side = document("--config", config, "--matrix", matrix, "--jobs", "2", "--report", str(out))
    assert digests(side_by_side["runs"]) == alone
    text = out.read_text(encoding="utf-8")
    assert all(name in text for name in NAMES)


def test_walk_forward(files: tuple[str, str]) -> None:
    """Train and test of each window, in order, with fixed parameters; a test is what the command line makes of its days."""
    config, _ = files
    span = ("--start", "2026-01-05", "--end", "2026-01-08")
    runs = document("--config", config, "--walk-forward", "train=2d,test=1d", "--jobs", "1", *span)["runs"]
    assert [run["name"] for run in runs] == [
        "train 2026-01-05 to 2026-01-07",
        "test 2026-01-07 to 2026-01-08",
        "train 2026-01-06 to 2026-01-08",
        "test 2026-01-08 to 2026-01-09",
    ]
    single = document("--config", config, "--start", "2026-01-07", "--end", "2026-01-07")
    assert runs[1]["digest"] == single["digest"]


def test_for_a_person(files: tuple[str, str]) -> None:
    """The table names every run, and money with its costs split out."""
    config, matrix = files
    result = CliRunner().invoke(app, ["backtest", "--config", config, "--matrix", matrix, "--jobs", "1"])
    assert result.exit_code == 0
    for word in (*NAMES, "slippage", "funding", "net"):
        assert word in result.stdout


def test_cluster(files: tuple[str, str]) -> None:
    """A dask cluster of two workers, processes of their own, gives the same digests; both had work."""
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    config, matrix = files
    here = digests(document("--config", config, "--matrix", matrix, "--jobs", "1")["runs"])
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        there = document("--config", config, "--matrix", matrix, "--scheduler", cluster.scheduler_address)
        with distributed.Client(cluster) as client:
            done = client.run(lambda dask_worker: dask_worker.state.executed_count)
        assert len(done) == 2
        assert all(done.values())
    assert digests(there["runs"]) == here


BAD = {
    "symbol": ("vary: {symbols: [[X/USD]]}", "symbols: unknown symbol 'X/USD'"),
    "setting": ("vary: {risk.risk_pct: [5]}", "risk.risk_pct: 5 is above 1"),
    "profile": ("runs: {a: {profile: wild}}", "'wild' is not one of aggressive, conservative, standard"),
    "above its cap": ("runs: {bold: {risk.risk_pct: 5}}", "matrix.yaml: bold: risk.risk_pct: 5 is above 1"),
    "outside": ("start: 1999-01-01\nvary: {market.seed: [1]}", "the synthetic market runs from"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_matrix(case: str, tmp_path: Path) -> None:
    """A run that cannot be made is bad input, before any has begun where that can be known."""
    text, told = BAD[case]
    file = tmp_path / "matrix.yaml"
    file.write_text(text)
    result = CliRunner().invoke(app, ["backtest", "--matrix", str(file), "--jobs", "1"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_cluster(files: tuple[str, str]) -> None:
    """A cluster that is not there is told in one line."""
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    words = ["backtest", "--config", files[0], "--matrix", files[1], "--scheduler", "nowhere"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "--scheduler nowhere" in result.stderr
