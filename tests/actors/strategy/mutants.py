"""Wrong engines, and the test that notices each: the mutation guards of smc-spec 6.14 and their nearest relatives.

Loaded by a pytest of its own (`-p tests.actors.strategy.mutants`, MUTANT=<name>) it is the plugin that imports one module of
the strategy with one piece of its text replaced. NUMBA_DISABLE_JIT=1 must be set: compiled code would come from the cache.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Final, NamedTuple


class Mutant(NamedTuple):
    """`right` stands once in `actors/strategy/<module>.py`; with `wrong` in its place, test `killer` of `file` must fail."""

    module: str
    right: str
    wrong: str
    file: str
    killer: str


KERNEL, RULES, STRUCTURE, DECIDE = (f"test_strategy_{name}.py" for name in ("kernel", "rules", "structure", "decide"))
JOINED: Final = """    if n > 0 and s.fvg_i[n - 1, DIR] == d and s.fvg_i[n - 1, BORN] == i - 1:
        s.fvg_f[n - 1, TOP] = max(s.fvg_f[n - 1, TOP], top)
        s.fvg_f[n - 1, BOTTOM] = min(s.fvg_f[n - 1, BOTTOM], bottom)
        return
"""

MUTANTS: Final[dict[str, Mutant]] = {
    # the eight of the specification
    "a swing is known at its own bar": Mutant(
        "kernel", "p = i - right\n", "p = i\n", STRUCTURE, "test_a_swing_is_known_after_its_right_arm"
    ),
    "a close at the level breaks it": Mutant(
        "kernel",
        "d * source > d * level",
        "d * source >= d * level",
        STRUCTURE,
        "test_a_close_at_the_level_breaks_nothing",
    ),
    "a zone serves on the bar that made it": Mutant(
        "kernel",
        "table_i[row, BORN] >= i:",
        "table_i[row, BORN] > i:",
        RULES,
        "test_the_chosen_zone_is_the_first_by_definition",
    ),
    "swings are confirmed before breaks are tested": Mutant(
        "kernel",
        "    _break(s, i, out)\n    _new_gap(s, i, out)\n    _swings(s, i, out)\n",
        "    _swings(s, i, out)\n    _break(s, i, out)\n    _new_gap(s, i, out)\n",
        STRUCTURE,
        "test_a_break_is_tested_before_the_bar_confirms_its_swings",
    ),
    "a longer candle is seen before its close": Mutant(
        "market",
        "self.parts * BASE_MS < self.length_ms",
        "(self.parts + 1) * BASE_MS < self.length_ms",
        DECIDE,
        "test_a_longer_candle_is_seen_at_its_close_and_not_before",
    ),
    "a seed is seen before its close": Mutant(
        "market",
        " <= self.bias[tf].close_time_ms <= at_ms\n",
        " <= self.bias[tf].close_time_ms\n",
        DECIDE,
        "test_a_seed_that_ends_after_the_decision_is_not_seen",
    ),
    "neighbouring gaps are joined": Mutant(
        "kernel",
        "    n = s.i[FVG_COUNT]\n",
        "    n = s.i[FVG_COUNT]\n" + JOINED,
        KERNEL,
        "test_new_gaps_are_what_the_definition_says",
    ),
    "the stop's buffer points into the zone": Mutant(
        "rules",
        "price = wrong - d * (p.sl_buffer_atr * atr)",
        "price = wrong + d * (p.sl_buffer_atr * atr)",
        RULES,
        "test_the_stop_lies_beyond_the_zone_and_its_impulse",
    ),
    "the RSI of a flat market is 0": Mutant(
        "kernel", "if both != 0.0 else 50.0", "if both != 0.0 else 0.0", KERNEL, "test_a_flat_market_says_nothing"
    ),
    # their relatives
    "a swing may tie on its right": Mutant(
        "kernel",
        "d * s.candles[j % ring, column] >= d * level:",
        "d * s.candles[j % ring, column] > d * level:",
        KERNEL,
        "test_swings_are_what_the_definition_says",
    ),
    "a swing may not tie on its left": Mutant(
        "kernel",
        "d * s.candles[j % ring, column] > d * level:",
        "d * s.candles[j % ring, column] >= d * level:",
        KERNEL,
        "test_swings_are_what_the_definition_says",
    ),
    "touching candles leave a gap": Mutant(
        "kernel",
        "if s.candles[last, LOW] > s.candles[first, HIGH]:",
        "if s.candles[last, LOW] >= s.candles[first, HIGH]:",
        STRUCTURE,
        "test_a_gap_is_born_at_its_third_candle_and_strictly_open",
    ),
    "a gap touches itself on the bar that made it": Mutant(
        "kernel",
        "    _new_gap(s, i, out)\n    _swings(s, i, out)\n",
        "    _new_gap(s, i, out)\n    _gaps(s, i, out)\n    _swings(s, i, out)\n",
        STRUCTURE,
        "test_a_gap_is_touched_halved_filled_and_left",
    ),
    "an order block takes the first opposite candle": Mutant(
        "kernel",
        "d * s.candles[j % ring, column] <= d * s.candles[origin % ring, column]:",
        "d * s.candles[j % ring, column] >= d * s.candles[origin % ring, column]:",
        STRUCTURE,
        "test_the_order_block_is_the_last_opposite_candle_at_the_origin",
    ),
    "a poke within tolerance takes a pool": Mutant(
        "kernel",
        "> edges[r, TOLERANCE]:",
        "> 0.0:",
        STRUCTURE,
        "test_a_poke_within_tolerance_takes_nothing",
    ),
    "a sweep is a close beyond": Mutant(
        "kernel",
        "dead = BROKEN if d * close > d * level else SWEPT",
        "dead = SWEPT if d * close > d * level else BROKEN",
        STRUCTURE,
        "test_equal_highs_join_and_are_swept_or_broken",
    ),
    "the trailing level's buffer points at the price": Mutant(
        "decide",
        "number(series.f[k.SWING_LEVEL + 1] - buffer)",
        "number(series.f[k.SWING_LEVEL + 1] + buffer)",
        DECIDE,
        "test_trailing_levels_lie_a_buffer_beyond_the_last_swing",
    ),
    "a stale bias is asked all the same": Mutant(
        "rules",
        "if not all(reading.is_fresh for reading in readings):",
        "if not readings:",
        RULES,
        "test_bias_combines_by_its_table",
    ),
    "a candle is taken before its close": Mutant(
        "decide",
        "if message.at < close_time_us(message.open_time_ms, message.timeframe):",
        "if message.at < 0:",
        DECIDE,
        "test_an_unclosed_candle_is_refused_and_forgotten",
    ),
}


class Wrong(SourceFileLoader):
    """Compiles a module with its mutant's text replaced, past any cached bytecode."""

    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_source(fullname)
        assert text is not None
        assert text.count(self.mutant.right) == 1, f"{fullname} holds {text.count(self.mutant.right)} of the text"
        return compile(text.replace(self.mutant.right, self.mutant.wrong), self.path, "exec")


class Replacing(MetaPathFinder):
    """Hands out the mutant in place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != f"actors.strategy.{self.mutant.module}":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = Wrong(fullname, spec.origin)
        spec.loader.mutant = self.mutant
        return spec


if "MUTANT" in os.environ:
    assert os.environ.get("NUMBA_DISABLE_JIT") == "1"
    sys.meta_path.insert(0, Replacing(MUTANTS[os.environ["MUTANT"]]))
