"""Which tables there are, in which Regions, and what is being done to them.

What takes time (:meth:`Directory.later`, :meth:`Directory.after_copying`) is done after the setting ``table_creation``,
or at once where tables are there from the start. Whatever changes is noted for those who keep records.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from lastwriter.emulator.core.bugs import Engines
from lastwriter.emulator.core.durable import Tables
from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.core.expiry import TimeToLive
from lastwriter.emulator.core.filling import Filling
from lastwriter.emulator.core.members import Member, Serving, Table
from lastwriter.emulator.core.mrec import MrecReplica, MrecTable, ReplicatorDelay
from lastwriter.emulator.core.mrsc import MrscReplica
from lastwriter.emulator.core.refusals import no_table
from lastwriter.emulator.core.streams import Streams
from lastwriter.emulator.core.throughput import Throttling
from lastwriter.emulator.requests.operations import TableSchema, TableSettings, table_name


class Directory:
    """Every table of the emulator."""

    def __init__(
        self, environment: Environment, regions: tuple[str, ...], wall: Callable[[], float], engines: Engines
    ) -> None:
        self.durable: Tables | None = None
        if environment.records is not None:
            self.durable = Tables(environment, wall() - environment.scheduler.now_ns / 1e9)
        self.environment = environment
        self.regions = regions
        self.wall = wall
        settings = environment.settings
        self.delay = ReplicatorDelay(settings.replicator_delay, settings.replicator_delay_spread, environment.rng)
        self._indexed_ns = 0
        self._at_once = False  # tables that are there from the start take no time
        self.engines = engines
        self.tables: list[Table] = []
        self.members: dict[str, dict[str, Member]] = {region: {} for region in regions}
        self.serving: dict[str, dict[str, Serving]] = {region: {} for region in regions}
        self.streams = Streams(environment, wall, engines.stream)
        self.ttl = TimeToLive(environment, wall, self.member)
        self.throttling = Throttling(environment)

    # -- settings

    def use(self) -> None:
        """Settings have changed."""
        settings = self.environment.settings
        self.throttling.use(self.tables)
        self.delay = ReplicatorDelay(settings.replicator_delay, settings.replicator_delay_spread, self.environment.rng)
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

    def make(self, region: str, schema: TableSchema, settings: TableSettings) -> Member:
        """A table of one Region, empty."""
        table = Table(schema, settings, self.named(self.engines.mrec(self.environment, self.delay)))
        self.tables.append(table)
        member = self.join(table, region, table.engine.add(region))  # type: ignore[union-attr]
        self.note()  # before anything is recorded of its items
        return member

    def join(self, table: Table, region: str, store: MrecReplica | MrscReplica, *, joining: bool = False) -> Member:
        """The table is in this Region from now on."""
        created = round(self.wall(), 3)
        table_id = str(uuid.UUID(int=self.environment.rng.getrandbits(128), version=4))
        member = Member(table, region, store, self.index_later, created, table_id)
        member.joining = joining
        if table.stream_view_type and not joining:
            self.streams.start(member)
        table.members[region] = member
        self.throttling.follow(member)
        self.members[region][table.schema.name] = member
        self.ttl.follow(member)
        return member

    def leave(self, member: Member) -> None:
        """The Region's table is going."""
        member.status = "DELETING"
        self.serving[member.region].pop(member.table.schema.name, None)
        self.later(self.gone, member)

    def gone(self, member: Member) -> None:
        """It has gone."""
        table = member.table
        if isinstance(table.engine, MrecTable):
            table.engine.remove(member.region)
        self.forget(member)
        if not table.members:
            table.engine.close()
            self.tables.remove(table)

    def forget(self, member: Member) -> None:
        """The Region has no such table any more."""
        self.streams.stop(member)
        if member.expiry is not None:
            member.expiry.stop()
        name = member.table.schema.name
        self.serving[member.region].pop(name, None)
        self.members[member.region].pop(name, None)
        del member.table.members[member.region]
        member.table.sources.pop(member.region, None)

    def activate(self, member: Member) -> None:
        """What was being done to it is done."""
        if member.status in ("CREATING", "UPDATING"):
            member.status = "ACTIVE"
            member.joining, member.restore = False, None
            self.serve(member)

    def serve(self, member: Member) -> None:
        """Requests reach it from now on."""
        self.serving[member.region][member.table.schema.name] = Serving(member)

    def later(self, call: Callable[..., object], *args: Any) -> None:
        """Call this once a change of a table has taken its time."""
        delay_ns = 0 if self._at_once else round(self.environment.settings.table_creation * 1e9)
        scheduler = self.environment.scheduler
        if self.durable is not None:
            call = partial(self._and_note, call)
        if delay_ns:
            scheduler.at(scheduler.now_ns + delay_ns, call, *args)
        else:
            scheduler.soon(call, *args)

    def after_copying(self, items: int, call: Callable[..., object], *args: Any) -> None:
        """The same, once so many items could have been copied."""
        rate = self.environment.settings.fill_rate
        wait_ns = round(items / rate * 1e9) if rate and not self._at_once else 0
        scheduler = self.environment.scheduler
        if wait_ns:
            scheduler.at(scheduler.now_ns + wait_ns, self.later, call, *args)
        else:
            self.later(call, *args)

    def _and_note(self, call: Callable[..., object], *args: Any) -> None:
        call(*args)
        self.note()

    def note(self) -> None:
        """Record what has become of the tables, if anybody keeps records."""
        if self.durable is not None:
            self.durable.note(self.tables)

    def fill(self, replica: Member) -> None:
        """Copy what the other Regions have into a new replica; it and they are active when that is done."""
        Filling(self.environment, replica, partial(self._filled, replica))

    def _filled(self, replica: Member) -> None:
        self.streams.start(replica)
        for member in replica.table.members.values():
            self.activate(member)
        self.note()

    def take_up(self, member: Member) -> None:
        """A member that was there before this process: go on with what was being done to it."""
        self.throttling.follow(member)
        self.ttl.follow(member)
        if member.table.witness_status == "CREATING":
            self.later(setattr, member.table, "witness_status", "ACTIVE")
        if member.status == "DELETING":
            self.later(self.gone, member)
            return
        if member.status != "CREATING":
            self.serve(member)
        if member.joining and member.restore is None:
            self.fill(member)
        elif member.status != "ACTIVE" and (
            member.joining or not any(other.joining for other in member.table.members.values())
        ):
            self.later(self.activate, member)

    def named(self, engine: Any) -> Any:
        """An engine, under a number in the records."""
        return engine if self.durable is None else self.durable.name(engine)

    def index_later(self, follow: Callable[[Any, Any], None], key: Any, item: Any) -> None:
        """A change on its way to global indexes, after those before it."""
        environment = self.environment
        scheduler = environment.scheduler
        due_ns = max(scheduler.now_ns + environment.index_delay_ns, self._indexed_ns)
        if due_ns > scheduler.now_ns:
            self._indexed_ns = due_ns
            scheduler.at(due_ns, follow, key, item)
        else:
            follow(key, item)

    def member(self, region: str, request: dict[str, Any]) -> Member:
        """The same, if others than DescribeTable may know of it."""
        member = self.found(region, request)
        if member.joining:
            raise no_table(member.table.schema.name)
        return member

    def found(self, region: str, request: dict[str, Any]) -> Member:
        """The table that the request names, whatever its state."""
        name = table_name(request)
        member = self.members[region].get(name)
        if member is None:
            raise no_table(name)
        return member

    def of_name(self, region: str, name: str, any_state: bool = False) -> Member | None:
        """A table, also one that only DescribeTable knows of in ``any_state``."""
        member = self.members.get(region, {}).get(name)
        return None if member is None or (member.joining and not any_state) else member
