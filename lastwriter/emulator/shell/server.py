"""The emulator as a process: ports, the loop, its start and its end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import ssl
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from lastwriter.emulator.core.bugs import BUG, FORGETS_NS
from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.environment import RESET, Reply
from lastwriter.emulator.core.roundtrips import check_region, mrsc_regions, round_trip_ns
from lastwriter.emulator.requests import model
from lastwriter.emulator.requests.errors import ApiError, internal_error, serialization
from lastwriter.emulator.settings import Settings
from lastwriter.emulator.shell.access import Access, load_access
from lastwriter.emulator.shell.certificate import load_certificate
from lastwriter.emulator.shell.control import ControlApi
from lastwriter.emulator.shell.datadir import DataDirectory
from lastwriter.emulator.shell.durability import Memory, load
from lastwriter.emulator.shell.faultbook import FaultBook
from lastwriter.emulator.shell.http import Connection, Exchange
from lastwriter.emulator.shell.inbox import Inbox
from lastwriter.emulator.shell.metrics import CONTENT_TYPE, exposition
from lastwriter.emulator.shell.ports import Listening, Port
from lastwriter.emulator.shell.timers import Waker
from lastwriter.errors import UserError

_TARGETS: Final = {b"DynamoDB_20120810": "dynamodb", b"DynamoDBStreams_20120810": "dynamodbstreams"}
_REMEMBERED_TARGETS: Final = 256
_PARENT_POLL_S: Final = 0.5
_IDLE_S: Final = 1.0


@dataclass(frozen=True)
class EmulatorConfig:
    """What ``lastwriter emulator`` is started with."""

    regions: tuple[str, ...]
    port: int = 8000
    """Regions listen here and on the ports after it, in order, then the control port; 0: any free ports."""
    ports: tuple[int, ...] = ()
    """One for each Region and one for control, in place of ``port``."""
    host: str = "127.0.0.1"
    table: str | None = None
    """A global table to have ready at the start, partition key ``pk`` (S), on demand."""
    mode: str = "MREC"
    witness: str | None = None
    settings: Settings = field(default_factory=Settings)
    json: bool = False
    parent: int | None = None
    """Stop when this process is no longer the parent."""
    bugs: Mapping[str, int] = field(default_factory=dict)
    """Planted: see :mod:`lastwriter.emulator.core.bugs`."""
    auth: Path | None = None
    """Access keys: see :mod:`lastwriter.emulator.shell.access`. None: signatures are not looked at."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    data: Path | None = None
    """Directory in which everything survives the process; None: nothing does."""


def run(config: EmulatorConfig) -> int:
    """Serve until SIGTERM, SIGINT or the parent's end; the exit code. UserError for what the user can mend."""
    replicas = _replicas(config)
    access = load_access(config.auth, time.time) if config.auth is not None else None
    sockets = _bind(config, _tls(config))
    directory: DataDirectory | None = None
    try:
        directory = DataDirectory(config.data) if config.data is not None else None
        serving = _serve(config, replicas, sockets, access, directory)
        try:
            import uvloop
        except ImportError:
            return asyncio.run(serving)
        return uvloop.run(serving)
    finally:
        for pair in sockets:
            pair.close()
        if directory is not None:
            directory.close()


async def _serve(
    config: EmulatorConfig,
    replicas: tuple[str, ...],
    ports: list[Port],
    access: Access | None,
    directory: DataDirectory | None,
) -> int:
    server = Server(config, ports, access, directory)
    if config.table is not None and not server.has_table(config.table, replicas, config.mode, config.witness):
        server.make_table(config.table, replicas, config.mode, config.witness)
    await server.open()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _confess(config.bugs)
    _announce(config, server.endpoints, server.control_url, replicas)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    keeper = asyncio.create_task(_keep_house(server, config.parent, stop))
    await stop.wait()
    keeper.cancel()
    await server.close(config.settings.drain)
    return 0


