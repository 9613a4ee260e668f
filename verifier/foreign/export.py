"""Write a history down for others: Jepsen's EDN, one map an event, or JSON lines, one operation a line."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from verifier.foreign import edn
from verifier.rundir import write_atomically
from verifier.search.model import Operation

SUFFIXES: Final = (".edn", ".jsonl")
"""What an export may be called."""

_STRINGS: Final = frozenset({"get", "put", "append"})
_TYPES: Final = {"ok": "ok", "fail": "fail", "unknown": "info"}


def export(operations: Iterable[Operation], path: Path) -> None:
    """Write ``operations`` to a file whose name ends in .edn or .jsonl, as a whole or not at all."""
    made = edn_lines(operations) if path.suffix == ".edn" else json_lines(operations)
    write_atomically(path, "".join(f"{line}\n" for line in made))


def json_lines(operations: Iterable[Operation]) -> Iterator[str]:
    """One object an operation; :func:`verifier.foreign.read.read_text` reads it back."""
    for one in operations:
        fields: dict[str, Any] = {
            "process": one.process,
            "f": one.call.function,
            "value": _plain(one.call.value),
            "outcome": one.call.answer,
            "result": _plain(one.call.result),
            "start": one.start,
            "end": one.end,
        }
        if one.key is not None:
            fields["key"] = _plain(one.key)
        if one.error is not None:
            fields["error"] = one.error
        yield orjson.dumps(fields).decode()


def edn_lines(operations: Iterable[Operation]) -> Iterator[str]:
    """Jepsen's events in order of time, calls before answers on a tie.

    With keys, values are ``[key value]`` as jepsen.independent has them, and the key stands beside; calls on strings
    (get, put, append) have the key beside only. What was never answered is ``:info`` at the end, or before the next
    call of its process. A process with two operations at once becomes several.
    """
    listed = sorted(operations, key=lambda one: (one.start, one.end is None, one.end or 0))
    beside = all(one.call.function in _STRINGS for one in listed)
    numbers = [one.process for one in listed if isinstance(one.process, int)]
    spare = max(numbers, default=-1) + 1
    names: dict[str, int] = {}
    busy: dict[int, int | None] = {}
    """Process → when the operation under way ends; null: never."""
    unanswered: dict[int, Operation] = {}
    answers: list[tuple[int, int, int, Operation]] = []
    index = 0

    def line(process: int, kind: str, one: Operation, value: Any, time: int) -> str:
        nonlocal index
        if one.key is not None and not beside:
            value = (one.key, value)
        fields = [f":index {index}", f":type :{kind}", f":process {process}", f":f :{one.call.function}"]
        index += 1
        fields += [f":key {edn.write(one.key)}"] if one.key is not None else []
        fields += [f":value {edn.write(value)}", f":time {time}"]
        fields += [f":error {_error(one.error)}"] if one.error is not None and kind in ("fail", "info") else []
        return "{" + ", ".join(fields) + "}"

    def answered(until: int | None) -> Iterator[str]:
        while answers and (until is None or answers[0][0] < until):
            end, _, process, one = heapq.heappop(answers)
            busy.pop(process, None)
            call = one.call
            repeats = call.result is None and call.value is not None
            yield line(process, _TYPES[call.answer], one, call.value if repeats else call.result, end)

    for number, one in enumerate(listed):
        yield from answered(one.start)
        process = one.process
        if not isinstance(process, int):
            if process not in names:
                names[process], spare = spare, spare + 1
            process = names[process]
        if process in busy and busy[process] is not None:
            process, spare = spare, spare + 1
        if process in unanswered:
            before = unanswered.pop(process)
            yield line(process, "info", before, before.call.value, one.start)
        yield line(process, "invoke", one, one.call.value, one.start)
        busy[process] = one.end
        if one.end is None:
            unanswered[process] = one
        else:
            heapq.heappush(answers, (one.end, number, process, one))
    yield from answered(None)
    last = max((one.end or one.start for one in listed), default=0)
    for process, one in unanswered.items():
        yield line(process, "info", one, one.call.value, last)


def _error(text: str) -> str:
    """As a keyword where it is one word, else as a string."""
    return f":{text}" if text.replace("-", "").isalnum() and not text[0].isdigit() else edn.write(text)


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, frozenset):
        return sorted(map(_plain, value), key=repr)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, edn.Map):
        return {str(_plain(key)): _plain(one) for key, one in value.items}
    if isinstance(value, edn.Name):
        return value.text
    return value
