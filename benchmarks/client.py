"""Operations per CPU-second of one client process: the wire client beside boto3, 50/50 GetItem and UpdateItem.

    .venv/bin/python benchmarks/client.py                 # ratios to plain boto3; the promise is ≥ 15 with recording on
    .venv/bin/python benchmarks/client.py --tls --seconds 3 --rounds 7

Every client lives in a process of its own, patched by gevent as a Locust worker is, with the same number of users. They
take turns, round after round, against one lean server in another process, so that what else the machine does hits
all of them. CPU time is the client's own (user and system), whatever the clock on the wall says.

plain boto3       one boto3 client shared by all users, as most locustfiles have it; nothing is recorded
boto3 recorded    `--client boto3`: one attempt, checksum verified, recorded by the user's table
wire              `DynamoClient.request` alone
wire recorded     the user's table: marks, row, lz4 Arrow stream written every half second
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import multiprocessing.connection
import random
import re
import signal
import socket
import ssl
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

PEER = "plain boto3"
KINDS = (PEER, "boto3 recorded", "wire", "wire recorded")
PROMISE = 15
_MARK = re.compile(rb'":op":\{"N":"(\d+)"')
REGION, TABLE = "us-east-1", "counters"
TOKEN = "IQoJb3JpZ2luX2VjE" + "Ab9/" * 200  # as long as a role's session token is

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.certificates import certificates  # noqa: E402 - the folder above is not on the path before


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="wall clock of one turn of one client")
    parser.add_argument("--users", type=int, default=10, help="greenlets; 10 is boto3's default pool of connections")
    parser.add_argument("--tls", action="store_true", help="HTTPS with certificate checks")
    parser.add_argument(
        "--endpoint", help="an endpoint with a table `counters` (an emulator's, say), not the lean server"
    )
    options = parser.parse_args()

    tls = certificates() if options.tls else None
    with contextlib.nullcontext(options.endpoint) if options.endpoint else server(tls) as endpoint:
        compare(endpoint, tls, options)


def compare(endpoint: str, tls: Path | None, options: argparse.Namespace) -> None:
    """Every kind of client in turns."""
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for kind in KINDS:
        pipes[kind], child = context.Pipe()
        context.Process(target=_client, args=(child, kind, endpoint, options.users, tls), daemon=True).start()
        child.close()  # ours, so that a client that died ends the pipe
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(options.rounds + 1):
        for kind in random.sample(KINDS, len(KINDS)):
            pipes[kind].send(options.seconds if number else 0.3)
            operations, cpu_s, failed = pipes[kind].recv()
            if failed:
                raise SystemExit(f"{kind}: {failed} operations failed, so its figure would mean nothing")
            if number:  # the first round warms up
                rates[kind].append(operations / cpu_s)
    for pipe in pipes.values():
        pipe.send(None)

    print(f"{options.users} users, {options.rounds} rounds of {options.seconds:g} s{', TLS' if options.tls else ''}")
    print(f"{'':16} {'operations per CPU-s':>22} {'µs each':>9}  ratio to {PEER}: median (lowest – highest round)")
    for kind in KINDS:
        ratios = [rate / peer for rate, peer in zip(rates[kind], rates[PEER], strict=True)]
        rate = statistics.median(rates[kind])
        print(
            f"{kind:16} {rate:22,.0f} {1e6 / rate:9.1f}  {statistics.median(ratios):5.1f} "
            f"({min(ratios):.1f} – {max(ratios):.1f})"
        )
    recorded = statistics.median(rate / peer for rate, peer in zip(rates["wire recorded"], rates[PEER], strict=True))
    print(f"{'met' if recorded >= PROMISE else 'NOT MET'}: wire recorded ≥ {PROMISE} × {PEER} (median {recorded:.1f})")


@contextlib.contextmanager
def server(tls: Path | None = None, log: Path | None = None) -> Iterator[str]:
    """The lean server in a process of its own, over HTTPS with the certificates of a folder; its endpoint.

    Its log is written when the block ends (see :func:`_serve`).
    """
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=_serve, args=(child, tls, log), daemon=True)
    process.start()
    child.close()  # ours, so that a server that died ends the pipe
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{parent.recv()}"
    except EOFError:
        raise SystemExit("the lean server did not start: its error stands above") from None
    finally:
        process.terminate()
        process.join()


def _client(
    pipe: multiprocessing.connection.Connection, kind: str, endpoint: str, users: int, tls: Path | None
) -> None:
    from gevent import monkey

    monkey.patch_all()
    import gevent
    from gevent.threadpool import ThreadPoolExecutor

    wait = ThreadPoolExecutor(1)  # the pipe is not for the hub to wait on
    with tempfile.TemporaryDirectory() as directory:
        intent_of, flush = _intents(kind, endpoint, tls, Path(directory))
        intents = [intent_of(number) for number in range(users)]
        while True:
            seconds = wait.submit(pipe.recv).result()
            if seconds is None:
                return
            counts = [[0, 0] for _ in range(users)]
            end = time.monotonic() + seconds

            def user(number: int, end: float = end, counts: list[list[int]] = counts) -> None:
                intent, count = intents[number], counts[number]
                while time.monotonic() < end:
                    count[not intent()] += 1

            def keep_flushing() -> None:
                while True:
                    gevent.sleep(0.5)
                    flush()

            flushing = gevent.spawn(keep_flushing)
            began = time.process_time()
            gevent.joinall([gevent.spawn(user, number) for number in range(users)], raise_error=True)
            cpu_s = time.process_time() - began
            flushing.kill()
            flush()
            pipe.send((sum(ok for ok, _ in counts), cpu_s, sum(bad for _, bad in counts)))


def _intents(
    kind: str, endpoint: str, tls: Path | None, directory: Path
) -> tuple[Callable[[int], Callable[[], bool]], Callable[[], None]]:
    """For each user a function that does one operation and says whether it went well; and what flushes the record."""
    from lastwriter.client.clients import make_client
    from lastwriter.client.credentials import StaticCredentials

    bundle = str(tls / "ca.pem") if tls else None
    keys = [f"counter-{number}" for number in range(100)]
    if kind == PEER:
        import boto3

        client = boto3.client(
            "dynamodb",
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",
            aws_session_token=TOKEN,
            verify=bundle,
        )

        def plain(number: int) -> Callable[[], bool]:
            turns = itertools.count(number)

            def intent() -> bool:
                turn = next(turns)
                key = {"pk": {"S": keys[turn % 100]}}
                if turn % 2:
                    answer = client.get_item(TableName=TABLE, Key=key, ConsistentRead=True)
                    return "Item" in answer or bool(answer["ResponseMetadata"])
                answer = client.update_item(
                    TableName=TABLE,
                    Key=key,
                    UpdateExpression="SET #p = if_not_exists(#w, :none), #w = :op ADD v :v",
                    ExpressionAttributeNames={"#p": "_p", "#w": "_w"},
                    ExpressionAttributeValues={":none": {"N": "-1"}, ":op": {"N": str(turn)}, ":v": {"N": "1"}},
                    ReturnValues="ALL_NEW",
                )
                return "Attributes" in answer

            return intent

        return plain, lambda: None
    credentials = StaticCredentials("AKIDEXAMPLE", "secret", TOKEN)
    ours = make_client("wire" if kind.startswith("wire") else "boto3", endpoint, REGION, credentials, 5.0, bundle)
    if kind == "wire":

        def bare(number: int) -> Callable[[], bool]:
            turns = itertools.count(number)

            def intent() -> bool:
                turn = next(turns)
                key = {"pk": {"S": keys[turn % 100]}}
                if turn % 2:
                    return (
                        ours.request("GetItem", {"TableName": TABLE, "Key": key, "ConsistentRead": True}).error is None
                    )
                body = {
                    "TableName": TABLE,
                    "Key": key,
                    "UpdateExpression": "SET #p = if_not_exists(#w, :none), #w = :op ADD v :v",
                    "ExpressionAttributeNames": {"#p": "_p", "#w": "_w"},
                    "ExpressionAttributeValues": {":none": {"N": "-1"}, ":op": {"N": str(turn)}, ":v": {"N": "1"}},
                    "ReturnValues": "ALL_NEW",
                }
                return ours.request("UpdateItem", body).error is None

            return intent

        return bare, lambda: None

    from lastwriter.client.key_codes import KeyCodes
    from lastwriter.client.recorder import Recorder
    from lastwriter.client.table import Table

    recorder = Recorder(directory / "worker-0.arrow", 0)
    codes, processes = KeyCodes(recorder, ()), itertools.count()

    def recorded(number: int) -> Callable[[], bool]:
        turns = itertools.count(number)
        table = Table(recorder, ours, TABLE, REGION, "counters", processes, codes)

        def intent() -> bool:
            turn = next(turns)
            key = keys[turn % 100]
            return (table.get(key) if turn % 2 else table.add(key)).ok

        return intent

    return recorded, recorder.flush


def _serve(pipe: multiprocessing.connection.Connection, tls: Path | None, log: Path | None = None) -> None:
    """The least that is a DynamoDB endpoint: the same two answers for ever, with their checksums.

    With ``log``, every update's mark and when the request had arrived and its answer was written (monotonic
    nanoseconds) are there as an array when SIGTERM ends it. A request has arrived when the kernel has it: how long this
    process then has to wait for a processor is the server's slowness, and none that the client may be blamed for.
    """
    import uvloop

    from lastwriter.client.arrival import Arrival

    seen: list[tuple[int, int, int]] = []

    def reply(body: dict[str, Any]) -> bytes:
        data = json.dumps(body).encode()
        head = (
            "HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\n"
            f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(data)}\r\nConnection: keep-alive\r\n"
            f"x-amzn-RequestId: {'0123456789ABCDEF' * 3}VV4KQNSO5AEMVJF66Q9ASUAAJG\r\n"
            f"x-amz-crc32: {zlib.crc32(data)}\r\n\r\n"
        )
        return head.encode() + data

    item = {
        "pk": {"S": "counter-17"},
        "v": {"N": "12345"},
        "_w": {"N": "281474976710999"},
        "_p": {"N": "281474976710998"},
    }
    get, update = reply({"Item": item}), reply({"Attributes": item})

    class Lean(asyncio.Protocol):
        def __init__(self) -> None:
            self.buffer = b""

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.find(b"\r\ncontent-length:") + 17
            length = int(head[at : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else end])
            if len(self.buffer) < end + 4 + length:
                return
            whole, self.buffer = self.buffer, b""
            if log is not None and (mark := _MARK.search(whole, end)):
                seen.append((int(mark[1]), self.came_ns, time.monotonic_ns()))
            self.transport.write(get if b".getitem" in head else update)

    class Stamped(Lean):
        """Reads by itself, for uvloop does not hand out what the kernel says of arrivals."""

        def __init__(self, sock: socket.socket) -> None:
            super().__init__()
            self.sock, self.arrival = sock, Arrival.of(sock)
            self.transport = self
            self.write = sock.send

        def ready(self) -> None:
            if self.arrival is None:
                data, self.came_ns = self.sock.recv(65536), time.monotonic_ns()
            else:
                data, self.came_ns = self.arrival.receive(0)
            if data:
                self.data_received(data)
            else:
                asyncio.get_running_loop().remove_reader(self.sock)
                self.sock.close()

    async def accept_for_ever(listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            loop.add_reader(sock, Stamped(sock).ready)

    async def serve_stamped(over: asyncio.Event) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            listener.setblocking(False)
            accepting = asyncio.ensure_future(accept_for_ever(listener))
            pipe.send(listener.getsockname()[1])
            await over.wait()
            accepting.cancel()

    async def serve() -> None:
        over = asyncio.Event()
        if log is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
            await serve_stamped(over)
            return
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "server.pem", tls / "server.key")
        listening = await asyncio.get_running_loop().create_server(Lean, "127.0.0.1", 0, ssl=context)
        pipe.send(listening.sockets[0].getsockname()[1])
        await over.wait()

    uvloop.run(serve())
    if log is not None:
        np.save(log, np.array(seen, np.int64))


if __name__ == "__main__":
    main()
