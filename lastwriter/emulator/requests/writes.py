"""PutItem, UpdateItem and DeleteItem on one table, as pure functions of the request and the item.

Requests of the same shape (same expressions, names, parameters) share one plan: it is checked and compiled once for a
table, and what differs from request to request (the key, the values) is checked each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from orjson import dumps

from lastwriter.emulator.requests.capacity import collection_metrics, consumed_by_write
from lastwriter.emulator.requests.errors import (
    ApiError,
    condition_failed,
    in_request,
    invalid_parameter,
    serialization,
    validation,
)
from lastwriter.emulator.requests.expressions.compiling import (
    check_scalar_keys,
    compile_condition_text,
    compile_update_text,
)
from lastwriter.emulator.requests.expressions.conditions import Test
from lastwriter.emulator.requests.expressions.legacy import translate_expected, translate_updates
from lastwriter.emulator.requests.expressions.paths import Steps, projector, reader
from lastwriter.emulator.requests.expressions.scope import Requirement, Scope, Values
from lastwriter.emulator.requests.keys import Key, check_index_keys, check_item_key, read_key
from lastwriter.emulator.requests.parameters import (
    check_combinations,
    expression_names,
    expression_values,
    worded,
)
from lastwriter.emulator.requests.schema import TableSchema
from lastwriter.emulator.requests.sizes import MAX_ITEM_BYTES, exceeds_limit, item_bytes, utf8_bytes, value_bytes
from lastwriter.emulator.requests.validators import check_shape, detected
from lastwriter.emulator.requests.values import Item, Value, canonical_item, canonical_values

_NOTHING: Final[Item] = {}

_UPDATE_BYTES: Final = 3
_ACTION_BYTES: Final = {"SET": 19, "ADD": 19, "REMOVE": 2, "DELETE": 2}
"""What UpdateItem adds to the attributes that it writes when it compares with 400 KB (measured by the public
``dynamodb-conformance`` suite, 2026-08)."""


@dataclass(slots=True)
class WritePlan:
    """What all write requests of one shape have in common."""

    condition: Test | None
    condition_paths: list[Steps]
    update: Callable[[Item, Values], Item] | None
    changed: list[Steps]
    """Paths that the update changes, in the order of its actions."""
    clauses: list[str]
    """Clause of each action: SET, REMOVE, ADD, DELETE."""
    action_bytes: int
    most_json_bytes: int
    """An updated item of no more JSON than this is small enough: JSON is never shorter than the item's size."""
    requirements: tuple[Requirement, ...]
    returned: str
    """ReturnValues."""
    item_on_failure: bool
    capacity: str | None
    """ReturnConsumedCapacity, None for NONE."""
    metrics: bool
    """ReturnItemCollectionMetrics is SIZE."""
    select: Callable[[Item], Item] | None
    """For UPDATED_OLD and UPDATED_NEW: the parts of an item that the update names."""
    creates: bool
    """Whether the update brings an item into being that was not there: REMOVE and DELETE alone do not."""


class CompiledWrite:
    """A PutItem, UpdateItem or DeleteItem request. See :class:`lastwriter.emulator.requests.operations.Write`."""

    __slots__ = ("key", "plan", "schema", "values")

    def __init__(self, key: Key, plan: WritePlan, schema: TableSchema, values: Values) -> None:
        self.key = key
        self.plan = plan
        self.schema = schema
        self.values = values

    @property
    def has_condition(self) -> bool:
        """Whether the request carries a condition."""
        return self.plan.condition is not None

    def evaluate(self, current: Item | None) -> Item | None:
        """The new item; ConditionalCheckFailedException or ValidationException."""
        condition = self.plan.condition
        if condition is not None and not condition(current or _NOTHING, self.values):
            raise condition_failed(current if self.plan.item_on_failure else None)
        return self._apply(current)

    def reply(self, old: Item | None, new: Item | None) -> dict[str, Any]:
        """Body of the reply once ``old`` has become ``new``."""
        plan = self.plan
        body: dict[str, Any] = {}
        returned = plan.returned
        if returned != "NONE":
            shown = new if returned == "ALL_NEW" or returned == "UPDATED_NEW" else old
            if shown is not None and plan.select is not None:
                shown = plan.select(shown)
            if shown:
                body["Attributes"] = shown
        if plan.capacity is not None:
            body["ConsumedCapacity"] = consumed_by_write(self.schema, old, new, plan.capacity)
        if plan.metrics:
            metrics = collection_metrics(self.schema, old, new)
            if metrics is not None:
                body["ItemCollectionMetrics"] = metrics
        return body

    def _apply(self, current: Item | None) -> Item | None:
        raise NotImplementedError


