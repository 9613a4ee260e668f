"""The table as a user in one Region sees it: each call is one attempt, marked, sent and recorded.

Items are ``pk`` (string), ``v`` (the domain value), ``_w`` (operation id of the attempt that wrote them), ``_p``
(the ``_w`` before that) and ``padding``. Every write sets the marks and asks for the new item back, so that its row
says what it replaced.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from gevent import GreenletExit

from lastwriter.client.answer import Answer, observed
from lastwriter.client.clock import monotonic_ns
from lastwriter.client.keys import Key
from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.protocol import DynamoClient
from lastwriter.client.recorder import Recorder
from lastwriter.client.retry import Attempts
from lastwriter.client.sets import Sets
from lastwriter.client.several import Part, Seen, SeveralItems
from verifier.history.columns import NO_CODE, NULL
from verifier.history.schema import (
    ABSENT,
    ALREADY_APPLIED,
    EXPIRY,
    KEY_ATTRIBUTE,
    PREVIOUS_ATTRIBUTE,
    READS,
    VALUE_ATTRIBUTE,
    WRITER_ATTRIBUTE,
    Kind,
    Outcome,
)

IN_FLIGHT: Final = "InFlight"
"""Error of an attempt that the worker did not wait for."""

PAD_ATTRIBUTE: Final = "padding"  # "pad" is one of DynamoDB's reserved words

_MARK: Final = "SET #p = if_not_exists(#w, :none), #w = :op"
_NAMES: Final = {"#p": PREVIOUS_ATTRIBUTE, "#w": WRITER_ATTRIBUTE}
_NAMES_W: Final = {"#w": WRITER_ATTRIBUTE}
_NONE: Final = {"N": str(ABSENT)}
_OWN_BYTES: Final = 80
"""What keys, marks and value of an item take themselves, about: `padding` makes up the rest of `item_bytes`."""

_RECORDED_CALLS: Final = {
    "GetItem": Kind.READ, "PutItem": Kind.WRITE, "UpdateItem": Kind.WRITE, "DeleteItem": Kind.DELETE,
}  # fmt: skip


class KeyCodes:
    """Recorder codes of keys: name, class, owner, what the user counts. One of a load, shared by its users."""

    def __init__(self, recorder: Recorder, keys: Iterable[Key]) -> None:
        self._recorder = recorder
        self._codes: dict[str, tuple[int, int, int, int]] = {}
        for key in keys:
            self.of(key)

    def update(self, other: KeyCodes) -> None:
        """Know what another one of the same recorder knows."""
        self._codes.update(other._codes)

    def of(self, key: Key | str) -> tuple[int, int, int, int]:
        """Codes of key, class, home Region and logical key."""
        found = self._codes.get(name := _name(key))
        if found is None:
            recorder, code = self._recorder, self._recorder.key.of(name)
            if isinstance(key, str):
                found = (code, NO_CODE, NO_CODE, NO_CODE)
            else:
                home, logical = recorder.home_region.of(key.home_region), recorder.logical_key.of(key.logical)
                found = (code, recorder.key_class.of(key.key_class), home, logical)
            self._codes[name] = found
        return found


@dataclass(frozen=True, slots=True)
class Also:
    """What a write says besides value and marks, in the same request: clauses of its expressions.

    ``Also(put="epoch = :epoch", condition="epoch <= :epoch", values={":epoch": {"N": "3"}})``
    """

    put: str = ""
    """For SET, without the word."""
    add: str = ""
    """For ADD, without the word."""
    condition: str = ""
    once: bool = False
    """The condition is that this request has not been applied before: a later attempt that it refuses is recorded as
    :data:`~verifier.history.schema.ALREADY_APPLIED`."""
    names: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


class _Process:
    """Who a user's tables are: one logical client, whichever Region it asks."""

    __slots__ = ("_numbers", "number", "scheduled_ns", "tables")

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.number = next(numbers)
        self.scheduled_ns = 0
        self.tables: list[Table] = []

    def renew(self) -> None:
        """What is in flight still may take effect while the user does something else: another process from here on."""
        self.number = next(self._numbers)


class _Flight:
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


