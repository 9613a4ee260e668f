"""Whether a short history of one item has a sequential explanation: every order is tried. The slow truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tests.emulator.virtual import Call


@dataclass(frozen=True)
class Step:
    """One operation: when, what it did, what it showed."""

    start: float
    end: float
    kind: str  # put, read, add, create, refused, delete
    argument: Any
    result: Any
    certain: bool  # it took effect (a read: it showed something); else it may have, at any time from its start


def step(call: Call) -> Step | None:
    """The operation of a call on attribute ``v``; None if it certainly did nothing and shows nothing."""
    end = math.inf if call.end_ns is None else float(call.end_ns)
    start = float(call.start_ns)
    certain = call.ok
    if call.operation == "GetItem":
        return (
            Step(start, end, "read", None, _value(call.body.get("Item") if call.body else None), True)
            if certain
            else None
        )
    if call.error == "ReplicatedWriteConflictException":
        return None
    if call.error == "ConditionalCheckFailedException":
        return Step(start, end, "refused", None, _value((call.body or {}).get("Item")), True)
    if not certain:
        end = math.inf
    attributes = (call.body or {}).get("Attributes")
    if call.operation == "PutItem":
        kind = "create" if "ConditionExpression" in call.request else "put"
        return Step(start, end, kind, _value(call.request["Item"]), None, certain)
    if call.operation == "DeleteItem":
        return Step(start, end, "delete", None, _value(attributes), certain)
    return Step(start, end, "add", None, _value(attributes), certain)


def linearizable(steps: list[Step]) -> bool:
    """Whether some order of the steps, each between its start and its end, explains every result. Absent at first."""
    ordered = sorted(steps, key=lambda one: one.start)
    required = sum(1 << index for index, one in enumerate(ordered) if one.certain)
    seen: set[tuple[int, Any]] = set()
    stack: list[tuple[int, Any]] = [(0, None)]
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        left = [index for index in range(len(ordered)) if not done >> index & 1]
        horizon = min(ordered[index].end for index in left if ordered[index].certain)
        for index in left:
            one = ordered[index]
            if one.start > horizon:
                break
            outcome = _apply(one, state)
            if outcome is not _ILLEGAL:
                stack.append((done | 1 << index, outcome))
    return False


_ILLEGAL: Any = object()


def _apply(one: Step, state: Any) -> Any:
    if one.kind == "read":
        return state if one.result == state else _ILLEGAL
    if one.kind == "refused":  # of a creation: there was an item, and this one
        return state if state is not None and one.result == state else _ILLEGAL
    if one.kind == "put":
        return one.argument
    if one.kind == "create":
        if state is None:
            return one.argument
        return _ILLEGAL if one.certain else state
    if one.kind == "delete":
        return None if not one.certain or one.result == state else _ILLEGAL
    new = str(int(state or "0") + 1)
    return new if not one.certain or one.result == new else _ILLEGAL


def _value(item: dict[str, Any] | None) -> str | None:
    return None if item is None else str(next(iter(item["v"].values())))
