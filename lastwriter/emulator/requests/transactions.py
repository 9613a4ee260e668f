"""TransactWriteItems and TransactGetItems: what a request may say, and how its actions become its reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from lastwriter.emulator.requests.capacity import added_up, transactional
from lastwriter.emulator.requests.errors import CONDITION_FAILED, ApiError, validation
from lastwriter.emulator.requests.keys import Key
from lastwriter.emulator.requests.operations import Get, Write
from lastwriter.emulator.requests.parameters import table_name
from lastwriter.emulator.requests.reads import compile_get, judge_get
from lastwriter.emulator.requests.schema import TableSchema
from lastwriter.emulator.requests.sizes import item_bytes, read_units
from lastwriter.emulator.requests.validators import check_shape
from lastwriter.emulator.requests.values import Item
from lastwriter.emulator.requests.writes import compile_write, judge_write

MAX_BYTES: Final = 4 * 1024 * 1024
_NEVER_TOO_LARGE: Final = 10
"""So many items of the largest size are less than that."""

FindSchema = Callable[[str], TableSchema]
"""Schema of the table of that name; ApiError if there is none or it takes no transactions."""
Change = tuple[Item | None, Item | None]
"""An item before and after."""

_OPERATIONS: Final = {"ConditionCheck": "DeleteItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
_NOT_VALID: Final = "One or more parameter values are not valid."
"""Errors that begin so refuse the whole request; the others about keys and values are an action's."""
_ONE_OF: Final = "TransactItems can only contain one of Check, Put, Update or Delete"
_CONFLICT: Final = "Transaction is ongoing for the item"
_THROTTLED: Final = {
    "ProvisionedThroughputExceededException": "ProvisionedThroughputExceeded", "ThrottlingException": "ThrottlingError",
    "RequestLimitExceeded": "ThrottlingError",
}  # fmt: skip
"""How a transaction's reasons name what a request of its own would be refused with."""


@dataclass(frozen=True, slots=True)
class Action:
    """One of a transaction's writes or checks."""

    table: str
    write: Write
    checks_only: bool

    def evaluate(self, current: Item | None) -> Item | None:
        """The item afterwards; ApiError."""
        new = self.write.evaluate(current)
        return current if self.checks_only else new


class TransactWrite:
    """A compiled TransactWriteItems."""

    def __init__(self, request: dict[str, Any], schema_of: FindSchema) -> None:
        check_shape("TransactWriteItems", request)
        self.token: str | None = request.get("ClientRequestToken")
        given = _members(request, tuple(_OPERATIONS), _ONE_OF)
        self._capacity: str | None = _capacity(request)
        returned = {
            "ReturnConsumedCapacity": self._capacity,
            "ReturnItemCollectionMetrics": request.get("ReturnItemCollectionMetrics"),
        }
        requests = [(kind, {**content, **returned}) for kind, content in given]
        for kind, content in requests:
            if kind == "Put" and "" in content["Item"]:
                raise validation("Empty attribute name")
            judge_write(_OPERATIONS[kind], content, "TransactWriteItems")
        schemas = [schema_of(table_name(content)) for _, content in requests]
        self.actions: list[Action] = each(_compile, zip(requests, schemas, strict=True))
        _refuse_duplicates((action.table, action.write.key) for action in self.actions)
        self.digest = _digest(request)

    def evaluate(self, currents: list[Item | None]) -> list[Change]:
        """Items before and after; TransactionCanceledException with a reason for each action."""
        changes = each(lambda pair: (pair[1], pair[0].evaluate(pair[1])), zip(self.actions, currents, strict=True))
        _check_size(new if new is not None else old for old, new in changes)
        return changes

    def reply(self, changes: list[Change]) -> dict[str, Any]:
        """Once the changes have taken effect."""
        body: dict[str, Any] = {}
        metrics: dict[str, list[Any]] = {}
        consumed: list[dict[str, Any]] = []
        for action, (old, new) in zip(self.actions, changes, strict=True):
            reply = action.write.reply(old, new)
            if self._capacity is not None:
                consumed.append(transactional(reply["ConsumedCapacity"], "WriteCapacityUnits"))
            if "ItemCollectionMetrics" in reply and not action.checks_only:
                metrics.setdefault(action.table, []).append(reply["ItemCollectionMetrics"])
        if self._capacity is not None:
            body["ConsumedCapacity"] = added_up(consumed)
        if metrics:
            body["ItemCollectionMetrics"] = metrics
        return body

    def repeated(self, currents: list[Item | None]) -> dict[str, Any]:
        """When the same request has been carried out before: it costs reading the items."""
        if self._capacity is None:
            return {}
        detail = self._capacity
        parts = []
        for action, item in zip(self.actions, currents, strict=True):
            units = read_units(item_bytes(item) if item else 0, consistent=True)
            part: dict[str, Any] = {"TableName": action.table, "CapacityUnits": units}
            if detail == "INDEXES":
                part["Table"] = {"CapacityUnits": units}
            parts.append(transactional(part, "ReadCapacityUnits"))
        return {"ConsumedCapacity": added_up(parts)}


