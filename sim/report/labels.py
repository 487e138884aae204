"""Labels that do not lie on one another: each takes the first of its places that is free, or is left out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

CHARACTER_PX, LINE_PX = 6.6, 13.0
"""Of the 10 px font that the charts use, on the generous side."""


class Label(NamedTuple):
    """A text at (x, y) in data units, above it or below it; the earlier of two labels has priority."""

    x: float
    y: float
    text: str
    is_above: bool


class Frame(NamedTuple):
    """The plot: data ranges and its size in pixels."""

    x0: float
    x1: float
    y0: float
    y1: float
    width_px: float
    height_px: float

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Pixels from the lower left corner."""
        return (
            (x - self.x0) / (self.x1 - self.x0) * self.width_px,
            (y - self.y0) / (self.y1 - self.y0) * self.height_px,
        )


def place(labels: Sequence[Label], frame: Frame) -> list[bool]:
    """Which labels to show, those outside the frame not."""
    taken: dict[int, list[tuple[float, float, float, float]]] = {}
    return [_take(label, frame, taken) for label in labels]


def _take(label: Label, frame: Frame, taken: dict[int, list[tuple[float, float, float, float]]]) -> bool:
    x, y = frame.pixel(label.x, label.y)
    if not (0 <= x <= frame.width_px and 0 <= y <= frame.height_px):
        return False
    half = len(label.text) * CHARACTER_PX / 2
    low, high = (y, y + LINE_PX) if label.is_above else (y - LINE_PX, y)
    box = (x - half, low, x + half, high)
    columns = range(int(box[0] // 100), int(box[2] // 100) + 1)
    for column in columns:
        for other in taken.get(column, ()):
            if box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]:
                return False
    for column in columns:
        taken.setdefault(column, []).append(box)
    return True
