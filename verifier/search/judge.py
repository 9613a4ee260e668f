"""Judge a history by a model: split it by key, search each part, and say what was found in words and witnesses.

**The witness** of a violation is a part of the history that is illegal whatever else had begun by then did: reads are
left out one after the other, and updates are loosened to "perhaps, at any time", for as long as no order is legal all
the same. A history with an order keeps it under both, so what is left is illegal on its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from verifier.errors import RecordError
from verifier.search.linearise import Limits, Linearisation, linearise
from verifier.search.model import Call, Model, Operation
from verifier.verdict import Judgement, merge

Refusals = Literal["judge", "drop"]
"""Whether a refused operation without a stated error (a compare-and-set that failed) is held against the state."""

_WITNESS_S: Final = 1.0
_TRIAL: Final = Limits(deadline_s=0.2, configurations=5_000)
_LISTED: Final = 8
_ALWAYS: Final = -(1 << 62)
"""Before every time of a history."""


@dataclass(frozen=True, slots=True)
class Part:
    """One object: the operations that count, in order of their calls, and what the search says of them."""

    key: Hashable
    operations: tuple[Operation, ...]
    found: Linearisation
    witness: tuple[int, ...] = ()
    """Places of the operations that are illegal on their own; empty unless violated."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is concluded of a history."""

    model: Model
    verdict: Judgement
    parts: tuple[Part, ...]
    """By key, those that were violated first, then what could not be finished, then the others."""
    dropped: int
    """Operations that tell nothing: refused, or reads without an answer."""
    notes: tuple[str, ...] = ()

    @property
    def operations(self) -> int:
        """How many were judged."""
        return sum(len(part.operations) for part in self.parts)

    @property
    def violated(self) -> int:
        """In how many parts something is wrong."""
        return sum(part.found.verdict == "violated" for part in self.parts)


def judge(
    operations: Sequence[Operation],
    model: Model,
    limits: Limits | None = None,
    *,
    refusals: Refusals = "judge",
    progress: Callable[[float], None] | None = None,
) -> Judged:
    """Whether ``operations`` are linearizable by ``model``. Raises RecordError for a call that the model does not know.

    The deadline is for all parts together; those with few operations are searched first.
    """
    limits = limits or Limits()
    parts, dropped = _parts(operations, model, refusals)
    until = time.monotonic() + limits.deadline_s
    done: list[Part] = []
    for key, part in sorted(parts.items(), key=lambda one: len(one[1])):
        left = max(0.0, until - time.monotonic())
        found = _searched(part, model, replace(limits, deadline_s=left))
        if found.verdict == "unknown" and time.monotonic() > until:
            found = replace(found, reason=f"the deadline of {limits.deadline_s:g} s has passed")
        done.append(Part(key, tuple(part), found))
        if progress is not None:
            progress(len(done) / len(parts))
    worst = {"violated": 0, "unknown": 1, "holds": 2}
    done.sort(key=lambda part: (worst[part.found.verdict], len(part.operations)))
    if done and done[0].found.verdict == "violated":
        done[0] = replace(done[0], witness=witness_of(done[0].operations, done[0].found.stuck[0], model))
    verdict = merge(part.found.verdict for part in done if part.operations)
    return Judged(model, verdict, tuple(done), dropped, _notes(done, model))


def sentences(judged: Judged) -> list[str]:
    """What there is to say, most important first: a line each."""
    model, parts = judged.model, judged.parts
    if not judged.operations:
        return ["Nothing to judge: no operation of the history tells anything, which proves nothing."]
    lines = []
    wrong = [part for part in parts if part.found.verdict == "violated"]
    open_ = [part for part in parts if part.found.verdict == "unknown"]
    for part in wrong[:1]:
        lines.append(_violation(part, model))
        if len(wrong) > 1:
            keys = ", ".join(_key(one.key) for one in wrong[:_LISTED])
            lines.append(f"In all {len(wrong):,} of {len(parts):,} keys have no order: {keys}{_more(len(wrong))}.")
    for part in open_[:1]:
        lines.append(_unfinished(part, model))
        if len(open_) > 1:
            lines.append(f"In all {len(open_):,} of {len(parts):,} keys were not finished.")
    if not wrong and not open_:
        what = f"{judged.operations:,} operations"
        what += f" on {len(parts):,} keys" if len(parts) > 1 else ""
        lines.append(f"All {what} have an order that a {model.name} allows.")
    return lines + list(judged.notes)


def say(operation: Operation) -> str:
    """An operation in a few words: ``process 3's write 5 (line 12)``."""
    place = f" (line {operation.line})" if operation.line is not None else ""
    return f"process {operation.process}'s {say_call(operation.call)}{place}"


def say_call(call: Call) -> str:
    """``read → 5``, ``cas [1 2] refused``, ``append "x" (unknown)``."""
    text = call.function if call.value is None else f"{call.function} {_value(call.value)}"
    if call.answer == "unknown":
        return f"{text} (unknown)"
    if call.answer == "fail":
        return f"{text} refused"
    return text if call.result is None and call.value is not None else f"{text} → {_value(call.result)}"


def _value(value: object) -> str:
    if value is None:
        return "nil"
    if isinstance(value, tuple):
        return "[" + " ".join(map(_value, value)) + "]"
    if isinstance(value, frozenset):
        return "#{" + " ".join(sorted(map(_value, value))) + "}"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:25]}…{value[-30:]}"'
    return str(value)


