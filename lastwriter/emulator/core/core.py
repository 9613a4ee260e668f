"""The emulator without sockets or clock: requests and time in, replies out.

Theory of operation
-------------------
1. :class:`Core` is a function of what it is given: requests with the time they arrive, the passing of time, faults, a
   seed. The same calls give the same replies, so thousands of schedules run in virtual time, and a failing one can be
   run again.
2. ``handle`` takes one request and the time; ``on_timer`` takes the time. Both first run everything that is due by
   then, in order, and return *effects*: replies, each with the handle that its request came with. A reply may come at
   once, from a later call, or never (its Region went down: that is the caller's to say). ``pass_time``, ``accept`` and
   ``take_replies`` are the parts of which they are made, for requests that come together.
3. ``next_ns`` is when ``on_timer`` wants to be called; being late delays what is due and reorders nothing.
4. The tables' engines (:mod:`~lastwriter.emulator.core.mrec`, :mod:`~lastwriter.emulator.core.mrsc`) share one
   :class:`~lastwriter.emulator.core.environment.Environment`; they know nothing of each other, of HTTP, or of table
   names.
5. At zero latency everything happens inside ``handle``, without the heap of timers.

Known wart: a request is judged when it arrives and its reply takes the client's whole round trip; the half of it
before the request arrives is not drawn separately.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from lastwriter.emulator.core.bugs import engines
from lastwriter.emulator.core.environment import Environment, Handle, Records, Reply
from lastwriter.emulator.core.gathering import Gathering
from lastwriter.emulator.core.members import Serving
from lastwriter.emulator.core.metered import meter_batch, meter_pages, metered_get, metered_write
from lastwriter.emulator.core.network import Network, RoundTrip
from lastwriter.emulator.core.roundtrips import round_trip_ns
from lastwriter.emulator.core.scheduler import Scheduler
from lastwriter.emulator.core.tables import ControlPlane
from lastwriter.emulator.requests.batches import BatchGet, BatchWrite
from lastwriter.emulator.requests.errors import ApiError, table_not_found
from lastwriter.emulator.requests.operations import (
    Get,
    TableSchema,
    Write,
    check_request,
    compile_get,
    compile_query,
    compile_scan,
    compile_write,
    table_name,
)
from lastwriter.emulator.requests.reads import CompiledQuery, CompiledScan
from lastwriter.emulator.requests.validators import check_shape
from lastwriter.emulator.settings import Settings
from lastwriter.emulator.shell.ailments import Ailments

WRITES: Final = ("PutItem", "UpdateItem", "DeleteItem")
_LIMIT: Final = 2000
"""Events a call runs at most, so that a backlog that comes due at once does not hold up everybody's requests."""

Run = Callable[[str, dict[str, Any], Handle], None]


