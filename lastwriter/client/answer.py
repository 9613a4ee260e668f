"""What one attempt came to, and what its reply shows of the item: value, writer, the writer before."""

from __future__ import annotations

from typing import Any, Final

from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.protocol import Reply
from verifier.history.columns import NULL
from verifier.history.schema import ABSENT, PREVIOUS_ATTRIBUTE, VALUE_ATTRIBUTE, WRITER_ATTRIBUTE, Outcome

_OK: Final = Outcome.OK  # an enumeration takes its time to look a member up
_UNSAID: Final = (NULL, NULL, NULL)
_NOTHING: Final = (NULL, ABSENT, NULL)


class Answer:
    """What one attempt came to."""

    __slots__ = ("error", "op", "outcome", "previous", "reply", "value", "writer")

    def __init__(
        self,
        op: int,
        outcome: Outcome,
        error: str | None,
        value: int | None,
        writer: int | None,
        previous: int | None,
        reply: Reply | None,
    ) -> None:
        self.op, self.outcome, self.error, self.reply = op, outcome, error, reply
        self.value = value
        """Domain value that came back; None: no item, or none returned."""
        self.writer = writer
        """``_w`` of the item that came back; ABSENT: there is no item; None: nothing was said about it."""
        self.previous = previous

    @property
    def ok(self) -> bool:
        """It took effect and was answered."""
        return self.outcome is _OK

    def __repr__(self) -> str:
        what = f"value={self.value} writer={self.writer}" if self.ok else f"error={self.error}"
        return f"<Answer {self.outcome.name.lower()} {what}>"


def observed(operation: str, body: dict[str, Any], reply: Reply) -> tuple[int, int, int]:
    """Value, writer and the writer before, of the item that a reply shows."""
    if reply.outcome is _OK:
        if operation == "GetItem":
            item = reply.body.get("Item")
            return marks_of(item) if item else _NOTHING if item is None else _UNSAID
        returned, item = body.get("ReturnValues"), reply.body.get("Attributes")
        if returned == "ALL_NEW":
            return marks_of(item) if item else _UNSAID
        if returned == "ALL_OLD":
            # It shows the state that the call ended, not the one that it left.
            return NULL, NULL, (marks_of(item)[1] if item else ABSENT)
    elif reply.error == CONDITION_FAILED and body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
        item = reply.body.get("Item")
        return marks_of(item) if item else _NOTHING
    return _UNSAID


def marks_of(item: dict[str, Any]) -> tuple[int, int, int]:
    """Value, writer and the writer before of an item; NULL for what it lacks."""
    try:
        return int(item[VALUE_ATTRIBUTE]["N"]), int(item[WRITER_ATTRIBUTE]["N"]), int(item[PREVIOUS_ATTRIBUTE]["N"])
    except (KeyError, ValueError):  # not one of our own items
        return _number(item, VALUE_ATTRIBUTE), _number(item, WRITER_ATTRIBUTE), _number(item, PREVIOUS_ATTRIBUTE)


def _number(item: dict[str, Any], attribute: str) -> int:
    try:
        return int(item[attribute]["N"])
    except (KeyError, ValueError):
        return NULL


def known(number: int) -> int | None:
    """None for what nothing was said about."""
    return None if number == NULL else number
