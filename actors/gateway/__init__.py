"""Hands on the real exchange: the ports of `protocol.ports` over HTTP and WebSocket.

Nothing is decided or retried here. Connections are passed in, so the same clients run against Kraken, a loopback
venue or an in-memory one.
"""
