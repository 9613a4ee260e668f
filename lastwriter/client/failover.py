"""The application's failover: a canary in every Region, a decision when one stays silent, routes for the users.

The master probes each Region every ``interval`` as its users would: a small conditional write. After ``threshold``
probes in a row without an answer the Region is unhealthy, and its users are routed to the next healthy one in the order
of the plan; the workers' users follow within the route's time to live (:mod:`lastwriter.client.routes`). After as many
answers it is healthy again, and its users are routed back: at once, when the backlog has drained, or never. Drained is
what the canary shows: a beat of the Region that took over is seen in the one that returns no later than
``drained_within`` after it was written.

Keys with a home (patterns ``home-region``, ``fenced``) move with the users: the control record of their home Region,
item ``lastwriter-home-<region>`` with ``home`` and ``write_epoch``, is flipped in the Region that takes over.

What was seen, decided and done is told as lines of ``routes.jsonl`` (:class:`verifier.rundir.RouteEvent`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import gevent

from lastwriter.client.clock import monotonic_ns
from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.plan import OWNED, LoadPlan
from lastwriter.client.protocol import DynamoClient
from lastwriter.client.routes import FIRST_EPOCH, Routing
from verifier.history.schema import KEY_ATTRIBUTE, Outcome
from verifier.rundir import RouteEvent

CANARY: Final = "lastwriter-canary-"
"""Key of a Region's canary, before the Region's name."""
HOME: Final = "lastwriter-home-"
"""Key of the control record that says who is home to a Region's keys."""

_FLIPS: Final = 5
"""Attempts to flip a control record before the route is changed without."""


@dataclass
class _Region:
    """What is known of one Region."""

    healthy: bool = True
    streak: int = 0
    """Probes in a row that contradict ``healthy`` …"""
    since_ns: int = 0
    """… since this one began."""
    draining: bool = False
    beats: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=1000))
    """Beats that its canary holds or held, and when each was answered."""


