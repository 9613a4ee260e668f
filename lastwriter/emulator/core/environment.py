"""What the tables live in: clock, network, randomness, settings, and where replies go. All of it given from outside."""

from __future__ import annotations

import random
from typing import Any, Final

from lastwriter.emulator.core.gathering import Part
from lastwriter.emulator.core.network import Link, Network
from lastwriter.emulator.core.scheduler import Scheduler
from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.settings import Settings

Handle = Any
"""Whatever the caller gave with a request; it comes back with the reply. A Part takes it itself."""

Reply = tuple[Handle, int, dict[str, Any]]
"""An effect: answer the request ``handle`` with this HTTP status and body, or with one of the two below."""

Records = list[list[Any]]
"""Changes that are to outlive the process: see :mod:`lastwriter.emulator.core.durable`."""

RESET: Final = -1
"""Instead of a status: reset the connection that the request came on."""
SILENCE: Final = -2
"""Instead of a status: never answer."""


class Clock:
    """A Region's clock, by which its replicas date their writes."""

    __slots__ = ("ahead_ns",)

    def __init__(self) -> None:
        self.ahead_ns = 0


class Environment:
    """Shared by the core and its tables."""

    __slots__ = (
        "client_latency_ns",
        "clocks",
        "index_delay_ns",
        "mrsc_timeout_ns",
        "network",
        "records",
        "replies",
        "rng",
        "scheduler",
        "settings",
        "transaction_ns",
    )

    def __init__(self, scheduler: Scheduler, network: Network, rng: random.Random, settings: Settings) -> None:
        self.scheduler = scheduler
        self.network = network
        self.rng = rng
        self.replies: list[Reply] = []
        self.clocks: dict[str, Clock] = {}
        self.records: Records | None = None  # nobody keeps them
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        self.settings = settings
        self.client_latency_ns = round(settings.client_latency * settings.latency_scale * 1e9)
        self.transaction_ns = round(settings.transaction_time * 1e9)
        self.index_delay_ns = round(settings.index_delay * 1e9)
        self.mrsc_timeout_ns = round(settings.mrsc_timeout * 1e9)

    def clock(self, region: str) -> Clock:
        """Of a Region."""
        return self.clocks.setdefault(region, Clock())

    def jitter_ns(self, link: Link) -> int:
        """How much longer than its latency a message on ``link`` takes: drawn."""
        return int(self.rng.random() * link.jitter_ns) if link.jitter_ns else 0

    def answer(self, handle: Handle, body: dict[str, Any], status: int = 200) -> None:
        """Answer ``handle`` after the way back to the client."""
        if handle.__class__ is Part:
            handle.take(body)
        elif self.client_latency_ns:
            scheduler = self.scheduler
            scheduler.at(scheduler.now_ns + self.client_latency_ns, self.replies.append, (handle, status, body))
        else:
            self.replies.append((handle, status, body))

    def refuse(self, handle: Handle, error: ApiError) -> None:
        """Answer ``handle`` with an error."""
        if handle.__class__ is Part:
            handle.take(error)
        else:
            self.answer(handle, error.body(), error.status)

    def take_replies(self) -> list[Reply]:
        """The replies since the last call."""
        replies = self.replies
        if not replies:
            return []
        taken = replies[:]
        replies.clear()
        return taken
