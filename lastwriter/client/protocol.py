"""The one interface of the data plane, with two implementations: :mod:`~lastwriter.client.wire` and
:mod:`~lastwriter.client.boto`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from verifier.history.schema import Outcome


@dataclass(slots=True)
class Reply:
    """Answer to one request, its outcome classified as history.md says.

    ``body`` is the decoded JSON (the exception's body for an AWS error, ``{}`` if there was none). ``error`` is the AWS
    exception's name or one of the transport errors of :data:`verifier.history.schema.COLUMNS`. ``start_ns`` is stamped
    before the first byte is queued, ``end_ns`` when the last had arrived, or was read.
    """

    outcome: Outcome
    status: int
    """HTTP status; 0 if there was no reply."""
    body: dict[str, Any]
    error: str | None
    start_ns: int
    end_ns: int


class DynamoClient(Protocol):
    """A client of one Region's endpoint. Never retries, never raises for what a server or a network can do."""

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        """Send ``operation`` (``"PutItem"``) with ``body`` in DynamoDB JSON and wait for the reply or the deadline."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...
