"""Parameters of the strategy (smc-spec section 7): names, defaults, ranges. Placeholder until the strategy room lands."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrategyParams(BaseModel):
    """All parameters of smc-1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
