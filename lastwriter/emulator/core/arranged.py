"""A replica's items in the order in which Scan and Query meet them, and its secondary indexes.

Rules
-----
1. The order of a table, or of a local index, is worked out when it is first read, and kept from then on: a table that
   is only read by key costs nothing here, and a page costs what is in it, not what is in the table.
2. A local index shows what the replica has, at once.
3. A global index is a table of its own that follows: it holds a reference to each item that has its keys, and takes a
   change ``index_delay`` after the replica has. Changes reach it in the order in which the replica had them.
4. ``watcher`` of the replica is who has to be told of changes; None as long as nobody ever was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from lastwriter.emulator.core.ordered import Ordered
from lastwriter.emulator.requests.keys import Key
from lastwriter.emulator.requests.schema import IndexSchema, TableSchema
from lastwriter.emulator.requests.values import Item
from lastwriter.emulator.requests.views import Place, View

Version = tuple[Any, ...]
"""A version of an item, the item last (None: deleted)."""
Later = Callable[[Callable[[Key, Item | None], None], Key, Item | None], None]
"""Call this with these two once the indexes' delay is over."""


class Observer(Protocol):
    """Wants to know what changes in a replica."""

    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        """The replica had ``old`` and has ``new``."""


class Store(Protocol):
    """A replica."""

    items: dict[Key, Any]
    """Key → version of it, the item last."""
    watcher: Observer | None


class Rows:
    """The items that a table or an index shows, in order."""

    __slots__ = ("_items", "_order", "view")

    def __init__(self, view: View, items: Mapping[Key, Version]) -> None:
        self.view = view
        self._items = items
        self._order = Ordered(
            view.place(key, version[-1])
            for key, version in items.items()
            if version[-1] is not None and view.holds(version[-1])
        )

    def __len__(self) -> int:
        return len(self._order)

    def between(self, low: Place, high: Place, *, forward: bool = True) -> Iterator[Item]:
        """Items with low <= place < high, in order, or backwards."""
        key_at, items = self.view.key_at, self._items
        order = self._order
        for place in order.between(low, high) if forward else order.backwards(low, high):
            yield items[key_at(place)][-1]

    def change(self, key: Key, old: Item | None, new: Item | None) -> None:
        """What was ``old`` in the items given is ``new`` there."""
        view = self.view
        before = view.place(key, old) if old is not None and view.holds(old) else None
        after = view.place(key, new) if new is not None and view.holds(new) else None
        if before != after:
            if before is not None:
                self._order.remove(before)
            if after is not None:
                self._order.add(after)


class GlobalIndex:
    """A global index of one replica: what it holds, which may be behind."""

    __slots__ = ("_entries", "rows")

    def __init__(self, view: View, items: Mapping[Key, Version]) -> None:
        self._entries: dict[Key, tuple[Item]] = {
            key: (version[-1],) for key, version in items.items() if version[-1] is not None and view.holds(version[-1])
        }
        self.rows = Rows(view, self._entries)

    def follow(self, key: Key, new: Item | None) -> None:
        """The replica has ``new`` under that key."""
        entries = self._entries
        held = entries.get(key)
        old = held[0] if held is not None else None
        if new is None or not self.rows.view.holds(new):
            entries.pop(key, None)
            new = None
        else:
            entries[key] = (new,)
        self.rows.change(key, old, new)


class Arranged:
    """What reads of a replica in order go through."""

    def __init__(self, schema: TableSchema, store: Store, later: Later | None = None) -> None:
        self._schema = schema
        self._store = store
        self._later = later
        self._at_once: dict[str | None, Rows] = {}
        self._behind: dict[str, GlobalIndex] = {}
        self._observers: list[Observer] = []
        for index in schema.indexes:
            if index.is_global:
                self.add(index)

    def rows(self, index: IndexSchema | None) -> Rows:
        """Of the table (None) or of one of its indexes."""
        if index is not None and index.is_global:
            return self._behind[index.name].rows
        name = None if index is None else index.name
        rows = self._at_once.get(name)
        if rows is None:
            rows = self._at_once[name] = Rows(View(self._schema, index), self._store.items)
            self._watch()
        return rows

    def add(self, index: IndexSchema) -> None:
        """Fill a global index with what the replica has, and let it follow."""
        self._behind[index.name] = GlobalIndex(View(self._schema, index), self._store.items)
        self._watch()

    def remove(self, name: str) -> None:
        """Drop a global index."""
        self._behind.pop(name, None)

    def observe(self, observer: Observer) -> None:
        """Tell ``observer`` of every change from now on."""
        self._observers.append(observer)
        self._watch()

    def ignore(self, observer: Observer) -> None:
        """Tell it no more."""
        self._observers.remove(observer)
        self._watch()

    @property
    def observers(self) -> list[Observer]:
        """Who is told."""
        return list(self._observers)

    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        """The replica had ``old`` and has ``new``."""
        for rows in self._at_once.values():
            rows.change(key, old, new)
        for observer in self._observers:
            observer.changed(key, old, new)
        if self._behind:
            if self._later is None:
                self._follow(key, new)
            else:
                self._later(self._follow, key, new)

    def _watch(self) -> None:
        """Be told of changes; a lone observer is told without a detour."""
        alone = len(self._observers) == 1 and not self._at_once and not self._behind
        self._store.watcher = self._observers[0] if alone else self

    def _follow(self, key: Key, new: Item | None) -> None:
        for index in self._behind.values():
            index.follow(key, new)
