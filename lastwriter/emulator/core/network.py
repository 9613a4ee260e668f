"""Links between Regions: how long a message takes, and whether it passes.

A link is one way. It is broken as long as any fault breaks it: faults are counted, so that they may overlap at will
and heal in any order. ``up_since_ns`` is when it last became whole: a message sent before that has not passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

RoundTrip = Callable[[str, str], int]
"""Nanoseconds from one Region to another and back."""


class Link:
    """The way from ``source`` to ``target``."""

    __slots__ = ("added_ns", "breaks", "jitter_ns", "latency_ns", "source", "target", "up_since_ns")

    def __init__(self, source: str, target: str, latency_ns: int) -> None:
        self.source = source
        self.target = target
        self.latency_ns = latency_ns
        self.added_ns = 0  # part of latency_ns
        self.jitter_ns = 0  # a message takes up to this longer
        self.breaks = 0
        self.up_since_ns = -(1 << 62)


class Observer(Protocol):
    """Something that lives on the network and has to act when a link breaks or heals."""

    def on_broken(self, link: Link) -> None:
        """``link`` has just broken: what is on its way does not arrive."""

    def on_healed(self, link: Link) -> None:
        """``link`` has just become whole."""

    def on_latency(self) -> None:
        """Messages sent from now on take other times."""

    def on_paused(self, region: str, paused: bool) -> None:
        """Replication of ``region`` was paused or resumed; its links broke before, or heal after."""


class Network:
    """Every pair of Regions, both ways."""

    def __init__(self, regions: Iterable[str], round_trip_ns: RoundTrip, scale: float = 1.0) -> None:
        self.regions: list[str] = []
        self.links: dict[tuple[str, str], Link] = {}
        self.observers: list[Observer] = []
        self._round_trip_ns = round_trip_ns
        self._scale = scale
        self._pauses: dict[str, int] = {}
        for region in regions:
            self.add(region)

    def add(self, region: str) -> None:
        """Join ``region`` to all others; nothing happens if it is there. Raises what ``round_trip_ns`` raises."""
        if region in self.regions:
            return
        ways = [(other, self._latency_ns(region, other)) for other in self.regions]
        self.regions.append(region)
        for other, latency_ns in ways:
            self.links[region, other] = Link(region, other, latency_ns)
            self.links[other, region] = Link(other, region, latency_ns)

    def rescale(self, scale: float) -> None:
        """Messages sent from now on take ``scale`` times the measured time."""
        self._scale = scale
        for link in self.links.values():
            link.latency_ns = self._latency_ns(link.source, link.target) + link.added_ns
        self._tell_latency()

    def slow_down(self, links: Iterable[Link], added_ns: int, jitter_ns: int) -> None:
        """Messages on the links take ``added_ns`` longer, and up to ``jitter_ns`` more; negative: takes that back."""
        for link in links:
            link.added_ns += added_ns
            link.latency_ns += added_ns
            link.jitter_ns += jitter_ns
        self._tell_latency()

    def around(self, region: str) -> list[Link]:
        """Every link to and from ``region``."""
        return [link for link in self.links.values() if region in (link.source, link.target)]

    def break_links(self, links: Iterable[Link]) -> None:
        """Break each link once more."""
        broken = []
        for link in links:
            link.breaks += 1
            if link.breaks == 1:
                broken.append(link)
        for link in broken:
            for observer in self.observers:
                observer.on_broken(link)

    def heal_links(self, links: Iterable[Link], now_ns: int) -> None:
        """Take one break from each link; those without any become whole."""
        healed = []
        for link in links:
            link.breaks -= 1
            if link.breaks == 0:
                link.up_since_ns = now_ns
                healed.append(link)
        for link in healed:
            for observer in self.observers:
                observer.on_healed(link)

    def pause(self, region: str) -> None:
        """``region`` is paused once more. Its links are for the caller to break."""
        self._pauses[region] = count = self._pauses.get(region, 0) + 1
        if count == 1:
            for observer in self.observers:
                observer.on_paused(region, True)

    def resume(self, region: str) -> None:
        """Take one pause from ``region``. Its links are for the caller to heal, afterwards."""
        self._pauses[region] -= 1
        if self._pauses[region] == 0:
            for observer in self.observers:
                observer.on_paused(region, False)

    def paused(self, region: str) -> bool:
        """Whether replication of ``region`` is paused."""
        return self._pauses.get(region, 0) > 0

    def _tell_latency(self) -> None:
        for observer in self.observers:
            observer.on_latency()

    def _latency_ns(self, source: str, target: str) -> int:
        return round(self._round_trip_ns(source, target) * self._scale / 2)
