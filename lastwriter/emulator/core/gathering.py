"""One reply out of several: a batch's parts go through the tables' engines like requests of their own.

A :class:`Part` stands where a request's handle stands. What would be the reply is its *outcome*; when the last part
has one, the whole is answered. So a part waits for its item's writers, for its heartbeat or for its deadline as any
request does, and the parts of one batch may be in progress at once, in different tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from lastwriter.emulator.requests.errors import ApiError

if TYPE_CHECKING:
    from lastwriter.emulator.core.environment import Environment, Handle

Outcome = dict[str, Any] | ApiError
"""The body that a reply would have had, or why it was refused."""
Finish = Callable[[list[Outcome]], dict[str, Any]]
"""The reply's body out of the outcomes, in the parts' order; raises ApiError."""


class Taker(Protocol):
    """Whatever waits for the outcomes of parts."""

    def take(self, number: int, outcome: Outcome) -> None:
        """The outcome of the part of this number; only the first counts."""


class Part:
    """In place of a request's handle."""

    __slots__ = ("_gathering", "_number")

    def __init__(self, gathering: Taker, number: int) -> None:
        self._gathering = gathering
        self._number = number

    def take(self, outcome: Outcome) -> None:
        """The outcome; only the first counts."""
        self._gathering.take(self._number, outcome)


class Gathering:
    """Waits for ``count`` parts, then answers ``handle`` with ``finish`` of their outcomes."""

    def __init__(self, environment: Environment, handle: Handle, count: int, finish: Finish) -> None:
        self._environment = environment
        self._handle = handle
        self._outcomes: list[Outcome | None] = [None] * count
        self._missing = count
        self._finish = finish
        self.parts = [Part(self, number) for number in range(count)]

    def take(self, number: int, outcome: Outcome) -> None:
        """See :class:`Part`."""
        if self._outcomes[number] is not None:
            return
        self._outcomes[number] = outcome
        self._missing -= 1
        if self._missing:
            return
        self.parts = []
        try:
            self._environment.answer(self._handle, self._finish([one for one in self._outcomes if one is not None]))
        except ApiError as error:
            self._environment.refuse(self._handle, error)
