"""Fakes shared by the tests: second implementations of ports, small and honest."""