class Core:
    """Every Region of one emulator."""

    def __init__(
        self,
        regions: tuple[str, ...],
        settings: Settings | None = None,
        *,
        now_ns: int = 0,
        wall: Callable[[], float] = lambda: 0.0,
        round_trip: RoundTrip = round_trip_ns,
        bugs: Mapping[str, int] | None = None,
        records: Records | None = None,
    ) -> None:
        """``records``: where changes are told that are to outlive the process."""
        settings = settings or Settings()
        self.regions = regions
        self.scheduler = Scheduler(now_ns)
        self.network = Network(regions, round_trip, settings.latency_scale)
        self.environment = Environment(self.scheduler, self.network, random.Random(settings.seed), settings)
        self.environment.records = records
        self.control = ControlPlane(self.environment, regions, wall, engines(bugs or {}, records is not None))
        self._serving = self.control.serving
        self.ailments = Ailments(self.environment, self._partition_key)
        self._ailing = self.ailments.regions
        self.transactions = {
            region: self.control.engines.transactions(self.environment, region, serving, wall)
            for region, serving in self._serving.items()
        }
        self._run: dict[str, Run] = {
            **{name: self._on_write(name) for name in WRITES},
            "GetItem": self._get,
            "Scan": self._on_read("Scan", compile_scan),
            "Query": self._on_read("Query", compile_query),
            "BatchGetItem": self._batch_get,
            "BatchWriteItem": self._batch_write,
            "TransactGetItems": lambda region, request, handle: self.transactions[region].get(request, handle),
            "TransactWriteItems": lambda region, request, handle: self.transactions[region].write(request, handle),
            **{name: self._on_table(name, call) for name, call in self.control.operations.items()},
        }

    # -- what goes in and comes out

    def handle(self, region: str, operation: str, request: dict[str, Any], handle: Handle, now_ns: int) -> list[Reply]:
        """One request at ``region``; ``operation`` as in X-Amz-Target, without the prefix."""
        self.pass_time(now_ns)
        self.accept(region, operation, request, handle)
        return self.take_replies()

    def on_timer(self, now_ns: int) -> list[Reply]:
        """Let time pass."""
        self.pass_time(now_ns)
        return self.take_replies()

    def pass_time(self, now_ns: int) -> None:
        """As :meth:`on_timer`; replies wait to be taken."""
        self.scheduler.advance(now_ns, _LIMIT)

    def accept(self, region: str, operation: str, request: dict[str, Any], handle: Handle) -> None:
        """As :meth:`handle`, without the passing of time; replies wait to be taken."""
        if region in self._ailing:
            handle = self.ailments.suffer(region, operation, request, handle)
            if handle is None:
                return
        try:
            run = self._run.get(operation)
            if run is None:
                raise ApiError("UnknownOperationException", "")
            run(region, request, handle)
        except ApiError as error:
            self.environment.refuse(handle, error)
        if self.scheduler.ready:
            self.scheduler.settle()

    def take_replies(self) -> list[Reply]:
        """The replies since the last call."""
        return self.environment.take_replies()

    @property
    def next_ns(self) -> int | None:
        """When :meth:`on_timer` has something to do; None: when there is another request."""
        return self.scheduler.next_ns

    def use(self, settings: Settings) -> None:
        """Go by other settings from now on; what is under way keeps its times."""
        self.environment.use(settings)
        self.network.rescale(settings.latency_scale)
        self.control.use()

    # -- operations

    def _on_write(self, operation: str) -> Run:
        serving = self._serving

        def run(region: str, request: dict[str, Any], handle: Handle) -> None:
            try:
                table = serving[region][request["TableName"]]
            except (KeyError, TypeError):
                table = self._find(region, operation, request)
            write: Write = compile_write(operation, request, table.schema)
            if table.store.meter is not None:
                write = metered_write(table, write)
            table.engine.write(table.store, write, handle)

        return run

    def _get(self, region: str, request: dict[str, Any], handle: Handle) -> None:
        try:
            table = self._serving[region][request["TableName"]]
        except (KeyError, TypeError):
            table = self._find(region, "GetItem", request)
        get: Get = compile_get(request, table.schema)
        if table.store.meter is not None:
            get = metered_get(table, get)
        table.engine.get(table.store, get, handle)

    def _on_read(
        self, operation: str, compile_read: Callable[[dict[str, Any], TableSchema], CompiledScan | CompiledQuery]
    ) -> Run:
        def run(region: str, request: dict[str, Any], handle: Handle) -> None:
            table = self._find(region, operation, request)
            read = compile_read(request, table.schema)
            if table.store.meter is not None:
                meter_pages(table, read)
            table.engine.read(table.store, partial(read.reply, table.arranged), read.consistent, handle)

        return run

    def _batch_get(self, region: str, request: dict[str, Any], handle: Handle) -> None:
        batch = BatchGet(request, partial(self._schema, region))
        gathering = Gathering(self.environment, handle, len(batch.tables), batch.finish)
        for part, gets in zip(gathering.parts, batch.tables, strict=True):
            table = self._serving[region][gets.table]
            if table.store.meter is not None:
                meter_batch(table, gets)
            table.engine.read(table.store, partial(gets.look, table.store), gets.consistent, part)

    def _batch_write(self, region: str, request: dict[str, Any], handle: Handle) -> None:
        batch = BatchWrite(request, partial(self._schema, region))
        gathering = Gathering(self.environment, handle, len(batch.writes), batch.finish)
        for part, one in zip(gathering.parts, batch.writes, strict=True):
            table = self._serving[region][one.table]
            try:
                write = one.write if table.store.meter is None else metered_write(table, one.write)
                table.engine.write(table.store, write, part)
            except ApiError as error:
                self.environment.refuse(part, error)

    def _on_table(self, operation: str, call: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Run:
        def run(region: str, request: dict[str, Any], handle: Handle) -> None:
            check_shape(operation, request)
            self.environment.answer(handle, call(region, request))
            self.control.note()

        return run

    def _find(self, region: str, operation: str, request: dict[str, Any]) -> Serving:
        try:
            table = self._serving[region].get(table_name(request))
        except ApiError:
            check_shape(operation, request)  # names what else is wrong as well
            raise
        if table is None:
            check_request(operation, request)
            raise table_not_found()
        return table

    def _partition_key(self, region: str, request: dict[str, Any]) -> str | None:
        """Of the one item that a request is for, as text."""
        name, key = request.get("TableName"), request.get("Key", request.get("Item"))
        table = self._serving[region].get(name) if isinstance(name, str) else None
        value = key.get(table.schema.key_names[0]) if table is not None and isinstance(key, dict) else None
        return str(next(iter(value.values()))) if isinstance(value, dict) and value else None

    def _schema(self, region: str, name: str) -> TableSchema:
        table = self._serving[region].get(name)
        if table is None:
            raise table_not_found()
        return table.schema
