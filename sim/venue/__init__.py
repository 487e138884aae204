"""The simulated Kraken: a market and an exchange served in Kraken's own REST and WebSocket protocols."""

from sim.venue.venue import Venue

__all__ = ["Venue"]
