"""Pages of items, as Scan and Query return them: limit, 1 MB, filter, projection, capacity, where to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from lastwriter.emulator.requests.capacity import consumed
from lastwriter.emulator.requests.errors import ApiError, in_request, validation
from lastwriter.emulator.requests.expressions.compiling import compile_condition_text, projection_paths
from lastwriter.emulator.requests.expressions.conditions import Test
from lastwriter.emulator.requests.expressions.paths import Steps, projector
from lastwriter.emulator.requests.expressions.scope import Scope, Values
from lastwriter.emulator.requests.keys import Key, read_key
from lastwriter.emulator.requests.schema import TableSchema
from lastwriter.emulator.requests.sizes import item_bytes, read_units
from lastwriter.emulator.requests.values import Item, canonical_item
from lastwriter.emulator.requests.views import View

PAGE_BYTES: Final = 1024 * 1024
"""A page ends before the item that would take it past this."""


@dataclass(slots=True)
class Paging:
    """What a request says about its pages."""

    view: View
    consistent: bool
    limit: int | None
    counts: bool
    """Only the count is wanted."""
    whole: bool
    """ALL_ATTRIBUTES of a local index: fetched from the table."""
    select: Callable[[Item], Item] | None
    passes: Test | None
    """The filter."""
    values: Values
    capacity: str | None
    charge: Callable[[float], None] | None = None
    """Told what a page costs, where throttling is on."""

    def page(self, items: Iterable[Item]) -> dict[str, Any]:
        """The page of ``items``, which begin after ExclusiveStartKey and come in order."""
        found: list[Item] = []
        scanned = size = 0
        last: Item | None = None
        more = False
        for item in items:
            entry = self.view.entry(item)
            entry_bytes = item_bytes(item if self.whole else entry)
            if scanned == self.limit or (scanned and size + entry_bytes > PAGE_BYTES):
                more = True
                break
            scanned += 1
            size += entry_bytes
            last = entry
            if self.passes is None or self.passes(entry, self.values):
                found.append(item if self.whole else entry)
        body: dict[str, Any] = {"Count": len(found), "ScannedCount": scanned}
        if not self.counts:
            body["Items"] = found if self.select is None else [self.select(item) for item in found]
        if last is not None and (more or scanned == self.limit):
            body["LastEvaluatedKey"] = {name: last[name] for name in self.view.start_names}
        if self.charge is not None:
            self.charge(read_units(size, consistent=self.consistent))
        if self.capacity is not None:
            units = read_units(size, consistent=self.consistent)
            body["ConsumedCapacity"] = consumed(self.view.schema.name, units, self.capacity, self.view.index)
        return body


def paging(request: dict[str, Any], view: View, scope: Scope, passes: Test | None, paths: list[Steps] | None) -> Paging:
    """The paging of a request whose parameters and expressions have been checked."""
    capacity = request.get("ReturnConsumedCapacity")
    return Paging(
        view=view,
        consistent=bool(request.get("ConsistentRead")),
        limit=int(request["Limit"]) if request.get("Limit") is not None else None,
        counts=request.get("Select") == "COUNT",
        whole=request.get("Select") == "ALL_ATTRIBUTES" and not view.projects_all,
        select=projector(paths) if paths is not None else None,
        passes=passes,
        values=scope.values,
        capacity=capacity if capacity != "NONE" else None,
    )


def compile_filter(request: dict[str, Any], scope: Scope) -> tuple[Test | None, list[Steps]]:
    """The filter of a request, and the paths that it reads."""
    text = request.get("FilterExpression")
    return compile_condition_text("FilterExpression", text, scope) if text is not None else (None, [])


def projected(request: dict[str, Any], scope: Scope) -> list[Steps] | None:
    """The paths that a read asks for; None for whole items."""
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


def canonical_start(operation: str, request: dict[str, Any]) -> Item | None:
    """ExclusiveStartKey in canonical form."""
    start = request.get("ExclusiveStartKey")
    if start is None:
        return None
    try:
        return canonical_item(start)
    except ApiError as error:
        if error.name != "ValidationException" or (operation == "Query" and error.in_request):
            raise
        raise in_request(f"{_INVALID_START}: {error.message}") from None


def start_key(start: Item, view: View) -> Key:
    """The table's primary key in ExclusiveStartKey; ApiError if it does not fit the table or the index."""
    schema: TableSchema = view.schema
    if view.index is not None:
        if start.keys() != set(view.start_names):
            raise validation(_INVALID_START)
        if not view.holds(start):
            raise validation("The provided key element does not match the schema")
        start = {name: start[name] for name in schema.key_names}
    try:
        return read_key(start, schema)[0]
    except ApiError as error:
        raise validation(f"{_INVALID_START}: {error.message}") from None


_INVALID_START: Final = "The provided starting key is invalid"
