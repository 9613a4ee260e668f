"""An answer ended when the kernel had it, however late the loop came to read it; and never before it was there."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator

import gevent
import pytest

from lastwriter.client import arrival
from lastwriter.client.arrival import Arrival
from lastwriter.client.clients import make_client
from lastwriter.client.credentials import StaticCredentials
from tests.client.scripted_server import Request, ScriptedServer, Step, reply

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other kernels stamp otherwise, or not")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Arrival]]:
    """A peer that sends, and the arrival of what it sends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with peer, ours:
        found = Arrival.of(ours)
        assert found is not None
        ours.settimeout(5)
        # The first packet may come before the kernel has begun to stamp.
        peer.send(b"first")
        found.receive(0)
        yield peer, found


def test_what_lay_in_the_socket_arrived_when_it_was_sent(pair: tuple[socket.socket, Arrival]) -> None:
    peer, ours = pair

    def is_stamped() -> bool:
        before_ns = time.monotonic_ns()
        peer.send(b"hello")
        after_ns = time.monotonic_ns()
        time.sleep(0.02)
        data, arrived_ns = ours.receive(before_ns)
        assert data == b"hello"
        assert before_ns <= arrived_ns <= time.monotonic_ns()
        return arrived_ns <= after_ns + 1_000_000

    # Whoever is interrupted between the looks at the two clocks does without the stamp, and without the next one.
    assert any(is_stamped() for _ in range(10))


def test_of_several_pieces_the_last_counts(pair: tuple[socket.socket, Arrival]) -> None:
    peer, ours = pair
    peer.send(b"one")
    time.sleep(0.02)
    between_ns = time.monotonic_ns()
    peer.send(b"two")
    data, arrived_ns = ours.receive(0)
    assert data == b"onetwo"
    assert arrived_ns >= between_ns


@pytest.mark.parametrize("step_ns", [-3_600_000_000_000, -20_000_000, 20_000_000, 3_600_000_000_000])
def test_a_wall_clock_that_was_set_moves_nothing(
    pair: tuple[socket.socket, Arrival], step_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set by more or by less than the answer lay there: what is known then is when it was read."""
    peer, ours = pair
    peer.send(b"hello")
    time.sleep(0.05)
    wall = time.time_ns
    monkeypatch.setattr(arrival.time, "time_ns", lambda: wall() + step_ns)
    read_ns = time.monotonic_ns()
    assert ours.receive(0)[1] >= read_ns


def test_nothing_arrives_before_it_was_asked_for(pair: tuple[socket.socket, Arrival]) -> None:
    peer, ours = pair
    peer.send(b"hello")
    time.sleep(0.001)
    asked_ns = time.monotonic_ns()
    assert ours.receive(asked_ns)[1] >= asked_ns


def test_the_end_of_the_connection_is_an_empty_piece(pair: tuple[socket.socket, Arrival]) -> None:
    peer, ours = pair
    before_ns = time.monotonic_ns()
    peer.close()
    data, arrived_ns = ours.receive(0)
    assert data == b""
    assert arrived_ns >= before_ns


def test_a_loop_that_is_busy_adds_nothing_to_a_latency() -> None:
    answered = threading.Event()

    def answer(_: Request) -> Iterator[Step]:
        yield reply()
        answered.set()

    def is_exact() -> bool:
        asking = gevent.spawn(client.request, "GetItem", {"TableName": "t"})
        answered.clear()
        gevent.sleep(0)
        gevent.sleep(0)  # it has sent
        assert answered.wait(5)  # the hub has no turn
        time.sleep(0.02)
        blocked_ns = time.monotonic_ns()
        got = asking.get(timeout=5)
        assert got.start_ns < got.end_ns
        return got.end_ns < blocked_ns

    with ScriptedServer(answer) as server:
        client = make_client("wire", server.endpoint, "us-east-1", StaticCredentials("a", "b"), 5.0)
        client.request("GetItem", {"TableName": "t"})  # it is connected
        assert answered.wait(5)
        assert any(is_exact() for _ in range(10))
        client.close()
