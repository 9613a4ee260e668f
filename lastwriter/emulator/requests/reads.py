"""GetItem, Scan and Query on one table, as pure functions of the request and the items."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from lastwriter.emulator.core.arranged import Arranged
from lastwriter.emulator.core.ordered import ABOVE, Above
from lastwriter.emulator.requests.capacity import consumed
from lastwriter.emulator.requests.errors import ApiError, in_request, validation
from lastwriter.emulator.requests.expressions.compiling import check_scalar_keys
from lastwriter.emulator.requests.expressions.conditions import Test
from lastwriter.emulator.requests.expressions.keyconditions import KeyCondition, key_conditions
from lastwriter.emulator.requests.expressions.legacy import translate_filter, translate_key_conditions
from lastwriter.emulator.requests.expressions.paths import Steps, projector
from lastwriter.emulator.requests.expressions.scope import Scope
from lastwriter.emulator.requests.keys import Key, read_key, refuse_empty
from lastwriter.emulator.requests.order import hash_of, segment_hashes
from lastwriter.emulator.requests.pages import (
    canonical_start,
    check_select,
    compile_filter,
    paging,
    projected,
    start_key,
)
from lastwriter.emulator.requests.parameters import (
    check_combinations,
    expression_names,
    expression_values,
    worded,
)
from lastwriter.emulator.requests.schema import IndexSchema, TableSchema
from lastwriter.emulator.requests.sizes import item_bytes, read_units
from lastwriter.emulator.requests.validators import check_shape
from lastwriter.emulator.requests.values import Item, canonical_item, sortable
from lastwriter.emulator.requests.views import Place, View, view_of

_INDEXABLE: Final = frozenset({"=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"})


@dataclass(slots=True)
class GetPlan:
    """What all GetItem requests of one shape have in common."""

    select: Callable[[Item], Item] | None
    capacity: str | None


class CompiledGet:
    """A GetItem request. See :class:`lastwriter.emulator.requests.operations.Get`."""

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
    shape = None
    try:
        shape = schema.plans.find(("GetItem", request.get("ProjectionExpression")), request)
        if shape is not None:
            consistent = request.get("ConsistentRead")
            if consistent is True or consistent is False or consistent is None:
                return CompiledGet(read_key(request["Key"], schema)[0], consistent is True, shape.plan, schema)
    except (ApiError, KeyError, TypeError, AttributeError):
        pass  # the careful way says what is wrong
    return _compile_get_carefully(request, schema, known=shape is not None)


def judge_get(request: dict[str, Any], speaker: str = "GetItem") -> tuple[GetPlan, list[Steps]]:
    """What can be said of a GetItem without its table: ApiError, or its plan and the paths that it asks for.

    ``speaker``: the operation that answers.
    """
    check_shape("GetItem", request)
    try:
        canonical_item(request["Key"])
    except ApiError as error:
        raise worded(speaker, error) from None
    check_combinations("GetItem", request, speaker)
    scope = Scope(expression_names(request), {})
    paths = projected(request, scope)
    scope.check_all_used()
    capacity = request.get("ReturnConsumedCapacity")
    select = projector(paths) if paths is not None else None
    return GetPlan(select, capacity if capacity != "NONE" else None), paths or []


def _compile_get_carefully(request: dict[str, Any], schema: TableSchema, *, known: bool) -> CompiledGet:
    plan, paths = judge_get(request)
    key, _ = read_key(request["Key"], schema)
    check_scalar_keys(paths, schema.key_names)
    if not known:
        schema.plans.remember(("GetItem", request.get("ProjectionExpression")), request, plan)
    return CompiledGet(key, bool(request.get("ConsistentRead")), plan, schema)


@dataclass(slots=True)
class JudgedRead:
    """A Scan or Query of which all has been checked that can be without its table."""

    start: Item | None
    scope: Scope
    segment: int | None
    segments: int | None
    conditions: dict[str, KeyCondition]
    """Query: key attribute → condition."""
    passes: Test | None
    filtered: list[Steps]
    filter_name: str
    """In messages."""
    paths: list[Steps] | None


def judge_read(operation: str, request: dict[str, Any]) -> JudgedRead:
    """What can be said of a Scan or Query without its table: ApiError, or its parts."""
    try:
        return _judge_read(operation, request)
    except ApiError as error:
        raise worded(operation, error) from None


def _judge_read(operation: str, request: dict[str, Any]) -> JudgedRead:
    check_shape(operation, request)
    check_combinations(operation, request, operation)
    start = canonical_start(operation, request)
    segment, segments = _segments(request) if operation == "Scan" else (None, None)
    text = request.get("KeyConditionExpression")
    if operation == "Query" and text is None and request.get("KeyConditions") is None:
        raise in_request(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    scope = Scope(expression_names(request), expression_values(operation, request))
    conditions: dict[str, KeyCondition] = {}
    if operation == "Query":
        conditions = key_conditions(text, scope) if text is not None else translate_key_conditions(request)
    passes, filtered = compile_filter(request, scope)
    paths = projected(request, scope)
    scope.check_all_used()
    filter_name = "Filter Expression"
    if request.get("FilterExpression") is None:
        filter_name = f"{operation}Filter"
        translated = translate_filter(filter_name, request)
        passes, filtered = translated.test, translated.paths
        scope.values = {**scope.values, **translated.values}
    check_select(request)
    return JudgedRead(start, scope, segment, segments, conditions, passes, filtered, filter_name, paths)


class CompiledScan:
    """A Scan request. See :class:`lastwriter.emulator.requests.operations.Scan`."""

    def __init__(self, request: dict[str, Any], schema: TableSchema) -> None:
        judged = judge_read("Scan", request)
        view = view_of(request, schema)
        self._view = view
        low, high = segment_hashes(judged.segment or 0, judged.segments or 1)
        self._low: Place = (low,)
        self._high: Place = (high,)
        if judged.start is not None:
            after = view.place(start_key(judged.start, view), judged.start)
            if not self._low <= after < self._high:
                raise validation(
                    "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey "
                    f"with correct Segment. TotalSegments: {judged.segments} Segment: {judged.segment}"
                )
            self._low = (*after, ABOVE)
        _check_scalars([*(judged.paths or ()), *judged.filtered], view)
        self._paging = paging(request, view, judged.scope, judged.passes, judged.paths)
        self.consistent = self._paging.consistent

    def reply(self, arranged: Arranged) -> dict[str, Any]:
        """One page."""
        return self._paging.page(arranged.rows(self._view.index).between(self._low, self._high))

    @property
    def lane(self) -> tuple[IndexSchema | None, int]:
        """What it reads, and the hash that it begins at."""
        return self._view.index, self._low[0]

    def charge(self, charge: Callable[[float], None]) -> None:
        """Tell what the page costs."""
        self._paging.charge = charge


def compile_scan(request: dict[str, Any], schema: TableSchema) -> CompiledScan:
    """Scan of the table; ApiError for what is wrong with the request."""
    return CompiledScan(request, schema)


class CompiledQuery:
    """A Query request. See :class:`lastwriter.emulator.requests.operations.Query`."""

    def __init__(self, request: dict[str, Any], schema: TableSchema) -> None:
        judged = judge_read("Query", request)
        view = view_of(request, schema)
        self._view = view
        self._forward = request.get("ScanIndexForward") is not False
        _check_key_conditions(judged.conditions, view)
        self._partition = sortable(judged.conditions[view.keys[0].name].operands[0])
        condition = judged.conditions.get(view.keys[1].name) if len(view.keys) > 1 else None
        self._low, self._high = _bounds(self._partition, condition)
        if judged.start is not None:
            self._begin_after(judged.start, condition)
        _check_scalars(judged.paths or (), view)
        keys = {key.name for key in view.keys}
        for path in judged.filtered:
            if path[0] in keys:
                raise validation(
                    f"{judged.filter_name} can only contain non-primary key attributes: "
                    f"Primary key attribute: {path[0]}"
                )
        _check_scalars(judged.filtered, view)
        self._paging = paging(request, view, judged.scope, judged.passes, judged.paths)
        self.consistent = self._paging.consistent

    def reply(self, arranged: Arranged) -> dict[str, Any]:
        """One page."""
        rows = arranged.rows(self._view.index)
        return self._paging.page(rows.between(self._low, self._high, forward=self._forward))

    @property
    def lane(self) -> tuple[IndexSchema | None, int]:
        """What it reads, and the hash of the partition."""
        return self._view.index, self._low[0]

    def charge(self, charge: Callable[[float], None]) -> None:
        """Tell what the page costs."""
        self._paging.charge = charge

    def _begin_after(self, start: Item, condition: KeyCondition | None) -> None:
        view = self._view
        place = view.place(start_key(start, view), start)
        low, high = _bounds(place[1], condition)
        if not low <= place < high:
            raise validation("The provided starting key does not match the range key predicate")
        if place[1] != self._partition:
            raise validation(
                "The provided starting key is outside query boundaries based on provided conditions"
                if condition is None
                else "The query can return at most one row and cannot be restarted"
            )
        if self._forward:
            self._low = (*place, ABOVE)
        else:
            self._high = place


def compile_query(request: dict[str, Any], schema: TableSchema) -> CompiledQuery:
    """Query of the table; ApiError for what is wrong with the request."""
    return CompiledQuery(request, schema)


def _bounds(partition: Any, condition: KeyCondition | None) -> tuple[Place, Place]:
    """Places of a partition whose sort keys satisfy the condition: from the first on, and before the second."""
    whole: Place = (hash_of(partition), partition)
    if condition is None:
        return whole, (*whole, ABOVE)
    operator = condition.operator
    first, last = (sortable(operand) for operand in (condition.operands[0], condition.operands[-1]))
    low = (*whole, first, ABOVE) if operator == ">" else whole if operator in ("<", "<=") else (*whole, first)
    if operator == "begins_with":
        return low, (*whole, Above(first))
    if operator in (">", ">="):
        return low, (*whole, ABOVE)
    return low, (*whole, last) if operator == "<" else (*whole, last, ABOVE)


def _check_key_conditions(conditions: dict[str, KeyCondition], view: View) -> None:
    if len(conditions) > 2:
        raise validation(
            f"The number of query conditions ({len(conditions)}) exceeds the number of key attributes defined in the "
            f"schema ({len(view.keys)})"
        )
    if len(view.keys) == 1 and len(conditions) > 1:
        raise validation("Query key condition not supported")
    for at, key in enumerate(view.keys):
        condition = conditions.get(key.name)
        if condition is None:
            if at == 0 or len(conditions) > 1:
                raise validation(f"Query condition missed key schema element: {key.name}")
            continue
        if condition.operator not in _INDEXABLE:
            raise validation("Attempted conditional constraint is not an indexable operation")
        for operand in condition.operands:
            if key.type not in operand:
                raise validation(
                    "One or more parameter values were invalid: Condition parameter type does not match schema type"
                )
            refuse_empty(key, operand)
        if at == 0 and condition.operator != "=":
            raise validation("Query key condition not supported")


def _check_scalars(paths: Iterable[Steps], view: View) -> None:
    paths = list(paths)
    check_scalar_keys(paths, view.schema.key_names)
    if view.index is not None:
        check_scalar_keys(paths, tuple(key.name for key in view.keys), "IndexKey")


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
