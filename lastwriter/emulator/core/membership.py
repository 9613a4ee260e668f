"""UpdateTable on who is part of a global table: replicas and witnesses that come and go, and the mode.

The rules are numbered in :mod:`lastwriter.emulator.core.tables`.
"""

from __future__ import annotations

from typing import Any, Final

from lastwriter.emulator.core.backups import Backups
from lastwriter.emulator.core.directory import Directory
from lastwriter.emulator.core.members import Member, Table
from lastwriter.emulator.core.mrec import MrecTable
from lastwriter.emulator.core.mrsc import MrscReplica, MrscTable
from lastwriter.emulator.core.refusals import in_use, not_part, refuse_in_strong
from lastwriter.emulator.requests.errors import invalid_parameter, validation
from lastwriter.emulator.requests.updates import OVERRIDES, MembershipChange

_DAY_NS: Final = 24 * 3600 * 10**9


class Membership:
    """Changes members of tables."""

    def __init__(self, directory: Directory, backups: Backups) -> None:
        self._directory = directory
        self._environment = directory.environment
        self._backups = backups

    def change(self, member: Member, change: MembershipChange) -> None:
        """What the request asks for at ``member``, or nothing: ApiError."""
        table, region = member.table, member.region
        change.check_regions(region, self._directory.regions, self._environment.settings.mrsc_regions == "any")
        if table.mode == "MRSC":
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
            check_overrides(table, change.overrides)
            self._add_replica(member, change.creations[0])
            override(table.members[change.creations[0]], change.overrides)
        elif change.updates:
            check_overrides(table, change.overrides)
            for region in change.updates:
                override(table.members[region], change.overrides)
            for each in table.members.values():
                each.status = "UPDATING"
                self._directory.later(self._directory.activate, each)
        elif change.deletions:
            self.refuse_recent_source(table, change.deletions[0])
            leaving = table.members[change.deletions[0]]
            if leaving.deletion_protection:
                raise validation(
                    f"Cannot delete table {table.schema.name} in region {leaving.region} because it has deletion "
                    "protection enabled. Disable deletion protection first."
                )
            self._backups.gone(leaving)
            self._directory.leave(leaving)

    def _check_names(self, table: Table, change: MembershipChange) -> None:
        name = table.schema.name
        if any(name in self._directory.members[region] for region in change.creations):
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
        replica = self._directory.join(table, region, engine.add(region), joining=True)
        self._directory.later(self._directory.fill, replica)

    def _make_strong(self, source: Member, change: MembershipChange) -> None:
        table = source.table
        assert isinstance(table.engine, MrecTable)
        witness = change.witness_creation
        if witness is not None:
            self._environment.network.add(witness)
        table.engine.close()
        engine: MrscTable = self._directory.engines.mrsc(self._environment, (source.region, *change.creations), witness)
        table.engine = self._directory.named(engine)
        table.witness = witness
        if witness is not None:
            table.witness_status = "CREATING"
            self._directory.later(setattr, table, "witness_status", "ACTIVE")
        source.use(engine.replicas[source.region], self._directory.index_later)
        source.status = "UPDATING"
        self._directory.serve(source)
        for region in change.creations:
            self._directory.later(
                self._directory.activate, self._directory.join(table, region, engine.replicas[region])
            )
        self._directory.later(self._directory.activate, source)

    def _dissolve(self, member: Member) -> None:
        """MRSC group → a one-Region table where ``member`` is."""
        table = member.table
        strong = table.engine
        assert isinstance(strong, MrscTable)
        assert isinstance(member.store, MrscReplica)
        engine = self._directory.named(self._directory.engines.mrec(self._environment, self._directory.delay))
        replica = engine.add(member.region)
        now_ns = self._environment.scheduler.now_ns
        for key, item in member.store.visible():
            replica.items[key] = (now_ns, member.region, item)
        strong.close()
        for other in list(table.members.values()):
            if other is not member:
                self._backups.gone(other)
                self._directory.forget(other)
        table.engine, table.witness = engine, None
        member.use(replica, self._directory.index_later)
        member.status = "UPDATING"
        self._directory.serve(member)
        self._directory.later(self._directory.activate, member)

    def refuse_recent_source(self, table: Table, region: str) -> None:
        """A table from which a replica was made less than a day ago goes last."""
        now_ns = self._environment.scheduler.now_ns
        for replica, (source, since_ns) in table.sources.items():
            if source == region and replica in table.members and now_ns - since_ns < _DAY_NS:
                raise validation(
                    "Replica cannot be deleted because it has acted as a source region for new replica(s) being added "
                    "to the table in the last 24 hours."
                )

    def _enable_stream(self, table: Table) -> None:
        """An MREC group has a stream; one that is there keeps its view type (221, 305)."""
        if table.stream_view_type is None:
            table.stream_view_type = "NEW_AND_OLD_IMAGES"
        for member in table.members.values():
            if member.stream is None:
                self._directory.streams.start(member)


def check_overrides(table: Table, overrides: dict[str, dict[str, Any]]) -> None:
    """Units are for provisioned tables, a maximum for those on demand."""
    for given in overrides.values():
        units, most = (given.get(name) for name in OVERRIDES)
        if units is not None and table.billing_mode != "PROVISIONED":
            raise invalid_parameter("ProvisionedThroughputOverride cannot be specified for a table on PAY_PER_REQUEST")
        if most is not None and table.billing_mode == "PROVISIONED":
            raise invalid_parameter("OnDemandThroughputOverride cannot be specified for a PROVISIONED table")
        wanted = most.get("MaxReadRequestUnits") if most is not None else None
        if wanted is not None and wanted < 1 and wanted != -1:
            raise invalid_parameter("Requested MaxReadRequestUnits for OnDemandThroughput is outside of valid range")


def override(member: Member, overrides: dict[str, dict[str, Any]]) -> None:
    """Let a replica have what it is to have of its own; what is the table's anyway is none of its own (250)."""
    units, most = (overrides.get(member.region, {}).get(name) for name in OVERRIDES)
    if units is not None:
        wanted = units.get("ReadCapacityUnits")
        member.read_units = wanted if wanted != member.table.read_units else None
    if most is not None:
        wanted = most.get("MaxReadRequestUnits")
        member.most_read_units = wanted if wanted not in (-1, member.table.most_read_units) else None
