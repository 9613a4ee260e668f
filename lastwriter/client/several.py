"""Calls on several items: one request, several rows with one operation id, each with what became of its own item.

A transaction takes effect as a whole or not at all, so all its rows have one outcome; a refused one says item by item
why. A batch is only a bundle: what is listed as unprocessed was certainly not written, and an error on the whole says
nothing of any item. A transactional or batch read has a row for every item asked for, a query one for every item found.

Deletions have the kind ``delete`` in transactions and batches alike; what a transaction asks for without changing it is
a ``txn_read``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lastwriter.client.answer import Answer, known, marks_of
from lastwriter.client.flight import Part, Seen
from lastwriter.client.keys import Key, name_of
from lastwriter.client.marks import MARK, NAMES, NONE
from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.protocol import Reply
from lastwriter.client.requests import Requests
from lastwriter.client.retry import Attempts
from verifier.history.columns import NULL
from verifier.history.schema import (
    ABSENT,
    GROUP_ATTRIBUTE,
    INDEX_NAME,
    KEY_ATTRIBUTE,
    VALUE_ATTRIBUTE,
    WRITER_ATTRIBUTE,
    Kind,
    Outcome,
)

CANCELED: Final = "TransactionCanceledException"
UNPROCESSED: Final = "Unprocessed"
"""Error of an item that a batch did not get to."""

_ABSENT: Final = f"attribute_not_exists({KEY_ATTRIBUTE})"
_REASONS: Final = {
    "ConditionalCheckFailed": CONDITION_FAILED,
    "TransactionConflict": "TransactionConflictException",
    "ThrottlingError": "ThrottlingException",
    "ProvisionedThroughputExceeded": "ProvisionedThroughputExceededException",
    "ItemCollectionSizeLimitExceeded": "ItemCollectionSizeLimitExceededException",
    "ValidationError": "ValidationException",
}
"""Why an item had its transaction cancelled, as the exception that a call on it alone would have got."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction or batch does to one item; made by the class methods."""

    key: Key | str
    kind: Kind
    value: int | None = None
    adds: bool = False
    expect: int | None = None
    """Writer that the item must still have; ABSENT: there must be no item; None: no condition."""

    @classmethod
    def add(cls, key: Key | str, delta: int, expect: int | None = None) -> Change:
        """Add to the value."""
        return cls(key, Kind.TXN_WRITE, delta, True, expect)

    @classmethod
    def put(cls, key: Key | str, value: int | None = None, expect: int | None = None) -> Change:
        """Write the value; without one, a value that nobody else writes."""
        return cls(key, Kind.TXN_WRITE, value, False, expect)

    @classmethod
    def delete(cls, key: Key | str, expect: int | None = None) -> Change:
        """Delete the item."""
        return cls(key, Kind.DELETE, expect=expect)

    @classmethod
    def check(cls, key: Key | str, expect: int) -> Change:
        """Only ask that the item still has this writer (transactions only)."""
        return cls(key, Kind.TXN_READ, expect=expect)


class Answers(Answer):
    """What a request on several items came to; :attr:`parts` says it item by item, in the order asked for."""

    __slots__ = ("parts",)

    def __init__(self, op: int, outcome: Outcome, error: str | None, reply: Reply, parts: Sequence[Answer]) -> None:
        super().__init__(op, outcome, error, None, None, None, reply)
        self.parts = list(parts)

    @property
    def unprocessed(self) -> list[int]:
        """Places of the items that a batch did not get to."""
        return [at for at, part in enumerate(self.parts) if part.error == UNPROCESSED]


