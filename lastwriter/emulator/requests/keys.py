"""Primary keys: what identifies an item, and whether a request's key fits the table."""

from __future__ import annotations

from typing import Any, Final

from lastwriter.emulator.requests.errors import ApiError, invalid_parameter, validation
from lastwriter.emulator.requests.schema import KeyAttribute, TableSchema
from lastwriter.emulator.requests.sizes import value_bytes
from lastwriter.emulator.requests.values import Item, Value, canonical_value, sortable, type_of

Key = Any
"""Primary key: str, int, Decimal or bytes; with a sort key a pair of those. Hashable; sorts as DynamoDB sorts."""

MAX_PARTITION_KEY_BYTES: Final = 2048
MAX_SORT_KEY_BYTES: Final = 1024


def read_key(attributes: Any, schema: TableSchema) -> tuple[Key, Item]:
    """A request's ``Key``: the primary key, and its attributes in canonical form. ApiError if it does not fit."""
    if schema.text_key is not None and type(attributes) is dict and len(attributes) == 1:
        # The common case in one go: one text of harmless length.
        value = attributes.get(schema.text_key)
        if type(value) is dict and len(value) == 1:
            text = value.get("S")
            if type(text) is str and 0 < len(text) <= MAX_PARTITION_KEY_BYTES // 4:
                return text, attributes
    canonical = {name: canonical_value(value) for name, value in attributes.items()}
    if canonical.keys() != set(schema.key_names):
        raise no_match()
    for key in schema.keys:
        if key.type not in canonical[key.name]:
            raise no_match()
    check_key_sizes(canonical, schema)
    return key_of(canonical, schema), canonical


def key_of(item: Item, schema: TableSchema) -> Key:
    """Primary key of an item in canonical form that has one."""
    first = item[schema.partition.name]
    partition: Any = first["S"] if schema.partition.type == "S" else sortable(first)
    if schema.sort is None:
        return partition
    return partition, sortable(item[schema.sort.name])


def check_item_key(item: Item, schema: TableSchema) -> Key:
    """Primary key of an item to be put; ApiError if a key attribute is missing, of another type, empty or too long."""
    for key in schema.keys:
        value = item.get(key.name)
        if value is None:
            raise invalid_parameter(f"Missing the key {key.name} in the item")
        if key.type not in value:
            raise invalid_parameter(f"Type mismatch for key {key.name} expected: {key.type} actual: {type_of(value)}")
    check_key_sizes(item, schema)
    return key_of(item, schema)


def check_key_sizes(item: Item, schema: TableSchema) -> None:
    """Key values are neither empty nor too long."""
    for key in schema.keys:
        value = item[key.name]
        refuse_empty(key, value)
        if key.type != "N":
            size = value_bytes(key.type, value[key.type])
            if key is schema.partition and size > MAX_PARTITION_KEY_BYTES:
                raise invalid_parameter(
                    f"Size of hashkey has exceeded the maximum size limit of{MAX_PARTITION_KEY_BYTES} bytes"
                )
            if key is schema.sort and size > MAX_SORT_KEY_BYTES:
                raise invalid_parameter(
                    f"Aggregated size of all range keys has exceeded the size limit of {MAX_SORT_KEY_BYTES} bytes"
                )


def check_index_keys(item: Item, schema: TableSchema, before: Item | None = None) -> None:
    """Attributes that are keys of an index have the index's type, if they are there at all.

    ``before``: the item that an update starts from. What it leaves alone may be what an index does not take: an index
    made later leaves such items out, and they can still be updated.
    """
    for index in schema.indexes:
        for key in index.keys:
            value = item.get(key.name)
            if value is None or (before is not None and before.get(key.name) == value):
                continue
            if key.type not in value:
                raise invalid_parameter(
                    f"Type mismatch for Index Key {key.name} Expected: {key.type} Actual: {type_of(value)} "
                    f"IndexName: {index.name}"
                )
            if value[key.type] == "":
                kind = "string" if key.type == "S" else "binary"
                empty = f"The AttributeValue for a key attribute cannot contain an empty {kind} value."
                raise validation(
                    f"One or more parameter values are not valid. A value specified for a secondary index key is not "
                    f"supported. {empty} IndexName: {index.name}, IndexKey: {key.name}"
                    if before is None
                    else "One or more parameter values are not valid. The update expression attempted to update a "
                    f"secondary index key to a value that is not supported. {empty}"
                )


def refuse_empty(key: KeyAttribute, value: Value) -> None:
    """Key values are not empty."""
    if value[key.type] == "":
        kind = "string" if key.type == "S" else "binary"
        raise validation(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
            f"empty {kind} value. Key: {key.name}"
        )


def no_match() -> ApiError:
    """A key that lacks an attribute, or has one too many or of another type."""
    return validation("The provided key element does not match the schema")
