"""Kraken's wire forms and ours, both directions: read by the gateway, written by the simulated venue.

`parse_*` takes bytes or decoded JSON and gives our types; `write_*` takes our types and gives JSON-ready objects
(`wire.encode` makes the bytes). One description of the protocol, so that the two ends cannot drift apart.
"""
