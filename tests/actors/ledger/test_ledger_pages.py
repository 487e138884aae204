"""Facts about pages: what goes in comes out, each message once."""

from __future__ import annotations

import zlib
from contextlib import suppress

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from ledger_stories import AT, noise, one_trade

from actors.ledger.pages import DAMAGED, pack, unpack

STEPS = [(actor, message, tuple(answers)) for actor, message, answers in one_trade()]


@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=40))
def test_a_page_gives_back_its_steps(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    """Any steps, repeated and in any order, survive packing."""
    assert steps == [tuple(step[1:]) for step in unpack(pack(steps), 7)]


def test_a_message_to_many_is_written_once() -> None:
    """A mark that goes to three actors stands in the page a single time."""
    steps = [(actor, message, tuple(answers)) for actor, message, answers in noise(AT)]
    mark = steps[0][2][0]

    assert zlib.decompress(pack(steps)).count(b"MarkPrice\xa2id\xb8" + mark.id.encode()) == 1


def test_a_page_of_before_can_be_read() -> None:
    """Pages were JSON once, a message that is delivered again by its place: `journal check` and `explain` read them still."""
    actor, message, answers = next((a, m, tuple(said)) for a, m, said in noise(AT))
    rows = [(actor, message, answers), ("risk", 0, ()), ("executor", 1, ())]
    page = zlib.compress(msgspec.json.encode(rows))

    assert [tuple(step) for step in unpack(page, 7)] == [
        (7, actor, message, answers),
        (8, "risk", message, ()),
        (9, "executor", answers[0], ()),
    ]


@given(st.integers(0), st.integers(1, 255))
def test_a_damaged_page_says_so_or_can_be_read(place: int, flipped: int) -> None:
    """Whatever byte of a page is another, whoever reads it meets one of the errors he was told of, or none."""
    text = bytearray(zlib.decompress(pack(STEPS)))
    text[place % len(text)] ^= flipped
    with suppress(*DAMAGED):
        list(unpack(zlib.compress(text), 7))