class Server:
    """Core and sockets, on the running loop."""

    def __init__(
        self, config: EmulatorConfig, ports: list[Port], access: Access | None, directory: DataDirectory | None = None
    ) -> None:
        *data_ports, self._control_port = ports
        self.endpoints = {region: port.url for region, port in zip(config.regions, data_ports, strict=True)}
        self.control_url = self._control_port.url
        self.core = Core(
            config.regions,
            config.settings,
            now_ns=time.monotonic_ns(),
            wall=time.time,
            bugs=config.bugs,
            records=None if directory is None else [],
        )
        self.memory: Memory | None = None
        if directory is not None:
            restoring = load(directory, self.core, time.time())
            self.memory = Memory(
                directory, self.core, self._deliver, FORGETS_NS if "restart-forgets" in config.bugs else 0
            )
            restoring.start()
        self.core.control.addresses = {region: url.partition("//")[2] for region, url in self.endpoints.items()}
        self._book = FaultBook(self.core, self._clients)
        self._api = ControlApi(self.core, self._book, self.endpoints)
        self._scheduler = self.core.scheduler
        self._loop = asyncio.get_running_loop()
        self._waker = Waker(self._loop, self._on_timer)
        self.inbox = Inbox(self._loop, self._take)
        self._services = {
            region: RegionService(self, region, port, access)
            for region, port in zip(config.regions, data_ports, strict=True)
        }
        self._control = ControlService(self, self._control_port)

    def make_table(self, name: str, replicas: tuple[str, ...], mode: str, witness: str | None) -> None:
        """The table that was asked for at the start."""
        request = {
            "TableName": name,
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        }
        self.core.control.make_global(request, replicas, mode, witness)

    def has_table(self, name: str, replicas: tuple[str, ...], mode: str, witness: str | None) -> bool:
        """Whether that table is there already, from an earlier life; UserError if there is another of its name."""
        tables = [table for table in self.core.control.tables if table.schema.name == name]
        if not tables:
            return False
        found = tables[0]
        wanted = mode if len(replicas) > 1 else "one-Region"
        if found.mode != wanted or set(found.members) != set(replicas) or found.witness != witness:
            raise UserError(
                f"--table {name}: the directory has one already, {found.mode} in {', '.join(found.members)}; give "
                "another name, or leave --table out"
            )
        return True

    async def open(self) -> None:
        """Listen everywhere."""
        self._perform([])
        for service in (*self._services.values(), self._control):
            opening = service.listen()
            assert opening is not None
            await opening

    async def close(self, deadline_s: float) -> None:
        """Take no more; answer what is under way, until the deadline; close."""
        services = (*self._services.values(), self._control)
        await asyncio.sleep(0)  # what has been read is taken
        for service in services:
            service.refuse()
            for connection in list(service.connections):
                connection.finish()
        end = self._loop.time() + deadline_s
        while any(service.connections for service in services) and self._loop.time() < end:
            await asyncio.sleep(0.01)
        for service in services:
            for connection in list(service.connections):
                connection.reset()
        if self.memory is not None:
            self.memory.close()
        self._waker.close()
        await asyncio.sleep(0)

    # -- between sockets and core

    @property
    def handled(self) -> int:
        """Requests so far."""
        return sum(service.counts.requests for service in self._services.values())

    def _take(self, arrived: list[tuple[Connection, bytes]]) -> None:
        """What clients have sent since the last time. Replies leave when all of it has been taken."""
        self._pass_time()
        for connection, data in arrived:
            try:
                connection.take(data)
            except Exception:  # noqa: BLE001 - one connection's failure must not stop all others
                traceback.print_exc()
                connection.reset()
        self._perform(self.core.take_replies())

    def respond(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Hand a request of the control port on."""
        self._perform(self.core.on_timer(time.monotonic_ns()))
        answer = self._api.respond(method, path, body)
        self._perform(self.core.take_replies())
        if self.memory is not None:
            self.memory.commit()
        return answer

    def metrics(self) -> str:
        """In Prometheus's text format."""
        self._perform(self.core.on_timer(time.monotonic_ns()))
        counts = {region: service.counts for region, service in self._services.items()}
        return exposition(self.core, self._book.states(), counts)

    def _on_timer(self) -> None:
        self._pass_time()
        self._perform(self.core.take_replies())

    def _pass_time(self) -> None:
        try:
            self.core.pass_time(time.monotonic_ns())
        except Exception:  # noqa: BLE001 - one event's failure must not stop the clock for all others
            traceback.print_exc()

    def _perform(self, replies: list[Reply]) -> None:
        if self.memory is None:
            self._deliver(replies)
        else:
            self.memory.take(replies)
        due_ns = self._scheduler.next_ns
        if due_ns is not None:
            self._waker.at(due_ns)

    def _deliver(self, replies: list[Reply]) -> None:
        for exchange, status, body in replies:
            if status == 200:
                exchange.reply(200, body)
            else:
                refuse(exchange, status, body)

    def _clients(self, region: str) -> None:
        """What the Region does to its clients may have changed."""
        self._services[region].treat(self._book.clients(region))


def refuse(exchange: Exchange, status: int, body: dict[str, Any]) -> None:
    """Answer with anything but a success, or cut the connection."""
    exchange.service.counts.count(status, body)
    if status > 0:
        exchange.reply(status, body)
    elif status == RESET:
        exchange.cut()


class RegionService(Listening):
    """A Region's endpoint."""

    def __init__(self, server: Server, region: str, port: Port, access: Access | None) -> None:
        super().__init__(port)
        self._owner = server
        self._region = region
        self.inbox = server.inbox
        self._hand_on = server.core.accept
        self._access = access
        self.signed = access is not None

    def request(self, exchange: Exchange, method: bytes, path: bytes, target: bytes | None, body: bytes) -> None:
        """A request to DynamoDB."""
        if method != b"POST":
            exchange.reply(200, f"healthy: dynamodb.{self._region}.amazonaws.com ".encode())
            return
        self.counts.requests += 1
        try:
            operation = _operation(target)
            if operation is None:
                raise ApiError("UnknownOperationException", "")
            try:
                request = orjson.loads(body)
            except orjson.JSONDecodeError:
                raise serialization("") from None
            if type(request) is not dict:
                raise serialization("Unexpected field type")
            if self._access is not None:
                self._access.admit(self._region, operation, request, exchange.head)
            memory = self._owner.memory
            if memory is not None and memory.failing:
                raise internal_error()
            self._hand_on(self._region, operation, request, exchange)
        except ApiError as error:
            refuse(exchange, error.status, error.body())
        except Exception:  # noqa: BLE001 - one request's failure is a 500 for it, never the end of the emulator
            traceback.print_exc()
            refuse(exchange, 500, internal_error().body())

    def treat(self, how: str | None) -> None:
        """Serve clients (None), ``refuse`` them, or let them ``hang``."""
        self.hanging = how == "hang"
        if how == "refuse":
            self.refuse()
            for connection in list(self.connections):
                connection.reset()
        elif how == "hang":
            self.listen()
            for connection in self.connections:
                connection.hang()
        else:
            self.listen()
            for connection in list(self.connections):
                if connection.mute:
                    connection.reset()


class ControlService(Listening):
    """The control port."""

    def __init__(self, server: Server, port: Port) -> None:
        super().__init__(port)
        self._owner = server

    def request(self, exchange: Exchange, method: bytes, path: bytes, target: bytes | None, body: bytes) -> None:
        """A request to the emulator itself."""
        try:
            if (method, path) == (b"GET", b"/metrics"):
                exchange.reply(200, self._owner.metrics().encode(), CONTENT_TYPE)
                return
            exchange.reply(*self._owner.respond(method.decode("latin-1"), path.decode("latin-1"), body))
        except Exception:  # noqa: BLE001 - as for a Region
            traceback.print_exc()
            exchange.reply(500, {"message": "the emulator failed; its output says how"})


@lru_cache(_REMEMBERED_TARGETS)
def _operation(target: bytes | None) -> str | None:
    """The operation that X-Amz-Target names; None: there is none of that name at a service that is here."""
    service, _, name = (target or b"").partition(b".")
    operation = name.decode("latin-1")
    known = _TARGETS.get(service)
    return operation if known is not None and operation in model.service(known)["operations"] else None


async def _keep_house(server: Server, parent: int | None, stop: asyncio.Event) -> None:
    """Follow the parent to its end, and collect garbage when nobody would notice."""
    last = -1
    idle_s = 0.0
    while True:
        await asyncio.sleep(_PARENT_POLL_S)
        if parent is not None and os.getppid() != parent:
            stop.set()
            return
        if server.memory is not None:
            server.memory.keep_house()
        idle_s = idle_s + _PARENT_POLL_S if server.handled == last else 0.0
        if idle_s == _IDLE_S:
            gc.collect()
            gc.freeze()  # what has survived is data: looking at it again costs time and finds nothing
        last = server.handled


def _replicas(config: EmulatorConfig) -> tuple[str, ...]:
    """Regions of the table that is to be ready; UserError for Regions that there are not or that do not fit."""
    if not config.regions:
        raise UserError("an emulator needs at least one Region: --regions us-east-1,us-east-2,us-west-2")
    for region in (*config.regions, *((config.witness,) if config.witness else ())):
        check_region(region)
    twice = [region for region in config.regions if config.regions.count(region) > 1]
    if twice:
        raise UserError(f"Region {twice[0]} is named twice in --regions")
    for index, region in enumerate(config.regions):
        for other in config.regions[:index]:
            round_trip_ns(region, other)
    if config.witness and (config.table is None or config.mode != "MRSC"):
        raise UserError("--witness goes with --table NAME --mode MRSC")
    replicas = tuple(region for region in config.regions if region != config.witness)
    if config.table is not None and config.mode == "MRSC":
        together = len(replicas) + bool(config.witness)
        if together != 3 or len(replicas) < 2:
            raise UserError(
                f"MRSC takes exactly three Regions: three replicas, or two and a witness; here are {together}: "
                f"{', '.join((*replicas, *((config.witness,) if config.witness else ())))}"
            )
        for region in (*replicas, *((config.witness,) if config.witness else ())):
            if region not in mrsc_regions() and config.settings.mrsc_regions == "listed":
                raise UserError(
                    f"Region {region} is not in AWS's list for MRSC ({', '.join(mrsc_regions())}); "
                    "--set mrsc_regions=any lifts the check"
                )
    return replicas


def _tls(config: EmulatorConfig) -> ssl.SSLContext | None:
    if config.tls_certificate is None:
        if config.tls_key is not None:
            raise UserError("--tls-key goes with --tls-cert FILE, the certificate")
        return None
    return load_certificate(config.tls_certificate, config.tls_key)


def _bind(config: EmulatorConfig, tls: ssl.SSLContext | None) -> list[Port]:
    """One port for each Region, and one for control, which speaks plain HTTP."""
    ports: list[Port] = []
    names = [*config.regions, "the control port"]
    if config.ports and len(config.ports) != len(names):
        raise UserError(f"--ports takes {len(names)}: one for each Region, then one for control")
    try:
        for index, name in enumerate(names):
            wanted = config.ports[index] if config.ports else config.port + index if config.port else 0
            try:
                ports.append(Port(config.host, wanted, tls if index < len(config.regions) else None))
            except (OSError, OverflowError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise UserError(
                    f"cannot listen on {config.host}:{wanted} for {name}: {reason.lower()}; choose other ports with "
                    "--port, or --port 0 for any that are free"
                ) from None
    except UserError:
        for port in ports:
            port.close()
        raise
    return ports


def _confess(bugs: Mapping[str, int]) -> None:
    """Nobody is to take a store with planted bugs for a sound one."""
    for name in bugs:
        sys.stderr.write(f"THIS EMULATOR IS BROKEN ON PURPOSE (--bug {name}): {BUG[name].does}\n")
    sys.stderr.flush()


def _announce(config: EmulatorConfig, endpoints: dict[str, str], control: str, replicas: tuple[str, ...]) -> None:
    write: Callable[[str], object] = sys.stdout.write
    if config.json:
        write(orjson.dumps({"regions": endpoints, "control": control}).decode() + "\n")
    else:
        width = max(map(len, (*endpoints, "control")))
        for region, url in endpoints.items():
            write(f"{region:<{width}}  {url}\n")
        write(f"{'control':<{width}}  {control}\n")
        if config.table is not None:
            kind = config.mode if len(replicas) > 1 else "one-Region"
            where = f"{kind}: {', '.join(replicas)}" + (f", witness {config.witness}" if config.witness else "")
            write(f"table {config.table} is ready ({where})\n")
    sys.stdout.flush()
