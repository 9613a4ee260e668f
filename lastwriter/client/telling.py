"""Locust's ``request`` event for our requests, where somebody listens to it besides Locust itself.

Locust's own listener counts response times one by one; ours are counted by the batch
(:mod:`lastwriter.client.stats`), so it is left out. Without listeners it costs nothing: the client is used as it is.
"""

from __future__ import annotations

from typing import Any

from locust.event import EventHook

from lastwriter.client.outcome import is_failure
from lastwriter.client.protocol import DynamoClient, Reply


class RequestError(Exception):
    """``exception`` of the event: the error as the record has it."""


class TellingClient:
    """A client that fires the event after each request.

    ``request_type`` is the Region, ``name`` the operation, ``response`` the :class:`~lastwriter.client.protocol.Reply`,
    ``response_time`` in milliseconds from the first byte sent to the last one read. A failed condition is no exception.
    """

    def __init__(self, client: DynamoClient, region: str, hook: EventHook) -> None:
        self._client, self._region, self._hook = client, region, hook

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        """See :class:`DynamoClient`."""
        reply = self._client.request(operation, body)
        error = reply.error
        self._hook.fire(  # type: ignore[no-untyped-call]
            request_type=self._region,
            name=operation,
            response_time=(reply.end_ns - reply.start_ns) / 1e6,
            response_length=0,
            response=reply,
            context={},
            exception=RequestError(error) if error is not None and is_failure(error) else None,
            start_time=None,
            url=None,
        )
        return reply

    def close(self) -> None:
        """See :class:`DynamoClient`."""
        self._client.close()


def telling(client: DynamoClient, region: str, request_event: EventHook) -> DynamoClient:
    """The client, made to fire the event if anybody but Locust listens to it."""
    listeners = [handler for handler in request_event._handlers if handler.__module__ != "locust.runners"]
    if not listeners:
        return client
    hook = EventHook()  # type: ignore[no-untyped-call]
    hook._handlers = listeners
    return TellingClient(client, region, hook)
