"""From calls and answers, line by line, to operations; what is odd about them is said, with what it means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from verifier.errors import RecordError
from verifier.search.model import Answer, Call, Operation

Type = Literal["invoke", "ok", "fail", "info"]
TYPES: Final[tuple[Type, ...]] = ("invoke", "ok", "fail", "info")

_ANSWERS: Final[dict[str, Answer]] = {"ok": "ok", "fail": "fail", "info": "unknown"}
NEMESIS: Final = "nemesis"
"""The process of Jepsen's that breaks things; it is no client."""
_READS: Final = ("read", "get")
_ASK_NOTHING: Final = frozenset({*_READS, "dequeue", "pop", "peek", "poll"})
"""Functions that are called without a value: where a call has one all the same, it is what the answer was. (Knossos'
histories are written with answers filled in.)"""
_WRITES: Final = frozenset({"write", "put", "append", "enqueue", "cas"})
"""Functions whose values tell writes apart, where they differ."""
_SHOWN: Final = 5
_FIRST: Final = 0
"""Before the first line."""


class Event(NamedTuple):
    """One line of a log: a call, or an answer."""

    line: int
    process: int | str
    type: Type
    function: str
    value: Any = None
    key: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """A history that was read."""

    operations: tuple[Operation, ...]
    notes: tuple[str, ...] = ()
    """What was odd, with the lines, and what it means for the verdict."""
    format: str = ""


def paired(events: Iterable[Event], where: str = "") -> Foreign:
    """Calls with their answers. Times of the operations are the places of the events, from 1.

    Raises RecordError, with the line, for an answer to another call than the one under way.
    """
    listed = _split_keys([event for event in events if event.process != NEMESIS])
    operations: list[Operation | None] = []
    under_way: dict[int | str, tuple[int, int, Event]] = {}
    overlapping: list[int] = []
    unasked: list[int] = []
    for time, event in enumerate(listed, 1):
        if event.type == "invoke":
            if event.process in under_way:
                overlapping.append(event.line)
                begun, place, call = under_way[event.process]
                operations[place] = _operation(call, None, begun, None)
            under_way[event.process] = (time, len(operations), event)
            operations.append(None)
            continue
        called = under_way.pop(event.process, None)
        if called is None:
            if event.type == "ok":
                unasked.append(event.line)
                operations.append(_unasked(event, time))
            continue
        begun, place, call = called
        if event.function != call.function:
            raise RecordError(
                f"{where}line {event.line}: process {event.process} is answered {event.function}, "
                f"but called {call.function} on line {call.line}"
            )
        operations[place] = _operation(call, event, begun, time)
    for begun, place, call in under_way.values():
        operations[place] = _operation(call, None, begun, None)
    notes = []
    if overlapping:
        notes.append(
            f"{lines(overlapping)}: a process calls before its last call was answered. The earlier one is taken to be "
            "unknown."
        )
    if unasked:
        notes.append(
            f"{lines(unasked)}: an answer without a call, taken to have been called before the first line; what it "
            "changed may have happened at any time."
        )
    return Foreign(tuple(one for one in operations if one is not None), tuple(notes))


def repeated(operations: Sequence[Operation]) -> tuple[str, ...]:
    """Values that were written before, to the same object: said, as a read of one does not say whose it is."""
    seen: set[tuple[object, object]] = set()
    again = []
    for operation in operations:
        call = operation.call
        if call.function not in _WRITES or call.answer == "fail":
            continue
        pair = call.function == "cas" and isinstance(call.value, tuple) and call.value
        written = (operation.key, call.value[-1] if pair else call.value)
        if written in seen and operation.line is not None:
            again.append(operation.line)
        seen.add(written)
    if not again:
        return ()
    return (
        f"{lines(sorted(again))}: a value that was written before. A read of it does not say which write it shows: all "
        "are tried, so the verdict is as exact, and may take longer.",
    )


def lines(numbers: Sequence[int]) -> str:
    """``Line 3``, ``Lines 3, 7 and 20 more``."""
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    more = f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else ""
    return f"{'Line' if len(numbers) == 1 else 'Lines'} {shown}{more}"


def _operation(call: Event, answer: Event | None, start: int, end: int | None) -> Operation:
    outcome: Answer = "unknown" if answer is None else _ANSWERS[answer.type]
    value, result = call.value, answer.value if answer is not None and answer.type == "ok" else None
    if result == value and type(result) is type(value):  # 0 is not false
        if call.function in _ASK_NOTHING:
            value = None
        else:
            result = None  # the answer repeats what was passed
    elif outcome != "ok" and call.function in _ASK_NOTHING:
        value = None
    made = Call(call.function, value, outcome, result)
    error = None if answer is None else answer.error
    return Operation(call.process, made, start, None if outcome == "unknown" else end, call.key, call.line, error)


def _unasked(answer: Event, time: int) -> Operation:
    """A read that began at some time; or an update that may have happened at any time."""
    if answer.function in _READS:
        made, end = Call(answer.function, None, "ok", answer.value), time
    else:
        made, end = Call(answer.function, answer.value, "unknown", None), None
    return Operation(answer.process, made, _FIRST, end, answer.key, answer.line)


def _split_keys(events: list[Event]) -> list[Event]:
    """Where values are ``[key value]`` they are taken apart: as jepsen.independent writes them, or with the key beside.

    A pair may be a value itself (of a compare-and-set, say), but then reads are called with nil, not ``[key nil]``.
    """
    calls = [event for event in events if event.type == "invoke"]
    if not calls or not all(isinstance(event.value, tuple) and len(event.value) == 2 for event in calls):
        return events
    beside = all(event.key is not None and event.value[0] == event.key for event in calls)
    if not beside and not any(event.key is None and event.value[1] is None for event in calls):
        return events
    return [
        event._replace(key=event.value[0], value=event.value[1])
        if isinstance(event.value, tuple) and len(event.value) == 2
        else event
        for event in events
    ]
