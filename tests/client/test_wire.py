"""What only the wire client has to get right: its connections, its deadlines, its greenlets, TLS."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from lastwriter.client.clients import ClientKind, make_client
from lastwriter.client.credentials import CredentialsUnavailable, Keys, StaticCredentials
from lastwriter.client.protocol import DynamoClient, Reply
from lastwriter.client.wire import WireClient
from lastwriter.errors import UserError
from tests.certificates import certificates
from tests.client.scripted_server import Request, ScriptedServer, Step, reply
from verifier.history.schema import Outcome

CREDENTIALS = StaticCredentials("AKIDEXAMPLE", "secret-that-is-nowhere-shown")
KINDS: list[ClientKind] = ["wire", "boto3"]
WRITE: dict[str, Any] = {"TableName": "t", "Key": {"pk": {"S": "k"}}}


def _client(server: ScriptedServer, kind: ClientKind = "wire", deadline_s: float = 10.0, **more: Any) -> DynamoClient:
    return make_client(kind, server.endpoint, "us-east-1", CREDENTIALS, deadline_s, **more)


def _write(client: DynamoClient) -> Reply:
    return client.request("UpdateItem", WRITE)


def _summary(got: Reply) -> tuple[Outcome, int, str | None]:
    return got.outcome, got.status, got.error


OK = (Outcome.OK, 200, None)


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("kind", KINDS)
def test_one_connection_carries_many_requests(kind: ClientKind) -> None:
    with ScriptedServer(lambda _: [reply()]) as server:
        client = _client(server, kind)
        assert [_summary(_write(client)) for _ in range(20)] == [OK] * 20
        client.close()
        assert (len(server.requests), server.connections) == (20, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap", ["at once", "seen by the hub", "not seen by the hub"])
def test_a_connection_closed_while_idle_is_not_used(kind: ClientKind, gap: str) -> None:
    """The server closes after each reply without saying so: the next request goes out once, on a new connection."""
    closed = threading.Event()

    def answer(_: Request) -> Iterator[Step]:
        try:
            yield reply()
            if gap != "at once":
                yield "close"
        finally:
            closed.set()

    with ScriptedServer(answer) as server:
        client = _client(server, kind)
        for number in range(3):
            assert _summary(_write(client)) == OK
            assert closed.wait(5)
            closed.clear()
            if gap == "seen by the hub":
                gevent.sleep(0.02)
            elif gap == "not seen by the hub":
                deadline = time.monotonic() + 0.02
                while time.monotonic() < deadline:  # the hub has no turn: a greenlet that computes
                    pass
            assert len(server.requests) == number + 1
        client.close()
        assert server.connections == (1 if gap == "at once" else 3)


def test_the_hub_drops_a_connection_that_the_server_closed() -> None:
    with ScriptedServer(lambda _: [reply(), "close"]) as server:
        client = _client(server)
        _write(client)
        assert isinstance(client, WireClient)
        with gevent.Timeout(5):
            while client._open:
                gevent.sleep(0.001)
        assert client._idle == []
        assert client._timer is None


def test_bytes_that_nobody_asked_for_cost_the_connection() -> None:
    with ScriptedServer(lambda _: [reply(), 0.01, reply(b'{"Attributes":{"v":{"N":"666"}}}')]) as server:
        client = _client(server)
        for _ in range(3):
            assert _write(client).body == {}
            gevent.sleep(0.05)
        client.close()
        assert server.connections == 3


def test_greenlets_share_a_client_and_each_gets_its_own_answer() -> None:
    def answer(request: Request) -> list[Step]:
        number = int(json.loads(request.body)["Key"]["pk"]["S"])
        return [0.001 * (number % 4), reply(json.dumps({"Attributes": {"v": {"N": str(number)}}}).encode())]

    with ScriptedServer(answer) as server:
        client = _client(server)

        def user(first: int) -> None:
            for number in range(first, first + 10):
                got = client.request("UpdateItem", {"TableName": "t", "Key": {"pk": {"S": str(number)}}})
                assert got.body == {"Attributes": {"v": {"N": str(number)}}}

        users = [gevent.spawn(user, 1000 * number) for number in range(30)]
        gevent.joinall(users, timeout=20, raise_error=True)
        assert all(each.successful() for each in users)
        assert len(server.requests) == 300
        assert 1 < server.connections <= 30
        before = server.connections
        client.request("UpdateItem", {"TableName": "t", "Key": {"pk": {"S": "1"}}})
        assert server.connections == before
        client.close()


def test_a_deadline_of_one_does_not_touch_the_others() -> None:
    def answer(request: Request) -> list[Step]:
        return ["hang"] if b"slow" in request.body else [reply()]

    with ScriptedServer(answer) as server:
        client = _client(server, deadline_s=0.3)
        slow = gevent.spawn(client.request, "UpdateItem", {"TableName": "t", "Key": {"pk": {"S": "slow"}}})
        fast = [_summary(_write(client)) for _ in range(50)]
        got = slow.get(timeout=5)
        assert fast == [OK] * 50
        assert _summary(got) == (Outcome.UNKNOWN, 0, "Timeout")
        assert 0.2 <= (got.end_ns - got.start_ns) / 1e9 < 3  # connecting took its part of the deadline
        assert _summary(_write(client)) == OK
        client.close()


def test_an_answer_that_is_there_when_the_deadline_is_noticed_is_read() -> None:
    with ScriptedServer(lambda _: [reply()]) as server:
        client = _client(server, deadline_s=0.05)
        assert _summary(_write(client)) == OK  # it is connected
        got = gevent.spawn(_write, client)
        gevent.sleep(0)
        gevent.sleep(0)  # it has sent
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:  # the hub has no turn until long after the deadline
            pass
        assert _summary(got.get(timeout=5)) == OK
        client.close()


@pytest.mark.parametrize("killer", ["kill", "timeout"])
def test_a_greenlet_that_is_killed_takes_its_connection_along(killer: str) -> None:
    """What kills it passes through, and no later request can get the answer to the killed one."""

    def answer(request: Request) -> list[Step]:
        return [0.6, reply(b'{"late":1}')] if b"victim" in request.body else [reply()]

    seen: list[BaseException] = []

    def victim() -> None:
        try:
            with gevent.Timeout(0.3 if killer == "timeout" else 60):
                client.request("UpdateItem", {"TableName": "victim"})
        except BaseException as error:
            seen.append(error)
            raise

    with ScriptedServer(answer) as server:
        client = _client(server)
        doomed = gevent.spawn(victim)
        with gevent.Timeout(5):
            while not server.requests:
                gevent.sleep(0.001)
        if killer == "kill":
            doomed.kill()
        doomed.join(5)
        assert isinstance(seen[0], gevent.GreenletExit if killer == "kill" else gevent.Timeout)
        assert isinstance(client, WireClient)
        assert not client._open
        assert [_write(client).body for _ in range(5)] == [{}] * 5
        gevent.sleep(0.6)
        assert _write(client).body == {}
        client.close()


def test_who_is_killed_before_the_request_is_sent_has_sent_nothing() -> None:
    """Requests of one turn of the hub leave together at its end; this one does not."""
    with ScriptedServer(lambda _: [reply()]) as server:
        client = _client(server)
        assert _summary(_write(client)) == OK  # it is connected
        doomed = gevent.spawn(client.request, "UpdateItem", {"TableName": "doomed"})
        gevent.get_hub().loop.run_callback(doomed.throw, gevent.GreenletExit)  # as soon as it has asked
        others = [gevent.spawn(_write, client) for _ in range(3)]
        assert [_summary(other.get(timeout=5)) for other in others] == [OK] * 3
        assert isinstance(doomed.value, gevent.GreenletExit)
        assert not any(b"doomed" in request.body for request in server.requests)
        client.close()


def test_closing_the_client_ends_what_is_in_flight() -> None:
    with ScriptedServer(lambda _: ["hang"]) as server:
        client = _client(server)
        waiting = [gevent.spawn(_write, client) for _ in range(3)]
        with gevent.Timeout(5):
            while len(server.requests) < 3:
                gevent.sleep(0.001)
        client.close()
        for each in waiting:
            assert _summary(each.get(timeout=5)) == (Outcome.UNKNOWN, 0, "ConnectionReset")


@pytest.mark.parametrize("tls", [False, True])
def test_a_request_larger_than_the_socket_takes_at_once(tls: bool) -> None:
    body = {"TableName": "t", "Item": {"pk": {"S": "k"}, "pad": {"S": "x" * 4_000_000}}}
    with ScriptedServer(lambda _: [reply()], tls=tls) as server:
        client = make_client(
            "wire",
            server.endpoint,
            "us-east-1",
            CREDENTIALS,
            20.0,
            ca_bundle=str(certificates() / "ca.pem") if tls else None,
        )
        others = 0

        def other() -> None:
            nonlocal others
            while True:
                others += 1
                gevent.sleep(0.001)

        watching = gevent.spawn(other)
        got = client.request("PutItem", body)
        watching.kill()
        assert _summary(got) == OK
        assert json.loads(server.requests[0].body) == body
        assert others > 1, "others had their turn meanwhile"
        client.close()


def test_a_server_that_takes_nothing_more_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts (in the backlog) and never reads
        client = make_client("wire", f"http://127.0.0.1:{listener.getsockname()[1]}", "us-east-1", CREDENTIALS, 1.5)
        got = client.request("PutItem", {"TableName": "t", "Item": {"pad": {"S": "x" * 8_000_000}}})
        assert _summary(got) == (Outcome.UNKNOWN, 0, "Timeout")
        client.close()


def test_an_answer_before_the_request_is_whole() -> None:
    """A front end may refuse by the head alone: that is the answer, and the connection is not used again."""
    refusal = reply(b'{"__type":"x#ValidationException","message":"too large"}', "413 Too Large", crc=None)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(refusal)
                done.wait(10)

        done = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        client = make_client("wire", f"http://127.0.0.1:{listener.getsockname()[1]}", "us-east-1", CREDENTIALS, 5.0)
        got = client.request("PutItem", {"TableName": "t", "Item": {"pad": {"S": "x" * 8_000_000}}})
        done.set()
        thread.join()
        assert _summary(got) == (Outcome.FAIL, 413, "ValidationException")
        assert isinstance(client, WireClient)
        assert not client._open


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_listens(kind: ClientKind) -> None:
    client = make_client(kind, f"http://127.0.0.1:{_closed_port()}", "us-east-1", CREDENTIALS, 1.0)
    assert _summary(_write(client)) == (Outcome.FAIL, 0, "ConnectError")
    client.close()


def test_a_name_that_cannot_be_one() -> None:
    client = make_client("wire", f"http://{'x' * 70}.invalid:1", "us-east-1", CREDENTIALS, 1.0)
    assert _summary(_write(client)) == (Outcome.FAIL, 0, "ConnectError")


@pytest.mark.parametrize("kind", KINDS)
def test_ipv6(kind: ClientKind) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with ScriptedServer(lambda _: [reply()], host="::1") as server:
        client = _client(server, kind)
        assert _summary(_write(client)) == OK
        client.close()
        assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


@pytest.mark.parametrize("kind", KINDS)
def test_tls_with_a_certificate_that_fits(kind: ClientKind) -> None:
    large = b'{"Attributes":{"pad":{"S":"' + b"x" * 200_000 + b'"}}}'
    with ScriptedServer(lambda _: [reply(large)], tls=True) as server:
        client = _client(server, kind, ca_bundle=str(certificates() / "ca.pem"))
        for _ in range(5):
            got = _write(client)
            assert _summary(got) == OK
            assert got.body == json.loads(large)
            gevent.sleep(0.01)  # session tickets arrive meanwhile, and cost nothing
        client.close()
        assert server.connections == 1


@pytest.mark.parametrize("kind", KINDS)
def test_tls_faults(kind: ClientKind) -> None:
    with ScriptedServer(lambda _: ["close"], tls=True) as server:
        client = _client(server, kind, ca_bundle=str(certificates() / "ca.pem"))
        assert _summary(_write(client)) == (Outcome.UNKNOWN, 0, "ConnectionReset")
        client.close()
    with ScriptedServer(lambda _: [reply(b'{"a":1}')[:-3], 0.02, "close"], tls=True) as server:
        client = _client(server, kind, ca_bundle=str(certificates() / "ca.pem"))
        assert _summary(_write(client)) == (Outcome.UNKNOWN, 0, "ShortReply")
        client.close()


@pytest.mark.parametrize("kind", KINDS)
def test_tls_without_trust_sends_nothing(kind: ClientKind) -> None:
    with ScriptedServer(lambda _: [reply()], tls=True) as server:
        client = _client(server, kind)
        assert _summary(_write(client)) == (Outcome.FAIL, 0, "ConnectError")
        client.close()
        assert server.requests == []
    with ScriptedServer(lambda _: [reply()], tls=True, host="0.0.0.0") as server:
        other_name = f"https://127.0.0.2:{server.port}"  # trusted, but the certificate is not for that address
        client = make_client(kind, other_name, "us-east-1", CREDENTIALS, 2.0, ca_bundle=str(certificates() / "ca.pem"))
        assert _summary(_write(client)) == (Outcome.FAIL, 0, "ConnectError")
        client.close()
        assert server.requests == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_tls_at_the_other_end(kind: ClientKind) -> None:
    """Plain HTTP answers the handshake with garbage; a silent server never answers it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}"
        client = make_client(kind, endpoint, "us-east-1", CREDENTIALS, 1.0, ca_bundle=str(certificates() / "ca.pem"))
        assert _summary(_write(client)) == (Outcome.FAIL, 0, "ConnectError")
        thread.join()
        client.close()
        silent = make_client(kind, endpoint, "us-east-1", CREDENTIALS, 0.2, ca_bundle=str(certificates() / "ca.pem"))
        assert _summary(_write(silent)) == (Outcome.FAIL, 0, "ConnectError")
        silent.close()
        # Nobody waits a minute for a connection because an answer may take one.
        patient = make_client(
            kind, endpoint, "us-east-1", CREDENTIALS, 60, str(certificates() / "ca.pem"), connect_s=0.2
        )
        assert _summary(_write(patient)) == (Outcome.FAIL, 0, "ConnectError")
        patient.close()


