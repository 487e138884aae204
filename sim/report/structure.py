"""Structure as things with a beginning and an end, to be drawn: from the events of `analyze` to zones, breaks, swings, pools.

Pure; knows no colour and no plot. Times are ms UTC of candle opens, prices spot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

Event = Mapping[str, Any]
ZoneKind = Literal["OB", "FVG", "breaker"]


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """An order block, a gap or a breaker from the candle it was made of to the one that ended it as an entry zone."""

    kind: ZoneKind
    id: str
    direction: int
    top: float
    bottom: float
    start_ms: int
    known_ms: int
    end_ms: int | None
    fate: str


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """A BOS or CHoCH: the swing's level until the candle that broke it."""

    kind: Literal["BOS", "CHoCH"]
    direction: int
    level: float
    start_ms: int
    end_ms: int


class Swing(msgspec.Struct, frozen=True, kw_only=True):
    """A confirmed swing point and the candle at which it became known. `label`: HH, LH, EH, HL, LL, EL; none for the first."""

    direction: int
    level: float
    time_ms: int
    known_ms: int
    label: str | None


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Liquidity beyond one or more swings (two or more: equal highs or lows) until it was taken."""

    id: str
    direction: int
    level: float
    count: int
    start_ms: int
    end_ms: int | None
    fate: str


class Structure(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be drawn of a span, each kind in time order."""

    zones: tuple[Zone, ...]
    breaks: tuple[Break, ...]
    swings: tuple[Swing, ...]
    pools: tuple[Pool, ...]


MITIGATED_BY: Final = {"touch": "OB_TOUCH", "mid": "OB_MID", "none": None}
"""The event that ends an order block as an entry zone, by `ob_mitigation`."""


def read_structure(events: Sequence[Event], tf_ms: int, ob_mitigation: str, start_ms: int, end_ms: int) -> Structure:
    """What of `events` was there at some time from `start_ms` to `end_ms`, as known at the candle `end_ms`."""
    seen = [event for event in events if event["time"] <= end_ms]
    return Structure(
        zones=tuple(z for z in _zones(seen, tf_ms, MITIGATED_BY[ob_mitigation]) if _is_within(z, start_ms)),
        breaks=tuple(
            Break(
                kind="BOS" if event["type"] == "BOS" else "CHoCH",
                direction=event["dir"],
                level=event["level"],
                start_ms=event["src_time"],
                end_ms=event["time"],
            )
            for event in seen
            if event["type"] in ("BOS", "CHOCH") and event["time"] >= start_ms
        ),
        swings=tuple(
            Swing(
                direction=event["dir"],
                level=event["level"],
                time_ms=event["src_time"],
                known_ms=event["time"],
                label=event["label"],
            )
            for event in seen
            if event["type"] == "SWING" and event["src_time"] >= start_ms
        ),
        pools=tuple(pool for pool in _pools(seen) if _is_within(pool, start_ms)),
    )


def _is_within(thing: Zone | Pool, start_ms: int) -> bool:
    return thing.end_ms is None or thing.end_ms >= start_ms


def _zones(events: Iterable[Event], tf_ms: int, mitigation: str | None) -> list[Zone]:
    zones: dict[tuple[str, str], Zone] = {}

    def end(kind: str, event: Event, fate: str) -> None:
        zone = zones.get((kind, event["id"]))
        if zone is not None and zone.end_ms is None:
            zones[kind, zone.id] = msgspec.structs.replace(zone, end_ms=event["time"], fate=fate)

    for event in events:
        name, time = event["type"], event["time"]
        if name in ("FVG_NEW", "OB_NEW"):
            kind: ZoneKind = "FVG" if name == "FVG_NEW" else "OB"
            zones[kind, event["id"]] = Zone(
                kind=kind,
                id=event["id"],
                direction=event["dir"],
                top=event["top"],
                bottom=event["bottom"],
                start_ms=time - tf_ms if kind == "FVG" else event["src_time"],
                known_ms=time,
                end_ms=None,
                fate="open",
            )
        elif name == "BRK_NEW" and ("OB", event["id"]) in zones:
            block = zones["OB", event["id"]]
            zones["breaker", block.id] = msgspec.structs.replace(
                block, kind="breaker", direction=event["dir"], start_ms=time, known_ms=time, end_ms=None, fate="open"
            )
        elif name == mitigation:
            end("OB", event, "mitigated")
        elif name == "BRK_TOUCH":
            end("breaker", event, "touched")
        elif name in ("FVG_DEAD", "OB_DEAD", "BRK_DEAD"):
            end({"FVG": "FVG", "OB": "OB", "BRK": "breaker"}[name[:-5]], event, event["reason"])
    return list(zones.values())


def _pools(events: Iterable[Event]) -> list[Pool]:
    pools: dict[str, Pool] = {}
    for event in events:
        if event["type"] == "POOL_NEW":
            pools[event["id"]] = Pool(
                id=event["id"],
                direction=event["dir"],
                level=event["level"],
                count=1,
                start_ms=int(event["id"].rpartition(".")[2]),
                end_ms=None,
                fate="resting",
            )
        elif event["type"] in ("POOL_JOIN", "POOL_DEAD") and event["id"] in pools:
            changed: dict[str, Any] = {"level": event["level"], "count": event["count"]}
            if event["type"] == "POOL_DEAD":
                changed |= {"end_ms": event["time"], "fate": event["reason"]}
            pools[event["id"]] = msgspec.structs.replace(pools[event["id"]], **changed)
    return list(pools.values())
