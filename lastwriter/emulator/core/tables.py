"""The control plane: tables, replicas and witnesses, set up and taken down as AWS allows it.

Rules, with their source: SDK (botocore's service model), or a number of the findings "DDB-TABLE-n" in the public
repository ``aws-controllers-k8s/dynamodb-controller``, ``docs/api-quirks/`` (observed on AWS in October 2026).

1. CreateTable makes a table of one Region. UpdateTable with ReplicaUpdates makes it global (SDK). A replica action is
   alone in its call (224).
2. MREC takes one replica action a call (265); MRSC is born complete in one call: two creations, or one and a witness
   (257, 258).
3. MRSC is frozen: nothing is added, nothing removed alone, no mode changes (260). One call that deletes every replica
   and the witness leaves a one-Region table (261).
4. A witness has no table: its Region answers that there is none, and may have an unrelated table of that name (259).
5. DescribeTable of a one-Region table has no Replicas, GlobalTableVersion, MultiRegionConsistency,
   GlobalTableWitnesses; with replicas, Replicas never lists the Region asked, MultiRegionConsistency appears only as
   STRONG (201, 229, 231).
6. A table from which a replica was made less than a day ago goes last (266).

Creation and deletion take the setting ``table_creation``; a replica that is being made serves nothing but
DescribeTable (298).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lastwriter.emulator.core import legacy
from lastwriter.emulator.core.backups import Backups
from lastwriter.emulator.core.bugs import Engines
from lastwriter.emulator.core.describing import describe
from lastwriter.emulator.core.directory import Directory
from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.core.indexing import check_free
from lastwriter.emulator.core.members import Member
from lastwriter.emulator.core.membership import Membership
from lastwriter.emulator.core.properties import Properties
from lastwriter.emulator.core.refusals import (
    check_deletable,
    in_use,
    refuse_while_paused,
)
from lastwriter.emulator.core.restores import Restores
from lastwriter.emulator.core.tagging import Tags, merged
from lastwriter.emulator.requests.errors import ApiError, validation
from lastwriter.emulator.requests.operations import Item, Key, table_name
from lastwriter.emulator.requests.schema import parse_create_table
from lastwriter.emulator.requests.updates import parse_update

_DAY_NS: Final = 24 * 3600 * 10**9
_LIMITS: Final = {
    "AccountMaxReadCapacityUnits": 80_000,
    "AccountMaxWriteCapacityUnits": 80_000,
    "TableMaxReadCapacityUnits": 40_000,
    "TableMaxWriteCapacityUnits": 40_000,
}


class ControlPlane(Directory):
    """The operations on tables."""

    def __init__(self, environment: Environment, regions: tuple[str, ...], wall: Callable[[], float], engines: Engines):
        super().__init__(environment, regions, wall, engines)
        self.addresses: dict[str, str] = {}
        """Region → host and port, where DescribeEndpoints sends clients."""
        self.properties = Properties(self.later, self.after_copying, self.streams, wall)
        self.backups = Backups(environment, wall, self.of_name)
        self._membership = Membership(self, self.backups)
        restores = Restores(self.backups, self.of_name, self._restore)
        tags = Tags(self.of_name)
        self.operations: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "CreateTable": self.create_table,
            "UpdateTable": self.update_table,
            "DescribeTable": self.describe_table,
            "ListTables": self.list_tables,
            "DeleteTable": self.delete_table,
            "DescribeTimeToLive": self.ttl.describe,
            "UpdateTimeToLive": self.ttl.update,
            "TagResource": tags.tag,
            "UntagResource": tags.untag,
            "ListTagsOfResource": tags.list,
            "DescribeLimits": lambda region, request: dict(_LIMITS),
            "DescribeEndpoints": self.describe_endpoints,
            **self.streams.operations,
            **self.backups.operations,
            **restores.operations,
            **legacy.OPERATIONS,
        }

    def take_up(self, member: Member) -> None:
        """A member that was there before this process: go on with what was being done to it."""
        super().take_up(member)
        self.backups.take_up(member)

    # -- operations

    def create_table(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """A table of one Region."""
        schema, settings = parse_create_table(request)
        tags = merged({}, request["Tags"]) if request.get("Tags") is not None else {}
        present = self.members[region].get(schema.name)
        if present is not None:
            taken = "Table already exists" if present.restore is None else "Table is being used"
            raise ApiError("ResourceInUseException", f"{taken}: {schema.name}")
        member = self.make(region, schema, settings)
        member.deletion_protection = settings.deletion_protection
        member.tags = tags
        reply = {"TableDescription": describe(member, self.wall())}
        self.later(self.activate, member)
        return reply

    def describe_table(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """The table as this Region sees it."""
        return {"Table": describe(self.found(region, request), self.wall())}

    def list_tables(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """Names in this Region, a page at a time."""
        limit = request.get("Limit", 100)
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 100:
            side = (
                "greater than or equal to 1" if not isinstance(limit, int) or limit < 1 else "less than or equal to 100"
            )
            raise validation(
                f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: "
                f"Member must have value {side}"
            )
        after = request.get("ExclusiveStartTableName")
        names = [name for name in sorted(self.members[region]) if not isinstance(after, str) or name > after]
        reply: dict[str, Any] = {"TableNames": names[:limit]}
        if len(names) > limit:
            reply["LastEvaluatedTableName"] = names[limit - 1]
        return reply

    def delete_table(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """This Region's table; of an MREC group the others stay."""
        member = self.found(region, request)
        table = member.table
        check_deletable(member)
        if table.mode == "MRSC":
            raise validation(
                "Deletion of only one table replica is not supported for global tables with MultiRegionConsistency "
                "set to STRONG."
            )
        self._membership.refuse_recent_source(table, region)
        reply = {"TableDescription": {**describe(member, self.wall()), "TableStatus": "DELETING"}}
        self.backups.gone(member)
        self.leave(member)
        return reply

    def update_table(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """Replicas, witness, mode; deletion protection, stream, billing."""
        name = table_name(request)
        change = parse_update(request)
        member = self.member(region, {"TableName": name})
        refuse_while_paused(member.table)
        if change.membership is not None:
            self._membership.change(member, change.membership)
        else:
            check_free(member.table, request)
            if member.status != "ACTIVE" or any(one.joining for one in member.table.members.values()):
                raise in_use()
            self.properties.change(member, request)
        return {"TableDescription": describe(member, self.wall())}

    def describe_endpoints(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """Where this Region is reached."""
        address = self.addresses.get(region, f"dynamodb.{region}.localhost")
        return {"Endpoints": [{"Address": address, "CachePeriodInMinutes": 1440}]}

    # -- ready-made

    def make_global(self, request: dict[str, Any], regions: tuple[str, ...], mode: str, witness: str | None) -> None:
        """A table as CreateTable's ``request`` describes it, global at once: what ``--table`` asks for."""
        self._at_once = True
        try:
            self._make_global(request, regions, mode, witness)
        finally:
            self._at_once = False

    def _make_global(self, request: dict[str, Any], regions: tuple[str, ...], mode: str, witness: str | None) -> None:
        first, *others = regions
        self.create_table(first, request)
        self.environment.scheduler.settle()
        name = request["TableName"]
        creations = [{"Create": {"RegionName": other}} for other in others]
        if mode == "MRSC":
            update: dict[str, Any] = {"ReplicaUpdates": creations, "MultiRegionConsistency": "STRONG"}
            if witness:
                update["GlobalTableWitnessUpdates"] = [{"Create": {"RegionName": witness}}]
            self.update_table(first, {"TableName": name, **update})
            self.environment.scheduler.settle()
            return
        for creation in creations:
            self.update_table(first, {"TableName": name, "ReplicaUpdates": [creation]})
            self.environment.scheduler.settle()

    def _restore(
        self,
        region: str,
        request: dict[str, Any],
        items: dict[Key, Item],
        summary: dict[str, Any],
        done: Callable[[], None],
    ) -> dict[str, Any]:
        """A table with these items; ``done()`` when it is there."""
        schema, settings = parse_create_table(request)
        member = self.make(region, schema, settings)
        member.joining, member.restore = True, summary
        for key, item in items.items():
            member.store.merge(key, (self.environment.scheduler.now_ns, region, item))  # type: ignore[union-attr]
        description = describe(member, self.wall())
        self.after_copying(len(items), self._restored, member, done)
        return description

    def _restored(self, member: Member, done: Callable[[], None]) -> None:
        self.activate(member)
        done()