@pytest.mark.parametrize("kind", KINDS)
def test_credentials_that_cannot_be_had(kind: ClientKind) -> None:
    class Expired:
        def keys(self) -> Keys:
            raise CredentialsUnavailable("the token has expired")

    with ScriptedServer(lambda _: [reply()]) as server:
        client = make_client(kind, server.endpoint, "us-east-1", Expired(), 1.0)
        assert _summary(_write(client)) == (Outcome.FAIL, 0, "CredentialsError")
        client.close()
        assert server.requests == []


@pytest.mark.parametrize("endpoint", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:99999", "http://h/path", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_endpoint(kind: ClientKind, endpoint: str) -> None:
    with pytest.raises(UserError, match="write it like http"):
        make_client(kind, endpoint, "us-east-1", CREDENTIALS)


def test_a_proxy_is_refused_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    endpoint = "https://dynamodb.us-east-1.amazonaws.com"
    with pytest.raises(UserError, match="does not go through proxies, and HTTPS_PROXY names one"):
        make_client("wire", endpoint, "us-east-1", CREDENTIALS)
    make_client("wire", "https://127.0.0.1:1", "us-east-1", CREDENTIALS)
    monkeypatch.setenv("no_proxy", ".amazonaws.com")
    make_client("wire", endpoint, "us-east-1", CREDENTIALS)


def test_a_bundle_that_cannot_be_read(tmp_path: Any) -> None:
    with pytest.raises(UserError, match="certificate bundle"):
        make_client("wire", "https://127.0.0.1:1", "us-east-1", CREDENTIALS, ca_bundle=str(tmp_path / "no.pem"))
    (tmp_path / "bad.pem").write_text("nonsense")
    with pytest.raises(UserError, match="certificate bundle"):
        make_client("wire", "https://127.0.0.1:1", "us-east-1", CREDENTIALS, ca_bundle=str(tmp_path / "bad.pem"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_binary_key_and_an_attribute_called_b(kind: ClientKind) -> None:
    body = {"TableName": "t", "Key": {"B": {"B": "AAEC/w=="}, "BS": {"S": "x"}}}
    with ScriptedServer(lambda _: [reply(b'{"Item":{"B":{"B":"AAEC/w=="},"n":{"N":"1E+3"}}}')]) as server:
        client = _client(server, kind)
        got = client.request("GetItem", body)
        client.close()
        assert json.loads(server.requests[0].body) == body
        assert got.body == {"Item": {"B": {"B": "AAEC/w=="}, "n": {"N": "1E+3"}}}


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_is_invented(kind: ClientKind) -> None:
    """A ClientRequestToken that the caller did not choose would make two attempts look like one."""
    body = {"TransactItems": [{"Delete": {"TableName": "t", "Key": {"pk": {"S": "k"}}}}]}
    with ScriptedServer(lambda _: [reply()]) as server:
        client = _client(server, kind)
        client.request("TransactWriteItems", body)
        client.close()
        assert json.loads(server.requests[0].body) == body