class CompiledPut(CompiledWrite):
    """PutItem: the item as it will be."""

    __slots__ = ("item",)

    def __init__(self, key: Key, plan: WritePlan, schema: TableSchema, values: Values, item: Item) -> None:
        super().__init__(key, plan, schema, values)
        self.item = item

    def _apply(self, current: Item | None) -> Item:
        return self.item


class CompiledDelete(CompiledWrite):
    """DeleteItem."""

    __slots__ = ()

    def _apply(self, current: Item | None) -> None:
        return None


class CompiledUpdate(CompiledWrite):
    """UpdateItem: the key attributes are what an item starts from that was not there."""

    __slots__ = ("attributes",)

    def __init__(self, key: Key, plan: WritePlan, schema: TableSchema, values: Values, attributes: Item) -> None:
        self.key = key
        self.plan = plan
        self.schema = schema
        self.values = values
        self.attributes = attributes

    def evaluate(self, current: Item | None) -> Item | None:
        """As every write's; in one piece, because most requests come through here."""
        plan, values = self.plan, self.values
        condition = plan.condition
        if condition is not None and not condition(current or _NOTHING, values):
            raise condition_failed(current if plan.item_on_failure else None)
        if plan.update is None:
            return current if current is not None else self.attributes
        if current is None:
            if not plan.creates:
                return None
            current = self.attributes
        new = plan.update(current, values)
        if self.schema.indexes:
            check_index_keys(new, self.schema, current)
        if len(dumps(new)) > plan.most_json_bytes:
            _check_size(new, plan)
        return new


def compile_write(operation: str, request: dict[str, Any], schema: TableSchema) -> CompiledWrite:
    """PutItem, UpdateItem or DeleteItem on the table; ApiError for what is wrong with the request."""
    get = request.get
    shape = None
    try:
        shape = schema.plans.find((operation, get("UpdateExpression"), get("ConditionExpression")), request)
        if shape is not None:
            plan: WritePlan = shape.plan
            given = get("ExpressionAttributeValues")
            values = canonical_values(given) if given is not None else _NOTHING
            for met in plan.requirements:
                if not met(values):
                    break
            else:
                return _bind(operation, request, schema, plan, values)
    except (ApiError, KeyError, TypeError, AttributeError):
        # The short way takes JSON types for granted and checks in its own order; the careful way says what is wrong.
        pass
    return _compile_carefully(operation, request, schema, known=shape is not None)


def compile_plain(
    operation: str, content: Any, schema: TableSchema, capacity: str | None, metrics: bool
) -> CompiledWrite:
    """PutItem of an item, or DeleteItem of a key, without expressions: as batches have them."""
    name = "Item" if operation == "PutItem" else "Key"
    if content is None:
        raise detected([f"Value null at '{name.lower()}' failed to satisfy constraint: Member must not be null"])
    if type(content) is not dict:
        raise serialization("Unexpected field type")
    return _bind(operation, {name: content}, schema, _plain(capacity, metrics), _NOTHING)


def judge_write(operation: str, request: dict[str, Any], speaker: str | None = None) -> tuple[WritePlan, Values]:
    """What can be said of a request without its table: ApiError, or its plan and values. Checks in DynamoDB's order.

    ``speaker``: the operation that answers, if it is not this one.
    """
    speaker = speaker or operation
    try:
        check_shape(operation, request)
        if operation == "PutItem":
            canonical_item(request["Item"])
            check_combinations(operation, request, speaker)
        else:
            check_combinations(operation, request, speaker)
            if speaker == operation:
                canonical_item(request["Key"])
        names = expression_names(request)
        values = expression_values(speaker, request)
        scope = Scope(names, values)
        plan, legacy = _plan(operation, request, scope)
        if operation != "PutItem" and speaker != operation:
            canonical_item(request["Key"])
        return plan, {**values, **legacy}
    except ApiError as error:
        raise worded(speaker, error) from None


def _compile_carefully(operation: str, request: dict[str, Any], schema: TableSchema, *, known: bool) -> CompiledWrite:
    """All checks; remembers the plan unless the request's shape is ``known``."""
    plan, values = judge_write(operation, request)
    write = _bind(operation, request, schema, plan, values)
    _check_keys_untouched(plan, schema)
    if not known:
        expressions = (operation, request.get("UpdateExpression"), request.get("ConditionExpression"))
        schema.plans.remember(expressions, request, plan)
    return write


