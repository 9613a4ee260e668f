"""What the application does after a failure: the attempts of one intent, every one of them recorded.

::

    for attempt in self.attempts():
        self.table.add(key, 1, attempt)

``none``: one attempt. ``eager``: again at once until the load's deadline has passed since the first (this makes the
storm that it is known for). ``jittered``: at most ``attempts``, each after a pause drawn from 0 to a limit that
doubles, and no second attempts at all while the Region's :class:`Breaker` is open.

Only what certainly had no effect is tried again: a conflict, a throttle, a connection that never was, a read without an
answer. After an unknown outcome the write may stand, and a blind second ADD would count twice; ``unknown=True`` is for
writes that are applied once however often they arrive.

With the failover ``sdk-retry`` each further attempt goes to another Region, after an unknown outcome too: what a client
does that is told to try the next endpoint. It is discouraged because the first attempt may stand in the Region that did
not answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Final

import gevent

from lastwriter.client.answer import Answer
from lastwriter.client.clock import monotonic_ns
from lastwriter.client.outcome import CREDENTIALS_ERROR, REFUSED
from lastwriter.client.plan import Load
from verifier.answers import THROTTLED
from verifier.history.schema import ALREADY_APPLIED, Outcome

FIRST_PAUSE_S: Final = 0.05
"""Most that ``jittered`` waits before the second attempt."""

LONGEST_PAUSE_S: Final = 2.0

RETRYABLE: Final = THROTTLED | {"ReplicatedWriteConflictException", "TransactionConflictException"}
"""Refusals that another attempt may not meet."""

_DECIDED: Final = REFUSED | {ALREADY_APPLIED}
"""Refusals that are answers."""

BREAKER_FAILURES: Final = 20
"""Attempts in a row, of all users of a worker, that a Region has to leave unanswered for its breaker to open."""


class Breaker:
    """A circuit breaker: while a Region answers nobody on this worker, nobody asks it twice.

    It stops second attempts only. The first attempt of each intent is made all the same, for what nobody sends nobody
    records; the first that is answered closes the breaker.
    """

    __slots__ = ("failures",)

    def __init__(self) -> None:
        self.failures = 0
        """In a row, up to now."""

    @property
    def is_open(self) -> bool:
        """Whether second attempts are a waste now."""
        return self.failures >= BREAKER_FAILURES

    def take(self, answer: Answer) -> None:
        """Count an attempt. A refusal is an answer, unless it says that there is too much to do."""
        if answer.outcome is Outcome.OK or (answer.error in _DECIDED and answer.error not in THROTTLED):
            self.failures = 0
        else:
            self.failures += 1


class Attempts:
    """The attempts of one intent, and the one that is being made: hand it to the table with the request."""

    __slots__ = (
        "_also", "_breaker", "_elsewhere", "_load", "_once", "_random", "_round", "_since_ns", "_sleep", "_unknown",
        "answer", "intent", "sent",
    )  # fmt: skip

    def __init__(
        self,
        load: Load,
        rng: random.Random,
        also: Collection[str] = (),
        sleep: Callable[[float], object] = gevent.sleep,
        unknown: bool = False,
        breaker: Breaker | None = None,
        elsewhere: Callable[[int], object] | None = None,
    ) -> None:
        """``also``: errors to try again after besides :data:`RETRYABLE`, such as a condition that is read again.

        ``unknown``: try again after an unknown outcome, too. ``elsewhere(n)``: called before the n-th further attempt,
        to have it made in another Region; with 0 when there are no more.
        """
        self._load, self._random, self._also, self._sleep = load, rng, also, sleep
        self._once = load.retry == "none" and breaker is None and elsewhere is None
        self._unknown = unknown or elsewhere is not None
        self._breaker, self._elsewhere = breaker, elsewhere
        self._round = 0
        self._since_ns = 0
        self.intent = 0
        """Operation id of the first attempt; 0: nothing sent yet."""
        self.sent = 0
        self.answer: Answer | None = None
        """What the latest attempt came to; None: the round ended without sending one (a read before it failed)."""

    def __iter__(self) -> Attempts:
        return self

    def __next__(self) -> Attempts:
        if self._round:
            if self._once:
                raise StopIteration
            again = self._again()
            if self._elsewhere is not None:
                self._elsewhere(self._round if again else 0)
            if not again:
                raise StopIteration
            self.answer = None
        elif self._load.retry == "eager":
            self._since_ns = monotonic_ns()
        self._round += 1
        return self

    def sending(self, op: int) -> tuple[int, int]:
        """The table is about to send ``op``: its intent and the number of the attempt."""
        if not self.sent:
            self.intent = op
        self.sent += 1
        return self.intent, self.sent

    def _again(self) -> bool:
        load = self._load
        if self._breaker is not None and self.answer is not None:
            self._breaker.take(self.answer)
        if load.retry == "none" or not (self.answer is None or self._worth_another(self.answer)):
            return False
        if load.retry == "eager":
            self._sleep(0)
            return monotonic_ns() - self._since_ns < load.deadline * 1e9
        if self._round >= load.attempts or (self._breaker is not None and self._breaker.is_open):
            return False
        limit_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._round - 1, 16))
        self._sleep(self._random.random() * limit_s)
        return True

    def _worth_another(self, answer: Answer) -> bool:
        return retryable(answer, self._also) or (self._unknown and answer.outcome is Outcome.UNKNOWN)


def retryable(answer: Answer, also: Collection[str] = ()) -> bool:
    """Whether the attempt certainly did nothing, and another may fare better."""
    if answer.outcome is not Outcome.FAIL or answer.error == CREDENTIALS_ERROR:
        return False
    error = answer.error
    return error in RETRYABLE or error in also or error not in _DECIDED
