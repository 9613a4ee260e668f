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

import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from lastwriter.emulator.core import legacy
from lastwriter.emulator.core.backups import Backups
from lastwriter.emulator.core.bugs import Engines
from lastwriter.emulator.core.describing import describe
from lastwriter.emulator.core.durable import Tables
from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.core.expiry import TimeToLive
from lastwriter.emulator.core.filling import Filling
from lastwriter.emulator.core.indexing import check_free
from lastwriter.emulator.core.members import Member, Serving, Table
from lastwriter.emulator.core.mrec import MrecReplica, MrecTable, ReplicatorDelay
from lastwriter.emulator.core.mrsc import MrscReplica, MrscTable
from lastwriter.emulator.core.properties import Properties
from lastwriter.emulator.core.refusals import (
    check_deletable,
    in_use,
    no_table,
    not_part,
    refuse_in_strong,
    refuse_while_paused,
)
from lastwriter.emulator.core.restores import Restores
from lastwriter.emulator.core.streams import Streams
from lastwriter.emulator.core.tagging import Tags, merged
from lastwriter.emulator.core.throughput import Throttling
from lastwriter.emulator.requests.errors import ApiError, validation
from lastwriter.emulator.requests.operations import Item, Key, TableSchema, TableSettings, table_name
from lastwriter.emulator.requests.schema import parse_create_table
from lastwriter.emulator.requests.updates import MembershipChange, parse_update

_DAY_NS: Final = 24 * 3600 * 10**9
_LIMITS: Final = {
    "AccountMaxReadCapacityUnits": 80_000,
    "AccountMaxWriteCapacityUnits": 80_000,
    "TableMaxReadCapacityUnits": 40_000,
    "TableMaxWriteCapacityUnits": 40_000,
}


