"""ConsumedCapacity in replies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lastwriter.emulator.schema import IndexSchema


def consumed(table: str, units: float, detail: str, index: IndexSchema | None = None) -> dict[str, Any]:
    """``detail`` is ReturnConsumedCapacity, TOTAL or INDEXES; ``index`` what was read instead of the table."""
    body: dict[str, Any] = {"TableName": table, "CapacityUnits": units}
    if detail == "INDEXES":
        body["Table"] = {"CapacityUnits": units if index is None else 0.0}
        if index is not None:
            kind = "GlobalSecondaryIndexes" if index.is_global else "LocalSecondaryIndexes"
            body[kind] = {index.name: {"CapacityUnits": units}}
    return body


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
