"""ConsumedCapacity in replies."""

from __future__ import annotations

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
