"""Time to live: the setting, and the deletion of items whose time has come.

Rules
-----
1. The setting is the whole global table's. An item is deleted ``ttl_delay`` after the time in its attribute (seconds
   since 1970), by the Region that wrote it last. The deletion is a local write there and replicates like one: it is
   only in that Region's stream that it bears the mark of the service, and only other Regions pay for it.
2. A Region that still has such an item ten seconds later, because the one that wrote it is down or cut off, deletes it
   itself. (Chosen: AWS says that deletions replicate, not which Region comes first.)
3. What is no number, is more than five years old, or has changed meanwhile is left alone.
4. Tables with multi-Region strong consistency have no time to live.
5. The setting changes once in ``ttl_cooldown``; what is wrong with a request is said before that (DDB-TABLE-143).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from heapq import heappop, heappush
from typing import Any, Final

from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.core.members import Member
from lastwriter.emulator.requests.errors import ApiError, validation
from lastwriter.emulator.requests.keys import Key
from lastwriter.emulator.requests.values import Item

_OLDEST_S: Final = 5 * 365 * 86400
_OTHERS_S: Final = 10.0
_IN_STRONG: Final = "Time to live is not supported for global tables with MultiRegionConsistency set to STRONG."


class Expiry:
    """Watches one replica for the attribute."""

    def __init__(self, environment: Environment, wall: Callable[[], float], member: Member, attribute: str) -> None:
        self.attribute = attribute
        self._environment = environment
        self._wall = wall
        self._member = member
        self._heap: list[tuple[float, Any, Key, float]] = []  # when to look, tie-break, key, the time it had
        self._timer_ns: int | None = None
        self._on = True
        for key, item in member.store.visible():
            self.changed(key, None, item)
        member.arranged.observe(self)

    def stop(self) -> None:
        """No more deletions."""
        self._on = False
        self._heap = []
        self._member.arranged.ignore(self)

    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        """An item may have got another time."""
        at_s = self._time(new)
        if at_s is not None and at_s != self._time(old):
            heappush(self._heap, (at_s, hash(key), key, at_s))
            self._arm()

    def _time(self, item: Item | None) -> float | None:
        value = item.get(self.attribute, {}).get("N") if item is not None else None
        if value is None:
            return None
        at_s = float(Decimal(value))
        return at_s if at_s > self._wall() - _OLDEST_S else None

    def _arm(self) -> None:
        scheduler = self._environment.scheduler
        wait_s = self._heap[0][0] + self._environment.settings.ttl_delay - self._wall()
        due_ns = scheduler.now_ns + max(1_000_000, round(min(wait_s, 86400.0) * 1e9))
        if self._timer_ns is None or due_ns < self._timer_ns:
            self._timer_ns = due_ns
            scheduler.at(due_ns, self._sweep, due_ns)

    def _sweep(self, due_ns: int) -> None:
        if not self._on or due_ns != self._timer_ns:
            return
        self._timer_ns = None
        until_s = self._wall() - self._environment.settings.ttl_delay
        store: Any = self._member.store
        engine: Any = self._member.table.engine
        while self._heap and self._heap[0][0] <= until_s:
            look_s, tie, key, at_s = heappop(self._heap)
            version = store.items.get(key)
            item = version[-1] if version is not None else None
            if item is None or self._time(item) != at_s:
                continue
            if look_s == at_s and version[1] != store.region and version[1] in self._member.table.members:
                heappush(self._heap, (at_s + _OTHERS_S, tie, key, at_s))
            else:
                self._delete(engine, store, key, version, item)
        if self._heap:
            self._arm()

    def _delete(self, engine: Any, store: Any, key: Key, version: Any, item: Item) -> None:
        stream = self._member.stream
        if self._environment.records is not None:
            self._environment.records.append(["x"])
        if stream is None:
            engine.store(store, key, version, item, None)
            return
        stream.expiring = True
        try:
            engine.store(store, key, version, item, None)
        finally:
            stream.expiring = False


class TimeToLive:
    """UpdateTimeToLive and DescribeTimeToLive."""

    def __init__(
        self,
        environment: Environment,
        wall: Callable[[], float],
        find: Callable[[str, dict[str, Any]], Member],
    ) -> None:
        self._environment = environment
        self._wall = wall
        self._find = find

    def describe(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """DescribeTimeToLive."""
        member = self._find(region, request)
        if member.status in ("CREATING", "DELETING"):
            raise validation(
                f"Cannot describe time to live while table is in {member.status} state: Current table state is "
                f"{member.status}"
            )
        attribute = member.table.ttl
        if attribute is None:
            return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}}

    def update(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """UpdateTimeToLive."""
        specification = request["TimeToLiveSpecification"]
        enabled, attribute = specification["Enabled"], specification["AttributeName"]
        table = self._find(region, request).table
        joining = [member for member in table.members.values() if member.joining]
        if joining:
            raise validation(
                "Create/Update/Delete of replica is not allowed while the replica is being added to table with name: "
                f"{table.schema.name} in region {joining[0].region}"
            )
        if any(member.status == "CREATING" for member in table.members.values()):
            raise ApiError("ResourceInUseException", "The resource which you are attempting to change is in use.")
        if table.mode == "MRSC":
            raise validation(_IN_STRONG)
        if table.ttl is None and not enabled:
            raise validation("TimeToLive is already disabled")
        if table.ttl is not None and table.ttl != attribute:
            raise validation(f"TimeToLive is active on a different AttributeName: current AttributeName is {table.ttl}")
        if table.ttl is not None and enabled:
            raise validation("TimeToLive is already enabled")
        now_s = self._wall()
        if table.ttl_changed is not None and now_s - table.ttl_changed < self._environment.settings.ttl_cooldown:
            raise validation("Time to live has been modified multiple times within a fixed interval")
        table.ttl_changed = round(now_s, 3)
        table.ttl = attribute if enabled else None
        for member in table.members.values():
            self.follow(member)
        return {"TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": attribute}}

    def follow(self, member: Member) -> None:
        """Let a member do as its table's setting says."""
        if member.expiry is not None:
            member.expiry.stop()
        attribute = member.table.ttl
        member.expiry = None if attribute is None else Expiry(self._environment, self._wall, member, attribute)
