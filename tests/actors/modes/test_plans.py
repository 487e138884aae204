"""Windows of a walk-forward and combinations of a matrix file; whatever cannot be carried out is one clear line."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from actors.modes.plans import BadPlan, combinations, midnight_us, read_lengths, read_matrix, windows


def test_windows() -> None:
    """Each window is a test further on, tests touch and never overlap, none reaches beyond the data."""
    found = windows(*read_lengths("train=12mo,test=3mo"), date(2023, 1, 1), date(2025, 7, 1))
    assert [(w.train, w.test, w.end) for w in found][:2] == [
        (date(2023, 1, 1), date(2024, 1, 1), date(2024, 4, 1)),
        (date(2023, 4, 1), date(2024, 4, 1), date(2024, 7, 1)),
    ]
    assert len(found) == 6
    assert all(before.end == after.test for before, after in pairwise(found))
    assert found[-1].end == date(2025, 7, 1)


@pytest.mark.parametrize(
    "text", ["train=3mo,test=1mo", "train=2w,test=1mo", "train=1mo,test=10d", "train=12mo,test=3mo"]
)
@pytest.mark.parametrize("day", [1, *range(26, 32)])
def test_every_day_is_tested_once_whatever_the_day_of_the_month(text: str, day: int) -> None:
    """Months are of different lengths: from the 30th on a window began where the one before it did not end."""
    found = windows(*read_lengths(text), date(2023, 10, day), date(2025, 7, 1))
    assert all(before.end == after.test for before, after in pairwise(found))
    assert all(window.train < window.test < window.end for window in found)


def test_lengths() -> None:
    """Months are calendar months, a month's end stays within the next one; weeks and days are days."""
    month, week = read_lengths("test=2w,train=1mo")
    assert month.after(date(2024, 1, 31)) == date(2024, 2, 29)
    assert week.after(date(2024, 2, 20)) == date(2024, 3, 5)
    assert read_lengths("train=12mo,test=10d")[0].after(date(2023, 12, 15)) == date(2024, 12, 15)
    assert midnight_us(date(2024, 1, 1)) == 1_704_067_200_000_000


@pytest.mark.parametrize(
    "text", ["", "train=12mo", "train=1y,test=3mo", "train=12mo,test=0d", "train=1mo,test=1mo,x=1"]
)
def test_bad_lengths(text: str) -> None:
    """What is no pair of spans is told with what was written."""
    with pytest.raises(BadPlan, match="--walk-forward"):
        read_lengths(text)


def test_too_short() -> None:
    """Data shorter than one window gives no result at all."""
    with pytest.raises(BadPlan, match="shorter than one window"):
        windows(*read_lengths("train=12mo,test=3mo"), date(2024, 1, 1), date(2025, 3, 31))


def plan(tmp_path: Path, text: str) -> Path:
    """A matrix file."""
    file = tmp_path / "matrix.yaml"
    file.write_text(text)
    return file


def test_matrix(tmp_path: Path) -> None:
    """Named runs come first, then every combination; names say what was varied; files lie beside the matrix file."""
    (tmp_path / "btc.csv").write_text("")
    text = """
data: {BTC/USD: btc.csv}
start: 2024-01-01
runs: {careful: {profile: conservative, risk: {risk_pct: 0.1}}}
vary: {strategy.preset: [runner, classic], symbols: [[BTC/USD], [BTC/USD, ETH/USD]]}
"""
    matrix = read_matrix(plan(tmp_path, text))
    assert matrix.data == {"BTC/USD": tmp_path / "btc.csv"}
    assert matrix.start == date(2024, 1, 1)
    found = combinations(matrix)
    assert found[0] == ("careful", {"profile": "conservative", "risk.risk_pct": 0.1})
    assert [name for name, _ in found[1:]] == [
        "preset runner, symbols BTC/USD",
        "preset runner, symbols BTC/USD+ETH/USD",
        "preset classic, symbols BTC/USD",
        "preset classic, symbols BTC/USD+ETH/USD",
    ]


BAD = {
    "nothing": ("data: {}", "needs vary or runs"),
    "field": ("varry: {}", "varry"),
    "no list": ("vary: {market.seed: 1}", "vary.market.seed"),
    "no values": ("vary: {market.seed: []}", "vary.market.seed: has no values"),
    "no file": ("vary: {market.seed: [1]}\ndata: {BTC/USD: none.csv}", "data.BTC/USD: there is no file"),
    "no yaml": ("vary: [", "line 1: "),
    "no mapping": ("[1, 2]", "holds list, not `name: value` lines"),
    "a run twice": ("runs:\n  a: {market.seed: 1}\n  a: {market.seed: 2}", "line 3: 'a' stands twice"),
    "no day": ("vary: {market.seed: [1]}\nstart: soon", "start"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_matrix(case: str, tmp_path: Path) -> None:
    """One line that names the file and the field."""
    text, told = BAD[case]
    file = plan(tmp_path, text)
    with pytest.raises(BadPlan) as raised:
        read_matrix(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_matrix(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(BadPlan, match="cannot be read: No such file"):
        read_matrix(tmp_path / "none.yaml")