class SeveralItems(Requests):
    """The part of :class:`~lastwriter.client.table.Table` that asks for several items at once."""

    def transact_write(
        self, changes: Sequence[Change], attempt: Attempts | None = None, *, token: bool = False
    ) -> Answers:
        """TransactWriteItems: all of the changes, or none.

        ``token``: all attempts of the intent carry one ClientRequestToken and leave one mark, that of the first, so
        that the store applies it once however often it arrives (within ten minutes).
        """
        op = self._recorder.next_op()
        first = attempt.intent if attempt is not None and attempt.sent else op
        mark = first if token else op
        body: dict[str, Any] = {
            "TransactItems": [self._in_transaction(change, mark) for change in changes],
        }
        if token:
            body["ClientRequestToken"] = f"lastwriter-{mark}"
        parts = [
            self._part(change.kind, change.key, _given(change, mark), _or_null(change.expect)) for change in changes
        ]

        def seen(reply: Reply) -> list[Seen]:
            if reply.outcome is Outcome.OK:
                return [_written(change, mark) for change in changes]
            reasons = reply.body.get("CancellationReasons") if reply.error == CANCELED else None
            if reply.outcome is Outcome.FAIL and isinstance(reasons, list) and len(reasons) == len(changes):
                return [_cancelled(reason) for reason in reasons]
            return [_unanswered(change.kind, reply) for change in changes]

        return self._send_several("TransactWriteItems", body, op, parts, seen, attempt, mark if token else NULL)

    def transact_read(self, keys: Sequence[Key | str], attempt: Attempts | None = None) -> Answers:
        """TransactGetItems: the items as they were all at once."""
        body = {
            "TransactItems": [
                {"Get": {"TableName": self.name, "Key": {KEY_ATTRIBUTE: {"S": name_of(key)}}}} for key in keys
            ]
        }
        parts = [self._part(Kind.TXN_READ, key, NULL, NULL) for key in keys]

        def seen(reply: Reply) -> list[Seen]:
            items = reply.body.get("Responses")
            if reply.outcome is Outcome.OK and isinstance(items, list) and len(items) == len(keys):
                return [_shown(one.get("Item")) for one in items]
            return [Seen(Outcome.FAIL, reply.error or "ShortReply")] * len(keys)

        return self._send_several("TransactGetItems", body, self._recorder.next_op(), parts, seen, attempt)

    def batch_write(self, changes: Sequence[Change], attempt: Attempts | None = None) -> Answers:
        """BatchWriteItem: whole items put or deleted, each by itself and without conditions."""
        op = self._recorder.next_op()
        requests = [self._in_batch(change, op) for change in changes]
        parts = [
            self._part(Kind.DELETE if change.kind is Kind.DELETE else Kind.WRITE, change.key, _given(change, op), NULL)
            for change in changes
        ]

        def seen(reply: Reply) -> list[Seen]:
            if reply.outcome is not Outcome.OK:
                return [_unanswered(change.kind, reply) for change in changes]
            left = {_key_of(one) for one in reply.body.get("UnprocessedItems", {}).get(self.name, ())}
            return [
                Seen(Outcome.FAIL, UNPROCESSED) if name_of(change.key) in left else _written(change, op)
                for change in changes
            ]

        body = {"RequestItems": {self.name: requests}}
        return self._send_several("BatchWriteItem", body, op, parts, seen, attempt)

    def batch_read(self, keys: Sequence[Key | str], *, strong: bool = True, attempt: Attempts | None = None) -> Answers:
        """BatchGetItem: every item read by itself."""
        asked = {"Keys": [{KEY_ATTRIBUTE: {"S": name_of(key)}} for key in keys], "ConsistentRead": strong}
        parts = [self._part(Kind.READ if strong else Kind.READ_EVENTUAL, key, NULL, NULL) for key in keys]

        def seen(reply: Reply) -> list[Seen]:
            if reply.outcome is not Outcome.OK:
                return [Seen(Outcome.FAIL, reply.error)] * len(keys)
            found = {_text(item): item for item in reply.body.get("Responses", {}).get(self.name, ())}
            left = {_text(one) for one in reply.body.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", ())}
            return [
                Seen(Outcome.FAIL, UNPROCESSED) if name_of(key) in left else _shown(found.get(name_of(key)))
                for key in keys
            ]

        body = {"RequestItems": {self.name: asked}}
        return self._send_several("BatchGetItem", body, self._recorder.next_op(), parts, seen, attempt)

    def query(
        self, group: str, *, limit: int = 100, highest: bool = True, attempt: Attempts | None = None
    ) -> list[Answer]:
        """Query of the index :data:`INDEX_NAME`: items of a group by value, highest first. An index read is eventual.

        The rows are those of the items found; where there are none, one row under the group's name says nothing. The
        keys' names stand in the answers' replies (``answer.reply.body["Items"]``).
        """
        op = self._recorder.next_op()
        body = {
            "TableName": self.name,
            "IndexName": INDEX_NAME,
            "KeyConditionExpression": f"{GROUP_ATTRIBUTE} = :group",
            "ExpressionAttributeValues": {":group": {"S": group}},
            "ScanIndexForward": not highest,
            "Limit": limit,
        }
        flight = self._begin_several(op, [self._part(Kind.READ_INDEX, group, NULL, NULL)], attempt)
        reply = self._ask("Query", body)
        items = reply.body.get("Items", []) if reply.outcome is Outcome.OK else []
        if items:
            flight.parts = [self._part(Kind.READ_INDEX, _text(item), NULL, NULL) for item in items]
            seen = [_shown(item) for item in items]
        else:
            seen = [Seen(reply.outcome, reply.error)]
        self._write_rows(flight, seen, reply.start_ns, reply.end_ns)
        parts = [_answer(op, one, reply) for one in seen] if items else []
        if attempt is not None:
            attempt.answer = Answers(op, reply.outcome, reply.error, reply, parts)
        return parts

    def _send_several(
        self,
        operation: str,
        body: dict[str, Any],
        op: int,
        parts: list[Part],
        seen: Callable[[Reply], list[Seen]],
        attempt: Attempts | None,
        token: int = NULL,
    ) -> Answers:
        flight = self._begin_several(op, parts, attempt, token)
        reply = self._ask(operation, body)
        found = seen(reply)
        self._write_rows(flight, found, reply.start_ns, reply.end_ns)
        answers = Answers(op, reply.outcome, _error(reply, found), reply, [_answer(op, one, reply) for one in found])
        if attempt is not None:
            attempt.answer = answers
        return answers

    def _in_transaction(self, change: Change, mark: int) -> dict[str, Any]:
        """A member of TransactItems."""
        content: dict[str, Any] = {"TableName": self.name, "Key": {KEY_ATTRIBUTE: {"S": name_of(change.key)}}}
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        if change.kind is Kind.TXN_WRITE:
            names |= NAMES
            values = {":none": NONE, ":op": {"N": str(mark)}, ":v": {"N": str(_given(change, mark))}}
            expression = MARK if change.adds else f"{MARK}, {VALUE_ATTRIBUTE} = :v"
            if self._pad is not None:
                values[":padding"] = self._pad
                expression += ", padding = :padding"
            content["UpdateExpression"] = f"{expression} ADD {VALUE_ATTRIBUTE} :v" if change.adds else expression
        if change.expect is not None:
            if change.expect == ABSENT:
                content["ConditionExpression"] = _ABSENT
            else:
                content["ConditionExpression"] = "#w = :expect"
                names["#w"] = WRITER_ATTRIBUTE
                values[":expect"] = {"N": str(change.expect)}
            content["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if names:
            content["ExpressionAttributeNames"] = names
        if values:
            content["ExpressionAttributeValues"] = values
        kinds = {Kind.TXN_WRITE: "Update", Kind.DELETE: "Delete", Kind.TXN_READ: "ConditionCheck"}
        return {kinds[change.kind]: content}

    def _in_batch(self, change: Change, op: int) -> dict[str, Any]:
        """A member of RequestItems."""
        if change.expect is not None or change.adds or change.kind is Kind.TXN_READ:
            raise ValueError(f"{name_of(change.key)}: a batch takes no conditions and adds nothing; use a transaction")
        key = {KEY_ATTRIBUTE: {"S": name_of(change.key)}}
        if change.kind is Kind.DELETE:
            return {"DeleteRequest": {"Key": key}}
        marked = {VALUE_ATTRIBUTE: {"N": str(_given(change, op))}, WRITER_ATTRIBUTE: {"N": str(op)}}
        padding = {"padding": self._pad} if self._pad is not None else {}
        return {"PutRequest": {"Item": {**key, **marked, **padding}}}


def _given(change: Change, mark: int) -> int:
    if change.kind is not Kind.TXN_WRITE:
        return NULL
    return mark if change.value is None else change.value


def _or_null(number: int | None) -> int:
    return NULL if number is None else number


def _written(change: Change, mark: int) -> Seen:
    """A change that took effect: its condition says what it replaced."""
    expect = _or_null(change.expect)
    if change.kind is Kind.TXN_READ:
        return Seen(Outcome.OK, saw=expect)
    if change.kind is Kind.DELETE:
        return Seen(Outcome.OK, prev=expect)
    return Seen(Outcome.OK, None, NULL if change.adds else _given(change, mark), mark, expect)


def _cancelled(reason: Any) -> Seen:
    """An item of a transaction that was cancelled, perhaps because of another."""
    code = reason.get("Code") if isinstance(reason, dict) else None
    error = _REASONS.get(str(code), CANCELED)
    if error == CONDITION_FAILED:
        result, saw, prev = marks_of(reason["Item"]) if reason.get("Item") else (NULL, NULL, NULL)
        return Seen(Outcome.FAIL, error, result, saw, prev)
    return Seen(Outcome.FAIL, error)


def _unanswered(kind: Kind, reply: Reply) -> Seen:
    return Seen(Outcome.FAIL if kind is Kind.TXN_READ else reply.outcome, reply.error)


def _shown(item: dict[str, Any] | None) -> Seen:
    if not item:
        return Seen(Outcome.OK, saw=ABSENT)
    result, saw, prev = marks_of(item)
    return Seen(Outcome.OK, None, result, saw, prev)


def _error(reply: Reply, seen: Sequence[Seen]) -> str | None:
    """The error of the whole: for a cancelled transaction the reason that says most."""
    if reply.error == CANCELED:
        errors = [one.error for one in seen if one.error != CANCELED]
        return CONDITION_FAILED if CONDITION_FAILED in errors else errors[0] if errors else CANCELED
    return reply.error


def _answer(op: int, seen: Seen, reply: Reply) -> Answer:
    return Answer(op, seen.outcome, seen.error, known(seen.result), known(seen.saw), known(seen.prev), reply)


def _key_of(request: dict[str, Any]) -> str:
    """Key of a member of RequestItems that came back."""
    put, delete = request.get("PutRequest"), request.get("DeleteRequest")
    return _text(put["Item"] if put else delete["Key"] if delete else {})


def _text(item: dict[str, Any]) -> str:
    return str(item.get(KEY_ATTRIBUTE, {}).get("S", ""))
