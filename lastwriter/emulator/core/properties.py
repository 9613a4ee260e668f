"""What UpdateTable changes besides members: global indexes, billing, stream, deletion protection.

Messages are those of AWS (findings 148 to 175, 375, 380 and 442 of the source named in
:mod:`lastwriter.emulator.core.tables`). What the members have in common changes in all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lastwriter.emulator.core.members import IndexState, Member, Table, index_state
from lastwriter.emulator.core.streams import Streams
from lastwriter.emulator.requests.errors import ApiError, invalid_parameter, serialization, validation
from lastwriter.emulator.requests.schema import MAX_GLOBAL_INDEXES, parse_global_index
from lastwriter.emulator.requests.values import check_string

SUPPORTED: Final = frozenset(
    {
        "DeletionProtectionEnabled", "GlobalSecondaryIndexUpdates", "BillingMode", "ProvisionedThroughput",
        "StreamSpecification",
    }
)  # fmt: skip
_IN_USE: Final = "Attempt to change a resource which is still in use: "
_ON_DEMAND_UNITS: Final = (
    "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
)

Later = Callable[..., None]
"""Call the first argument with the others once a change of a table has taken its time; the first argument may be a
number of items, which take theirs as well."""


class Properties:
    """Changes properties of tables. ``now``: seconds since 1970."""

    def __init__(self, later: Later, after_copying: Later, streams: Streams, now: Callable[[], float]) -> None:
        self._later = later
        self._after_copying = after_copying
        self._streams = streams
        self._now = now

    def change(self, member: Member, request: dict[str, Any]) -> None:
        """All that the request asks for, or nothing: ApiError."""
        check_together(request)
        table = member.table
        work: list[Callable[[], None]] = []
        protection = request.get("DeletionProtectionEnabled")
        if protection is not None:
            work.append(lambda: setattr(member, "deletion_protection", protection))
        if request.get("StreamSpecification") is not None:
            work.append(self._stream(table, request["StreamSpecification"]))
        updates = request.get("GlobalSecondaryIndexUpdates")
        if updates is not None:
            work += self._index_updates(table, updates, request)
        if request.get("BillingMode") is not None or request.get("ProvisionedThroughput") is not None:
            work.append(self._billing(table, request))
        for step in work:
            step()

    def take_up(self, table: Table) -> None:
        """A table that was there before this process: go on with what was being done to its indexes."""
        for index in table.indexes.values():
            if index.status == "CREATING":
                self._later(self._backfill, table, index)
            elif index.status == "DELETING":
                self._later(self._drop_index, table, index)

    # -- billing

    def _billing(self, table: Table, request: dict[str, Any]) -> Callable[[], None]:
        mode = request.get("BillingMode") or table.billing_mode
        throughput = request.get("ProvisionedThroughput")
        if mode == "PAY_PER_REQUEST":
            if throughput is not None:
                raise invalid_parameter(_ON_DEMAND_UNITS)
            return lambda: self._set_on_demand(table)
        if throughput is None:
            raise invalid_parameter("ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
        units = throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]
        if table.billing_mode == "PAY_PER_REQUEST":
            given = {
                one["Update"]["IndexName"]
                for one in request.get("GlobalSecondaryIndexUpdates") or ()
                if "Update" in one
            }
            for index in table.indexes.values():
                if index.schema.is_global and index.schema.name not in given:
                    raise invalid_parameter(f"ProvisionedThroughput must be specified for index: {index.schema.name}")
        elif units == (table.read_units, table.write_units):
            raise _unchanged("table", units)
        return lambda: self._set_units(table, units)

    def _set_on_demand(self, table: Table) -> None:
        if table.billing_mode != "PAY_PER_REQUEST":
            table.on_demand_since = round(self._now(), 3)
        table.billing_mode = "PAY_PER_REQUEST"
        table.read_units = table.write_units = 0
        for index in table.indexes.values():
            index.read_units = index.write_units = 0
        self._update(table)

    def _set_units(self, table: Table, units: tuple[int, int]) -> None:
        table.billing_mode = "PROVISIONED"
        table.read_units, table.write_units = units
        self._update(table)

    # -- stream

    def _stream(self, table: Table, specification: Any) -> Callable[[], None]:
        enabled, view = specification["StreamEnabled"], specification.get("StreamViewType")
        name = table.schema.name
        if not enabled:
            if view is not None:
                raise invalid_parameter("If stream is being disabled, then UpdateViewType must not be specified")
            if table.stream_view_type is None:
                raise validation(f"Table has no stream to disable: TableName: {name}")
            if table.mode == "MREC":
                raise invalid_parameter("Disabling Stream is not allowed for a Global Table replica.")
            return lambda: self._set_stream(table, None)
        if view is None:
            raise invalid_parameter("If stream is being enabled then UpdateViewType is required")
        if table.stream_view_type is not None:
            raise validation(f"Table already has an enabled stream: TableName: {name}")
        return lambda: self._set_stream(table, view)

    def _set_stream(self, table: Table, view: str | None) -> None:
        table.stream_view_type = view
        for member in table.members.values():
            if view is not None:
                self._streams.start(member)
            else:
                self._streams.stop(member)
        self._update(table)

    # -- indexes

    def _index_updates(self, table: Table, updates: Any, request: dict[str, Any]) -> list[Callable[[], None]]:
        actions = index_actions(updates)
        moving = [one for one in table.indexes.values() if one.status in ("CREATING", "DELETING")]
        heavy = [kind for kind, _ in actions if kind != "Update"]
        if len(heavy) > 1 or (heavy and moving):
            raise ApiError(
                "LimitExceededException",
                "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
            )
        return [getattr(self, "_index_" + kind.lower())(table, one, request) for kind, one in actions]

    def _index_create(self, table: Table, one: dict[str, Any], request: dict[str, Any]) -> Callable[[], None]:
        billing = request.get("BillingMode") or table.billing_mode
        definitions = {**_definitions(request), **table.definitions}
        schema = parse_global_index(one, definitions, billing)
        if schema.name in table.indexes:
            raise validation("Attempting to create an index which already exists")
        if sum(index.schema.is_global for index in table.indexes.values()) >= MAX_GLOBAL_INDEXES:
            raise ApiError(
                "LimitExceededException",
                f"GlobalSecondaryIndex count exceeds the per-table limit of {MAX_GLOBAL_INDEXES}",
            )
        index = index_state(schema, one, "CREATING")
        types = {key.name: key.type for key in schema.keys}
        return lambda: self._begin_index(table, index, types)

    def _begin_index(self, table: Table, index: IndexState, types: dict[str, str]) -> None:
        schema = index.schema
        table.definitions.update(types)
        table.indexes[schema.name] = index
        table.schema.backfilling.add(schema.name)
        table.schema.indexes = (*table.schema.indexes, schema)
        for member in table.members.values():
            member.arranged.add(schema)
        self._update(table)
        self._later(self._backfill, table, index)

    def _backfill(self, table: Table, index: IndexState) -> None:
        index.backfilling = True
        items = max((len(member.store.items) for member in table.members.values()), default=0)
        self._after_copying(items, self._end_backfill, table, index)

    def _end_backfill(self, table: Table, index: IndexState) -> None:
        index.status, index.backfilling = "ACTIVE", False
        table.schema.backfilling.discard(index.schema.name)

    def _index_delete(self, table: Table, one: dict[str, Any], request: dict[str, Any]) -> Callable[[], None]:
        index = _existing(table, one, "delete")
        return lambda: self._begin_deletion(table, index)

    def _begin_deletion(self, table: Table, index: IndexState) -> None:
        index.status = "DELETING"
        self._update(table)
        self._later(self._drop_index, table, index)

    def _drop_index(self, table: Table, index: IndexState) -> None:
        name = index.schema.name
        table.indexes.pop(name, None)
        table.schema.backfilling.discard(name)
        table.schema.indexes = tuple(one for one in table.schema.indexes if one.name != name)
        for member in table.members.values():
            member.arranged.remove(name)
        used = set(table.schema.key_names) | {key.name for one in table.schema.indexes for key in one.keys}
        table.definitions = {name: kind for name, kind in table.definitions.items() if name in used}

    def _index_update(self, table: Table, one: dict[str, Any], request: dict[str, Any]) -> Callable[[], None]:
        index = _existing(table, one, "update")
        name = index.schema.name
        throughput = one.get("ProvisionedThroughput")
        if (request.get("BillingMode") or table.billing_mode) == "PAY_PER_REQUEST":
            raise invalid_parameter(
                f"The only Updates for index: {name} when TableThroughputMode is PAY_PER_REQUEST can be to "
                "OnDemandThroughput, WarmThroughput"
            )
        if throughput is None:
            raise invalid_parameter(
                f"Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: {name}"
            )
        units = throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]
        if units == (index.read_units, index.write_units):
            raise _unchanged(f"index {name}", units)

        def change() -> None:
            index.read_units, index.write_units = units

        return change

    def _update(self, table: Table) -> None:
        for member in table.members.values():
            if member.status == "ACTIVE":
                member.status = "UPDATING"
                self._later(_settle, member)


def check_together(request: dict[str, Any]) -> None:
    """Refuse what does not go together in one UpdateTable."""
    given = {name for name in SUPPORTED if request.get(name) is not None}
    if "DeletionProtectionEnabled" in given and len(given) > 1:
        raise invalid_parameter("DeletionProtection modification must be the only operation in the request")
    units = "ProvisionedThroughput" in given
    if units and "StreamSpecification" in given:
        raise invalid_parameter("You cannot modify stream status while updating table IOPS")
    if "GlobalSecondaryIndexUpdates" in given:
        heavy = any(kind != "Update" for kind, _ in index_actions(request["GlobalSecondaryIndexUpdates"]))
        if heavy and units:
            raise invalid_parameter("You cannot create or delete index while updating table IOPS")
        if heavy and "StreamSpecification" in given:
            raise invalid_parameter("You cannot create or delete index while changing stream status")


def index_actions(updates: Any) -> list[tuple[str, dict[str, Any]]]:
    """GlobalSecondaryIndexUpdates taken apart: Create, Update or Delete, and what of."""
    if type(updates) is not list:
        raise serialization("Unexpected field type")
    if not updates:
        raise invalid_parameter("List of GlobalSecondaryIndexUpdates is empty")
    actions = []
    for update in updates:
        if type(update) is not dict:
            raise serialization("Unexpected field type")
        given = [(kind, update[kind]) for kind in ("Update", "Create", "Delete") if update.get(kind) is not None]
        if not given:
            raise invalid_parameter(
                "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, "
                "GlobalSecondaryIndexUpdate.Delete must not be null"
            )
        if len(given) > 1:
            raise invalid_parameter(
                "Only one global secondary index action is allowed per GlobalSecondaryIndexUpdate object"
            )
        if type(given[0][1]) is not dict:
            raise serialization("Unexpected value type in payload")
        actions.append(given[0])
    names = [one.get("IndexName") for _, one in actions]
    repeated = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if repeated is not None:
        raise invalid_parameter(
            f"Only one global secondary index update per index is allowed simultaneously. Index: {repeated}"
        )
    return actions


def _existing(table: Table, one: dict[str, Any], what: str) -> IndexState:
    name = one.get("IndexName")
    if name is None:
        raise validation(
            f"1 validation error detected: Value null at 'globalSecondaryIndexUpdates.1.member.{what}.indexName' "
            "failed to satisfy constraint: Member must not be null"
        )
    check_string(name)
    index = table.indexes.get(name)
    if index is None:
        raise ApiError(
            "ResourceNotFoundException", f"Requested resource not found: Index {name} for table {table.schema.name}"
        )
    if not index.schema.is_global:
        raise validation(f"Cannot {what} an index that is not a GlobalSecondaryIndex: {name}")
    if index.status == "DELETING":
        raise ApiError(
            "ResourceInUseException", f"{_IN_USE}Index is being deleted. Table: {table.schema.name} Index: {name}"
        )
    return index


def _definitions(request: dict[str, Any]) -> dict[str, str]:
    given = request.get("AttributeDefinitions") or []
    if type(given) is not list or any(type(one) is not dict for one in given):
        raise serialization("Unexpected field type")
    types = {}
    for one in given:
        name, kind = one.get("AttributeName"), one.get("AttributeType")
        if type(name) is not str or kind not in ("S", "N", "B"):
            raise validation(
                f"1 validation error detected: Value '{kind}' at 'attributeDefinitions.1.member.attributeType' failed "
                "to satisfy constraint: Member must satisfy enum value set: [B, N, S]"
            )
        types[name] = kind
    return types


def _unchanged(what: str, units: tuple[int, int]) -> ApiError:
    of = "index" if what != "table" else "table"
    return validation(
        f"The provisioned throughput for the {what} will not change. The requested value equals the current value. "
        f"Current ReadCapacityUnits provisioned for the {of}: {units[0]}. Requested ReadCapacityUnits: {units[0]}. "
        f"Current WriteCapacityUnits provisioned for the {of}: {units[1]}. Requested WriteCapacityUnits: {units[1]}. "
        "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
    )


def _settle(member: Member) -> None:
    if member.status == "UPDATING":
        member.status = "ACTIVE"
