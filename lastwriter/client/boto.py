"""The same requests through boto3: what an application's own client would do, minus what it does behind one's back.

boto3 is told to make one attempt (its retries would hide conflicts, and can apply an ADD twice), to validate nothing,
to invent no ClientRequestToken, and to look for no proxy on the way to this very host. The reply is taken before
botocore parses it: so the checksum is verified (botocore retries a bad one and then hands it out as a success), a short
body is noticed (botocore does not ask for all of it), and binary values, numbers and errors read the same as with
:mod:`~lastwriter.client.wire`.
"""

from __future__ import annotations

import base64
import http.client
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import boto3
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.handlers
from botocore import xform_name

from lastwriter.client.clock import monotonic_ns
from lastwriter.client.credentials import CredentialSource, CredentialsUnavailable, isolated_session
from lastwriter.client.endpoint import is_loopback, parse_endpoint
from lastwriter.client.http_reply import HttpReply, reply_of
from lastwriter.client.outcome import (
    BAD_REPLY,
    CONNECT_ERROR,
    CONNECTION_RESET,
    CREDENTIALS_ERROR,
    SHORT_REPLY,
    TIMEOUT,
    classify,
    interpret,
)
from lastwriter.client.protocol import Reply

POOL_CONNECTIONS: Final = 1000
"""More than the greenlets of a process: the default of 10 reconnects constantly above 10 of them."""


@dataclass(slots=True)
class _Attempt:
    """What the hooks see of the request that is under way in this greenlet or thread."""

    start_ns: int
    end_ns: int = 0
    sent: bool = False
    reply: HttpReply | None = None
    short: bool = False


_attempt: ContextVar[_Attempt] = ContextVar("lastwriter_attempt")  # every greenlet and every thread has its own


class BotoClient:
    """A :class:`~lastwriter.client.protocol.DynamoClient` over boto3's low-level client, shared by many greenlets."""

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: CredentialSource,
        deadline_s: float = 5.0,
        ca_bundle: str | None = None,
        connect_s: float | None = None,
    ) -> None:
        """``ca_bundle`` and ``connect_s`` as for the wire client. Raises UserError for an endpoint that is no URL."""
        self._client = dynamodb(
            endpoint, region, credentials, deadline_s=deadline_s, connect_s=connect_s, ca_bundle=ca_bundle
        )
        events = self._client.meta.events
        events.unregister("before-parameter-build", botocore.handlers.generate_idempotent_uuid)
        events.register_first("before-send.dynamodb", _on_send)
        events.register_first("before-parse.dynamodb", _on_reply)

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        """Send one attempt and wait for its reply or the deadline (which boto3 counts from the last byte that came)."""
        method = getattr(self._client, xform_name(operation))
        parameters = with_bytes(body)
        attempt = _Attempt(monotonic_ns())
        _attempt.set(attempt)
        error: str | None = BAD_REPLY
        try:
            method(**parameters)
        except botocore.exceptions.ClientError:
            pass
        except CredentialsUnavailable:
            error = CREDENTIALS_ERROR
        except Exception as raised:
            # A reply that botocore cannot parse is judged below; what it raises before it sends is the caller's doing.
            if attempt.reply is None:
                if not attempt.sent:
                    raise
                error = _transport_error(raised)
        reply = attempt.reply
        if reply is None:
            return Reply(classify(operation, 0, error), 0, {}, error, attempt.start_ns, monotonic_ns())
        if attempt.short:
            return Reply(classify(operation, 0, SHORT_REPLY), 0, {}, SHORT_REPLY, attempt.start_ns, attempt.end_ns)
        outcome, answer, error = interpret(operation, reply)
        return Reply(outcome, reply.status, answer, error, attempt.start_ns, attempt.end_ns)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()


def dynamodb(
    endpoint: str,
    region: str,
    credentials: CredentialSource,
    *,
    deadline_s: float = 5.0,
    connect_s: float | None = None,
    attempts: int = 1,
    ca_bundle: str | None = None,
    service: str = "dynamodb",
) -> Any:
    """A boto3 DynamoDB client that knows nothing of the user's AWS files but the credentials it is given.

    Raises UserError for an endpoint that is no URL.
    """
    host = parse_endpoint(endpoint)[1]
    return _session(credentials).client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        verify=ca_bundle,
        config=botocore.config.Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=deadline_s if connect_s is None else min(connect_s, deadline_s),
            read_timeout=deadline_s,
            max_pool_connections=POOL_CONNECTIONS,
            parameter_validation=False,
            account_id_endpoint_mode="disabled",
            proxies={} if is_loopback(host) else None,
        ),
    )