class Failover:
    """Probes, decides, tells the workers. Runs beside the load, from t0 to its end."""

    def __init__(
        self,
        plan: LoadPlan,
        record: Path,
        send: Callable[[Routing], None],
        client_of: Callable[[str, float], DynamoClient],
        say: Callable[[str, str], None] = lambda region, to: None,
    ) -> None:
        """``send(routing)`` goes to every worker; ``client_of(region, deadline)`` makes a client for the canary.

        ``say(region, to)`` is told of each decision.
        """
        self._say = say
        self._plan, self._health, self._record, self._send = plan, plan.health, record, send
        self._regions = {region: _Region() for region in plan.endpoints}
        self._clients = {region: client_of(region, self._health.timeout) for region in plan.endpoints}
        self._moves_homes = any(load.failover == "routed" and load.pattern in OWNED for load in plan.loads)
        self._routing = Routing()
        self._greenlets: list[gevent.Greenlet] = []

    def start(self) -> None:
        """Begin to probe."""
        self._greenlets = [gevent.spawn(self._probe_for_ever, region) for region in self._regions]
        if self._moves_homes:
            self._greenlets.append(gevent.spawn(self._take_up_epochs))

    def close(self) -> None:
        """No more probes."""
        gevent.killall(self._greenlets)
        for client in self._clients.values():
            client.close()

    def note(self, facts: dict[str, Any]) -> None:
        """Append a line to the record. A full disk costs it, nothing else."""
        line = RouteEvent.model_validate(facts).model_dump_json(exclude_none=True) + "\n"
        try:
            with self._record.open("a") as file:
                file.write(line)
        except OSError:
            return

    def _probe_for_ever(self, region: str) -> None:
        while True:
            began_ns = monotonic_ns()
            answered = self._beat(region)
            self._take(region, answered, began_ns)
            if answered and self._regions[region].draining:
                self._look_for_backlog(region)
            gevent.sleep(max(0.0, self._health.interval - (monotonic_ns() - began_ns) / 1e9))

    def _beat(self, region: str) -> bool:
        """Whether the Region answers a small conditional write."""
        beat = time.time_ns()
        reply = self._clients[region].request(
            "UpdateItem",
            {
                "TableName": self._plan.table,
                "Key": {KEY_ATTRIBUTE: {"S": CANARY + region}},
                "UpdateExpression": "SET beat = :beat",
                "ConditionExpression": "attribute_not_exists(beat) OR beat < :beat",
                "ExpressionAttributeValues": {":beat": {"N": str(beat)}},
            },
        )
        if reply.outcome is Outcome.OK:
            self._regions[region].beats.append((beat, reply.end_ns))
        return reply.outcome is Outcome.OK or reply.error == CONDITION_FAILED

    def _take(self, region: str, answered: bool, began_ns: int) -> None:
        """Count a probe; decide when there are enough of a kind in a row."""
        known = self._regions[region]
        if answered == known.healthy:
            known.streak = 0
            return
        if known.streak == 0:
            known.since_ns = began_ns
        known.streak += 1
        if known.streak < self._health.threshold:
            return
        known.healthy, known.streak, known.draining = answered, 0, False
        name = "healthy" if answered else "unhealthy"
        self.note({"event": name, "region": region, "since_ns": known.since_ns, "at_ns": monotonic_ns()})
        if answered and self._served_by(region) != region and self._health.failback == "drained":
            known.draining = True
        elif answered and self._served_by(region) != region and self._health.failback == "at-once":
            self._decide({region: region})
        # Whoever is served by an ill Region goes home if that is healthy, else on to the next; after a return, those
        # too who had nowhere to go.
        self._decide(
            {
                one: other
                for one in self._regions
                if not self._regions[self._served_by(one)].healthy and (other := self._next_healthy(one)) is not None
            }
        )

    def _take_up_epochs(self) -> None:
        """Where a run before this one has moved homes of this table, go on from its epochs: its items bear them."""
        found = {}
        for region in self._regions:
            item = self._read(region, HOME + region)
            if item is not None and "write_epoch" in item:
                found[region] = (region, int(item["write_epoch"]["N"]) + 1)
        if found and not self._routing.number:
            self._routing = routing = Routing(1, homes=found)
            gevent.joinall([gevent.spawn(self._flip, 1, region, *home) for region, home in found.items()])
            self._send(routing)

    def _read(self, region: str, key: str) -> dict[str, Any] | None:
        """An item, strongly; empty if there is none, None without an answer."""
        body = {"TableName": self._plan.table, "Key": {KEY_ATTRIBUTE: {"S": key}}, "ConsistentRead": True}
        reply = self._clients[region].request("GetItem", body)
        found: dict[str, Any] = reply.body.get("Item", {})
        return found if reply.outcome is Outcome.OK else None

    def _look_for_backlog(self, region: str) -> None:
        """Route back once what the other Region wrote a moment ago can be read here."""
        other = self._served_by(region)
        old_enough_ns = monotonic_ns() - int(self._health.drained_within * 1e9)
        due = [beat for beat, at_ns in self._regions[other].beats if at_ns <= old_enough_ns]
        item = self._read(region, CANARY + other)
        seen = int(item.get("beat", {}).get("N", 0)) if item is not None else 0
        if due and seen >= due[-1] and self._regions[region].draining:
            self._regions[region].draining = False
            self.note({"event": "drained", "region": region, "to": other, "at_ns": monotonic_ns()})
            self._decide({region: region})

    def _served_by(self, region: str) -> str:
        return self._routing.to.get(region, region)

    def _next_healthy(self, region: str) -> str | None:
        """This Region, or the first healthy one after it in the order of the plan; None: there is none."""
        names = list(self._regions)
        at = names.index(region)
        return next((name for name in names[at:] + names[:at] if self._regions[name].healthy), None)

    def _decide(self, changes: dict[str, str]) -> None:
        """Route the users of these Regions otherwise from now on."""
        if not changes:
            return
        now = self._routing
        number, decided_ns = now.number + 1, monotonic_ns()
        for region in changes:
            self._regions[region].draining = False
        to = {region: other for region, other in {**now.to, **changes}.items() if region != other}
        lost = {region: other for region, other in changes.items() if not self._regions[region].healthy}
        homes = dict(now.homes)
        if self._moves_homes:
            for region, other in changes.items():
                homes[region] = (other, homes.get(region, (region, FIRST_EPOCH))[1] + 1)
        returns = any(region == other for region, other in changes.items())
        handover_s = self._health.handover if returns else 0.0
        routing = self._routing = Routing(number, to, homes, lost, self._health.ttl, handover_s)
        for region, other in changes.items():
            facts = {"event": "decided", "number": number, "region": region, "to": other, "at_ns": decided_ns}
            self.note({**facts, "epoch": homes[region][1]} if self._moves_homes else facts)
            self._say(region, other)
        if self._moves_homes:
            flips = [gevent.spawn(self._flip, number, region, *homes[region]) for region in changes]
            gevent.joinall(flips)
        self._send(routing)

    def _flip(self, number: int, region: str, home: str, epoch: int) -> None:
        """Say in the table who is home to a Region's keys, in the Region that it is."""
        body = {
            "TableName": self._plan.table,
            "Key": {KEY_ATTRIBUTE: {"S": HOME + region}},
            "UpdateExpression": "SET #home = :home, write_epoch = :epoch",
            "ConditionExpression": "attribute_not_exists(write_epoch) OR write_epoch < :epoch",
            "ExpressionAttributeNames": {"#home": "home"},
            "ExpressionAttributeValues": {":home": {"S": home}, ":epoch": {"N": str(epoch)}},
        }
        for _ in range(_FLIPS):
            reply = self._clients[home].request("UpdateItem", body)
            if reply.outcome is Outcome.OK or reply.error == CONDITION_FAILED:
                facts = {"event": "flipped", "number": number, "region": region, "to": home, "epoch": epoch}
                self.note({**facts, "at_ns": monotonic_ns()})
                return
            gevent.sleep(self._health.interval)
