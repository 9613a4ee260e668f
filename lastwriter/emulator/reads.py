"""GetItem and Scan on one table, as pure functions of the request and the items."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from lastwriter.emulator.capacity import consumed
from lastwriter.emulator.errors import ApiError, in_request, validation
from lastwriter.emulator.expressions.compiling import check_scalar_keys, compile_condition_text, projection_paths
from lastwriter.emulator.expressions.conditions import Test
from lastwriter.emulator.expressions.paths import Steps, projector
from lastwriter.emulator.expressions.scope import Scope, Values
from lastwriter.emulator.keys import Key, read_key
from lastwriter.emulator.order import Position, position_of, segment_of
from lastwriter.emulator.parameters import (
    check_combinations,
    check_parameters,
    expression_names,
    expression_values,
)
from lastwriter.emulator.schema import TableSchema
from lastwriter.emulator.sizes import item_bytes, read_units
from lastwriter.emulator.values import Item, canonical_item, check_boolean

PAGE_BYTES: Final = 1024 * 1024
"""A page of a Scan or Query ends before the item that would take it past this."""

MAX_PLANS: Final = 2000


@dataclass(slots=True)
class GetPlan:
    """What all GetItem requests of one shape have in common."""

    select: Callable[[Item], Item] | None
    capacity: str | None


class CompiledGet:
    """A GetItem request. See :class:`lastwriter.emulator.operations.Get`."""

    __slots__ = ("_plan", "_schema", "consistent", "key")

    def __init__(self, key: Key, consistent: bool, plan: GetPlan, schema: TableSchema) -> None:
        self.key = key
        self.consistent = consistent
        self._plan = plan
        self._schema = schema

    def reply(self, item: Item | None) -> dict[str, Any]:
        """Body of the reply for the item as the replica has it."""
        plan = self._plan
        body: dict[str, Any] = {}
        if item is not None:
            body["Item"] = item if plan.select is None else plan.select(item)
        if plan.capacity is not None:
            units = read_units(item_bytes(item) if item else 0, consistent=self.consistent)
            body["ConsumedCapacity"] = consumed(self._schema.name, units, plan.capacity)
        return body


def compile_get(request: dict[str, Any], schema: TableSchema) -> CompiledGet:
    """GetItem on the table; ApiError for what is wrong with the request."""
    get = request.get
    try:
        names = get("ExpressionAttributeNames")
        shape = (
            "GetItem",
            tuple(request),
            get("ProjectionExpression"),
            tuple(names.items()) if names is not None else None,
            get("ReturnConsumedCapacity"),
        )
        plan: GetPlan | None = schema.plans.get(shape) if get("AttributesToGet") is None else None
        if plan is not None:
            consistent = get("ConsistentRead")
            if consistent is not None:
                check_boolean(consistent)
            return CompiledGet(read_key(request["Key"], schema)[0], consistent is True, plan, schema)
    except (ApiError, TypeError, AttributeError):
        shape = None  # the careful way says what is wrong
    return _compile_get_carefully(request, schema, shape)


def _compile_get_carefully(request: dict[str, Any], schema: TableSchema, shape: Any) -> CompiledGet:
    check_parameters("GetItem", request)
    canonical_item(request["Key"])
    check_combinations("GetItem", request)
    scope = Scope(expression_names(request), {})
    paths = _projected(request, scope)
    scope.check_all_used()
    capacity = request.get("ReturnConsumedCapacity")
    plan = GetPlan(projector(paths) if paths is not None else None, capacity if capacity != "NONE" else None)
    key, _ = read_key(request["Key"], schema)
    check_scalar_keys(paths or (), schema.key_names)
    if shape is not None and request.get("AttributesToGet") is None and len(scope.names) <= 100:
        if len(schema.plans) >= MAX_PLANS:
            schema.plans.clear()
        schema.plans[shape] = plan
    return CompiledGet(key, bool(request.get("ConsistentRead")), plan, schema)


def _projected(request: dict[str, Any], scope: Scope) -> list[Steps] | None:
    """The paths that the request asks for; None for whole items."""
    legacy = request.get("AttributesToGet")
    if legacy is not None:
        repeated = next((name for at, name in enumerate(legacy) if name in legacy[:at]), None)
        if repeated is not None:
            raise in_request(
                f"One or more parameter values were invalid: Duplicate value in attribute name: {repeated}"
            )
        return [(name,) for name in legacy]
    text = request.get("ProjectionExpression")
    return projection_paths(text, scope) if text is not None else None


class CompiledScan:
    """A Scan request. See :class:`lastwriter.emulator.operations.Scan`."""

    def __init__(self, request: dict[str, Any], schema: TableSchema) -> None:
        self._schema = schema
        check_parameters("Scan", request)
        check_combinations("Scan", request)
        start = request.get("ExclusiveStartKey")
        if start is not None:
            start = _canonical_start(start)
        self._segment, self._segments = _segments(request)
        scope = Scope(expression_names(request), expression_values("Scan", request))
        self._values: Values = scope.values
        paths = _projected(request, scope)
        self._filter: Test | None = None
        filtered: list[Steps] = []
        if request.get("FilterExpression") is not None:
            self._filter, filtered = compile_condition_text("FilterExpression", request["FilterExpression"], scope)
        scope.check_all_used()
        check_select(request)
        self.consistent = bool(request.get("ConsistentRead"))
        if request.get("IndexName") is not None:
            raise validation(f"The table does not have the specified index: {request['IndexName']}")
        self._after = _start_position(start, schema, self._segment, self._segments) if start is not None else None
        check_scalar_keys([*(paths or ()), *filtered], schema.key_names)
        self._select = projector(paths) if paths is not None else None
        self._limit = int(request["Limit"]) if request.get("Limit") is not None else None
        self._counts = request.get("Select") == "COUNT"
        capacity = request.get("ReturnConsumedCapacity")
        self._capacity = capacity if capacity != "NONE" else None

    def reply(self, items: Iterable[tuple[Key, Item]]) -> dict[str, Any]:
        """One page, out of all items of the replica in any order."""
        schema = self._schema
        placed = [(position_of(key, schema), item) for key, item in items]
        placed.sort(key=lambda one: one[0])
        after, segments = self._after, self._segments
        return self._page(
            item
            for position, item in placed
            if (after is None or position > after)
            and (segments is None or segment_of(position, segments) == self._segment)
        )

    def _page(self, items: Iterable[Item]) -> dict[str, Any]:
        found: list[Item] = []
        scanned = size = 0
        last: Item | None = None
        more = False
        for item in items:
            if self._limit is not None and scanned == self._limit:
                more = True
                break
            bytes_of_item = item_bytes(item)
            if scanned and size + bytes_of_item > PAGE_BYTES:
                more = True
                break
            scanned += 1
            size += bytes_of_item
            last = item
            if self._filter is None or self._filter(item, self._values):
                found.append(item)
        body: dict[str, Any] = {"Count": len(found), "ScannedCount": scanned}
        if not self._counts:
            body["Items"] = found if self._select is None else [self._select(item) for item in found]
        if last is not None and (more or scanned == self._limit):
            body["LastEvaluatedKey"] = {name: last[name] for name in self._schema.key_names}
        if self._capacity is not None:
            units = read_units(size, consistent=self.consistent)
            body["ConsumedCapacity"] = consumed(self._schema.name, units, self._capacity)
        return body


def compile_scan(request: dict[str, Any], schema: TableSchema) -> CompiledScan:
    """Scan of the table; ApiError for what is wrong with the request."""
    return CompiledScan(request, schema)


def check_select(request: dict[str, Any]) -> None:
    """Select fits the projection and the index."""
    select = request.get("Select")
    if select is None:
        return
    projection = next(
        (name for name in ("ProjectionExpression", "AttributesToGet") if request.get(name) is not None), None
    )
    if select == "SPECIFIC_ATTRIBUTES":
        if projection is None:
            raise in_request(
                "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
            )
    elif projection is not None:
        what = "only the Count" if select == "COUNT" else select
        raise in_request(f"Cannot specify the {projection} when choosing to get {what}")
    if select == "ALL_PROJECTED_ATTRIBUTES" and request.get("IndexName") is None:
        raise in_request("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")


def _segments(request: dict[str, Any]) -> tuple[int | None, int | None]:
    segment, segments = (
        int(value) if value is not None else None for value in (request.get("Segment"), request.get("TotalSegments"))
    )
    if segment is not None and segments is None:
        raise in_request(
            "The TotalSegments parameter is required but was not present in the request "
            "when Segment parameter is present"
        )
    if segments is not None:
        if segment is None:
            raise in_request(
                "The Segment parameter is required but was not present in the request "
                "when parameter TotalSegments is present"
            )
        if segment >= segments:
            raise in_request(
                "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
                f"Segment: {segment} is not less than TotalSegments: {segments}"
            )
    return segment, segments


def _canonical_start(start: dict[str, Any]) -> Item:
    try:
        return canonical_item(start)
    except ApiError as error:
        if error.name != "ValidationException":
            raise
        raise in_request(f"The provided starting key is invalid: {error.message}") from None


def _start_position(start: Item, schema: TableSchema, segment: int | None, segments: int | None) -> Position:
    try:
        key, _ = read_key(start, schema)
    except ApiError as error:
        raise validation(f"The provided starting key is invalid: {error.message}") from None
    position = position_of(key, schema)
    if segments is not None and segment_of(position, segments) != segment:
        raise validation(
            "The provided starting key is invalid: Invalid ExclusiveStartKey. "
            f"Please use ExclusiveStartKey with correct Segment. TotalSegments: {segments} Segment: {segment}"
        )
    return position
