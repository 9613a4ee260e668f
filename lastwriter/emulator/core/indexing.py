"""What UpdateTable does to global indexes: made, filled, given other units, dropped.

Messages are those of AWS (findings 135, 148 to 175, 375 and 380 of the source named in
:mod:`lastwriter.emulator.core.tables`). An index is every member's at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lastwriter.emulator.core.billing import merged_maximum, unchanged
from lastwriter.emulator.core.members import IndexState, Table, index_state
from lastwriter.emulator.requests.errors import ApiError, invalid_parameter, serialization, validation
from lastwriter.emulator.requests.schema import MAX_GLOBAL_INDEXES, parse_global_index
from lastwriter.emulator.requests.values import check_string

IN_USE: Final = "Attempt to change a resource which is still in use: "

Later = Callable[..., None]
"""Call the first argument with the others once a change of a table has taken its time; the first argument may be a
number of items, which take theirs as well."""


class Indexes:
    """Changes global indexes. ``update`` marks a table as being updated."""

    def __init__(self, later: Later, after_copying: Later, update: Callable[[Table], None]) -> None:
        self._later = later
        self._after_copying = after_copying
        self._update = update

    def changes(self, table: Table, updates: Any, request: dict[str, Any]) -> list[Callable[[], None]]:
        """What the request asks for, ready to be done; ApiError."""
        actions = index_actions(updates)
        moving = [one for one in table.indexes.values() if one.status in ("CREATING", "DELETING")]
        heavy = [kind for kind, _ in actions if kind != "Update"]
        if len(heavy) > 1 or (heavy and moving):
            raise ApiError(
                "LimitExceededException",
                "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
            )
        return [
            {"Create": self._create, "Delete": self._delete, "Update": self._change}[kind](table, one, request)
            for kind, one in actions
        ]

    def _create(self, table: Table, one: dict[str, Any], request: dict[str, Any]) -> Callable[[], None]:
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

    def _delete(self, table: Table, one: dict[str, Any], request: dict[str, Any]) -> Callable[[], None]:
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

    def _change(self, table: Table, one: dict[str, Any], request: dict[str, Any]) -> Callable[[], None]:
        index = _existing(table, one, "update")
        name = index.schema.name
        if index.status == "UPDATING":
            raise in_use("updated", table.schema.name, name)
        if index.status == "CREATING" and not index.backfilling:
            raise ApiError(
                "ResourceInUseException",
                f"{IN_USE}Index is being created but is not backfilling yet. Table: {table.schema.name} Index: {name}",
            )
        throughput = one.get("ProvisionedThroughput")
        if (request.get("BillingMode") or table.billing_mode) == "PAY_PER_REQUEST":
            maximum = one.get("OnDemandThroughput")
            if throughput is not None or maximum is None:
                raise invalid_parameter(
                    f"The only Updates for index: {name} when TableThroughputMode is PAY_PER_REQUEST can be to "
                    "OnDemandThroughput, WarmThroughput"
                )
            most = merged_maximum(index, maximum)
            return lambda: self._set(index, index.read_units, index.write_units, *most)
        if throughput is None:
            raise invalid_parameter(
                f"Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: {name}"
            )
        units = throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]
        if units == (index.read_units, index.write_units):
            raise unchanged(f"index {name}", units)
        return lambda: self._set(index, *units, None, None)

    def _set(self, index: IndexState, read: int, write: int, most_read: int | None, most_write: int | None) -> None:
        index.read_units, index.write_units = read, write
        index.most_read_units, index.most_write_units = most_read, most_write
        if index.status == "ACTIVE":
            index.status = "UPDATING"
            self._later(_settle, index)

    def take_up(self, table: Table) -> None:
        """A table that was there before this process: go on with what was being done to its indexes."""
        for index in table.indexes.values():
            if index.status == "CREATING":
                self._later(self._backfill, table, index)
            elif index.status == "DELETING":
                self._later(self._drop_index, table, index)
            else:
                _settle(index)


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
        raise in_use("deleted", table.schema.name, name)
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


def check_free(table: Table, request: dict[str, Any]) -> None:
    """Units and stream stay as they are while an index is being made, until it is being filled, or dropped."""
    changes = {
        "table IOPS": request.get("ProvisionedThroughput") is not None or request.get("BillingMode") is not None,
        "stream status": request.get("StreamSpecification") is not None,
    }
    for what in (name for name, changed in changes.items() if changed):
        for status, doing in (("CREATING", "created"), ("DELETING", "deleted")):
            names = [
                index.schema.name
                for index in table.indexes.values()
                if index.status == status and not index.backfilling
            ]
            if names:
                raise ApiError(
                    "ResourceInUseException",
                    f"{IN_USE}Can't change {what} when an index is being {doing}. Table: {table.schema.name} Indexes: "
                    f"[{', '.join(names)}]",
                )


def in_use(doing: str, table: str, index: str) -> ApiError:
    """Something else is being done to the index."""
    return ApiError("ResourceInUseException", f"{IN_USE}Index is being {doing}. Table: {table} Index: {index}")


def _settle(index: IndexState) -> None:
    if index.status == "UPDATING":
        index.status = "ACTIVE"
