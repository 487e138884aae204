"""Every cause of a soft halt has a row that says what ends it."""

from __future__ import annotations

import pytest

from actors.futures_feed.notices import MAINTENANCE
from actors.futures_feed.standing import BARRED, CLOCK
from actors.halts import RELEASES, release_of
from actors.person.decide import OWN
from actors.reconciler.passes import HALT
from actors.risk.guards import ACCOUNT_GUARDS, SYMBOL_GUARDS
from actors.tree import CHILDREN

KEYS = (
    *(f"{cause}.{spec.name}" for cause in ("supervisor", "unstable") for spec in CHILDREN),
    *(guard.key for guard in ACCOUNT_GUARDS if guard.halts),
    *(f"{guard.key}:PF_XBTUSD" for guard in SYMBOL_GUARDS if guard.halts),
    BARRED,
    CLOCK,
    MAINTENANCE,
    HALT,
    OWN,
    f"{OWN}:PF_XBTUSD",
    "spot.gap:BTC/USD",
    "spot.revised:BTC/USD",
    "journal",
    "stopping",
)


@pytest.mark.parametrize("key", KEYS)
def test_every_halt_says_how_it_ends(key: str) -> None:
    """Automatic or by hand, and when."""
    assert release_of(key).how in ("automatic", "manual")
    assert release_of(key).when


def test_no_row_is_dead() -> None:
    """Each cause of the table is somebody's."""
    assert {cause for cause in RELEASES if not any(release_of(key) == RELEASES[cause] for key in KEYS)} == set()


def test_a_cause_without_a_row_is_an_error() -> None:
    """Nobody halts entries without saying what ends it."""
    with pytest.raises(KeyError):
        release_of("unheard_of")
