"""A few hundred spoilt payloads through every parser; `make fuzz` sends a hundred thousand through each."""

from __future__ import annotations

import pytest

from tests.fakes.kraken_payloads import READERS
from tests.fuzz.payloads import check


@pytest.mark.parametrize("name", READERS)
def test_a_spoilt_payload_is_a_value_or_a_typed_error(name: str) -> None:
    """Never another exception, and what was read can be journalled."""
    outcome = check(name, 300)

    assert outcome.finding == ""
    assert outcome.refusals + outcome.quarantined > 0
