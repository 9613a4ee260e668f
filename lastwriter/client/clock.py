"""The clock and the name of this host, as a worker's record has them.

Times of the record are the host's monotonic clock. Which host that is, the kernel says: containers that share one
share its clock, whatever they are called, and machines with one name do not.

Two environment variables make one machine look like several, for whoever tests what clocks do to a verdict:
``LASTWRITER_HOST=b`` names the host, ``LASTWRITER_CLOCK_SHIFT=5ms`` moves its clock (``-3s`` back). The shift is hidden
from everything but the round trips by which clocks are compared.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lastwriter.errors import UserError
from lastwriter.units import parse_offset

HOST_VARIABLE: Final = "LASTWRITER_HOST"
SHIFT_VARIABLE: Final = "LASTWRITER_CLOCK_SHIFT"


def host() -> str:
    """What people call this host."""
    return os.environ.get(HOST_VARIABLE) or socket.gethostname()


def kernel() -> str:
    """Equal for two processes exactly if they read the same monotonic clock."""
    named = os.environ.get(HOST_VARIABLE)
    if named:
        return named
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{uuid.getnode():012x}"


def _clock() -> Callable[[], int]:
    text = os.environ.get(SHIFT_VARIABLE)
    if not text:
        return time.monotonic_ns
    try:
        shift_ns = int(parse_offset(text) * 1e9)
    except ValueError as error:
        raise UserError(f"{SHIFT_VARIABLE}={text}: {error}") from None
    return lambda: time.monotonic_ns() + shift_ns


monotonic_ns: Final = _clock()
"""Nanoseconds; the only clock that a worker reads."""
