"""Which faults are in effect: overlapping at will, each reversible, each with an id; leases that run out.

Links and pauses are counted in :mod:`~lastwriter.emulator.core.network`, what befalls requests is in
:mod:`~lastwriter.emulator.shell.ailments`; Regions that are down are counted here. What a
Region that is down does to its clients' connections is the caller's to do: ``on_clients`` is told.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable
from typing import Final

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.lanes import Lanes
from lastwriter.emulator.core.network import Link
from lastwriter.emulator.faults import OF_THE_PROCESS, ON_LINKS, FaultSpec, FaultState
from lastwriter.emulator.shell import ailments

KEPT: Final = 1000
"""Healed faults that are remembered."""


class UnknownFaultError(LookupError):
    """No such fault, or healed already."""


class FaultBook:
    """Sets faults and heals them."""

    def __init__(self, core: Core, on_clients: Callable[[str], None] = lambda region: None) -> None:
        self._core = core
        self._on_clients = on_clients
        self._active: dict[str, FaultState] = {}
        self._healed: deque[FaultState] = deque(maxlen=KEPT)
        self._broken: dict[str, list[Link]] = {}
        self._paused: dict[str, list[tuple[Lanes, str]]] = {}
        self._deadlines: dict[str, int] = {}
        self._number = 0

    def set(self, spec: FaultSpec) -> str:
        """Break what ``spec`` says; the fault's id. ValueError names a Region that there is not."""
        self.check(spec)
        self._number += 1
        name = f"f{self._number}"
        self._active[name] = FaultState(id=name, spec=spec, onset_ns=self._core.scheduler.now_ns)
        network = self._core.network
        self._broken[name] = links = self._links(spec)
        if spec.kind in ailments.KINDS:
            self._core.ailments.add(spec)
        elif spec.kind == "link-latency":
            network.slow_down(links, round(spec.latency * 1e9), round(spec.jitter * 1e9))
        elif spec.kind == "clock-skew":
            self._skew(spec, 1)
        elif spec.tables:
            self._paused[name] = self._lanes(spec)
            for lanes, region in self._paused[name]:
                lanes.pause(region)
        else:
            if spec.kind == "replication-paused":
                for region in spec.regions:
                    network.pause(region)
            network.break_links(links)
        self._tell(spec)
        self._core.scheduler.settle()
        self.renew(name)
        return name

    def renew(self, name: str) -> None:
        """The fault's lease begins anew."""
        state = self._find(name)
        if state.spec.lease is not None:
            deadline_ns = self._core.scheduler.now_ns + round(state.spec.lease * 1e9)
            self._deadlines[name] = deadline_ns
            self._core.scheduler.at(deadline_ns, self._expire, name)

    def heal(self, name: str) -> FaultState:
        """Take the fault back."""
        state = self._find(name)
        del self._active[name]
        self._deadlines.pop(name, None)
        network, now_ns = self._core.network, self._core.scheduler.now_ns
        healed = state.model_copy(update={"healed_ns": now_ns})
        self._healed.appendleft(healed)
        spec, links = state.spec, self._broken.pop(name)
        if spec.kind in ailments.KINDS:
            self._core.ailments.remove(spec)
        elif spec.kind == "link-latency":
            network.slow_down(links, -round(spec.latency * 1e9), -round(spec.jitter * 1e9))
        elif spec.kind == "clock-skew":
            self._skew(spec, -1)
        elif spec.tables:
            for lanes, region in self._paused.pop(name):
                lanes.resume(region, now_ns)
        else:
            if spec.kind == "replication-paused":
                for region in spec.regions:
                    network.resume(region)
            network.heal_links(links, now_ns)
        self._tell(spec)
        self._core.scheduler.settle()
        return healed

    def states(self) -> list[FaultState]:
        """In effect, then those healed, the latest first."""
        return [*self._active.values(), *self._healed]

    def clients(self, region: str) -> str | None:
        """What the Region does to its clients: None (serves), ``refuse`` or ``hang``."""
        down = [state.spec for state in self._active.values() if state.spec.kind == "region-down"]
        here = [spec.hang for spec in down if region in spec.regions]
        return None if not here else "hang" if all(here) else "refuse"

    def _expire(self, name: str) -> None:
        if self._deadlines.get(name, 1 << 62) <= self._core.scheduler.now_ns:
            self.heal(name)

    def _find(self, name: str) -> FaultState:
        state = self._active.get(name)
        if state is None:
            raise UnknownFaultError(f"no fault {name!r} is in effect")
        return state

    def _tell(self, spec: FaultSpec) -> None:
        if spec.kind == "region-down":
            for region in spec.regions:
                self._on_clients(region)

    def _skew(self, spec: FaultSpec, sign: int) -> None:
        for region in spec.regions:
            self._core.environment.clock(region).ahead_ns += sign * round(spec.offset * 1e9)

    def _lanes(self, spec: FaultSpec) -> list[tuple[Lanes, str]]:
        """Of the tables that a pause is for; ValueError if one is not there, or not global."""
        found = []
        for region in spec.regions:
            for table in spec.tables:
                member = self._core.control.members.get(region, {}).get(table)
                if member is None or member.table.mode == "one-Region":
                    raise ValueError(f"there is no global table {table!r} in {region}")
                found.append((member.table.engine.lanes, region))
        return found

    def _links(self, spec: FaultSpec) -> list[Link]:
        network = self._core.network
        if spec.kind in ON_LINKS:
            pairs = [(a, b) for a, b in spec.links] + ([] if spec.one_way else [(b, a) for a, b in spec.links])
            return [network.links[pair] for pair in dict.fromkeys(pairs)]
        return list(dict.fromkeys(link for region in spec.regions for link in network.around(region)))

    def check(self, spec: FaultSpec) -> None:
        """ValueError if it names what is not here."""
        if spec.kind == OF_THE_PROCESS:
            raise ValueError(f"{spec.kind} is for profiles: the emulator cannot start itself again")
        known = self._core.network.regions
        for region in (*spec.regions, *(end for link in spec.links for end in link)):
            if region not in known:
                near = difflib.get_close_matches(region, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise ValueError(f"no Region {region!r} here: {hint}")
        for source, target in spec.links:
            if source == target:
                raise ValueError(f"a link joins two Regions, not {source} with itself")
        if len(set(spec.regions)) != len(spec.regions):
            raise ValueError("a Region is named twice")
        self._lanes(spec)
