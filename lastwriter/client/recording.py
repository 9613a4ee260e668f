"""An operation that something other than our table carries out, said by whoever knows how it ended."""

from __future__ import annotations

from types import TracebackType

from gevent import GreenletExit

from lastwriter.client.clock import monotonic_ns
from lastwriter.client.keys import Key
from lastwriter.client.requests import Requests
from verifier.history.columns import NULL
from verifier.history.schema import IN_FLIGHT, READS, Kind, Outcome


class Recording:
    """One operation that something other than the table carries out; say how it ended with ok, fail or unknown.

    Leaving the block without a word, or by an exception, is ``unknown`` for an update and ``fail`` for a read.
    """

    def __init__(self, table: Requests, kind: Kind, key: Key | str, value: int) -> None:
        self.op = table._recorder.next_op()
        self._table, self._kind, self._key, self._value = table, kind, key, value
        self._outcome: Outcome | None = None
        self._error: str | None = None
        self._result = self._saw = self._prev = NULL

    def ok(self, result: int | None = None, *, writer: int | None = None, previous: int | None = None) -> None:
        """It took effect and was answered, with this domain value and these marks where there are any."""
        self._outcome, self._error = Outcome.OK, None
        self._result, self._saw, self._prev = (NULL if item is None else item for item in (result, writer, previous))

    def fail(self, error: str = "Failed") -> None:
        """It certainly did not take effect."""
        self._outcome, self._error = Outcome.FAIL, error

    def unknown(self, error: str = "Unknown") -> None:
        """It may have taken effect, now or later."""
        self._outcome, self._error = Outcome.UNKNOWN, error

    def __enter__(self) -> Recording:
        self._flight = self._table._begin(self.op, self._kind, self._key, self._value, NULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_ns = monotonic_ns()
        outcome = self._outcome
        if outcome is None:
            outcome = Outcome.UNKNOWN
            self._error = "NotSaid" if kind is None else IN_FLIGHT if issubclass(kind, GreenletExit) else kind.__name__
        if outcome is Outcome.UNKNOWN and self._kind in READS:
            outcome = Outcome.FAIL
        flight = self._flight
        self._table._write_row(
            flight, self._result, self._saw, self._prev, outcome, self._error, flight.begun_ns, end_ns
        )
