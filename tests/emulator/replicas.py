"""A replica that holds just items, for reads without replication."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lastwriter.emulator.core.arranged import Arranged, Observer
from lastwriter.emulator.requests.operations import Item, Key, TableSchema, item_key


class Replica:
    """See :class:`lastwriter.emulator.core.arranged.Store`."""

    def __init__(self) -> None:
        self.items: dict[Key, Any] = {}
        self.watcher: Observer | None = None

    def set(self, key: Key, new: Item | None) -> None:
        """Put or delete."""
        old = self.items.get(key, (None,))[-1]
        self.items[key] = (new,)
        if self.watcher is not None:
            self.watcher.changed(key, old, new)


def arranged(schema: TableSchema, items: Iterable[Item]) -> Arranged:
    """The items as reads go through them."""
    replica = Replica()
    replica.items = {item_key(item, schema): (item,) for item in items}
    return Arranged(schema, replica)
