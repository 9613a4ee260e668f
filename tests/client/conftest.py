"""Locust patches the standard library when it is imported.

A test process that it patched half-way, with sockets and threads already in use, crashes; so the modules that need
Locust are imported here without the patch. What needs the patch runs in a process of its own, as it does for a user.
"""

import os

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import locust  # noqa: F401 - imported for its effect

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]  # real Locust processes that tests start are patched
