"""ConsumedCapacity and ItemCollectionMetrics in replies.

Known wart: no item collection is said to be larger than 1 GB.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lastwriter.emulator.requests.schema import IndexSchema, TableSchema
from lastwriter.emulator.requests.sizes import item_bytes, write_units
from lastwriter.emulator.requests.values import Item
from lastwriter.emulator.requests.views import View


def consumed(table: str, units: float, detail: str, index: IndexSchema | None = None) -> dict[str, Any]:
    """``detail`` is ReturnConsumedCapacity, TOTAL or INDEXES; ``index`` what was read instead of the table."""
    body: dict[str, Any] = {"TableName": table, "CapacityUnits": units}
    if detail == "INDEXES":
        body["Table"] = {"CapacityUnits": units if index is None else 0.0}
        if index is not None:
            kind = "GlobalSecondaryIndexes" if index.is_global else "LocalSecondaryIndexes"
            body[kind] = {index.name: {"CapacityUnits": units}}
    return body


def consumed_by_write(schema: TableSchema, old: Item | None, new: Item | None, detail: str) -> dict[str, Any]:
    """Of a write that turned ``old`` into ``new``.

    An index costs what the change costs it (measured by the public ``dynamodb-conformance`` suite, 2026-08): nothing if
    its entry stays as it is, a write if the entry comes, goes or changes, two if the entry moves to another key. What
    costs nothing is not listed.
    """
    units = float(write_units(item_bytes(old) if old else 0, item_bytes(new) if new else 0))
    body: dict[str, Any] = {"TableName": schema.name, "CapacityUnits": units}
    arms: dict[str, Any] = {}
    for index in schema.indexes:
        of_index = index_units(schema, index, old, new)
        if of_index:
            body["CapacityUnits"] += of_index
            kind = "GlobalSecondaryIndexes" if index.is_global else "LocalSecondaryIndexes"
            arms.setdefault(kind, {})[index.name] = {"CapacityUnits": of_index}
    if detail == "INDEXES":
        body["Table"] = {"CapacityUnits": units}
        body.update(arms)
    return body


def index_units(schema: TableSchema, index: IndexSchema, old: Item | None, new: Item | None) -> float:
    """Write units of an index, of a write that turned ``old`` into ``new``."""
    view = View(schema, index)
    before = view.entry(old) if old is not None and view.holds(old) else None
    after = view.entry(new) if new is not None and view.holds(new) else None
    if before == after:
        return 0.0
    sizes = [item_bytes(entry) if entry is not None else 0 for entry in (before, after)]
    if before is not None and after is not None and any(before[key.name] != after[key.name] for key in view.keys):
        return float(sum(write_units(size, 0) for size in sizes))
    return float(write_units(*sizes))


def collection_metrics(schema: TableSchema, old: Item | None, new: Item | None) -> dict[str, Any] | None:
    """ItemCollectionMetrics of a write; None for tables without local indexes, which have no collections."""
    item = new if new is not None else old
    if item is None or all(index.is_global for index in schema.indexes):
        return None
    name = schema.partition.name
    return {"ItemCollectionKey": {name: item[name]}, "SizeEstimateRangeGB": [0.0, 1.0]}


def added_up(parts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """ConsumedCapacity of several requests: one entry a table, in order of appearance."""
    tables: dict[str, dict[str, Any]] = {}
    for part in parts:
        name = part["TableName"]
        tables[name] = _sum(tables[name], part) if name in tables else part
    return list(tables.values())


def transactional(part: dict[str, Any], kind: str) -> dict[str, Any]:
    """What a part of a transaction consumes: twice as much, of ``kind`` (ReadCapacityUnits or WriteCapacityUnits)."""
    doubled = {name: transactional(value, kind) if type(value) is dict else value for name, value in part.items()}
    if "CapacityUnits" in part:
        doubled["CapacityUnits"] = doubled[kind] = 2 * part["CapacityUnits"]
    return doubled


def _sum(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    total = dict(first)
    for name, value in second.items():
        if type(value) is dict:
            total[name] = _sum(first[name], value) if name in first else value
        elif type(value) is not str:
            total[name] = first.get(name, 0) + value
    return total