def _compile(action: tuple[tuple[str, dict[str, Any]], TableSchema]) -> Action:
    (kind, content), schema = action
    return Action(schema.name, compile_write(_OPERATIONS[kind], content, schema), kind == "ConditionCheck")


class TransactGet:
    """A compiled TransactGetItems."""

    def __init__(self, request: dict[str, Any], schema_of: FindSchema) -> None:
        check_shape("TransactGetItems", request)
        self._capacity = _capacity(request)
        given = _members(request, ("Get",), "TransactItems can only contain Get")
        requests = [
            {**content, "ConsistentRead": True, "ReturnConsumedCapacity": self._capacity} for _, content in given
        ]
        for content in requests:
            judge_get(content, "TransactGetItems")
        schemas = [schema_of(table_name(content)) for content in requests]
        self.gets: list[tuple[str, Get]] = each(
            lambda pair: (pair[1].name, compile_get(*pair)), zip(requests, schemas, strict=True)
        )
        _refuse_duplicates((table, get.key) for table, get in self.gets)

    def reply(self, items: list[Item | None]) -> dict[str, Any]:
        """What the items were, all at once."""
        _check_size(items)
        replies = [get.reply(item) for (_, get), item in zip(self.gets, items, strict=True)]
        body: dict[str, Any] = {"Responses": [{"Item": one["Item"]} if "Item" in one else {} for one in replies]}
        if self._capacity is not None:
            body["ConsumedCapacity"] = added_up(
                transactional(one["ConsumedCapacity"], "ReadCapacityUnits") for one in replies
            )
        return body


def _digest(request: dict[str, Any]) -> bytes:
    """Of what a TransactWriteItems asks to be done: requests with the same token have to have the same."""
    return blake2b(json.dumps(request.get("TransactItems"), sort_keys=True).encode(), digest_size=16).digest()


def refuse_conflicts(locked: list[bool]) -> None:
    """TransactionCanceledException if any action's item is being changed by another transaction."""
    if any(locked):
        raise cancelled([_reason("TransactionConflict", _CONFLICT) if one else None for one in locked])


def conflict() -> ApiError:
    """What a single write gets whose item is being changed by a transaction."""
    return ApiError("TransactionConflictException", _CONFLICT)


def cancelled(reasons: list[dict[str, Any] | None]) -> ApiError:
    """TransactionCanceledException; None where an action would have gone through."""
    listed = [reason or {"Code": "None"} for reason in reasons]
    codes = ", ".join(reason["Code"] for reason in listed)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return ApiError("TransactionCanceledException", message, fields={"CancellationReasons": listed})


def each(work: Callable[[Any], Any], actions: Iterable[Any]) -> list[Any]:
    """``work`` of every action; if any refuse, TransactionCanceledException with the reasons of all."""
    results: list[Any] = []
    reasons: list[dict[str, Any] | None] = []
    for action in actions:
        try:
            results.append(work(action))
            reasons.append(None)
        except ApiError as error:
            reasons.append(_reason_of(error))
    if any(reasons):
        raise cancelled(reasons)
    return results


def _reason_of(error: ApiError) -> dict[str, Any]:
    if error.name == CONDITION_FAILED:
        return _reason("ConditionalCheckFailed", error.message) | (error.fields or {})
    if error.name in _THROTTLED:
        return _reason(_THROTTLED[error.name], error.message)
    if error.name != "ValidationException" or error.message.startswith(_NOT_VALID):
        raise error
    return _reason("ValidationError", error.message)


def _reason(code: str, message: str) -> dict[str, Any]:
    return {"Code": code, "Message": message}


def _members(request: dict[str, Any], kinds: tuple[str, ...], one_of: str) -> list[tuple[str, dict[str, Any]]]:
    given: list[tuple[str, dict[str, Any]]] = []
    for member in request["TransactItems"]:
        found = [kind for kind in kinds if member.get(kind) is not None]
        if len(found) != 1:
            raise validation(one_of)
        given.append((found[0], member[found[0]]))
    return given


def _refuse_duplicates(items: Iterable[tuple[str, Key]]) -> None:
    seen: set[tuple[str, Key]] = set()
    for item in items:
        if item in seen:
            raise validation("Transaction request cannot include multiple operations on one item")
        seen.add(item)


def _check_size(items: Iterable[Item | None]) -> None:
    items = list(items)
    if len(items) > _NEVER_TOO_LARGE and sum(item_bytes(item) for item in items if item) > MAX_BYTES:
        raise validation("Transaction request cannot exceed 4 MB: the items of the transaction are larger together")


def _capacity(request: dict[str, Any]) -> str | None:
    detail = request.get("ReturnConsumedCapacity")
    return detail if detail != "NONE" else None
