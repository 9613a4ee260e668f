"""Requests on one table as pure functions: compile once, then judge items with it.

``compile_*`` raises :class:`~lastwriter.emulator.requests.errors.ApiError` for what is wrong with the request itself.
What comes back knows nothing of replicas, time or sockets: the core decides which version of an item it is applied to,
and how often. Items are never mutated, so they can be shared by replicas and journals.
"""

from __future__ import annotations

from typing import Any, Protocol

from lastwriter.emulator.core.arranged import Arranged
from lastwriter.emulator.requests.keys import Key, key_of
from lastwriter.emulator.requests.parameters import table_name
from lastwriter.emulator.requests.reads import compile_get, compile_query, compile_scan, judge_get, judge_read
from lastwriter.emulator.requests.schema import TableSchema, TableSettings, parse_create_table
from lastwriter.emulator.requests.values import Item
from lastwriter.emulator.requests.writes import compile_write, judge_write

__all__ = [
    "Get",
    "Item",
    "Key",
    "Read",
    "TableSchema",
    "TableSettings",
    "Write",
    "check_request",
    "compile_get",
    "compile_query",
    "compile_scan",
    "compile_write",
    "item_key",
    "parse_create_table",
    "table_name",
]


class Write(Protocol):
    """A compiled PutItem, UpdateItem or DeleteItem."""

    key: Key

    @property
    def has_condition(self) -> bool:
        """Whether the request carries a condition."""

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


class Read(Protocol):
    """A compiled Scan or Query."""

    consistent: bool

    def reply(self, arranged: Arranged) -> dict[str, Any]:
        """One page of the replica."""


def check_request(operation: str, request: dict[str, Any]) -> None:
    """ApiError for what is wrong with a request whatever its table: DynamoDB says that before it misses the table."""
    if operation == "GetItem":
        judge_get(request)
    elif operation in ("Scan", "Query"):
        judge_read(operation, request)
    else:
        judge_write(operation, request)


def item_key(item: Item, schema: TableSchema) -> Key:
    """Primary key of a stored item."""
    return key_of(item, schema)