@cache
def _session(credentials: Any) -> boto3.Session:
    """One session for each source of credentials: it keeps the service model, which takes a while to read."""
    session = isolated_session()
    session.register_component("credential_provider", _Provider(credentials))
    return boto3.Session(botocore_session=session)


class _Provider:
    """Stands in for botocore's provider chain."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source

    def load_credentials(self) -> Any:
        return _SourcedCredentials(self._source)


class _SourcedCredentials(botocore.credentials.Credentials):
    """botocore's view of a :class:`CredentialSource`: asked for the keys at every signature."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source
        self.method = "lastwriter"
        self.account_id = None

    @property
    def access_key(self) -> str:  # type: ignore[override]
        return self._source.keys().access_key

    @property
    def secret_key(self) -> str:  # type: ignore[override]
        return self._source.keys().secret_key

    @property
    def token(self) -> str | None:  # type: ignore[override]
        return self._source.keys().token

    def get_frozen_credentials(self) -> botocore.credentials.ReadOnlyCredentials:
        keys = self._source.keys()
        return botocore.credentials.ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.token or "")


def _on_send(**_: Any) -> None:
    attempt = _attempt.get()
    attempt.sent = True
    attempt.start_ns = monotonic_ns()


def _on_reply(response_dict: dict[str, Any], **_: Any) -> None:
    attempt = _attempt.get()
    attempt.end_ns = monotonic_ns()
    headers, body = response_dict["headers"], response_dict["body"]
    length = headers.get("content-length")
    attempt.short = length is not None and length.strip().isdigit() and len(body) < int(length)
    attempt.reply = reply_of(response_dict["status_code"], headers, body)


def _transport_error(raised: Exception) -> str:
    """Which of the transport's errors botocore's exception was."""
    causes = _causes(raised)
    if isinstance(
        raised,
        botocore.exceptions.EndpointConnectionError
        | botocore.exceptions.ConnectTimeoutError
        | botocore.exceptions.ProxyConnectionError,
    ) or any(_while_connecting(cause) for cause in causes):
        return CONNECT_ERROR
    if isinstance(raised, botocore.exceptions.ReadTimeoutError):
        return TIMEOUT
    for cause in causes:
        if isinstance(cause, http.client.IncompleteRead):
            return SHORT_REPLY
        if isinstance(cause, ConnectionError):  # RemoteDisconnected too: closed without one byte
            return CONNECTION_RESET
        if isinstance(cause, http.client.HTTPException | ValueError):
            return BAD_REPLY
    return CONNECTION_RESET


def _causes(raised: BaseException) -> list[BaseException]:
    """The exception and everything it came from, wherever urllib3 and botocore keep it."""
    found: list[BaseException] = []
    waiting: list[object] = [raised]
    while waiting:
        error = waiting.pop(0)
        if not isinstance(error, BaseException) or error in found:
            continue
        found.append(error)
        waiting += [error.__cause__, error.__context__, *error.args]
        waiting += getattr(error, "kwargs", {}).values()
    return found


def _while_connecting(error: BaseException) -> bool:
    """Whether it came out of ``HTTPConnection.connect``: TCP, TLS handshake and the check of the certificate's name."""
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_name == "connect":
            return True
        frame = frame.tb_next
    return False


def with_bytes(value: Any) -> Any:
    """DynamoDB JSON as boto3 takes it: binary values as bytes, where the wire has Base64.

    Only an attribute value can be a dictionary of one entry ``B`` with a text (or ``BS`` with a list): an attribute
    that is itself called ``B`` has a dictionary there.
    """
    if isinstance(value, dict):
        if len(value) == 1:
            ((kind, content),) = value.items()
            if kind == "B" and isinstance(content, str):
                return {"B": base64.b64decode(content, validate=True)}
            if kind == "BS" and isinstance(content, list):
                return {"BS": [base64.b64decode(member, validate=True) for member in content]}
        return {key: with_bytes(content) for key, content in value.items()}
    if isinstance(value, list):
        return [with_bytes(member) for member in value]
    return value
