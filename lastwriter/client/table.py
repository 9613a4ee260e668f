"""The table as a user in one Region sees it: each call is one attempt, marked, sent and recorded.

Items are ``pk`` (string), ``v`` (the domain value), ``_w`` (operation id of the attempt that wrote them), ``_p``
(the ``_w`` before that) and ``padding``. Every write sets the marks and asks for the new item back, so that its row
says what it replaced.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lastwriter.client.answer import Answer
from lastwriter.client.clock import monotonic_ns
from lastwriter.client.flight import Part
from lastwriter.client.keys import Key, name_of
from lastwriter.client.marks import NAMES, NONE
from lastwriter.client.recording import Recording
from lastwriter.client.retry import Attempts
from lastwriter.client.sets import Sets
from lastwriter.client.several import SeveralItems
from verifier.history.columns import NULL
from verifier.history.schema import ABSENT, EXPIRY, KEY_ATTRIBUTE, VALUE_ATTRIBUTE, WRITER_ATTRIBUTE, Kind, Outcome

_NAMES_W: Final = {"#w": WRITER_ATTRIBUTE}

_RECORDED_CALLS: Final = {
    "GetItem": Kind.READ, "PutItem": Kind.WRITE, "UpdateItem": Kind.WRITE, "DeleteItem": Kind.DELETE,
}  # fmt: skip


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


class Table(SeveralItems, Sets):
    """One user's view of the table: one Region, one attempt at a time.

    ``key`` is a :class:`~lastwriter.client.keys.Key` or its name. ``attempt`` comes from ``for attempt in
    self.attempts()``; without it a call is an intent of its own.
    """

    def get(self, key: Key | str, *, strong: bool = True, attempt: Attempts | None = None) -> Answer:
        """Read the item."""
        kind = Kind.READ if strong else Kind.READ_EVENTUAL
        body = {"TableName": self.name, "Key": {KEY_ATTRIBUTE: {"S": name_of(key)}}, "ConsistentRead": strong}
        return self._send(self._recorder.next_op(), kind, "GetItem", body, key, NULL, NULL, attempt)

    def put(
        self, key: Key | str, value: int | None = None, attempt: Attempts | None = None, also: Also | None = None
    ) -> Answer:
        """Write the value whatever is there; without one, a value that nobody else writes. ``also``: as for `add`."""
        op = self._recorder.next_op()
        return self._set(op, Kind.WRITE, key, op if value is None else value, None, NULL, attempt, also)

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
        op = self._recorder.next_op()
        body = self._update(op, key, delta)
        if also is None:
            body["UpdateExpression"] = f"{self._marks} ADD {VALUE_ATTRIBUTE} :v"
            return self._send(op, kind, "UpdateItem", body, key, value, NULL, attempt)
        put, addition = _besides(body, also)
        body["UpdateExpression"] = f"{self._marks}{put} ADD {VALUE_ATTRIBUTE} :v{addition}"
        return self._send(op, kind, "UpdateItem", body, key, value, NULL, attempt, also.once)

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
            "Key": {KEY_ATTRIBUTE: {"S": name_of(key)}},
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

    def _set(
        self,
        op: int,
        kind: Kind,
        key: Key | str,
        value: int,
        condition: str | None,
        expect: int,
        attempt: Attempts | None,
        also: Also | None = None,
    ) -> Answer:
        body = self._update(op, key, value)
        body["UpdateExpression"] = f"{self._marks}, {VALUE_ATTRIBUTE} = :v"
        if also is not None:
            put, addition = _besides(body, also)
            body["UpdateExpression"] += f"{put} ADD {addition[2:]}" if addition else put
        if condition is not None:
            body["ConditionExpression"] = condition
            body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
            if ":expect" in condition:
                body["ExpressionAttributeValues"][":expect"] = {"N": str(expect)}
        return self._send(op, kind, "UpdateItem", body, key, value, expect, attempt)

    def _update(self, op: int, key: Key | str, value: int) -> dict[str, Any]:
        """An UpdateItem with marks and padding, still without its expression, which begins with ``self._marks``."""
        values: dict[str, Any] = {":none": NONE, ":op": {"N": str(op)}, ":v": {"N": str(value)}}
        if self._pad is not None:
            values[":padding"] = self._pad
        return {
            "TableName": self.name,
            "Key": {KEY_ATTRIBUTE: {"S": name_of(key)}},
            "ExpressionAttributeNames": NAMES,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW",
        }


def _besides(body: dict[str, Any], also: Also) -> tuple[str, str]:
    """Have a request say this as well; what that makes of its SET and ADD clauses, to be appended."""
    body["ExpressionAttributeValues"].update(also.values)
    body["ExpressionAttributeNames"] = {**NAMES, **also.names}
    if also.condition:
        body["ConditionExpression"] = also.condition
        body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return f", {also.put}" if also.put else "", f", {also.add}" if also.add else ""
