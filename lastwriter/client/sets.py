"""Sets in items: adding and removing elements, and reading them; what came back goes to the record's list column.

An element is an integer, kept in a number set, or as text in a string set. DynamoDB has no empty sets: with its last
element the attribute goes. Elements are best never added again once they were removed: then each can be judged.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lastwriter.client.answer import Answer, known, observed
from lastwriter.client.keys import Key
from lastwriter.client.marks import MARK, NAMES, NONE
from lastwriter.client.protocol import Reply
from lastwriter.client.requests import Requests
from lastwriter.client.retry import Attempts
from verifier.history.columns import NULL
from verifier.history.schema import (
    ABSENT,
    ELEMENTS_ATTRIBUTE,
    KEY_ATTRIBUTE,
    Kind,
)


class SetAnswer(Answer):
    """An answer with the elements of the set; None: none were returned."""

    __slots__ = ("elements",)

    def __init__(self, answer: Answer, elements: frozenset[int] | None) -> None:
        super().__init__(
            answer.op, answer.outcome, answer.error, answer.value, answer.writer, answer.previous, answer.reply
        )
        self.elements = elements


class Sets(Requests):
    """The part of :class:`~lastwriter.client.table.Table` that works on sets."""

    def get_set(self, key: Key | str, *, strong: bool = True, attempt: Attempts | None = None) -> SetAnswer:
        """Read the set."""
        kind = Kind.READ if strong else Kind.READ_EVENTUAL
        body = {"TableName": self.name, "Key": {KEY_ATTRIBUTE: {"S": str(key)}}, "ConsistentRead": strong}
        return self._send_set(self._recorder.next_op(), kind, "GetItem", body, key, NULL, NULL, attempt)

    def include(
        self, key: Key | str, element: int | None = None, attempt: Attempts | None = None, *, text: bool = False
    ) -> SetAnswer:
        """Add an element; without one, one that nobody else adds. ``text``: the set is a string set."""
        op = self._recorder.next_op()
        if element is None:
            element = attempt.intent if attempt is not None and attempt.sent else op
        body = self._set_update(op, key, f"{MARK} ADD {ELEMENTS_ATTRIBUTE} :e", _set([element], text))
        return self._send_set(op, Kind.SET_ADD, "UpdateItem", body, key, element, NULL, attempt)

    def exclude(
        self, key: Key | str, element: int, attempt: Attempts | None = None, *, text: bool = False
    ) -> SetAnswer:
        """Remove an element."""
        op = self._recorder.next_op()
        body = self._set_update(op, key, f"{MARK} DELETE {ELEMENTS_ATTRIBUTE} :e", _set([element], text))
        return self._send_set(op, Kind.SET_REMOVE, "UpdateItem", body, key, element, NULL, attempt)

    def replace_set(
        self,
        key: Key | str,
        seen: SetAnswer,
        *,
        include: int | None = None,
        exclude: int | None = None,
        attempt: Attempts | None = None,
        text: bool = False,
        guarded: bool = True,
    ) -> SetAnswer:
        """Write the whole set that was ``seen`` with one element more or less; the default: one that nobody else adds.

        ``guarded``: only over the write that was seen.
        """
        op = self._recorder.next_op()
        elements = set(seen.elements or ())
        if exclude is None:
            own = attempt.intent if attempt is not None and attempt.sent else op
            element = own if include is None else include
            elements.add(element)
        else:
            element = exclude
            elements.discard(element)
        whole = _set(elements, text)
        put = f", {ELEMENTS_ATTRIBUTE} = :e" if elements else f" REMOVE {ELEMENTS_ATTRIBUTE}"
        body = self._set_update(op, key, f"{MARK}{put}", whole if elements else None)
        expect = NULL
        if guarded:
            if seen.writer is None:
                raise ValueError(f"{key}: the set that was seen says not who wrote it")
            expect = seen.writer
            absent = expect == ABSENT
            body["ConditionExpression"] = f"attribute_not_exists({KEY_ATTRIBUTE})" if absent else "#w = :expect"
            body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
            if not absent:
                body["ExpressionAttributeValues"][":expect"] = {"N": str(expect)}
        kind = Kind.SET_ADD if exclude is None else Kind.SET_REMOVE
        return self._send_set(op, kind, "UpdateItem", body, key, element, expect, attempt)

    def _set_update(self, op: int, key: Key | str, expression: str, elements: dict[str, Any] | None) -> dict[str, Any]:
        values: dict[str, Any] = {":none": NONE, ":op": {"N": str(op)}}
        if elements is not None:
            values[":e"] = elements
        return {
            "TableName": self.name,
            "Key": {KEY_ATTRIBUTE: {"S": str(key)}},
            "UpdateExpression": expression,
            "ExpressionAttributeNames": NAMES,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW",
        }

    def _send_set(
        self,
        op: int,
        kind: Kind,
        operation: str,
        body: dict[str, Any],
        key: Key | str,
        value: int,
        expect: int,
        attempt: Attempts | None,
    ) -> SetAnswer:
        flight = self._begin(op, kind, key, value, expect, attempt)
        reply = self._ask(operation, body)
        result, writer, previous = observed(operation, body, reply)
        elements = elements_of(reply) if writer != NULL else None
        self._write_row(
            flight, result, writer, previous, reply.outcome, reply.error, reply.start_ns, reply.end_ns, elements
        )
        answer = Answer(op, reply.outcome, reply.error, None, known(writer), known(previous), reply)
        found = SetAnswer(answer, None if elements is None else frozenset(elements))
        if attempt is not None:
            attempt.answer = found
        return found


def elements_of(reply: Reply) -> list[int] | None:
    """Elements of the set in the item that a reply shows; none in an item without a set, or where there is no item."""
    item = reply.body.get("Item") or reply.body.get("Attributes") or {}
    typed = item.get(ELEMENTS_ATTRIBUTE) or {}
    try:
        return sorted(int(one) for one in typed.get("NS") or typed.get("SS") or ())
    except ValueError:  # a set of somebody else's
        return None


def _set(elements: Collection[int], text: bool) -> dict[str, Any]:
    return {"SS" if text else "NS": [str(one) for one in sorted(elements)]}
