"""The HTTP shell over plain sockets: order, pieces, garbage, limits."""

from __future__ import annotations

import gzip
import json
import random
import socket
import zlib
from collections.abc import Iterator

import pytest

from lastwriter.emulator.process import EmulatorProcess
from lastwriter.emulator.shell.encodings import BadEncodingError, unpacked
from tests.emulator.running import ask, client, connect, emulator, read_all

KEY = {"pk": {"S": "k"}}


@pytest.fixture(scope="module")
def running() -> Iterator[EmulatorProcess]:
    with emulator(("us-east-1",), table="orders") as process:
        yield process


@pytest.fixture
def sock(running: EmulatorProcess) -> Iterator[socket.socket]:
    with connect(running.endpoints["us-east-1"]) as connected:
        yield connected


def request(operation: str, body: object, *extra: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = ["POST / HTTP/1.1", "Host: x", f"X-Amz-Target: DynamoDB_20120810.{operation}", *extra]
    if not any(line.lower().startswith("transfer-encoding") for line in extra):
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode() + data


def put(value: str) -> bytes:
    return request("PutItem", {"TableName": "orders", "Item": {**KEY, "v": {"S": value}}, "ReturnValues": "ALL_OLD"})


class Replies:
    """Reads replies one after another."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def next(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        if status == 100:
            return status, headers, b""
        return status, headers, self._file.read(int(headers["content-length"]))


def test_a_reply_has_request_id_checksum_and_length(sock: socket.socket) -> None:
    sock.sendall(put("a"))
    status, headers, body = Replies(sock).next()
    assert status == 200
    assert int(headers["x-amz-crc32"]) == zlib.crc32(body)
    assert len(headers["x-amzn-requestid"]) == 52
    assert headers["content-type"] == "application/x-amz-json-1.0"
    assert headers["connection"] == "keep-alive"


def test_request_ids_differ(sock: socket.socket) -> None:
    sock.sendall(put("a") * 2)
    replies = Replies(sock)
    assert replies.next()[1]["x-amzn-requestid"] != replies.next()[1]["x-amzn-requestid"]


def test_pipelined_requests_are_answered_in_order(sock: socket.socket) -> None:
    sock.sendall(b"".join(put(str(number)) for number in range(200)))
    replies = Replies(sock)
    old = [json.loads(replies.next()[2]) for _ in range(200)]
    assert [reply["Attributes"]["v"]["S"] for reply in old[1:]] == [str(number) for number in range(199)]


def test_a_request_may_come_in_any_pieces(sock: socket.socket) -> None:
    data = put("pieces")
    for index in range(len(data)):
        sock.sendall(data[index : index + 1])
    assert Replies(sock).next()[0] == 200


def test_chunked_bodies_are_taken(sock: socket.socket) -> None:
    body = json.dumps({"TableName": "orders", "Key": KEY}).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:20], body[20:])) + b"0\r\n\r\n"
    sock.sendall(request("GetItem", b"", "Transfer-Encoding: chunked") + chunks)
    assert Replies(sock).next()[0] == 200


def test_expect_100_continue_is_answered_before_the_body_comes(sock: socket.socket) -> None:
    data = put("expected").replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")
    head, _, body = data.partition(b"\r\n\r\n")
    sock.sendall(head + b"\r\n\r\n")
    replies = Replies(sock)
    assert replies.next()[0] == 100
    sock.sendall(body)
    assert replies.next()[0] == 200


def test_connection_close_is_honoured(sock: socket.socket) -> None:
    sock.sendall(request("ListTables", {}, "Connection: close"))
    data = read_all(sock)
    assert data.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in data


def test_http_1_0_without_keep_alive_is_closed(sock: socket.socket) -> None:
    sock.sendall(request("ListTables", {}).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert b'"TableNames"' in read_all(sock)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # a TLS client
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0" * 1000,
    ],
)
def test_what_is_not_http_gets_400_and_the_connection_is_closed(sock: socket.socket, garbage: bytes) -> None:
    sock.sendall(garbage)
    status = read_all(sock).split(b"\r\n")[0]
    assert status in (b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 413 Payload Too Large")


def test_a_header_section_without_end_is_refused(sock: socket.socket) -> None:
    sock.sendall(b"POST / HTTP/1.1\r\n" + b"X-Padding: %b\r\n" % (b"x" * 900) * 100)
    assert read_all(sock).startswith(b"HTTP/1.1 431 ")


def test_a_body_above_16_mb_is_refused_before_it_comes(sock: socket.socket) -> None:
    sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 16777217\r\n\r\n")
    assert read_all(sock).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_above_16_mb_is_refused(sock: socket.socket) -> None:
    sock.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    for _ in range(17):
        sock.sendall(chunk)
    assert read_all(sock).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "SerializationException"),
        (b"{", "SerializationException"),
        (b"[]", "SerializationException"),
        (b'"text"', "SerializationException"),
        (b"null", "SerializationException"),
        (b"[" * 100_000, "SerializationException"),
        (b'{"TableName": "\xff\xfe"}', "SerializationException"),
        (b'{"TableName": 7}', "SerializationException"),
        (b'{"TableName": ["orders"]}', "SerializationException"),
        (b'{"TableName": {"a": {}}}', "SerializationException"),
        (b'{"TableName": "missing", "Key": {"pk": {"S": "k"}}}', "ResourceNotFoundException"),
    ],
)
@pytest.mark.parametrize("operation", ["GetItem", "UpdateItem", "Scan"])
def test_a_body_that_is_no_request_gets_a_dynamodb_error(
    sock: socket.socket, operation: str, body: bytes, error: str
) -> None:
    sock.sendall(request(operation, body))
    status, _, reply = Replies(sock).next()
    assert status == 400
    assert json.loads(reply)["__type"].endswith(error)


@pytest.mark.parametrize("target", ["Nothing", "", "GetItem2", "\xe9"])
def test_an_unknown_operation_is_said_to_be_unknown(sock: socket.socket, target: str) -> None:
    sock.sendall(request(target, {}).replace(b"\xc3\xa9", b"\xe9"))
    status, _, reply = Replies(sock).next()
    assert (status, json.loads(reply)["__type"]) == (400, "com.amazon.coral.service#UnknownOperationException")


def test_no_target_at_all_is_an_unknown_operation(sock: socket.socket) -> None:
    sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
    assert Replies(sock).next()[0] == 400


def test_get_says_healthy_as_dynamodb_does(sock: socket.socket) -> None:
    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    status, _, body = Replies(sock).next()
    assert (status, body) == (200, b"healthy: dynamodb.us-east-1.amazonaws.com ")


def big(n: int = 5000) -> bytes:
    return request("PutItem", {"TableName": "orders", "Item": {"pk": {"S": "big"}, "v": {"S": "x" * n}}})


def get_big(*extra: str) -> bytes:
    return request("GetItem", {"TableName": "orders", "Key": {"pk": {"S": "big"}}}, *extra)


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        (None, None), ("", None), ("identity", None), ("br", None), ("x-gzip", None), ('"gzip"', None),
        ("gzip br", None), ("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate", "gzip"),
        ("br, identity, deflate, gzip", "deflate"), ("GZIP, identity", "gzip"), ("dog, gzip ,, cat", "gzip"),
        ("gzip;q=0.8, deflate;q=0.5", "gzip"), ("br, gzip;q=0, deflate; q = 0.5 , identity;q=0", "deflate"),
        ("*", "gzip"), ("*, deflate", "deflate"), ("*, gzip;q=0.5", "deflate"), ("*;q=0", None), ("gzip ;q=0", None),
        ("gzip;q=0.5,identity;q=0.8", "gzip"), ("deflate;q=0.5, gzip;q=31", "gzip"), ("gzip;nq=1;q=0 ", None),
        ("deflate;q=0.5,gzip;q=0.", "deflate"), ("gzip;q=0, gzip;q=1, gzip;q=0", "gzip"),
    ],
)  # fmt: skip
def test_large_replies_are_compressed_for_those_who_accept_it(
    sock: socket.socket, accept: str | None, encoding: str | None
) -> None:
    sock.sendall(big() + get_big(*([f"Accept-Encoding: {accept}"] if accept is not None else [])) * 2)
    replies = Replies(sock)
    replies.next()
    for _ in range(2):  # learned or not, a head means the same
        _, headers, body = replies.next()
        assert headers.get("content-encoding") == encoding
        assert int(headers["x-amz-crc32"]) == zlib.crc32(body)
        plain = gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body) if encoding else body
        assert len(json.loads(plain)["Item"]["v"]["S"]) == 5000


def test_small_replies_are_sent_as_they_are(sock: socket.socket) -> None:
    sock.sendall(big(4000) + get_big("Accept-Encoding: gzip"))
    replies = Replies(sock)
    replies.next()
    assert "content-encoding" not in replies.next()[1]


def packed(body: bytes, encoding: str = "gzip") -> bytes:
    return request("PutItem", body, f"Content-Encoding: {encoding}")


def test_requests_may_come_compressed(sock: socket.socket) -> None:
    body = json.dumps({"TableName": "orders", "Item": {"pk": {"S": "packed"}}}).encode()
    sock.sendall(packed(gzip.compress(body)))
    sock.sendall(packed(gzip.compress(body[:9]) + gzip.compress(body[9:])))
    sock.sendall(packed(body, "identity"))
    replies = Replies(sock)
    assert [replies.next()[0] for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 9), slice(0, -1), slice(5, None)])
def test_a_body_that_does_not_unpack_gets_500_as_from_dynamodb(sock: socket.socket, cut: slice) -> None:
    body = gzip.compress(json.dumps({"TableName": "orders", "Item": {"pk": {"S": "packed"}}}).encode())
    sock.sendall(packed(body[cut]) + packed(body, "br"))
    replies = Replies(sock)
    for _ in range(2):
        status, _, reply = replies.next()
        assert (status, json.loads(reply)["__type"].rpartition("#")[2]) == (500, "InternalServerError")


def test_a_small_body_that_unpacks_to_a_huge_one_is_refused() -> None:
    body = gzip.compress(b" " * 100_000)
    assert len(unpacked(body, b"gzip", 100_001)) == 100_000
    with pytest.raises(BadEncodingError):
        unpacked(body, b"gzip", 99_999)


def test_random_damage_never_ends_the_emulator(running: EmulatorProcess) -> None:
    rng = random.Random(7)
    good = put("a") + request("Scan", {"TableName": "orders"})
    for _ in range(150):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with connect(running.endpoints["us-east-1"]) as sock:
            sock.sendall(bytes(data[: rng.randint(1, len(data))]))
            sock.shutdown(socket.SHUT_WR)
            answer = read_all(sock)
        assert b"Traceback" not in answer
        assert b"500 Internal" not in answer, bytes(data)
    assert running.process.poll() is None
    reply = client(running.endpoints["us-east-1"], "us-east-1").list_tables()
    assert reply["TableNames"] == ["orders"]


def test_a_client_that_sends_no_more_still_hears_what_it_asked(running: EmulatorProcess) -> None:
    with connect(running.endpoints["us-east-1"]) as sock:
        sock.sendall(put("half") * 3)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).count(b"HTTP/1.1 200 OK") == 3


def test_a_client_that_sends_no_more_does_not_wait_for_what_never_comes(running: EmulatorProcess) -> None:
    fault = {"kind": "reply-lost", "regions": ["us-east-1"], "share": "100%", "hang": True}
    status, made = ask(running.control, "POST", "/_lastwriter/faults", fault)
    assert status == 201, made
    try:
        with connect(running.endpoints["us-east-1"]) as sock:
            sock.sendall(put("lost"))
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b""
    finally:
        ask(running.control, "DELETE", f"/_lastwriter/faults/{made['id']}")


def test_a_peer_that_does_not_read_is_not_read_from(running: EmulatorProcess) -> None:
    big = put("x" * 200_000)
    with connect(running.endpoints["us-east-1"]) as sock:
        sock.settimeout(1)
        try:
            for _ in range(500):  # 100 MB of requests, 100 MB of replies that nobody takes
                sock.sendall(big)
        except TimeoutError:
            blocked = True
        else:
            blocked = False
    assert blocked
    assert client(running.endpoints["us-east-1"], "us-east-1").list_tables()["TableNames"] == ["orders"]
