"""Where a worker's users go: routes that the master decides (:mod:`lastwriter.client.failover`), followed one by one.

A route is what a name service answers: users of a Region that is ill go to another one, each when its cached answer has
run out, which is at a time of its own within the route's time to live. With the route they learn who is home now, for
the patterns whose keys have a home. In the moment of a failover the worker reads, in the Region that takes over, every
key of which its users had a write acknowledged by the Region that is lost: what is missing there is what the failover
costs. Those reads are recorded under the workload :data:`SWEEP`. For a worker that has died another one on its machine
does it, from the record that is there.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import gevent
import numpy as np
import numpy.typing as npt

from lastwriter.client.clock import monotonic_ns
from lastwriter.client.orphans import acknowledged_in
from lastwriter.client.protocol import DynamoClient, Reply
from lastwriter.client.recorder import Recorder, Rows
from lastwriter.client.table import Table
from verifier.history.schema import UPDATES, Outcome

SWEEP: Final = "failover-sweep"
"""Workload of the reads of a sweep."""

FIRST_EPOCH: Final = 1
"""Epoch of every home until it is moved."""

READERS: Final = 8
"""How many keys a worker reads at a time in a sweep."""


@dataclass(frozen=True, slots=True)
class Routing:
    """One decision: where the users of each Region go, and who is home."""

    number: int = 0
    """Counts the decisions of a run."""
    to: Mapping[str, str] = field(default_factory=dict)
    """Region → Region that serves its users, where that is another one."""
    homes: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Region → Region that is home to its keys now, and since which epoch; what is not here is as in the beginning."""
    lost: Mapping[str, str] = field(default_factory=dict)
    """Regions that this decision gives up → Region that takes over."""
    ttl_s: float = 0.0
    """How long a user may go on by the decision before."""
    handover_s: float = 0.0
    """How long users that return to their Region wait on top of that; 0: they do not wait at all."""
    waits_until_ns: int = 0
    """When they go on, by this worker's clock; 0: at once. Set by the worker."""

    def message(self) -> dict[str, Any]:
        """For the workers."""
        return asdict(self)


class WaitingClient:
    """A client that sends nothing before its time."""

    def __init__(self, client: DynamoClient, until_ns: int) -> None:
        self._client, self._until_ns = client, until_ns

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        """See :class:`~lastwriter.client.protocol.DynamoClient`."""
        while (left_ns := self._until_ns - monotonic_ns()) > 0:
            gevent.sleep(left_ns / 1e9)
        return self._client.request(operation, body)

    def close(self) -> None:
        """Not ours: others use it."""


class RoutedUser(Protocol):
    """What the routes need of a user."""

    number: int

    @property
    def is_routed(self) -> bool:
        """Whether its load follows the routes."""
        ...

    @property
    def lives_in(self) -> str:
        """Region that its name service answers for."""
        ...

    def follow_routes(self, routing: Routing) -> None:
        """Go where the routes lead, from the next attempt on."""
        ...


