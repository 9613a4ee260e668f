"""An emulator that checks signatures and speaks HTTPS, on IPv6: with boto3, with our own client, with garbage."""

from __future__ import annotations

import json
import random
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lastwriter.client.credentials import Keys
from lastwriter.client.signer import Signer
from lastwriter.client.wire import WireClient
from lastwriter.emulator import Emulator
from lastwriter.emulator.process import EmulatorProcess
from lastwriter.errors import UserError
from tests.certificates import certificates
from tests.emulator.running import FAST, ask, emulator, read_all
from tests.emulator.test_http import Replies

KEYS = """
keys:
  - access_key: AKIAPLAIN
    secret_key: the-plain-secret
    deny: [DeleteTable, {actions: [PutItem], regions: [us-west-2]}]
  - {access_key: ASIAOLD, secret_key: the-old-secret, session_token: the-old-token, expires: 2020-01-01T00:00:00Z}
"""


def _host() -> str:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return "::1"
    return "127.0.0.1"


HOST = _host()
SECRETS = ("the-plain-secret", "the-old-secret", "the-old-token")
KEY = {"pk": {"S": "k"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secured")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[EmulatorProcess]:
    (folder / "keys.yaml").write_text(KEYS)
    with emulator(
        table="orders",
        host=HOST,
        auth=folder / "keys.yaml",
        tls_certificate=certificates() / "server.pem",
        tls_key=certificates() / "server.key",
        log=folder / "log",
    ) as process:
        yield process


def boto(running: EmulatorProcess, region: str = "us-east-1", *keys: str, **more: Any) -> Any:
    access_key, secret, token = (*keys, *("AKIAPLAIN", "the-plain-secret", None)[len(keys) :])
    return boto3.client(
        "dynamodb",
        endpoint_url=running.endpoints[region],
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        verify=str(certificates() / "ca.pem"),
        config=Config(retries={"total_max_attempts": 1}, **more),
    )


class Source:
    def __init__(self, *keys: Any) -> None:
        self._keys = Keys(*keys)

    def keys(self) -> Keys:
        return self._keys


def wire(running: EmulatorProcess, *keys: Any) -> WireClient:
    ca = str(certificates() / "ca.pem")
    return WireClient(running.endpoints["us-east-1"], "us-east-1", Source(*keys), ca_bundle=ca)


@pytest.mark.skipif(HOST != "::1", reason="this machine has no IPv6")
def test_endpoints_are_https_on_ipv6(running: EmulatorProcess) -> None:
    assert all(url.startswith("https://[::1]:") for url in running.endpoints.values())
    assert running.control.startswith("http://[::1]:")


def test_boto3_is_served_over_tls(running: EmulatorProcess) -> None:
    client = boto(running)
    client.put_item(TableName="orders", Item={**KEY, "v": {"S": "boto3"}})
    assert client.get_item(TableName="orders", Key=KEY)["Item"]["v"] == {"S": "boto3"}
    assert client.describe_endpoints()["Endpoints"][0]["Address"] in running.endpoints["us-east-1"]


def test_our_own_client_is_served_over_tls(running: EmulatorProcess) -> None:
    client = wire(running, "AKIAPLAIN", "the-plain-secret", None)
    try:
        for number in range(3):
            item = {**KEY, "v": {"N": str(number)}}
            assert client.request("PutItem", {"TableName": "orders", "Item": item}).status == 200
        reply = client.request("GetItem", {"TableName": "orders", "Key": KEY})
        assert reply.body["Item"]["v"] == {"N": "2"}
    finally:
        client.close()


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (("AKIANOBODY", "x"), "UnrecognizedClientException"),
        (("AKIAPLAIN", "x"), "InvalidSignatureException"),
        (("ASIAOLD", "the-old-secret", "the-old-token"), "ExpiredTokenException"),
        (("ASIAOLD", "the-old-secret", "x"), "UnrecognizedClientException"),
    ],
)
def test_both_clients_are_refused_alike(running: EmulatorProcess, keys: tuple[str, ...], error: str) -> None:
    with pytest.raises(ClientError) as raised:
        boto(running, "us-east-1", *keys).get_item(TableName="orders", Key=KEY)
    assert raised.value.response["Error"]["Code"] == error
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    client = wire(running, *keys, *(None,) * (3 - len(keys)))
    try:
        reply = client.request("GetItem", {"TableName": "orders", "Key": KEY})
    finally:
        client.close()
    assert (reply.status, reply.error) == (400, error)


