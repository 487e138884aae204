"""A state on which nothing has run, and one with an open position."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from homes import Home, ended, stop_all

FAST = """
symbols: [{spot: BTC/USD, futures: PF_XBTUSD}]
profile: standard
risk: {cost_max_r: 2}
market: {tick_s: 5, speed: 600, seed: 97}
feeds: {futures_idle_s: 30, spot_idle_s: 30}
strategy: {preset: classic, max_hold_bars: 1}
"""
"""One symbol and few ticks, so that computing is cheap; a position opens at 00:30:03 and is closed a quarter later."""


@pytest.fixture(scope="session")
def fast_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The settings of these tests."""
    file = tmp_path_factory.mktemp("config") / "fast.yaml"
    file.write_text(FAST)
    return file


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory, fast_config: Path) -> Home:
    """A state whose daemon has opened a position, protected it and stopped. Copy it, never run on it."""
    home = Home(tmp_path_factory.mktemp("opened"), fast_config)
    daemon = home.start()
    home.page_where(lambda page: any(row["stop_price"] for row in page["positions"]))
    daemon.terminate()
    code, _, err = ended(daemon)
    assert (code, err) == (0, "")
    return home


@pytest.fixture
def home(tmp_path: Path, fast_config: Path) -> Iterator[Home]:
    """A state on which nothing has run."""
    home = Home(tmp_path / "state", fast_config)
    yield home
    stop_all(home)


@pytest.fixture
def holding(tmp_path: Path, opened: Home, fast_config: Path) -> Iterator[Home]:
    """A state with an open, protected position, the daemon down."""
    shutil.copytree(opened.root, tmp_path / "state")
    home = Home(tmp_path / "state", fast_config)
    yield home
    stop_all(home)
