"""What a Scan or Query goes through: the table itself, or an index of it."""

from __future__ import annotations

from typing import Any

from lastwriter.emulator.requests.errors import validation
from lastwriter.emulator.requests.keys import Key
from lastwriter.emulator.requests.order import hash_of
from lastwriter.emulator.requests.schema import IndexSchema, KeyAttribute, TableSchema
from lastwriter.emulator.requests.values import Item, sortable

Place = tuple[Any, ...]
"""Where an item stands in a view: hash of the partition key, partition key, sort key (None without one), and in an
index the item's primary key. A shorter tuple stands before all that begin with it."""


class View:
    """A table (``index`` None) or one of its indexes."""

    def __init__(self, schema: TableSchema, index: IndexSchema | None) -> None:
        self.schema = schema
        self.index = index
        self.keys: tuple[KeyAttribute, ...] = schema.keys if index is None else index.keys
        names = [*schema.key_names, *(key.name for key in self.keys)]
        self.start_names = tuple(dict.fromkeys(names))
        """Attributes of ExclusiveStartKey and LastEvaluatedKey."""

    @property
    def is_global_index(self) -> bool:
        """Whether it is read on its own, only eventually consistent."""
        return self.index is not None and self.index.is_global

    @property
    def projects_all(self) -> bool:
        """Whether whole items can be read from it."""
        return self.index is None or self.index.projection["ProjectionType"] == "ALL"

    def holds(self, item: Item) -> bool:
        """An index holds only items that have its keys, of its types."""
        if self.index is None:
            return True
        return all(key.name in item and key.type in item[key.name] for key in self.keys)

    def entry(self, item: Item) -> Item:
        """What the view has of an item that it holds."""
        if self.projects_all:
            return item
        assert self.index is not None
        kept = {*self.start_names, *(self.index.projection.get("NonKeyAttributes") or ())}
        return {name: value for name, value in item.items() if name in kept}

    def place(self, key: Key, item: Item) -> Place:
        """Where the item stands: by a hash of the view's partition key, then by its keys, then by the table's."""
        if self.index is None:
            partition, sort = (key, None) if self.schema.sort is None else key
            return hash_of(partition), partition, sort
        keys = self.keys
        partition = sortable(item[keys[0].name])
        sort = sortable(item[keys[1].name]) if len(keys) > 1 else None
        return hash_of(partition), partition, sort, key

    def key_at(self, place: Place) -> Key:
        """Primary key of the item that stands there."""
        if self.index is not None:
            return place[3]
        return place[1] if self.schema.sort is None else (place[1], place[2])


def view_of(request: dict[str, Any], schema: TableSchema) -> View:
    """The table or the index that the request names; ApiError if there is no such index or it cannot answer."""
    name = request.get("IndexName")
    if name is None:
        return View(schema, None)
    index = schema.index(name)
    if index is None:
        raise validation(f"The table does not have the specified index: {name}")
    if name in schema.backfilling:
        raise validation(f"Cannot read from backfilling global secondary index: {name}")
    view = View(schema, index)
    if view.is_global_index and request.get("ConsistentRead"):
        raise validation("Consistent reads are not supported on global secondary indexes")
    if view.is_global_index and request.get("Select") == "ALL_ATTRIBUTES" and not view.projects_all:
        raise validation(
            "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global "
            f"secondary index {name} because its projection type is not ALL"
        )
    return view