def test_every_request_of_a_connection_is_judged(running: EmulatorProcess) -> None:
    url = urlsplit(running.endpoints["us-east-1"])
    context = ssl.create_default_context(cafile=str(certificates() / "ca.pem"))
    signer = Signer(Source("AKIAPLAIN", "the-plain-secret"), "us-east-1", url.netloc)
    body = json.dumps({"TableName": "orders", "Key": KEY}).encode()
    good = signer.request("GetItem", body)
    at = good.index(b"Signature=") + len(b"Signature=")
    forged = good[:at] + b"0" * 64 + good[at + 64 :]
    with (
        socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secure,
    ):
        replies = Replies(secure)
        for message, status in ((good, 200), (good, 200), (forged, 400), (good, 200), (forged, 400)):
            secure.sendall(message)
            found, _, reply = replies.next()
            assert found == status, reply
        secure.sendall(good[:-1] + b" ")  # another body
        assert replies.next()[0] == 400


def test_denied_actions_are_refused_where_they_are_denied(running: EmulatorProcess) -> None:
    with pytest.raises(ClientError, match=r"AccessDeniedException.*dynamodb:DeleteTable on resource: .*:table/orders"):
        boto(running).delete_table(TableName="orders")
    with pytest.raises(ClientError, match="AccessDeniedException"):
        boto(running, "us-west-2").put_item(TableName="orders", Item=KEY)
    boto(running, "us-west-2").get_item(TableName="orders", Key=KEY)


def test_secrets_are_in_no_state_metrics_or_log(running: EmulatorProcess, folder: Path) -> None:
    with pytest.raises(ClientError):
        boto(running, "us-east-1", "AKIAPLAIN", "x").list_tables()
    url = urlsplit(running.control)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
        shown = read_all(sock).decode()
    assert 'error="InvalidSignatureException"' in shown
    shown += str(ask(running.control, "GET", "/_lastwriter/state")) + (folder / "log").read_text()
    assert not any(secret in shown for secret in SECRETS)


def test_garbage_gets_an_error_or_the_door_and_nothing_is_printed(running: EmulatorProcess, folder: Path) -> None:
    rng = random.Random(3)
    url = urlsplit(running.endpoints["us-east-1"])
    context = ssl.create_default_context(cafile=str(certificates() / "ca.pem"))
    body = json.dumps({"TableName": "orders", "Key": KEY}).encode()
    good = (
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\nX-Amz-Date: 20260101T000000Z\r\n"
        b"Authorization: AWS4-HMAC-SHA256 Credential=AKIAPLAIN/20260101/us-east-1/dynamodb/aws4_request, "
        b"SignedHeaders=host;x-amz-date, Signature=00\r\nAccept-Encoding: gzip;q=0.5\r\nContent-Encoding: identity\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    for number in range(60):
        data = bytearray(good)
        for _ in range(rng.randint(0, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as plain:
            if number % 4 == 0:  # no TLS at all, or the beginning of one
                plain.sendall(bytes(data) if number % 8 else b"\x16\x03\x01\x02\x00\x01\x00" + bytes(data))
                plain.shutdown(socket.SHUT_WR)
                with suppress(OSError):
                    assert b"HTTP/1.1 200" not in read_all(plain)
                continue
            with context.wrap_socket(plain, server_hostname=HOST) as secure:
                secure.sendall(bytes(data[: rng.randint(1, len(data))]))
                with suppress(OSError):  # a reset, or nothing yet: half a request
                    secure.settimeout(0.05)
                    answer = secure.recv(65536)
                    assert b"HTTP/1.1 4" in answer or b"HTTP/1.1 500" in answer, bytes(data)
                    assert b"__type" in answer
    assert running.process.poll() is None
    assert "Traceback" not in (folder / "log").read_text()
    boto(running).get_item(TableName="orders", Key=KEY)


def test_the_python_api_signs_with_the_first_key(folder: Path, running: EmulatorProcess) -> None:
    with Emulator(
        regions=("us-east-1",),
        table="orders",
        settings=FAST,
        auth=folder / "keys.yaml",
        tls_certificate=certificates() / "server.pem",
        tls_key=certificates() / "server.key",
        tls_authority=certificates() / "ca.pem",
    ) as one:
        one.client("us-east-1").put_item(TableName="orders", Item=KEY)
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            one.client("us-east-1", aws_access_key_id="x").put_item(TableName="orders", Item=KEY)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"auth": "none.yaml"}, "cannot read the access keys in none.yaml: no such file or directory"),
        ({"tls_key": "server.key"}, "--tls-key goes with --tls-cert FILE, the certificate"),
        ({"tls_certificate": "none.pem"}, "cannot read none.pem: no such file or directory"),
        ({"tls_certificate": "keys.yaml"}, "cannot use keys.yaml for TLS: a PEM file with a certificate"),
    ],
)
def test_what_does_not_start_says_why_in_a_line(
    folder: Path, running: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], says: str
) -> None:
    from lastwriter.emulator.shell.server import EmulatorConfig, run

    monkeypatch.chdir(folder)
    with pytest.raises(UserError) as raised:
        run(EmulatorConfig(("us-east-1",), 0, **{name: Path(path) for name, path in options.items()}))  # type: ignore[arg-type]
    assert str(raised.value).startswith(says)
    assert "\n" not in str(raised.value)