def _plan(operation: str, request: dict[str, Any], scope: Scope) -> tuple[WritePlan, Values]:
    """Check and compile the expressions of a request whose parameters are of the right types, or what they replaced.

    Also the values of the latter's placeholders.
    """
    legacy: dict[str, Value] = {}
    update = None
    changed: list[Steps] = []
    clauses: list[str] = []
    text = request.get("UpdateExpression")
    if text is not None and operation == "UpdateItem":
        update, changed, tree = compile_update_text(text, scope)
        clauses = [action.clause for action in tree.actions]
    elif operation == "UpdateItem" and request.get("AttributeUpdates") is not None:
        change = translate_updates(request)
        update, changed, clauses = change.update, change.changed, change.clauses
        legacy.update(change.values)
    condition: Test | None = None
    paths: list[Steps] = []
    text = request.get("ConditionExpression")
    if text is not None:
        condition, paths = compile_condition_text("ConditionExpression", text, scope)
    elif request.get("Expected") is not None or request.get("ConditionalOperator") is not None:
        expected = translate_expected(request)
        condition, paths = expected.test, expected.paths
        legacy.update(expected.values)
    scope.check_all_used()
    returned = request.get("ReturnValues") or "NONE"
    if operation != "UpdateItem" and returned not in ("NONE", "ALL_OLD"):
        raise in_request("ReturnValues can only be ALL_OLD or NONE")
    capacity = request.get("ReturnConsumedCapacity")
    action_bytes = _UPDATE_BYTES + sum(_ACTION_BYTES[clause] for clause in clauses)
    plan = WritePlan(
        condition=condition,
        condition_paths=paths,
        update=update,
        changed=changed,
        clauses=clauses,
        action_bytes=action_bytes,
        most_json_bytes=MAX_ITEM_BYTES - action_bytes,
        requirements=tuple(scope.requirements),
        returned=returned,
        item_on_failure=request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD",
        capacity=capacity if capacity != "NONE" else None,
        metrics=request.get("ReturnItemCollectionMetrics") == "SIZE",
        select=projector(changed) if returned in ("UPDATED_OLD", "UPDATED_NEW") else None,
        creates=not clauses or "SET" in clauses or "ADD" in clauses,
    )
    return plan, legacy


@lru_cache
def _plain(capacity: str | None, metrics: bool) -> WritePlan:
    return WritePlan(
        condition=None,
        condition_paths=[],
        update=None,
        changed=[],
        clauses=[],
        action_bytes=_UPDATE_BYTES,
        most_json_bytes=MAX_ITEM_BYTES - _UPDATE_BYTES,
        requirements=(),
        returned="NONE",
        item_on_failure=False,
        capacity=capacity,
        metrics=metrics,
        select=None,
        creates=True,
    )


def _bind(
    operation: str, request: dict[str, Any], schema: TableSchema, plan: WritePlan, values: Values
) -> CompiledWrite:
    """The plan with this request's key, values and item, which are checked against the table."""
    if operation == "PutItem":
        item = canonical_item(request["Item"])
        if "" in item:
            raise invalid_parameter("An attribute name cannot be empty")
        if exceeds_limit(item):
            raise validation("Item size has exceeded the maximum allowed size")
        key = check_item_key(item, schema)
        if schema.indexes:
            check_index_keys(item, schema)
        return CompiledPut(key, plan, schema, values, item)
    key, attributes = read_key(request["Key"], schema)
    if operation == "UpdateItem":  # the commonest
        return CompiledUpdate(key, plan, schema, values, attributes)
    return CompiledDelete(key, plan, schema, values)


def _check_keys_untouched(plan: WritePlan, schema: TableSchema) -> None:
    key_names = schema.key_names
    changed = {path[0] for path in plan.changed}
    for name in key_names:
        if name in changed:
            raise invalid_parameter(f"Cannot update attribute {name}. This attribute is part of the key")
    check_scalar_keys(plan.condition_paths, key_names)


def _check_size(new: Item, plan: WritePlan) -> None:
    """UpdateItem compares 400 KB with the finished item, and with what the update writes plus its actions."""
    if not exceeds_limit(new, plan.action_bytes):
        return
    written = 0
    for path, clause in zip(plan.changed, plan.clauses, strict=True):
        value = reader(path)(new)
        if clause in ("SET", "ADD") and value is not None:
            written += utf8_bytes(str(path[-1])) + value_bytes(*next(iter(value.items())))
    if item_bytes(new) > MAX_ITEM_BYTES or written + plan.action_bytes > MAX_ITEM_BYTES:
        raise validation("Item size to update has exceeded the maximum allowed size")
