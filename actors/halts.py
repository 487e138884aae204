"""The soft halt: entries wait, exits go on. One table of its causes and of what ends each; the level below the kill switch.

Knows no gate and no actor; who halts, ends the halt, or a person does.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Release(NamedTuple):
    """How a halt ends: by itself, or by a person's hand."""

    how: Literal["automatic", "manual"]
    when: str


RELEASES: Final[dict[str, Release]] = {
    "supervisor": Release("automatic", "the child is up again; a child that gave up needs a restart of the daemon"),
    "unstable": Release(
        "manual", "`entries resume --key`, or a restart of the daemon; its deaths are counted anew from there"
    ),
    "journal": Release("manual", "a restart of the daemon on a store that can be written"),
    "reconciliation": Release("automatic", "the next clean pass"),
    "futures.key": Release(
        "automatic",
        "the exchange takes our key again for what it refused it for; where nothing is left to order, `entries resume --key futures.key` or a restart",
    ),
    "futures.clock": Release(
        "automatic", "this host's clock and the exchange's are within `feeds.clock_off_max_s` of each other"
    ),
    "futures.maintenance": Release(
        "automatic", "the end that the exchange announced; or `entries resume --key futures.maintenance`"
    ),
    "spot.gap": Release("automatic", "the missing candles are in hand"),
    "spot.revised": Release("manual", "`entries resume --key`, after a look at the candle"),
    "risk.daily_loss": Release("automatic", "00:00 UTC"),
    "risk.drawdown": Release(
        "automatic",
        "equity is back within four fifths of `risk.drawdown_max_pct` of its highest; or `entries resume --key risk.drawdown`, which counts anew from there",
    ),
    "risk.cooldown": Release("automatic", "`risk.cooldown_h` are over"),
    "risk.mark": Release("automatic", "the mark moves again"),
    "risk.basis": Release("automatic", "spot and mark are close again, with hysteresis"),
    "risk.basis_held": Release("automatic", "spot and mark are close again, or the position is closed"),
    "risk.liquidation": Release("automatic", "the distance to liquidation is back, or the position is closed"),
    "stopping": Release("manual", "the next start: the daemon was asked to stop"),
    "person": Release("manual", "`entries resume`"),
}
"""By the beginning of the halt's key; what follows it names a child or a market."""


def release_of(key: str) -> Release:
    """What ends the halt under `key`. KeyError: a cause that is missing from the table."""
    known = [cause for cause in RELEASES if key == cause or key.startswith((f"{cause}.", f"{cause}:"))]
    return RELEASES[max(known, key=len, default=key)]
