"""A house for each story, in simulated time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from house import House, open_house
from trio.testing import MockClock


@pytest.fixture
async def house(autojump_clock: MockClock) -> AsyncIterator[House]:
    """A daemon whose gate is open, on a market that stands still."""
    async with open_house() as running:
        yield running
