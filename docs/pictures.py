"""Draws the order life cycle and the actors' routes from the tables in the code, as docs/pictures.md. Run after changing a table.

`python docs/pictures.py` writes the page; a test fails while the page is not what the tables say.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from actors.executor.orders import TERMINAL, TRANSITIONS
from actors.tree import CHILDREN, ROUTES

PAGE = Path(__file__).parent / "pictures.md"


def life_cycle() -> str:
    """The life of one order as a mermaid state diagram; events that change nothing are left out."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, row in TRANSITIONS.items():
        for event, after in row.items():
            if after != state:
                arrows.setdefault((state, after), []).append(event)
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    lines += [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    return _block([*lines, *(f"    {state} --> [*]" for state in TERMINAL)])


def routes() -> str:
    """Who hears what from whom, as a mermaid flow chart; receivers that are no actors are drawn round."""
    names = {child.name for child in CHILDREN}
    arrows: dict[tuple[str, str], list[str]] = {}
    for child in CHILDREN:
        for message in child.says:
            for receiver in ROUTES[message]:
                if receiver != "timer":
                    arrows.setdefault((child.name, receiver), []).append(message.__name__)
    places = sorted({receiver for _, receiver in arrows} - names)
    lines = ["flowchart LR", *(f"    {child.name}[{child.name}]" for child in CHILDREN)]
    lines += [f"    {place}(({place}))" for place in places]
    lines += [f'    {sender} -- "{_wrapped(said)}" --> {receiver}' for (sender, receiver), said in arrows.items()]
    return _block(lines)


def budgets() -> str:
    """How each child may fail, downstream first."""
    rows = [
        f"| `{c.name}` | {c.restarts} in {c.period_s:.0f} s | {c.escalation} | {'yes' if c.guards else ''} |"
        for c in CHILDREN
    ]
    head = [
        "| child | restarts | then | entries wait for a reconciliation after its restart |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows])


def page() -> str:
    """The whole page."""
    return "\n\n".join(
        [
            "# Pictures",
            "Drawn from the tables in the code by `python docs/pictures.py`; a test holds this page to them.",
            "## The life of one order",
            "`actors/executor/orders.py`. `unknown` is left by evidence alone: no clock and no wish of ours is in its row.",
            life_cycle(),
            "## Who hears what",
            "`actors/tree.py`. Alerts go to the journal and the person and are not drawn. Facts about our orders come back through the "
            "exchange: that is the only loop.",
            routes(),
            "## How each child may fail",
            "Downstream first. A child that fails restarts with all below it in this table.",
            budgets(),
        ]
    ) + "\n"  # fmt: skip


def _block(lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", *lines, "```"])


def _wrapped(names: list[str], in_a_row: int = 3) -> str:
    rows = [", ".join(names[start : start + in_a_row]) for start in range(0, len(names), in_a_row)]
    return "<br>".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
