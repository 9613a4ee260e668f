"""What a table was at some time: the contents of a backup, and the memory behind point-in-time recovery.

A :class:`Recovery` watches one replica. It has what was there when it began, and every change since, so that it can
tell what was there at any time between. ``pitr_records`` changes are kept; older ones become part of what was there,
and the earliest time that can be told moves on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from lastwriter.emulator.core.durable import request_of
from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.core.members import Member
from lastwriter.emulator.requests.keys import Key
from lastwriter.emulator.requests.values import Item

DAYS: Final = 35
"""How long changes are kept, unless the table says less."""
_DAY_NS: Final = 86400 * 10**9
_RESTORED: Final = (
    "KeySchema", "AttributeDefinitions", "BillingMode", "ProvisionedThroughput", "OnDemandThroughput",
    "LocalSecondaryIndexes", "GlobalSecondaryIndexes",
)  # fmt: skip
"""What of a table comes back with it; streams, TTL, tags and deletion protection do not (DDB-TABLE-215)."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A table of one Region as it was: plain data."""

    region: str
    name: str
    arn: str
    table_id: str
    created: float
    request: dict[str, Any]
    """The CreateTable request that makes such a table, without its name."""
    features: dict[str, Any]
    """Stream and TTL, as DescribeBackup shows them."""
    items: dict[Key, Item]


def contents(member: Member, items: dict[Key, Item] | None = None) -> Contents:
    """The member's table, with these items; None: those that are there now."""
    table = member.table
    request = request_of(table)
    features: dict[str, Any] = {}
    if table.stream_view_type and member.stream_label:
        features["StreamDescription"] = {"StreamEnabled": True, "StreamViewType": table.stream_view_type}
    if table.ttl is not None:
        features["TimeToLiveDescription"] = {"TimeToLiveStatus": "ENABLED", "AttributeName": table.ttl}
    return Contents(
        region=member.region,
        name=table.schema.name,
        arn=member.arn,
        table_id=member.table_id,
        created=member.created,
        request={name: request[name] for name in _RESTORED if name in request},
        features=features,
        items=dict(member.store.visible()) if items is None else items,
    )


class Recovery:
    """Point-in-time recovery of one member's table."""

    def __init__(self, environment: Environment, member: Member, days: int) -> None:
        self.days = days
        self._environment = environment
        self._member = member
        self._since_ns = environment.scheduler.now_ns
        self._base: dict[Key, Item] = dict(member.store.visible())
        self._changes: deque[tuple[int, Key, Item | None]] = deque()
        member.arranged.observe(self)

    def stop(self) -> None:
        """No more."""
        self._member.arranged.ignore(self)

    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        """The table has changed."""
        self._changes.append((self._environment.scheduler.now_ns, key, new))
        if len(self._changes) > self._environment.settings.pitr_records:
            self._fold()

    @property
    def earliest_ns(self) -> int:
        """The earliest time that it can tell."""
        horizon_ns = self._environment.scheduler.now_ns - self.days * _DAY_NS
        while self._changes and self._changes[0][0] <= horizon_ns:
            self._fold()
        self._since_ns = max(self._since_ns, horizon_ns)
        return self._since_ns

    @property
    def latest_ns(self) -> int:
        """The latest."""
        delay_ns = round(self._environment.settings.pitr_delay * 1e9)
        return max(self.earliest_ns, self._environment.scheduler.now_ns - delay_ns)

    def at(self, then_ns: int) -> Contents:
        """The table as it was then, changes of that instant included."""
        items = dict(self._base)
        for at_ns, key, item in self._changes:
            if at_ns > then_ns:
                break
            _put(items, key, item)
        return contents(self._member, items)

    def _fold(self) -> None:
        at_ns, key, item = self._changes.popleft()
        _put(self._base, key, item)
        self._since_ns = max(self._since_ns, at_ns)


def _put(items: dict[Key, Item], key: Key, item: Item | None) -> None:
    if item is None:
        items.pop(key, None)
    else:
        items[key] = item