class Routes:
    """One worker's view of the routes, its users' way along them, its sweeps."""

    def __init__(
        self,
        recorder: Recorder,
        users: Callable[[], Iterable[RoutedUser]],
        tell: Callable[[dict[str, Any]], None],
        table_in: Callable[[str], Table],
        catch_up: Callable[[], None],
        seed: int,
    ) -> None:
        """``tell(facts)`` goes to the master; ``table_in(region)`` makes a table for one more process.

        ``catch_up()`` has every row that there is noted.
        """
        self.now = Routing()
        self._recorder, self._users, self._tell, self._table_in = recorder, users, tell, table_in
        self._catch_up, self._seed = catch_up, seed
        self._acknowledged: dict[int, npt.NDArray[np.bool_]] = {}
        self._swept: set[int] = set()
        """Decisions after which this worker's own keys are, or were, read."""
        self._following: gevent.Greenlet | None = None
        self._greenlets: list[gevent.Greenlet] = []

    def note(self, rows: Rows) -> None:
        """Rows that were recorded: which keys each Region has acknowledged a write of."""
        kinds = [code for code in map(self._recorder.kind.find, UPDATES) if code is not None]
        done = (rows["outcome"] == Outcome.OK) & np.isin(rows["kind"], kinds)
        region, key = rows["region"][done], rows["key"][done]
        for code in np.unique(region).tolist():
            known = self._acknowledged.get(code)
            if known is None or len(known) < len(self._recorder.key.texts):
                grown = np.zeros(2 * len(self._recorder.key.texts), np.bool_)
                if known is not None:
                    grown[: len(known)] = known
                known = self._acknowledged[code] = grown
            known[key[region == code]] = True

    def take(self, routing: Routing, orphans: Collection[Path] = ()) -> None:
        """A decision of the master: sweep what is lost, and let the users follow one by one.

        ``orphans``: records of dead workers, whose keys are swept, too; the master may think of some later.
        """
        if routing.number > self.now.number:
            if routing.handover_s:
                wait_ns = int((routing.ttl_s + routing.handover_s) * 1e9)
                routing = replace(routing, waits_until_ns=monotonic_ns() + wait_ns)
            self.now = routing
            if self._following is not None:
                self._following.kill()
            self._following = gevent.spawn(self._follow, routing)
        self._greenlets = [greenlet for greenlet in self._greenlets if not greenlet.ready()]
        own = routing.number not in self._swept
        self._swept.add(routing.number)
        for region, to in routing.lost.items():
            self._greenlets.append(gevent.spawn(self._sweep, routing, region, to, own, orphans))

    def close(self) -> None:
        """The run ends: what is under way is cut short, its reads recorded as such."""
        gevent.killall([greenlet for greenlet in (self._following, *self._greenlets) if greenlet is not None])

    def _follow(self, routing: Routing) -> None:
        turn = random.Random(f"{self._seed}/routes/{routing.number}")
        began_ns = monotonic_ns()
        users = [user for user in self._users() if user.is_routed]
        due = sorted((turn.random() * routing.ttl_s, number, user) for number, user in enumerate(users))
        told: dict[str, list[int]] = {}
        try:
            for delay_s, _, user in due:
                left_s = delay_s - (monotonic_ns() - began_ns) / 1e9
                if left_s > 0:
                    gevent.sleep(left_s)
                user.follow_routes(routing)
                told.setdefault(user.lives_in, []).append(monotonic_ns())
        finally:
            for region, at_ns in told.items():
                self._tell(
                    {
                        "event": "switched",
                        "number": routing.number,
                        "region": region,
                        "to": routing.to.get(region, region),
                        "since_ns": at_ns[0],
                        "at_ns": at_ns[-1],
                        "users": len(at_ns),
                    }
                )

    def _sweep(self, routing: Routing, region: str, to: str, own: bool, orphans: Collection[Path]) -> None:
        self._catch_up()  # what was acknowledged a moment ago counts, too
        began_ns = monotonic_ns()
        swept: set[str] = set()
        unread = itertools.count()
        try:
            if own:
                known = self._acknowledged.get(self._recorder.region.of(region), np.zeros(0, np.bool_))
                swept.update(self._recorder.key.texts[code] for code in np.flatnonzero(known).tolist())
                self._read(to, swept, unread)
            for orphan in orphans:
                more = acknowledged_in(orphan, region) - swept
                swept |= more
                self._read(to, more, unread)
        finally:
            self._tell(
                {
                    "event": "swept",
                    "number": routing.number,
                    "region": region,
                    "to": to,
                    "since_ns": began_ns,
                    "at_ns": monotonic_ns(),
                    "keys": len(swept),
                    "unread": next(unread),
                }
            )

    def _read(self, region: str, keys: Collection[str], unread: Iterator[int]) -> None:
        """Read keys in a Region, some at a time; ``unread`` counts those without an answer."""
        ahead = iter(list(keys))

        def read() -> None:
            table = self._table_in(region)
            try:
                for key in ahead:
                    if not table.get(key).ok:
                        next(unread)
            finally:
                table.close()

        readers = [gevent.spawn(read) for _ in range(min(READERS, len(keys)))]
        try:
            gevent.joinall(readers)
        finally:
            gevent.killall(readers)
