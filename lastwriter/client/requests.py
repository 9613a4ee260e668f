"""A user's requests, one attempt at a time: each is begun, sent, and written into the record however it ends."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Self

from gevent import GreenletExit

from lastwriter.client.answer import Answer, observed
from lastwriter.client.clock import monotonic_ns
from lastwriter.client.flight import Flight, Part, Process, Seen
from lastwriter.client.key_codes import KeyCodes
from lastwriter.client.keys import Key
from lastwriter.client.marks import MARK, OWN_BYTES, PAD_ATTRIBUTE
from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.protocol import DynamoClient, Reply
from lastwriter.client.recorder import Recorder
from lastwriter.client.retry import Attempts
from verifier.history.columns import NO_CODE, NULL
from verifier.history.schema import ALREADY_APPLIED, IN_FLIGHT, READS, Kind, Outcome

_UNKNOWN: Final = Outcome.UNKNOWN  # an enumeration takes its time to look a member up


class Requests:
    """What one user asks of one table in one Region; :class:`~lastwriter.client.table.Table` says what that may be."""

    def __init__(
        self,
        recorder: Recorder,
        client: DynamoClient,
        table: str,
        region: str,
        workload: str,
        processes: Iterator[int],
        keys: KeyCodes,
        item_bytes: int = 0,
        lives_in: str | None = None,
    ) -> None:
        """``lives_in``: Region that the user lives in; None: ``region``."""
        self.name, self.region = table, region
        self._recorder, self._client, self._keys = recorder, client, keys
        self._process = Process(processes)
        self._region_code = recorder.region.of(region)
        self._lives_in = region if lives_in is None else lives_in
        self._user_region_code = NO_CODE if self._lives_in == region else recorder.user_region.of(lives_in)
        self._workload_code = recorder.workload.of(workload)
        self._kinds = {kind: recorder.kind.of(kind) for kind in Kind}
        self._reads = {self._kinds[kind] for kind in READS}
        self._pad = {"S": "x" * (item_bytes - OWN_BYTES)} if item_bytes > OWN_BYTES else None
        self._marks = MARK if self._pad is None else f"{MARK}, {PAD_ATTRIBUTE} = :padding"
        self._flight: Flight | None = None
        self._join()

    @property
    def process(self) -> int:
        """The logical client that the next attempt is recorded under."""
        return self._process.number

    @property
    def scheduled_ns(self) -> int:
        """When the user's next attempt, in whatever Region, should be sent; 0: when it is."""
        return self._process.scheduled_ns

    @scheduled_ns.setter
    def scheduled_ns(self, due_ns: int) -> None:
        self._process.scheduled_ns = due_ns

    def in_region(self, region: str, client: DynamoClient) -> Self:
        """The same user's view of another Region's replica. One attempt at a time still, for a user is one process."""
        other = copy.copy(self)
        other.region, other._client, other._flight = region, client, None
        other._region_code = self._recorder.region.of(region)
        other._user_region_code = NO_CODE if self._lives_in == region else self._recorder.user_region.of(self._lives_in)
        other._join()
        return other

    def _join(self) -> None:
        self._process.tables.append(self)
        self._recorder.join(self)

    def close(self) -> None:
        """The user ends, in all Regions: whatever it has in flight is recorded as unknown."""
        for table in self._process.tables:
            self._recorder.leave(table)

    def in_flight_since_ns(self) -> int | None:
        """For the recorder."""
        return self._flight.begun_ns if self._flight is not None else None

    def abandon(self, error: str = IN_FLIGHT) -> None:
        """For the recorder: nobody waits any more for what is in flight; a write may take effect at any time."""
        flight = self._flight
        if flight is not None:
            seen = [Seen(Outcome.FAIL if part.kind in self._reads else Outcome.UNKNOWN, error) for part in flight.parts]
            self._write_rows(flight, seen, flight.begun_ns, monotonic_ns())

    def _ask(self, operation: str, body: dict[str, Any]) -> Reply:
        try:
            return self._client.request(operation, body)
        except BaseException as raised:
            self.abandon(IN_FLIGHT if isinstance(raised, GreenletExit) else type(raised).__name__)
            raise

    def _send(
        self,
        op: int,
        kind: Kind,
        operation: str,
        body: dict[str, Any],
        key: Key | str,
        value: int,
        expect: int,
        attempt: Attempts | None,
        once: bool = False,
    ) -> Answer:
        flight = self._begin(op, kind, key, value, expect, attempt)
        reply = self._ask(operation, body)
        error = reply.error
        if once and error == CONDITION_FAILED and flight.attempt > 1:
            error = ALREADY_APPLIED
        result, writer, previous = observed(operation, body, reply)
        self._write_row(flight, result, writer, previous, reply.outcome, error, reply.start_ns, reply.end_ns)
        answer = Answer(
            op,
            reply.outcome,
            error,
            None if result == NULL else result,
            None if writer == NULL else writer,
            None if previous == NULL else previous,
            reply,
        )
        if attempt is not None:
            attempt.answer = answer
        return answer

    def _begin(
        self, op: int, kind: Kind, key: Key | str, value: int, expect: int, attempt: Attempts | None = None
    ) -> Flight:
        return self._begin_several(op, (Part(self._kinds[kind], self._keys.of(key), value, expect),), attempt)

    def _part(self, kind: Kind, key: Key | str, value: int, expect: int) -> Part:
        return Part(self._kinds[kind], self._keys.of(key), value, expect)

    def _begin_several(self, op: int, parts: Sequence[Part], attempt: Attempts | None, token: int = NULL) -> Flight:
        begun_ns = monotonic_ns()
        who = self._process
        scheduled_ns = who.scheduled_ns or begun_ns
        who.scheduled_ns = 0
        intent, number = (op, 1) if attempt is None else attempt.sending(op)
        flight = self._flight = Flight(op, intent, number, parts, scheduled_ns, begun_ns, token)
        return flight

    def _write_row(
        self,
        flight: Flight,
        result: int,
        saw: int,
        prev: int,
        outcome: Outcome,
        error: str | None,
        start_ns: int,
        end_ns: int,
        elements: list[int] | None = None,
    ) -> None:
        self._flight = None
        part = flight.parts[0]
        key, key_class, home_region, logical_key = part.codes
        self._recorder.add(
            flight.op, flight.intent, flight.attempt, NULL, self._process.number, self._region_code, home_region,
            self._workload_code, part.kind, key_class, key, logical_key, part.value, part.expect, result, saw,
            prev, outcome, NO_CODE if error is None else self._recorder.error.of(error), flight.scheduled_ns,
            start_ns, end_ns, elements=elements, user_region=self._user_region_code,
        )  # fmt: skip
        if outcome is _UNKNOWN:
            self._process.renew()

    def _write_rows(self, flight: Flight, seen: Iterable[Seen], start_ns: int, end_ns: int) -> None:
        """One row an item, in the order asked for."""
        self._flight = None
        recorder, unknown = self._recorder, False
        for part, one in zip(flight.parts, seen, strict=True):
            key, key_class, home_region, logical_key = part.codes
            recorder.add(
                flight.op, flight.intent, flight.attempt, flight.token, self._process.number, self._region_code,
                home_region, self._workload_code, part.kind, key_class, key, logical_key, part.value, part.expect,
                one.result, one.saw, one.prev, one.outcome,
                NO_CODE if one.error is None else recorder.error.of(one.error), flight.scheduled_ns, start_ns, end_ns,
                user_region=self._user_region_code,
            )  # fmt: skip
            unknown |= one.outcome is _UNKNOWN
        if unknown:
            self._process.renew()
