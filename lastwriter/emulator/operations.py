"""Requests on one table as pure functions: compile once, then judge items with it.

``compile_*`` raises :class:`~lastwriter.emulator.errors.ApiError` for what is wrong with the request itself. What comes
back knows nothing of replicas, time or sockets: the core decides which version of an item it is applied to, and how often.
Items are never mutated, so they can be shared by replicas and journals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from lastwriter.emulator.schema import TableSchema

Item = dict[str, dict[str, Any]]
"""Attribute name → DynamoDB-JSON value. Never mutated once it has been stored or returned."""

Key = Any
"""Primary key: str, int, Decimal or bytes; with a sort key a pair of those. Hashable; sorts as DynamoDB sorts."""


class Write(Protocol):
    """A compiled PutItem, UpdateItem or DeleteItem."""

    key: Key
    has_condition: bool

    def evaluate(self, current: Item | None) -> Item | None:
        """The new item (None: absent afterwards).

        Raises ConditionalCheckFailedException, with ``Item`` if the request asks for it, and ValidationException for an
        update that does not fit the item.
        """

    def reply(self, old: Item | None, new: Item | None) -> dict[str, Any]:
        """Body of the reply, once ``new = evaluate(old)`` has taken effect."""


class Get(Protocol):
    """A compiled GetItem."""

    key: Key
    consistent: bool

    def reply(self, item: Item | None) -> dict[str, Any]:
        """Body of the reply for the item as the replica has it."""


class Scan(Protocol):
    """A compiled Scan."""

    consistent: bool

    def reply(self, items: Iterable[tuple[Key, Item]]) -> dict[str, Any]:
        """One page, out of all items of the replica in any order."""


def table_name(request: Mapping[str, Any]) -> str:
    """The request's TableName; ApiError if it is missing or no name."""
    raise NotImplementedError


def compile_write(operation: str, request: dict[str, Any], schema: TableSchema) -> Write:
    """PutItem, UpdateItem or DeleteItem on the table."""
    raise NotImplementedError


def compile_get(request: dict[str, Any], schema: TableSchema) -> Get:
    """GetItem on the table."""
    raise NotImplementedError


def compile_scan(request: dict[str, Any], schema: TableSchema) -> Scan:
    """Scan of the table."""
    raise NotImplementedError


def item_key(item: Item, schema: TableSchema) -> Key:
    """Primary key of a stored item."""
    raise NotImplementedError
