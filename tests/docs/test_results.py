"""The page of results is what `make results` makes: its tables on a small backtest, and the page in step with the program."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from actors.modes.many import carry_out
from sim.report.document import find
from tests.fakes.backtests import busy_backtest
from tests.integration import results
from tests.integration.results import BLOCKS, CONDITIONS, DATA, END, GROUP, PAGE, RUN, START, jobs, page

EMPTY = "\n".join(f"<!-- made: {name} -->\nold\n<!-- end -->" for name in BLOCKS)


def rows(text: str, block: str) -> list[list[str]]:
    """The cells of all tables of a block, their heads left out."""
    inside = text.split(f"<!-- made: {block} -->")[1].split("<!-- end -->", maxsplit=1)[0]
    lines = [line for line in inside.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def number(text: str) -> Decimal:
    """A figure as a person reads it."""
    return Decimal(text.replace(",", ""))


@pytest.mark.slow
def test_the_tables_show_the_documents() -> None:
    """A small backtest in every place of the page: each block is made anew, with the document's own figures."""
    document: dict[str, Any] = find(*busy_backtest(), {"basis": "", "funding": "", "path": ""}).document
    runs = dict.fromkeys(("default", "years/both, all", "conditions/x", "profiles/a, b", "walk/test 1 to 2"), document)
    text = page(EMPTY, runs)
    assert "old" not in text
    shown = {name: cells for name, *cells in rows(text, "default")}
    assert abs(number(shown["net"][0]) - Decimal(document["net_usd"])) <= Decimal("0.005")
    assert shown["closed trades"][0] in (str(document["trade_count"]), "trades")
    for name, group in document["by"]["symbol and year"].items():
        assert [number(cell) for cell in shown[name][1:6]] == [
            round(Decimal(group[f"{column}_usd"]), 2) for column in ("gross", "slippage", "fees", "funding", "net")
        ]
    for block, name in (
        ("years", "both, all"),
        ("conditions", "x"),
        ("profiles", "a, b"),
        ("walk-forward", "test 1 to 2"),
    ):
        (row,) = [cells for cells in rows(text, block) if cells[0] == name]
        assert row[1] == str(document["trade_count"])
        assert abs(number(row[-1]) - Decimal(document["costs"]["net_usd"])) <= Decimal("0.005")
    assert "0 of 1 test spans gained" in text
    with pytest.raises(KeyError, match="no block"):
        page("nothing", runs)


def test_the_page_has_the_tables_of_today() -> None:
    """Every block is there with its columns; the cuts of the default add up to its totals; no condition is missing."""
    text = PAGE.read_text(encoding="utf-8")
    heads = {block: [cells[1:] for cells in rows(text, block)] for block in BLOCKS}
    assert list(GROUP) in heads["default"]
    assert all(heads[block][0] == list(RUN) for block in BLOCKS if block != "default")
    assert [cells[0] for cells in rows(text, "conditions")[1:]] == list(CONDITIONS)
    shown = {cells[0]: cells[1:] for cells in rows(text, "default")}
    whole = shown["1h"]
    for names in (
        ("long", "short"),
        ("PF_ETHUSD", "PF_XBTUSD"),
        tuple(name for name in shown if re.fullmatch(r"20\d\d", name)),
    ):
        for column in (0, 1, 2, 3, 4, 5):
            total = sum(number(shown[name][column]) for name in names)
            assert abs(total - number(whole[column])) <= Decimal("0.03")
    for cells in shown.values():
        if len(cells) == len(GROUP) and cells[0] != "trades":
            gross, slippage, fees, funding, net = (number(cell) for cell in cells[1:6])
            assert abs(gross - slippage - fees - funding - net) <= Decimal("0.03")


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_the_backtests_of_the_page_run() -> None:
    """Each has a name of its own; one of them, over three weeks of the real candles, gives a document that the tables take."""
    named = {job.name: job for job in jobs(DATA, START, END)}
    assert len(named) == len(jobs(DATA, START, END))
    week = jobs(DATA, results.date(2024, 2, 4), results.date(2024, 2, 25))
    (job,) = [one for one in week if one.name == "conditions/all four at once"]
    document = carry_out(job)
    assert document["trade_count"] >= 1
    text = page(EMPTY, {"default": document, job.name: document})
    assert rows(text, "conditions")[1][0] == "all four at once"
