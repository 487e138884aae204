"""What all tests share: none of them is timed, however busy the machine is. Speed is measured by `make bench`."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
