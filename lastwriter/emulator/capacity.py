"""ConsumedCapacity in replies."""

from __future__ import annotations

from typing import Any


def consumed(table: str, units: float, detail: str) -> dict[str, Any]:
    """``detail`` is ReturnConsumedCapacity: TOTAL or INDEXES."""
    body: dict[str, Any] = {"TableName": table, "CapacityUnits": units}
    if detail == "INDEXES":
        body["Table"] = {"CapacityUnits": units}
    return body
