"""A request under way: who sent it, what it is about, and what came back of each of its items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lastwriter.client.recorder import InFlight
from verifier.history.columns import NULL
from verifier.history.schema import Outcome


class Part:
    """One item of a request under way: codes and numbers of its row."""

    __slots__ = ("codes", "expect", "kind", "value")

    def __init__(self, kind: int, codes: tuple[int, int, int, int], value: int, expect: int) -> None:
        self.kind, self.codes, self.value, self.expect = kind, codes, value, expect


class Seen:
    """What came back of one item."""

    __slots__ = ("error", "outcome", "prev", "result", "saw")

    def __init__(
        self, outcome: Outcome, error: str | None = None, result: int = NULL, saw: int = NULL, prev: int = NULL
    ) -> None:
        self.outcome, self.error, self.result, self.saw, self.prev = outcome, error, result, saw, prev


class Process:
    """Who a user's tables are: one logical client, whichever Region it asks."""

    __slots__ = ("_numbers", "number", "scheduled_ns", "tables")

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.number = next(numbers)
        self.scheduled_ns = 0
        self.tables: list[InFlight] = []

    def renew(self) -> None:
        """What is in flight still may take effect while the user does something else: another process from here on."""
        self.number = next(self._numbers)


class Flight:
    """One attempt under way; a request on several items has several parts."""

    __slots__ = ("attempt", "begun_ns", "intent", "op", "parts", "scheduled_ns", "token")

    def __init__(
        self,
        op: int,
        intent: int,
        attempt: int,
        parts: Sequence[Part],
        scheduled_ns: int,
        begun_ns: int,
        token: int = NULL,
    ) -> None:
        self.op, self.intent, self.attempt, self.parts = op, intent, attempt, parts
        self.scheduled_ns, self.begun_ns, self.token = scheduled_ns, begun_ns, token
