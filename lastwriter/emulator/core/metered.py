"""Requests that spend units: they stand in for the compiled ones where throttling is on.

A request is let in before it is judged, and charged once it is known what it cost: a write when its reply is made or
its condition has failed, a read when its reply is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from lastwriter.emulator.core.members import Serving
from lastwriter.emulator.core.throughput import Meter
from lastwriter.emulator.requests.batches import TableGets
from lastwriter.emulator.requests.errors import CONDITION_FAILED, ApiError
from lastwriter.emulator.requests.keys import Key
from lastwriter.emulator.requests.operations import Get, Item, Write
from lastwriter.emulator.requests.reads import CompiledQuery, CompiledScan
from lastwriter.emulator.requests.sizes import item_bytes, read_units


class MeteredWrite:
    """A write. ``others``: meters of Regions that get it at the same time (MRSC)."""

    def __init__(self, write: Write, meter: Meter, others: Iterable[Meter] = (), times: int = 1) -> None:
        self.key: Key = write.key
        self.has_condition = write.has_condition
        self._write = write
        self._meter = meter
        self._others = others
        self._times = times
        self._charged = False

    def evaluate(self, current: Item | None) -> Item | None:
        """As the write does; also refused where a global index that it changes has no units left."""
        try:
            new = self._write.evaluate(current)
        except ApiError as error:
            if error.name == CONDITION_FAILED and not self._charged:  # a condition may be judged twice
                self._charged = True
                self._meter.spend_write(self.key, current, current, self._times)
            raise
        self._meter.admit_entries(current, new)
        return new

    def reply(self, old: Item | None, new: Item | None) -> dict[str, Any]:
        """As the write does."""
        self._meter.spend_write(self.key, old, new, self._times)
        for meter in self._others:
            meter.spend_write(self.key, old, new)
        return self._write.reply(old, new)


class MeteredGet:
    """A GetItem."""

    def __init__(self, get: Get, meter: Meter, times: int = 1) -> None:
        self.key: Key = get.key
        self.consistent = get.consistent
        self._get = get
        self._meter = meter
        self._times = times

    def reply(self, item: Item | None) -> dict[str, Any]:
        """As the get does."""
        units = read_units(item_bytes(item) if item else 0, consistent=self.consistent)
        self._meter.spend_read(None, self._meter.place(self.key), units * self._times)
        return self._get.reply(item)


def metered_write(table: Serving, write: Write, times: int = 1) -> MeteredWrite:
    """The write, let in; ApiError: throttled."""
    meter: Meter = table.store.meter
    meter.admit_write(write.key)
    others = ()
    if table.engine.mode == "MRSC":
        stores = table.engine.replicas.values()
        others = tuple(store.meter for store in stores if store.meter not in (None, meter))
    return MeteredWrite(write, meter, others, times)


def metered_get(table: Serving, get: Get, times: int = 1) -> MeteredGet:
    """The get, let in; ApiError: throttled."""
    meter: Meter = table.store.meter
    meter.admit_read(None, meter.place(get.key))
    return MeteredGet(get, meter, times)


def meter_batch(table: Serving, batch: TableGets) -> None:
    """Let in what there are units for; the rest is ``throttled``."""
    for at, get in enumerate(batch.gets):
        try:
            batch.gets[at] = metered_get(table, get)
        except ApiError as error:
            batch.throttled[at] = error


def meter_pages(table: Serving, read: CompiledScan | CompiledQuery) -> None:
    """Let a Scan or Query in, and charge its page; ApiError: throttled."""
    meter: Meter = table.store.meter
    index, place = read.lane
    meter.admit_read(index, place)
    read.charge(partial(meter.spend_read, index, place))
