"""Microseconds that the parts of one request cost in the emulator: bytes in, bytes out, without sockets.

    .venv/bin/python benchmarks/emulator_parts.py [--rounds 15] [--modes one,MREC,MRSC]

The same requests as benchmarks/emulator.py sends are fed to a connection of a whole emulator whose transport keeps what
is written; then each part is run by itself on what the part before it made. The lowest of interleaved rounds is shown:
other work on the machine can only add. What kernel and loop cost is what benchmarks/emulator.py measures besides.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

import orjson
import uvloop
from emulator import KEYS, REGIONS, requests

from lastwriter.emulator.requests.operations import compile_get, compile_write
from lastwriter.emulator.settings import Settings
from lastwriter.emulator.shell.heads import learn
from lastwriter.emulator.shell.http import Connection, Exchange
from lastwriter.emulator.shell.ports import Port
from lastwriter.emulator.shell.server import EmulatorConfig, Server

SETTINGS = Settings.parse({"latency_scale": "0%", "replicator_delay": "0ms"})


class Transport:
    """Keeps what was written last."""

    data = b""

    def write(self, data: bytes) -> None:
        """A reply."""
        self.data = data

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""


def parts(mode: str, operation: str) -> dict[str, tuple[Callable[[Any], Any], list[Any]]]:
    """Name → what to call, and the arguments to call it with one after the other."""
    regions = REGIONS if mode != "one" else REGIONS[:1]
    engine = "MRSC" if mode == "MRSC" else "MREC"
    ports = [Port("127.0.0.1", 0) for _ in range(len(regions) + 1)]
    server = Server(EmulatorConfig(regions=regions, port=0, settings=SETTINGS), ports, None)
    for port in ports:
        port.close()
    server.make_table("bench", regions, engine, None)
    service = server._services[regions[0]]
    service.inbox = None  # each request by itself
    transport = Transport()
    connection = Connection(service)
    connection.connection_made(transport)  # type: ignore[arg-type]

    def whole(data: bytes) -> None:
        connection.take(data)
        server._perform(server.core.take_replies())

    for data in requests("UpdateItem"):
        whole(data)
    raw = requests(operation)
    layout = learn(raw[0])
    assert layout is not None
    texts = [found[1] for data in raw if (found := layout.read(data))]
    assert len(texts) == KEYS
    bodies = [orjson.loads(text) for text in texts]
    core, table = server.core, server.core.control.serving[regions[0]]["bench"]

    def compiled(body: dict[str, Any]) -> Any:
        if operation == "GetItem":
            return compile_get(body, table.schema)
        return compile_write(operation, body, table.schema)

    plans = [compiled(body) for body in bodies]
    olds = [table.store.items[plan.key][-1] for plan in plans]
    measured: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
        "whole": (whole, raw),
        "head": (layout.read, raw),
        "JSON": (orjson.loads, texts),
        "compile": (compiled, bodies),
    }
    if operation == "GetItem":
        replies = [plan.reply(old) for plan, old in zip(plans, olds, strict=True)]
        measured["reply body"] = (lambda one: one[0].reply(one[1]), list(zip(plans, olds, strict=True)))
    else:
        news = [plan.evaluate(old) for plan, old in zip(plans, olds, strict=True)]
        triples = list(zip(plans, olds, news, strict=True))
        replies = [plan.reply(old, new) for plan, old, new in triples]
        measured["evaluate"] = (lambda one: one[0].evaluate(one[1]), triples)
        measured["reply body"] = (lambda one: one[0].reply(one[1], one[2]), triples)
        if engine == "MREC":

            def store(one: tuple[Any, Any, Any]) -> None:
                plan, old, new = one
                table.engine.store(table.store, plan.key, table.store.items[plan.key], old, new)

            measured["apply, stream, replicate"] = (store, triples)

    def send(body: dict[str, Any]) -> None:
        exchange = Exchange(connection, True)
        connection.exchanges.append(exchange)
        exchange.reply(200, body)

    measured["reply bytes"] = (send, replies)
    measured["core, from body to reply"] = (lambda body: core.handle(regions[0], operation, body, None, 0), bodies)
    return measured


async def run(rounds: int, modes: list[str]) -> None:
    """Measure and print."""
    cases = {(mode, operation): parts(mode, operation) for mode in modes for operation in ("UpdateItem", "GetItem")}
    gc.collect()
    gc.freeze()
    gc.disable()
    lowest: dict[tuple[str, str, str], float] = {}
    for _ in range(rounds):
        for case, measured in cases.items():
            for name, (call, arguments) in measured.items():
                began = time.perf_counter_ns()
                for argument in arguments:
                    call(argument)
                taken = (time.perf_counter_ns() - began) / len(arguments) / 1e3
                lowest[*case, name] = min(taken, lowest.get((*case, name), taken))
    for case, measured in cases.items():
        print(f"{case[0]}, {case[1]}: " + ", ".join(f"{name} {lowest[*case, name]:.1f}" for name in measured))


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--modes", default="one,MREC,MRSC")
    options = parser.parse_args()
    uvloop.run(run(options.rounds, options.modes.split(",")))


if __name__ == "__main__":
    main()
