"""What an endpoint has been asked, and how often it had to say no."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lastwriter.emulator.core.environment import RESET


class Counts:
    """Of one endpoint, since the start."""

    __slots__ = ("errors", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.errors: Counter[str] = Counter()

    def count(self, status: int, body: Any) -> None:
        """Something else than a success has been answered."""
        if status < 0:
            self.errors["ConnectionReset" if status == RESET else "NoReply"] += 1
        else:
            kind = body.get("__type", "") if isinstance(body, dict) else ""
            self.errors[str(kind).rpartition("#")[2] or f"HTTP{status}"] += 1
