"""BatchGetItem and BatchWriteItem: what a request may say, and how the outcomes of its parts become its reply."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from orjson import dumps

from lastwriter.emulator.core.arranged import Store
from lastwriter.emulator.core.gathering import Outcome
from lastwriter.emulator.requests.capacity import added_up
from lastwriter.emulator.requests.errors import ApiError, internal_error, serialization, validation
from lastwriter.emulator.requests.keys import Key, no_match
from lastwriter.emulator.requests.operations import Get, Write
from lastwriter.emulator.requests.parameters import check_metrics_and_capacity, table_name
from lastwriter.emulator.requests.reads import compile_get, judge_get
from lastwriter.emulator.requests.schema import TableSchema
from lastwriter.emulator.requests.sizes import item_bytes
from lastwriter.emulator.requests.validators import TABLE_ARN, detected, failed, member_failures, shown
from lastwriter.emulator.requests.writes import CompiledWrite, compile_plain

MAX_GETS: Final = 100
MAX_WRITES: Final = 25
MAX_REPLY_BYTES: Final = 16 * 1024 * 1024

_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_NAMES: Final = (
    "Map keys must satisfy constraint: [Member must have length less than or equal to 255, Member must have length "
    "greater than or equal to 3, Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+]"
)

FindSchema = Callable[[str], TableSchema]
"""Schema of the table of that name; ApiError if there is none."""

_SHARED: Final = ("ProjectionExpression", "ExpressionAttributeNames", "AttributesToGet", "ConsistentRead")


@dataclass(frozen=True, slots=True)
class TableGets:
    """What a batch reads of one table: one part."""

    given_name: str
    """As in the request: the name or the ARN."""
    table: str
    consistent: bool
    gets: list[Get]
    keys: list[dict[str, Any]]
    """As in the request."""
    shared: dict[str, Any]
    throttled: dict[int, ApiError] = field(default_factory=dict)
    """Gets that are not let in, by place."""

    def look(self, store: Store) -> dict[str, Any]:
        """What the replica shows."""
        versions = [store.items.get(get.key) for get in self.gets]
        return {"items": [version[-1] if version is not None else None for version in versions]}


class BatchGet:
    """A compiled BatchGetItem. ``tables`` are its parts."""

    def __init__(self, request: dict[str, Any], schema_of: FindSchema) -> None:
        given = _tables("BatchGetItem", request)
        failures = _name_failures(given, lambda: _as_json(given))
        failures += member_failures("BatchGetItem", request, ("ReturnConsumedCapacity",))
        if failures:
            raise detected(failures)
        self._capacity = _capacity(request)
        for name, block in given.items():
            if type(block) is not dict:
                raise serialization("Unexpected field type")
            _check_keys(name, block.get("Keys"))
        _refuse_mixture(given)
        if sum(len(block["Keys"]) for block in given.values()) > MAX_GETS:
            raise validation("Too many items requested for the BatchGetItem call")
        for name, block in given.items():  # before any table is missed
            judge_get(_get_request(name, block, block["Keys"][0], None))
        self.tables = [self._compile(name, block, schema_of) for name, block in given.items()]

    def _compile(self, name: str, block: dict[str, Any], schema_of: FindSchema) -> TableGets:
        table = table_name({"TableName": name})
        schema = schema_of(table)
        gets: list[Get] = [compile_get(_get_request(name, block, key, self._capacity), schema) for key in block["Keys"]]
        _refuse_duplicates(get.key for get in gets)
        shared = {option: block[option] for option in _SHARED if block.get(option) is not None}
        return TableGets(name, table, gets[0].consistent, gets, block["Keys"], shared)

    def finish(self, outcomes: list[Outcome]) -> dict[str, Any]:
        """The reply: what was read, as far as 16 MB go; tables that could not be read are left to be asked again."""
        responses: dict[str, list[Any]] = {}
        unprocessed: dict[str, Any] = {}
        consumed: list[dict[str, Any]] = []
        left = MAX_REPLY_BYTES
        for table, outcome in zip(self.tables, outcomes, strict=True):
            name = table.given_name
            if isinstance(outcome, ApiError):
                unprocessed[name] = {"Keys": table.keys, **table.shared}
                continue
            found = responses[name] = []
            for at, (get, key, item) in enumerate(zip(table.gets, table.keys, outcome["items"], strict=True)):
                if at in table.throttled:
                    unprocessed.setdefault(name, {"Keys": [], **table.shared})["Keys"].append(key)
                    continue
                if item is not None and left >= 0:
                    left -= item_bytes(item)
                if left < 0:
                    unprocessed.setdefault(name, {"Keys": [], **table.shared})["Keys"].append(key)
                    continue
                reply = get.reply(item)
                if "Item" in reply:
                    found.append(reply["Item"])
                if self._capacity:
                    consumed.append(reply["ConsumedCapacity"])
        if not responses:
            raise next(outcome for outcome in outcomes if isinstance(outcome, ApiError))
        if all(len(table.throttled) == len(table.gets) for table in self.tables):
            raise self.tables[0].throttled[0]
        body: dict[str, Any] = {"Responses": responses, "UnprocessedKeys": unprocessed}
        if self._capacity:
            body["ConsumedCapacity"] = added_up(consumed)
        return body


@dataclass(frozen=True, slots=True)
class BatchedWrite:
    """One put or delete of a batch: one part."""

    given_name: str
    table: str
    write: Write
    given: dict[str, Any]
    """As in the request."""


class BatchWrite:
    """A compiled BatchWriteItem. ``writes`` are its parts."""

    def __init__(self, request: dict[str, Any], schema_of: FindSchema) -> None:
        check_metrics_and_capacity("BatchWriteItem", request)
        self._capacity = _capacity(request)
        self._metrics = request.get("ReturnItemCollectionMetrics") == "SIZE"
        given = _tables("BatchWriteItem", request)
        failures = _name_failures(given, lambda: shown("BatchWriteItem", "RequestItems", given))
        if failures:
            raise detected(failures)
        for writes in given.values():
            if type(writes) is not list:
                raise serialization("Unexpected field type")
            if not 1 <= len(writes) <= MAX_WRITES:
                pairs = ", ".join(f"{name}={writes}" for name, writes in given.items())
                raise detected(
                    [
                        failed(
                            "requestItems",
                            f"{{{pairs}}}",
                            f"Map value must satisfy constraint: [Member must have length less than or equal to "
                            f"{MAX_WRITES}, Member must have length greater than or equal to 1]",
                        )
                    ]
                )
        if sum(map(len, given.values())) > MAX_WRITES:
            raise validation("Too many items requested for the BatchWriteItem call")
        kinds = {name: [_kind(write) for write in writes] for name, writes in given.items()}
        self.writes = [one for name, writes in given.items() for one in self._compile(name, writes, kinds, schema_of)]

    def _compile(
        self, name: str, writes: list[dict[str, Any]], kinds: dict[str, list[str]], schema_of: FindSchema
    ) -> list[BatchedWrite]:
        table = table_name({"TableName": name})
        schema = schema_of(table)
        compiled = [
            BatchedWrite(name, table, self._compile_one(kind, write, schema), write)
            for kind, write in zip(kinds[name], writes, strict=True)
        ]
        _refuse_duplicates(one.write.key for one in compiled)
        return compiled

    def _compile_one(self, kind: str, write: dict[str, Any], schema: TableSchema) -> CompiledWrite:
        if kind == "DeleteRequest":
            return compile_plain("DeleteItem", write[kind].get("Key"), schema, self._capacity, self._metrics)
        item = write[kind].get("Item")
        if type(item) is dict:
            for key in schema.keys:
                value = item.get(key.name)
                if type(value) is not dict or key.type not in value:
                    raise no_match()
        return compile_plain("PutItem", item, schema, self._capacity, self._metrics)

    def finish(self, outcomes: list[Outcome]) -> dict[str, Any]:
        """The reply. A write that is certain not to have happened is left to be sent again; where one may happen
        still, nothing can be said but that."""
        refused = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
        if any(error.status >= 500 for error in refused):
            raise internal_error()
        if len(refused) == len(outcomes):
            raise refused[0]
        unprocessed: dict[str, list[Any]] = {}
        metrics: dict[str, list[Any]] = {}
        consumed: list[dict[str, Any]] = []
        for one, outcome in zip(self.writes, outcomes, strict=True):
            if isinstance(outcome, ApiError):
                unprocessed.setdefault(one.given_name, []).append(one.given)
                continue
            if self._capacity:
                consumed.append(outcome["ConsumedCapacity"])
            if "ItemCollectionMetrics" in outcome:
                metrics.setdefault(one.given_name, []).append(outcome["ItemCollectionMetrics"])
        body: dict[str, Any] = {"UnprocessedItems": unprocessed}
        if metrics:
            body["ItemCollectionMetrics"] = metrics
        if self._capacity:
            body["ConsumedCapacity"] = added_up(consumed)
        return body


def _tables(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    given = request.get("RequestItems")
    if given is None:
        raise detected(["Value null at 'requestItems' failed to satisfy constraint: Member must not be null"])
    if type(given) is not dict:
        raise serialization("Unexpected field type")
    if not given and operation == "BatchGetItem":
        raise detected(
            ["Value at 'RequestItems' failed to satisfy constraint: Member must have length greater than or equal to 1"]
        )
    if not given:
        raise validation(f"The requestItems parameter is required for {operation}")
    return given


def _name_failures(given: dict[str, Any], show: Callable[[], str]) -> list[str]:
    bad = [name for name in given if TABLE_ARN.fullmatch(name) is None and _NAME.fullmatch(name) is None]
    return [failed("requestItems", show(), _NAMES)] if bad else []


def _as_json(given: dict[str, Any]) -> str:
    try:
        return dumps(given).decode()
    except TypeError:  # deeper than any value stored
        return "..."


def _refuse_mixture(given: dict[str, Any]) -> None:
    """What one table's block says excludes in another's what it excludes in its own."""
    if any(block.get("AttributesToGet") is not None for block in given.values()) and any(
        block.get("ProjectionExpression") is not None for block in given.values()
    ):
        raise validation(
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
            "{AttributesToGet} Expression parameters: {ProjectionExpression}"
        )


def _check_keys(table: str, keys: Any) -> None:
    where = f"RequestItems.{table}.member.Keys"
    if keys is None:
        raise detected([f"Value null at '{where}' failed to satisfy constraint: Member must not be null"])
    if type(keys) is not list or any(type(key) is not dict for key in keys):
        raise serialization("Unexpected field type")
    if not 1 <= len(keys) <= MAX_GETS:
        bound = "greater than or equal to 1" if not keys else f"less than or equal to {MAX_GETS}"
        raise detected([f"Value at '{where}' failed to satisfy constraint: Member must have length {bound}"])


def _get_request(table: str, block: dict[str, Any], key: dict[str, Any], capacity: str | None) -> dict[str, Any]:
    request = {"TableName": table, "Key": key, "ReturnConsumedCapacity": capacity}
    for name in _SHARED:
        if block.get(name) is not None:
            request[name] = block[name]
    return request


def _kind(write: Any) -> str:
    if type(write) is not dict:
        raise serialization("Unexpected field type")
    kinds = [kind for kind in ("PutRequest", "DeleteRequest") if write.get(kind) is not None]
    if len(kinds) != 1:
        raise validation(
            "Supplied WriteRequest is empty, must contain exactly one of the supported request types"
            if not kinds
            else "Supplied WriteRequest has more than one request type set, must contain exactly one of the supported"
        )
    if type(write[kinds[0]]) is not dict:
        raise serialization("Unexpected field type")
    return kinds[0]


def _refuse_duplicates(keys: Iterable[Key]) -> None:
    seen: set[Key] = set()
    for key in keys:
        if key in seen:
            raise validation("Provided list of item keys contains duplicates")
        seen.add(key)


def _capacity(request: dict[str, Any]) -> str | None:
    detail = request.get("ReturnConsumedCapacity")
    return detail if detail != "NONE" else None
