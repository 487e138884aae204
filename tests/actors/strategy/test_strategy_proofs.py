"""The property tests that smc-spec section 6 demands, checked off: for each law its tests, on made and on real candles."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from actors.strategy import rules
from tests.actors.strategy.mutants import MUTANTS

HERE = Path(__file__).parent
ENGINE = Path(rules.__file__).parent


class Proof(NamedTuple):
    """Tests of one law, each `file::test` without the common `test_strategy_`."""

    law: str
    made: tuple[str, ...]
    real: tuple[str, ...]


SPLIT = "real::test_every_prefix_and_every_split_of_real_candles_gives_the_same_bytes"
KNOWN = "real::test_real_events_are_known_when_they_say"
UNCLOSED = "decide::test_an_unclosed_candle_is_refused_and_forgotten"
LIFE = "causality::test_a_life_written_down_and_read_back_goes_on_as_if_nothing_had_happened"
NO_EVENT = "causality::test_no_event_or_bar_depends_on_a_later_candle"
NO_DECISION = "causality::test_no_decision_depends_on_a_later_candle"
SWINGS = "real::test_swings_of_real_candles_are_what_the_definition_says"

PROOFS: Final[dict[str, Proof]] = {
    "6.1": Proof(
        "prefix invariance", ("kernel::test_a_prefix_alone_gives_the_prefix_of_the_whole",), (SPLIT, NO_EVENT)
    ),
    "6.2": Proof(
        "incremental == batch",
        (
            "kernel::test_one_by_one_is_the_same_as_all_at_once",
            "kernel::test_swings_are_what_the_definition_says",
            "kernel::test_new_gaps_are_what_the_definition_says",
            "kernel::test_indicators_agree_with_talib",
            "exits::test_history_says_what_the_actor_says",
        ),
        (SPLIT, SWINGS, "real::test_indicators_agree_with_talib_on_all_real_bars"),
    ),
    "6.3": Proof("chunking", ("kernel::test_chunks_and_restarts_give_the_same_bytes", LIFE), (SPLIT, LIFE)),
    "6.4": Proof(
        "scale",
        (
            "kernel::test_four_times_the_price_gives_four_times_the_levels",
            "real::test_decisions_keep_their_ids_at_four_times_the_price",
        ),
        (
            "kernel::test_a_tenth_more_gives_the_same_events",
            "real::test_real_decisions_keep_their_ids_at_four_times_the_price",
        ),
    ),
    "6.5": Proof(
        "mirror",
        ("kernel::test_the_mirror_image_swaps_the_sides", "decide::test_the_mirror_market_gives_the_mirror_signals"),
        ("real::test_the_mirror_of_real_candles_swaps_the_sides",),
    ),
    "6.6": Proof(
        "future garbage",
        (
            "kernel::test_the_future_changes_nothing_known",
            "kernel::test_nothing_is_known_before_it_can_be",
            "decide::test_no_answer_depends_on_a_later_candle",
            NO_EVENT,
            NO_DECISION,
        ),
        (NO_EVENT, NO_DECISION, KNOWN),
    ),
    "6.7": Proof(
        "no forming candle",
        (
            UNCLOSED,
            "decide::test_a_longer_candle_is_seen_at_its_close_and_not_before",
            "decide::test_a_feed_that_starts_inside_a_bucket_waits_for_the_next_one",
            "decide::test_a_seed_that_ends_after_the_decision_is_not_seen",
        ),
        ("real::test_a_real_longer_candle_does_not_move_between_its_closes",),
    ),
    "6.8": Proof(
        "no NaN",
        (
            "kernel::test_degenerate_candles_give_no_nan",
            "kernel::test_an_unsound_candle_is_refused_and_leaves_no_trace",
            "decide::test_decisions_are_written_without_nan",
        ),
        (KNOWN, "real::test_a_malformed_candle_leaves_no_trace_in_real_history"),
    ),
    "6.9": Proof(
        "gaps",
        (
            "decide::test_a_gap_halts_entries_until_it_is_filled_and_then_nothing_was_lost",
            "decide::test_reset_starts_over_after_a_gap",
        ),
        ("causality::test_a_missing_candle_of_a_real_history_is_caught_up_exactly",),
    ),
    "6.10": Proof(
        "ties",
        (
            "kernel::test_degenerate_candles_give_no_nan",
            "kernel::test_a_flat_market_says_nothing",
            "kernel::test_a_plateau_gives_one_swing_its_last_bar",
            "structure::test_a_close_at_the_level_breaks_nothing",
            "structure::test_an_outside_doji_breaks_both_ways_and_means_nothing",
        ),
        (SWINGS,),
    ),
    "6.11": Proof(
        "bounded memory",
        ("kernel::test_memory_stays_bounded",),
        ("real::test_memory_stays_bounded_on_more_than_100_000_real_bars",),
    ),
    "6.12": Proof(
        "idempotence and determinism",
        (
            "decide::test_the_same_candle_twice_is_decided_once",
            "decide::test_the_same_candles_give_the_same_bytes_in_another_process",
            "kernel::test_plain_python_gives_the_bytes_of_the_compiled_kernel",
        ),
        ("causality::test_every_candle_twice_says_everything_once",),
    ),
    "6.13": Proof(
        "TA-Lib parity",
        ("kernel::test_indicators_agree_with_talib",),
        ("real::test_indicators_agree_with_talib_on_all_real_bars",),
    ),
    # The killers run on made candles: a mutant must die on a machine without the files too.
    "6.14": Proof("mutation guards", ("mutants::test_the_mutant_dies", "mutants::test_the_right_engine_lives"), ()),
}


def named_in(file: str) -> dict[str, str]:
    """Names of the tests of a file and their source."""
    path = HERE / f"test_strategy_{file}.py"
    text = path.read_text(encoding="utf-8")
    return {
        node.name: ast.get_source_segment(text, node) or ""
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }


def test_every_law_is_in_the_table() -> None:
    """6.1 to 6.14, none left out; all but the mutation guards on real candles too."""
    assert list(PROOFS) == [f"6.{n}" for n in range(1, 15)]
    assert [number for number, proof in PROOFS.items() if not proof.real] == ["6.14"]


@pytest.mark.parametrize("number", PROOFS)
def test_the_named_tests_exist(number: str) -> None:
    """A test that is renamed or lost takes its line of the table with it."""
    for name in PROOFS[number].made + PROOFS[number].real:
        file, test = name.split("::")
        assert test in named_in(file)


def test_every_mutant_fits_the_engine_and_names_a_test_that_exists() -> None:
    """The eight guards of 6.14 and more; what each replaces stands once in the engine, and its killer is there."""
    assert len(MUTANTS) >= 8
    for mutant in MUTANTS.values():
        assert (ENGINE / f"{mutant.module}.py").read_text(encoding="utf-8").count(mutant.right) == 1, mutant
        assert mutant.killer in named_in(mutant.file.removeprefix("test_strategy_").removesuffix(".py"))
