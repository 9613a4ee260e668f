"""The network as a table has it: its links break and heal with the Regions' own, and its replication alone can pause.

A pause of one table (as AWS FIS has it) breaks that table's links around a Region and no other's, so that a drill on
one table leaves its neighbours alone.
"""

from __future__ import annotations

from collections.abc import Callable

from lastwriter.emulator.core.network import Link, Network, Observer


class Lanes:
    """Links of one table. An observer of the network; the table's engine observes this."""

    def __init__(self, network: Network) -> None:
        self.observers: list[Observer] = []
        self._network = network
        self._pauses: dict[str, int] = {}
        self.links = _Links(network, self.paused)
        for region in network.regions:
            if network.paused(region):
                self._pauses[region] = 1
        network.observers.append(self)

    def close(self) -> None:
        """The table is gone."""
        self._network.observers.remove(self)

    def paused(self, region: str) -> bool:
        """Whether the table's replication to and from ``region`` is paused."""
        return self._pauses.get(region, 0) > 0

    @property
    def paused_anywhere(self) -> bool:
        """Whether it is paused in any Region."""
        return any(self._pauses.values())

    def pause(self, region: str) -> None:
        """Nothing of this table passes to or from ``region`` any more; counted, so that pauses may overlap."""
        self.on_paused(region, True)
        self._follow(0)

    def resume(self, region: str, now_ns: int) -> None:
        """Take one pause back."""
        self.on_paused(region, False)
        self._follow(now_ns)

    # -- what the network says

    def on_broken(self, link: Link) -> None:
        """A link has broken for everybody."""
        self._follow(0)

    def on_healed(self, link: Link) -> None:
        """It is whole again."""
        self._follow(link.up_since_ns)

    def on_latency(self) -> None:
        """Messages take other times."""
        for pair, link in self.links.items():
            whole = self._network.links[pair]
            link.latency_ns, link.added_ns, link.jitter_ns = whole.latency_ns, whole.added_ns, whole.jitter_ns
        for observer in self.observers:
            observer.on_latency()

    def on_paused(self, region: str, paused: bool) -> None:
        """A Region's replication is paused, or no longer: counted."""
        count = self._pauses.get(region, 0) + (1 if paused else -1)
        self._pauses[region] = count
        if count == (1 if paused else 0):
            for observer in self.observers:
                observer.on_paused(region, paused)

    def _follow(self, now_ns: int) -> None:
        """Bring every link to the state it ought to have, then say which have changed: nothing may pass over a link
        that is about to break with another."""
        broken, healed = [], []
        for pair, link in self.links.items():
            whole = self._network.links[pair].breaks == 0 and not (self.paused(pair[0]) or self.paused(pair[1]))
            if whole and link.breaks:
                link.breaks, link.up_since_ns = 0, now_ns
                healed.append(link)
            elif not whole and not link.breaks:
                link.breaks = 1
                broken.append(link)
        for link in broken:
            for observer in self.observers:
                observer.on_broken(link)
        for link in healed:
            for observer in self.observers:
                observer.on_healed(link)


class _Links(dict[tuple[str, str], Link]):
    """By pair of Regions; a Region may join the network after the table was made."""

    def __init__(self, network: Network, paused: Callable[[str], bool]) -> None:
        super().__init__()
        self._network = network
        self._paused = paused
        for pair in network.links:
            self.__missing__(pair)

    def __missing__(self, pair: tuple[str, str]) -> Link:
        whole = self._network.links[pair]
        link = self[pair] = Link(*pair, whole.latency_ns)
        link.added_ns, link.jitter_ns, link.up_since_ns = whole.added_ns, whole.jitter_ns, whole.up_since_ns
        link.breaks = 1 if whole.breaks or self._paused(pair[0]) or self._paused(pair[1]) else 0
        return link
