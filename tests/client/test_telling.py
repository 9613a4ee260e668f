"""Locust's request event: fired for whoever listens, and not counted a second time."""

from __future__ import annotations

from typing import Any

import pytest
from locust.env import Environment

from lastwriter.client.protocol import Reply
from lastwriter.client.telling import telling
from verifier.history.schema import Outcome

FAILED = "ConditionalCheckFailedException"


class Scripted:
    """Answers in order."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        return self.replies.pop(0)

    def close(self) -> None:
        self.replies.clear()


def reply(outcome: Outcome, error: str | None) -> Reply:
    return Reply(outcome, 200 if error is None else 400, {}, error, 5_000_000, 7_500_000)


def test_without_a_listener_the_client_is_used_as_it_is() -> None:
    environment = Environment()
    environment.create_local_runner()
    client = Scripted()
    assert telling(client, "us-east-1", environment.events.request) is client


def test_listeners_are_told_and_locust_counts_nothing_twice() -> None:
    environment = Environment()
    environment.create_local_runner()
    told: list[dict[str, Any]] = []
    environment.events.request.add_listener(lambda **facts: told.append(facts))
    client = Scripted(
        reply(Outcome.OK, None), reply(Outcome.FAIL, FAILED), reply(Outcome.UNKNOWN, "Timeout"), reply(Outcome.OK, None)
    )
    wrapped = telling(client, "us-east-1", environment.events.request)
    for operation in ("UpdateItem", "UpdateItem", "PutItem", "GetItem"):
        wrapped.request(operation, {})
    assert [(one["request_type"], one["name"], one["response_time"]) for one in told] == [
        ("us-east-1", name, 2.5) for name in ("UpdateItem", "UpdateItem", "PutItem", "GetItem")
    ]
    assert [str(one["exception"]) if one["exception"] else None for one in told] == [None, None, "Timeout", None]
    assert told[1]["response"].error == FAILED
    assert environment.stats.total.num_requests == 0
    wrapped.close()
    assert client.replies == []


def test_a_listener_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    environment = Environment()

    def broken(**_: Any) -> None:
        raise RuntimeError("no")

    environment.events.request.add_listener(broken)
    wrapped = telling(Scripted(reply(Outcome.OK, None)), "us-east-1", environment.events.request)
    assert wrapped.request("GetItem", {}).outcome is Outcome.OK
    assert "RuntimeError: no" in caplog.text