class ControlPlane:
    """Every table of the emulator."""

    def __init__(self, environment: Environment, regions: tuple[str, ...], wall: Callable[[], float], engines: Engines):
        self.durable: Tables | None = None
        if environment.records is not None:
            self.durable = Tables(environment, wall() - environment.scheduler.now_ns / 1e9)
        self._environment = environment
        self._regions = regions
        self._wall = wall
        settings = environment.settings
        self.delay = ReplicatorDelay(settings.replicator_delay, settings.replicator_delay_spread, environment.rng)
        self._indexed_ns = 0
        self._at_once = False  # tables that are there from the start take no time
        self.engines = engines
        self.tables: list[Table] = []
        self.members: dict[str, dict[str, Member]] = {region: {} for region in regions}
        self.serving: dict[str, dict[str, Serving]] = {region: {} for region in regions}
        self.addresses: dict[str, str] = {}
        """Region → host and port, where DescribeEndpoints sends clients."""
        self.streams = Streams(environment, wall, engines.stream)
        self.properties = Properties(self._later, self._after_copying, self.streams, wall)
        self._ttl = TimeToLive(environment, wall, self._member)
        self.throttling = Throttling(environment)
        self.backups = Backups(environment, wall, self._of_name)
        restores = Restores(self.backups, self._of_name, self._restore)
        tags = Tags(self._of_name)
        self.operations: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "CreateTable": self.create_table,
            "UpdateTable": self.update_table,
            "DescribeTable": self.describe_table,
            "ListTables": self.list_tables,
            "DeleteTable": self.delete_table,
            "DescribeTimeToLive": self._ttl.describe,
            "UpdateTimeToLive": self._ttl.update,
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

    # -- operations

    def create_table(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """A table of one Region."""
        schema, settings = parse_create_table(request)
        tags = merged({}, request["Tags"]) if request.get("Tags") is not None else {}
        present = self.members[region].get(schema.name)
        if present is not None:
            taken = "Table already exists" if present.restore is None else "Table is being used"
            raise ApiError("ResourceInUseException", f"{taken}: {schema.name}")
        member = self._make(region, schema, settings)
        member.deletion_protection = settings.deletion_protection
        member.tags = tags
        reply = {"TableDescription": describe(member, self._wall())}
        self._later(self._activate, member)
        return reply

    def describe_table(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """The table as this Region sees it."""
        return {"Table": describe(self._found(region, request), self._wall())}

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
        member = self._found(region, request)
        table = member.table
        check_deletable(member)
        if table.mode == "MRSC":
            raise validation(
                "Deletion of only one table replica is not supported for global tables with MultiRegionConsistency "
                "set to STRONG."
            )
        self._refuse_recent_source(table, region)
        reply = {"TableDescription": {**describe(member, self._wall()), "TableStatus": "DELETING"}}
        self.backups.gone(member)
        self._leave(member)
        return reply

    def update_table(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """Replicas, witness, mode; deletion protection, stream, billing."""
        name = table_name(request)
        change = parse_update(request)
        member = self._member(region, {"TableName": name})
        refuse_while_paused(member.table)
        if change.membership is not None:
            self._change_members(member, change.membership)
        else:
            check_free(member.table, request)
            if member.status != "ACTIVE":
                raise in_use()
            self.properties.change(member, request)
        return {"TableDescription": describe(member, self._wall())}

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
        self._environment.scheduler.settle()
        name = request["TableName"]
        creations = [{"Create": {"RegionName": other}} for other in others]
        if mode == "MRSC":
            update: dict[str, Any] = {"ReplicaUpdates": creations, "MultiRegionConsistency": "STRONG"}
            if witness:
                update["GlobalTableWitnessUpdates"] = [{"Create": {"RegionName": witness}}]
            self.update_table(first, {"TableName": name, **update})
            self._environment.scheduler.settle()
            return
        for creation in creations:
            self.update_table(first, {"TableName": name, "ReplicaUpdates": [creation]})
            self._environment.scheduler.settle()

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
        member = self._make(region, schema, settings)
        member.joining, member.restore = True, summary
        for key, item in items.items():
            member.store.merge(key, (self._environment.scheduler.now_ns, region, item))  # type: ignore[union-attr]
        description = describe(member, self._wall())
        self._after_copying(len(items), self._restored, member, done)
        return description

    def _restored(self, member: Member, done: Callable[[], None]) -> None:
        self._activate(member)
        done()

    def _make(self, region: str, schema: TableSchema, settings: TableSettings) -> Member:
        table = Table(schema, settings, self._named(self.engines.mrec(self._environment, self.delay)))
        self.tables.append(table)
        member = self._join(table, region, table.engine.add(region))  # type: ignore[union-attr]
        self.note()  # before anything is recorded of its items
        return member

    # -- settings

    def use(self) -> None:
        """Settings have changed."""
        settings = self._environment.settings
        self.throttling.use(self.tables)
        self.delay = ReplicatorDelay(settings.replicator_delay, settings.replicator_delay_spread, self._environment.rng)
        for table in self.tables:
            if isinstance(table.engine, MrecTable):
                table.engine.set_delay(self.delay)
            else:
                table.engine.journal.on_latency()

    def throttled(self, region: str) -> dict[str, int]:
        """Requests throttled for want of units, by reason."""
        counts: Counter[str] = Counter()
        for member in self.members.get(region, {}).values():
            if member.store.meter is not None:
                counts.update(member.store.meter.throttled)
        return dict(sorted(counts.items()))

    # -- members

    def _change_members(self, member: Member, change: MembershipChange) -> None:
        table, region = member.table, member.region
        change.check_regions(region, self._regions, self._environment.settings.mrsc_regions == "any")
        if table.mode == "MRSC":
            refuse_while_paused(table)
            change.check_mrsc(frozenset(table.members) - {region}, table.witness)
            self._require_active(table)
            self._dissolve(member)
            return
        change.check_new(is_global=len(table.members) > 1)
        self._check_names(table, change)
        self._require_active(table)
        if change.strong:
            if any(True for _ in member.store.visible()):
                raise validation("Table must be empty to be converted to a global table with strong consistency.")
            refuse_in_strong(table)
            self._make_strong(member, change)
        elif change.creations:
            self._add_replica(member, change.creations[0])
        elif change.deletions:
            self._refuse_recent_source(table, change.deletions[0])
            leaving = table.members[change.deletions[0]]
            if leaving.deletion_protection:
                raise validation(
                    f"Cannot delete table {table.schema.name} in region {leaving.region} because it has deletion "
                    "protection enabled. Disable deletion protection first."
                )
            self.backups.gone(leaving)
            self._leave(leaving)

    def _check_names(self, table: Table, change: MembershipChange) -> None:
        name = table.schema.name
        if any(name in self.members[region] for region in change.creations):
            raise validation(
                f"Failed to create a the new replica of table with name: ‘{name}’ because one or more replicas "
                "already existed as tables."
            )
        strangers = [region for region in (*change.deletions, *change.updates) if region not in table.members]
        if strangers:
            raise not_part(strangers)

    def _require_active(self, table: Table) -> None:
        if any(member.status != "ACTIVE" for member in table.members.values()):
            raise in_use()

    def _add_replica(self, source: Member, region: str) -> None:
        table = source.table
        engine = table.engine
        assert isinstance(engine, MrecTable)
        self._enable_stream(table)
        source.status = "UPDATING"
        table.sources[region] = (source.region, self._environment.scheduler.now_ns)
        replica = self._join(table, region, engine.add(region), joining=True)
        self._later(self._fill, replica)

    def _fill(self, replica: Member) -> None:
        Filling(self._environment, replica, partial(self._filled, replica))

    def _filled(self, replica: Member) -> None:
        self.streams.start(replica)
        for member in replica.table.members.values():
            self._activate(member)
        self.note()

    def _make_strong(self, source: Member, change: MembershipChange) -> None:
        table = source.table
        assert isinstance(table.engine, MrecTable)
        witness = change.witness_creation
        if witness is not None:
            self._environment.network.add(witness)
        table.engine.close()
        engine: MrscTable = self.engines.mrsc(self._environment, (source.region, *change.creations), witness)
        table.engine = self._named(engine)
        table.witness = witness
        if witness is not None:
            table.witness_status = "CREATING"
            self._later(setattr, table, "witness_status", "ACTIVE")
        source.use(engine.replicas[source.region], self.index_later)
        source.status = "UPDATING"
        self._serve(source)
        for region in change.creations:
            self._later(self._activate, self._join(table, region, engine.replicas[region]))
        self._later(self._activate, source)

    def _dissolve(self, member: Member) -> None:
        """MRSC group → a one-Region table where ``member`` is."""
        table = member.table
        strong = table.engine
        assert isinstance(strong, MrscTable)
        assert isinstance(member.store, MrscReplica)
        engine = self._named(self.engines.mrec(self._environment, self.delay))
        replica = engine.add(member.region)
        now_ns = self._environment.scheduler.now_ns
        for key, item in member.store.visible():
            replica.items[key] = (now_ns, member.region, item)
        strong.close()
        for other in list(table.members.values()):
            if other is not member:
                self.forget(other)
        table.engine, table.witness = engine, None
        member.use(replica, self.index_later)
        member.status = "UPDATING"
        self._serve(member)
        self._later(self._activate, member)

    def _refuse_recent_source(self, table: Table, region: str) -> None:
        now_ns = self._environment.scheduler.now_ns
        for replica, (source, since_ns) in table.sources.items():
            if source == region and replica in table.members and now_ns - since_ns < _DAY_NS:
                raise validation(
                    "Replica cannot be deleted because it has acted as a source region for new replica(s) being added "
                    "to the table in the last 24 hours."
                )

    def _join(self, table: Table, region: str, store: MrecReplica | MrscReplica, *, joining: bool = False) -> Member:
        created = round(self._wall(), 3)
        table_id = str(uuid.UUID(int=self._environment.rng.getrandbits(128), version=4))
        member = Member(table, region, store, self.index_later, created, table_id)
        member.joining = joining
        if table.stream_view_type and not joining:
            self.streams.start(member)
        table.members[region] = member
        self.throttling.follow(member)
        self.members[region][table.schema.name] = member
        self._ttl.follow(member)
        return member

    def _enable_stream(self, table: Table) -> None:
        """An MREC group has a stream; one that is there keeps its view type (221, 305)."""
        if table.stream_view_type is None:
            table.stream_view_type = "NEW_AND_OLD_IMAGES"
        for member in table.members.values():
            if member.stream is None:
                self.streams.start(member)

    def _leave(self, member: Member) -> None:
        member.status = "DELETING"
        self.serving[member.region].pop(member.table.schema.name, None)
        self._later(self._gone, member)

    def _gone(self, member: Member) -> None:
        table = member.table
        if isinstance(table.engine, MrecTable):
            table.engine.remove(member.region)
        self.forget(member)
        if not table.members:
            table.engine.close()
            self.tables.remove(table)

    def forget(self, member: Member) -> None:
        self.streams.stop(member)
        if member.expiry is not None:
            member.expiry.stop()
        name = member.table.schema.name
        self.serving[member.region].pop(name, None)
        self.members[member.region].pop(name, None)
        del member.table.members[member.region]
        member.table.sources.pop(member.region, None)

    def _activate(self, member: Member) -> None:
        if member.status in ("CREATING", "UPDATING"):
            member.status = "ACTIVE"
            member.joining, member.restore = False, None
            self._serve(member)

    def _serve(self, member: Member) -> None:
        self.serving[member.region][member.table.schema.name] = Serving(member)

    def _later(self, call: Callable[..., object], *args: Any) -> None:
        delay_ns = 0 if self._at_once else round(self._environment.settings.table_creation * 1e9)
        scheduler = self._environment.scheduler
        if self.durable is not None:
            call = partial(self._and_note, call)
        if delay_ns:
            scheduler.at(scheduler.now_ns + delay_ns, call, *args)
        else:
            scheduler.soon(call, *args)

    def _after_copying(self, items: int, call: Callable[..., object], *args: Any) -> None:
        """The same, once so many items could have been copied."""
        rate = self._environment.settings.fill_rate
        wait_ns = round(items / rate * 1e9) if rate and not self._at_once else 0
        scheduler = self._environment.scheduler
        if wait_ns:
            scheduler.at(scheduler.now_ns + wait_ns, self._later, call, *args)
        else:
            self._later(call, *args)

    def _and_note(self, call: Callable[..., object], *args: Any) -> None:
        call(*args)
        self.note()

    def note(self) -> None:
        """Record what has become of the tables, if anybody keeps records."""
        if self.durable is not None:
            self.durable.note(self.tables)

    def take_up(self, member: Member) -> None:
        """A member that was there before this process: go on with what was being done to it."""
        self.throttling.follow(member)
        self._ttl.follow(member)
        if member.table.witness_status == "CREATING":
            self._later(setattr, member.table, "witness_status", "ACTIVE")
        if member.status == "DELETING":
            self._later(self._gone, member)
            return
        if member.status != "CREATING":
            self._serve(member)
        if member.joining and member.restore is None:
            self._fill(member)
        elif member.status != "ACTIVE" and (
            member.joining or not any(other.joining for other in member.table.members.values())
        ):
            self._later(self._activate, member)

    def _named(self, engine: Any) -> Any:
        return engine if self.durable is None else self.durable.name(engine)

    def index_later(self, follow: Callable[[Any, Any], None], key: Any, item: Any) -> None:
        """A change on its way to global indexes, after those before it."""
        environment = self._environment
        scheduler = environment.scheduler
        due_ns = max(scheduler.now_ns + environment.index_delay_ns, self._indexed_ns)
        if due_ns > scheduler.now_ns:
            self._indexed_ns = due_ns
            scheduler.at(due_ns, follow, key, item)
        else:
            follow(key, item)

    def _member(self, region: str, request: dict[str, Any]) -> Member:
        member = self._found(region, request)
        if member.joining:
            raise no_table(member.table.schema.name)
        return member

    def _found(self, region: str, request: dict[str, Any]) -> Member:
        name = table_name(request)
        member = self.members[region].get(name)
        if member is None:
            raise no_table(name)
        return member

    def _of_name(self, region: str, name: str, any_state: bool = False) -> Member | None:
        """A table, also one that only DescribeTable knows of in ``any_state``."""
        member = self.members.get(region, {}).get(name)
        return None if member is None or (member.joining and not any_state) else member
