"""Settings of all tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, not about the code: tests run beside each other.
_SETTINGS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

# The same examples every time, so that a change is judged and not luck; `make explore` looks for new ones.
settings.register_profile("repeatable", derandomize=True, **_SETTINGS)
settings.register_profile("explore", max_examples=1000, **_SETTINGS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