def _violation(part: Part, model: Model) -> str:
    where = f" on key {_key(part.key)}" if part.key is not None else ""
    found = part.found
    text = f"No order of the operations{where} explains {say(part.operations[found.stuck[0]])}"
    text += f": {_reached(part, model)}."
    if part.witness:
        listed = "; ".join(say(part.operations[at]) for at in part.witness[:_LISTED]) + _more(len(part.witness))
        text += f" Whatever else had begun by then did, these contradict each other: {listed}."
    return text


def _unfinished(part: Part, model: Model) -> str:
    where = f" for key {_key(part.key)}" if part.key is not None else ""
    found = part.found
    text = f"The search{where} was not finished: {found.reason}. So far {_reached(part, model)}"
    return text + f"; it looked at {found.explored:,} configurations."


def _reached(part: Part, model: Model) -> str:
    found = part.found
    count = len(found.order)
    text = f"the longest order found places {count:,} of {len(part.operations):,} operations"
    if found.order:
        text += f", ends with {say(part.operations[found.order[-1]])}"
    text += f" and leaves {model.show(found.state)}"
    others = [say(part.operations[at]) for at in found.stuck[1:_LISTED]]
    return text + (f"; under way and not placed either: {', '.join(others)}" if others else "")


def _key(key: Hashable) -> str:
    return _value(key)


def _more(count: int) -> str:
    return f" and {count - _LISTED:,} more" if count > _LISTED else ""


def _parts(
    operations: Sequence[Operation], model: Model, refusals: Refusals
) -> tuple[dict[Hashable, list[Operation]], int]:
    """The operations that tell something, with their calls in normal form, by key."""
    parts: dict[Hashable, list[Operation]] = {}
    normal: dict[Call, Call] = {}
    dropped = 0
    for operation in operations:
        call = operation.call
        if call.function not in model.functions:
            known = ", ".join(model.functions)
            raise RecordError(f"{_at(operation)}model {model.name} has no {call.function}; it has {known}")
        known_call = normal.get(call)
        if known_call is None:
            made = model.normal(call)
            if made is None:
                what = model.functions[call.function]
                raise RecordError(
                    f"{_at(operation)}{say_call(call)} makes no sense to model {model.name}: "
                    f"{call.function} takes {what}"
                )
            known_call = normal[call] = made
        refused = call.answer == "fail" and (
            refusals == "drop" or operation.error is not None or known_call.function not in model.refusals
        )
        if refused or (call.answer == "unknown" and known_call.function in model.reads):
            dropped += 1
            continue
        if known_call != call:
            operation = replace(operation, call=known_call)
        parts.setdefault(operation.key if model.by_key else None, []).append(operation)
    return parts, dropped


def _at(operation: Operation) -> str:
    return f"line {operation.line}: " if operation.line is not None else ""


def _searched(operations: Sequence[Operation], model: Model, limits: Limits) -> Linearisation:
    """The search; a model that fails is no verdict, and no reason to give up the other keys."""
    try:
        return linearise(operations, model, limits)
    except Exception as error:  # noqa: BLE001 - a model is anybody's code
        reason = f"model {model.name} failed: {type(error).__name__}: {error}"
        return Linearisation("unknown", (), (), model.init(), 0, reason)


def witness_of(
    operations: Sequence[Operation], stuck: int, model: Model, seconds: float = _WITNESS_S
) -> tuple[int, ...]:
    """Places of operations that are illegal on their own; see the top of this file.

    ``stuck``: place of the one whose return no order explains. Empty where the time for it was too short.
    """
    until = time.monotonic() + seconds
    model = replace(model, reachable=None)  # looking ahead pays for long searches only
    last = operations[stuck].end
    assert last is not None
    # Nothing after the return that could not be explained matters; what was under way then is as good as unanswered.
    kept = [at for at, operation in enumerate(operations) if operation.end is not None and operation.end <= last]
    loosened = {
        at: _loose(operation)
        for at, operation in enumerate(operations)
        if operation.start <= last and at not in set(kept) and not model.is_pure(operation.call)
    }

    def illegal(chosen: Sequence[int]) -> bool:
        trial = [operations[at] for at in chosen]
        trial += [
            _loose(operations[at]) for at in kept if at not in set(chosen) and not model.is_pure(operations[at].call)
        ]
        trial += loosened.values()
        return _searched(trial, model, _TRIAL).verdict == "violated"

    chosen = kept
    size = max(1, len(chosen) // 2)
    while time.monotonic() < until:
        at = 0
        while at < len(chosen) and time.monotonic() < until:
            trial = chosen[:at] + chosen[at + size :]
            if illegal(trial):
                chosen = trial
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return tuple(chosen) if illegal(chosen) else ()


def _loose(operation: Operation) -> Operation:
    """The update as something that may have happened at any time, or not at all."""
    call = operation.call._replace(answer="unknown", result=None)
    return replace(operation, call=call, start=_ALWAYS, end=None)


def _notes(parts: Sequence[Part], model: Model) -> tuple[str, ...]:
    """What a reader must know besides: a violation that rests upon refusals only."""
    for part in parts[:1]:
        if part.found.verdict != "violated":
            break
        without = [operation for operation in part.operations if operation.call.answer != "fail"]
        if len(without) < len(part.operations) and _searched(without, model, _TRIAL).verdict == "holds":
            return (
                "It rests upon operations that were refused although the state allowed them; "
                "if a refusal may have other reasons, leave them out with --refusals drop.",
            )
    return ()