class Table(SeveralItems, Sets):
    """One user's view of the table: one Region, one attempt at a time.

    ``key`` is a :class:`~lastwriter.client.keys.Key` or its name. ``attempt`` comes from ``for attempt in
    self.attempts()``; without it a call is an intent of its own.
    """

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
        self._process = _Process(processes)
        self._region_code = recorder.region.of(region)
        self._lives_in = region if lives_in is None else lives_in
        self._user_region_code = NO_CODE if self._lives_in == region else recorder.user_region.of(lives_in)
        self._workload_code = recorder.workload.of(workload)
        self._kinds = {kind: recorder.kind.of(kind) for kind in Kind}
        self._reads = {self._kinds[kind] for kind in READS}
        self._pad = {"S": "x" * (item_bytes - _OWN_BYTES)} if item_bytes > _OWN_BYTES else None
        self._marks = _MARK if self._pad is None else f"{_MARK}, {PAD_ATTRIBUTE} = :padding"
        self._flight: _Flight | None = None
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

    def in_region(self, region: str, client: DynamoClient) -> Table:
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

    def get(self, key: Key | str, *, strong: bool = True, attempt: Attempts | None = None) -> Answer:
        """Read the item."""
        kind = Kind.READ if strong else Kind.READ_EVENTUAL
        body = {"TableName": self.name, "Key": {KEY_ATTRIBUTE: {"S": _name(key)}}, "ConsistentRead": strong}
        return self._send(self._recorder.next_op(), kind, "GetItem", body, key, NULL, NULL, attempt)

    def put(self, key: Key | str, value: int | None = None, attempt: Attempts | None = None) -> Answer:
        """Write the value whatever is there; without one, a value that nobody else writes."""
        op = self._recorder.next_op()
        return self._set(op, Kind.WRITE, key, op if value is None else value, None, NULL, attempt)

    def add(self, key: Key | str, delta: int = 1, attempt: Attempts | None = None, also: Also | None = None) -> Answer:
        """Add to the value; the answer carries the new one. ``also``: what the pattern writes or asks for besides."""
        return self._add(Kind.ADD, key, delta, delta, attempt, also)

    def take(self, key: Key | str, count: int = 1, attempt: Attempts | None = None, *, guarded: bool = True) -> Answer:
        """Take some of what there is; ``guarded``: only if there is as much."""
        enough = Also(condition=f"{VALUE_ATTRIBUTE} >= :count", values={":count": {"N": str(count)}})
        return self._add(Kind.TAKE, key, -count, count, attempt, enough if guarded else None)

    def may_expire(self, key: Key | str, expires_s: int, attempt: Attempts | None = None) -> None:
        """Record that the store may delete the item after this time (since 1970), which a write has just set."""
        flight = self._begin(self._recorder.next_op(), Kind.DELETE, key, NULL, NULL)
        if attempt is not None:
            flight.intent, flight.attempt = attempt.intent, attempt.sent
        at_ns = monotonic_ns() + expires_s * 1_000_000_000 - time.time_ns()
        flight.parts = (Part(flight.parts[0].kind, flight.parts[0].codes, at_ns, NULL),)
        process = self._process.number
        self._write_row(flight, NULL, NULL, NULL, Outcome.UNKNOWN, EXPIRY, flight.begun_ns, flight.begun_ns)
        self._process.number = process  # nothing of the user's own is under way

    def append(self, ledger: Key, number: int, attempt: Attempts | None = None, *, guarded: bool = True) -> Answer:
        """Write the entry of this number into a ledger (an item of its own); ``guarded``: only if there is none."""
        entry, condition = ledger.part(f"/{number}"), f"attribute_not_exists({KEY_ATTRIBUTE})" if guarded else None
        expect = ABSENT if guarded else NULL
        return self._set(self._recorder.next_op(), Kind.APPEND, entry, number, condition, expect, attempt)

    def _add(
        self, kind: Kind, key: Key | str, delta: int, value: int, attempt: Attempts | None, also: Also | None
    ) -> Answer:
        op, once = self._recorder.next_op(), False
        body = self._update(op, key, delta)
        put, addition = "", f"ADD {VALUE_ATTRIBUTE} :v"
        if also is not None:
            once = also.once
            body["ExpressionAttributeValues"].update(also.values)
            body["ExpressionAttributeNames"] = {**_NAMES, **also.names}
            put = f", {also.put}" if also.put else ""
            addition += f", {also.add}" if also.add else ""
            if also.condition:
                body["ConditionExpression"] = also.condition
                body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        body["UpdateExpression"] = f"{self._marks}{put} {addition}"
        return self._send(op, kind, "UpdateItem", body, key, value, NULL, attempt, once)

    def cas(self, key: Key | str, value: int, expect: int | None, attempt: Attempts | None = None) -> Answer:
        """Write the value if the item's writer is still ``expect`` (ABSENT: if there is still no item)."""
        if expect is None:
            raise ValueError(f"{key}: cas needs the writer that was read; the item has none, or the read failed")
        condition = f"attribute_not_exists({KEY_ATTRIBUTE})" if expect == ABSENT else "#w = :expect"
        return self._set(self._recorder.next_op(), Kind.CAS, key, value, condition, expect, attempt)

    def create(self, key: Key | str, value: int | None = None, attempt: Attempts | None = None) -> Answer:
        """Write the item if there is none."""
        op = self._recorder.next_op()
        condition = f"attribute_not_exists({KEY_ATTRIBUTE})"
        return self._set(op, Kind.CREATE, key, op if value is None else value, condition, ABSENT, attempt)

    def delete(self, key: Key | str, *, expect: int | None = None, attempt: Attempts | None = None) -> Answer:
        """Delete the item; with ``expect``, if its writer is still that one."""
        body: dict[str, Any] = {
            "TableName": self.name,
            "Key": {KEY_ATTRIBUTE: {"S": _name(key)}},
            "ReturnValues": "ALL_OLD",
        }
        if expect is not None:
            body["ConditionExpression"] = "#w = :expect"
            body["ExpressionAttributeNames"] = _NAMES_W
            body["ExpressionAttributeValues"] = {":expect": {"N": str(expect)}}
            body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        asked = NULL if expect is None else expect
        return self._send(self._recorder.next_op(), Kind.DELETE, "DeleteItem", body, key, NULL, asked, attempt)

    def call(self, operation: str, body: dict[str, Any], *, kind: Kind | None = None, key: str | None = None) -> Answer:
        """Any other call on one item, as it stands: recorded, but with no mark unless ``body`` sets one.

        ``kind`` and ``key`` are taken from the call where they are not given. For several items there are
        :meth:`transact_write`, :meth:`transact_read`, :meth:`batch_write`, :meth:`batch_read` and :meth:`query`; for
        what else a call may mean to the application :meth:`record`.
        """
        if operation not in _RECORDED_CALLS:
            raise ValueError(
                f"{operation} is not a call on one item: record what it means with `with self.record(kind, key) as r:`"
            )
        if kind is None:
            eventual = operation == "GetItem" and not body.get("ConsistentRead", False)
            kind = Kind.READ_EVENTUAL if eventual else _RECORDED_CALLS[operation]
        if key is None:
            primary = body.get("Key") or body.get("Item") or {}
            key = str(next(iter(primary.get(KEY_ATTRIBUTE, {}).values()), ""))
        body = {"TableName": self.name, **body}
        return self._send(self._recorder.next_op(), kind, operation, body, key, NULL, NULL, None)

    def record(self, kind: Kind | str, key: Key | str, value: int | None = None) -> Recording:
        """See :meth:`lastwriter.client.user.GlobalTableUser.record`."""
        return Recording(self, Kind(kind), key, NULL if value is None else value)

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

    def _set(
        self,
        op: int,
        kind: Kind,
        key: Key | str,
        value: int,
        condition: str | None,
        expect: int,
        attempt: Attempts | None,
    ) -> Answer:
        body = self._update(op, key, value)
        body["UpdateExpression"] = f"{self._marks}, {VALUE_ATTRIBUTE} = :v"
        if condition is not None:
            body["ConditionExpression"] = condition
            body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
            if ":expect" in condition:
                body["ExpressionAttributeValues"][":expect"] = {"N": str(expect)}
        return self._send(op, kind, "UpdateItem", body, key, value, expect, attempt)

    def _update(self, op: int, key: Key | str, value: int) -> dict[str, Any]:
        """An UpdateItem with marks and padding, still without its expression, which begins with ``self._marks``."""
        values: dict[str, Any] = {":none": _NONE, ":op": {"N": str(op)}, ":v": {"N": str(value)}}
        if self._pad is not None:
            values[":padding"] = self._pad
        return {
            "TableName": self.name,
            "Key": {KEY_ATTRIBUTE: {"S": _name(key)}},
            "ExpressionAttributeNames": _NAMES,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW",
        }

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
        try:
            reply = self._client.request(operation, body)
        except BaseException as raised:
            self.abandon(IN_FLIGHT if isinstance(raised, GreenletExit) else type(raised).__name__)
            raise
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
    ) -> _Flight:
        begun_ns = monotonic_ns()
        who = self._process
        scheduled_ns = who.scheduled_ns or begun_ns
        who.scheduled_ns = 0
        intent, number = (op, 1) if attempt is None else attempt.sending(op)
        part = Part(self._kinds[kind], self._keys.of(key), value, expect)
        flight = self._flight = _Flight(op, intent, number, (part,), scheduled_ns, begun_ns)
        return flight

    def _part(self, kind: Kind, key: Key | str, value: int, expect: int) -> Part:
        return Part(self._kinds[kind], self._keys.of(key), value, expect)

    def _begin_several(self, op: int, parts: list[Part], attempt: Attempts | None, token: int) -> _Flight:
        begun_ns = monotonic_ns()
        who = self._process
        scheduled_ns = who.scheduled_ns or begun_ns
        who.scheduled_ns = 0
        intent, number = (op, 1) if attempt is None else attempt.sending(op)
        flight = self._flight = _Flight(op, intent, number, parts, scheduled_ns, begun_ns, token)
        return flight

    def _write_row(
        self,
        flight: _Flight,
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
        if outcome is Outcome.UNKNOWN:
            self._process.renew()

    def _write_rows(self, flight: _Flight, seen: Iterable[Seen], start_ns: int, end_ns: int) -> None:
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
            unknown |= one.outcome is Outcome.UNKNOWN
        if unknown:
            self._process.renew()


class Recording:
    """One operation that something other than the table carries out; say how it ended with ok, fail or unknown.

    Leaving the block without a word, or by an exception, is ``unknown`` for an update and ``fail`` for a read.
    """

    def __init__(self, table: Table, kind: Kind, key: Key | str, value: int) -> None:
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


def _name(key: Key | str) -> str:
    return key if isinstance(key, str) else key.name
