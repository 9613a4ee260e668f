"""The operations of a run as others would record them: counters by their values, all else by the writers' marks.

A key that only increments change is a counter: its reads show the number. Every other key is a register of marks: an
update writes its operation id, a read shows the id of its writer (nil: no item), a compare-and-set is from mark to
mark, and so is an update that says what it was applied to. So every value is unique, and a checker of registers can
judge what was written twice with one domain value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from verifier.checks.marks import of_kind, updates
from verifier.history.columns import NULL, History, Int64
from verifier.history.reader import read_history
from verifier.history.replicas import read_replicas
from verifier.history.schema import ABSENT, Kind, Outcome
from verifier.rundir import RunDirectory
from verifier.search.model import Answer, Call, Operation

_ANSWERS: Final[dict[int, Answer]] = {Outcome.OK: "ok", Outcome.FAIL: "fail", Outcome.UNKNOWN: "unknown"}
_REFUSED: Final = "ConditionalCheckFailedException"


def operations_of_run(directory: RunDirectory) -> tuple[list[Operation], list[str]]:
    """The strong operations of a run, initial items as writes before them, final ones as reads after them; and what was
    left out."""
    history = read_history(directory)
    history, initial = read_replicas(directory, "initial", history)
    history, final = read_replicas(directory, "final", history)
    counters = counter_keys(history)
    listed = list(operations_of(history, counters))
    first = min((one.start for one in listed), default=0)
    # One replica: the initial ones are equal.
    items = [(replica, at) for replica in list(initial.values())[:1] for at in range(len(replica.key))]
    before = []
    for replica, at in items:
        key, counter = int(replica.key[at]), bool(counters[replica.key[at]])
        shown = int(replica.value[at]) if counter else int(replica.w[at])
        if shown != NULL:
            call = Call("add" if counter else "write", shown)
            before.append(Operation(f"initial {history.keys[key]}", call, first - 2, first - 1, history.keys[key]))
    after = []
    for region, replica in final.items():
        for at in range(len(replica.key)):
            key = int(replica.key[at])
            shown = int(replica.value[at]) if counters[key] else int(replica.w[at])
            if shown != NULL:
                start, end = int(replica.start_ns[at]), int(replica.end_ns[at])
                name = history.keys[key]
                after.append(Operation(f"final {region} {name}", Call("read", None, "ok", shown), start, end, name))
    notes = []
    eventual = int(of_kind(history, Kind.READ_EVENTUAL).sum())
    if eventual:
        notes.append(f"{eventual:,} eventually consistent reads are left out.")
    if history.lost:
        notes.append(
            "A worker was killed: what it did last is not in the export, and a checker may accuse on its account."
        )
    return before + listed + after, notes


def counter_keys(history: History) -> Any:
    """Keys (as a mask) that increments change, and nothing else."""
    adds = of_kind(history, Kind.ADD)
    mine, others = np.zeros(len(history.keys), np.bool_), np.zeros(len(history.keys), np.bool_)
    mine[history.key[adds]] = True
    others[history.key[updates(history) & ~adds]] = True
    return mine & ~others


def operations_of(history: History, counters: Any) -> Iterator[Operation]:
    """Every row but the eventually consistent reads, in order of start. ``counters``: see :func:`counter_keys`."""
    rows = np.argsort(history.start_ns, kind="stable")
    return (operation for _, operation in operations_of_rows(history, counters, rows))


def operations_of_rows(history: History, counters: Any, rows: Int64) -> Iterator[tuple[int, Operation]]:
    """The same of some rows, each with its row."""
    kinds = history.kinds
    for row in rows.tolist():
        kind = kinds[history.kind[row]]
        key = int(history.key[row])
        if kind == Kind.READ_EVENTUAL or not _tells(history, row, kind, bool(counters[key])):
            continue
        answer = _ANSWERS[int(history.outcome[row])]
        call = (
            _counter_call(history, row, kind, answer) if counters[key] else _register_call(history, row, kind, answer)
        )
        error = history.errors[history.error[row]] if history.error[row] >= 0 else None
        if answer == "fail" and error == _REFUSED:
            error = None
        operation = Operation(
            int(history.process[row]),
            call,
            int(history.start_ns[row]),
            None if answer == "unknown" else int(history.end_ns[row]),
            history.keys[key],
            error=error,
        )
        if answer == "fail" and call.function == "cas" and error is None and history.saw[row] != NULL:
            # It handed the item back: a read, which says more than the refusal.
            operation = replace(operation, call=Call("read", None, "ok", _mark(int(history.saw[row]))))
        yield row, operation


def _tells(history: History, row: int, kind: str, counter: bool) -> bool:
    """Not a read without what it showed: nil would say that there was no item."""
    if kind not in (Kind.READ, Kind.TXN_READ) or history.outcome[row] != Outcome.OK or history.saw[row] == ABSENT:
        return True
    return bool((history.result if counter else history.saw)[row] != NULL)


def _counter_call(history: History, row: int, kind: str, answer: Answer) -> Call:
    result = int(history.result[row])
    if kind == Kind.ADD:
        return Call("add", int(history.value[row]), answer, result if answer == "ok" and result != NULL else None)
    return Call("read", None, answer, (0 if result == NULL else result) if answer == "ok" else None)


def _register_call(history: History, row: int, kind: str, answer: Answer) -> Call:
    op = int(history.op[row])
    if kind in (Kind.READ, Kind.TXN_READ):
        return Call("read", None, answer, _mark(int(history.saw[row])) if answer == "ok" else None)
    new, expect = None if kind == Kind.DELETE else op, int(history.expect[row])
    if kind == Kind.CREATE or expect != NULL:
        return Call("cas", (_mark(expect), new), answer)
    if answer == "ok" and history.prev[row] != NULL:
        return Call("cas", (_mark(int(history.prev[row])), new))
    return Call("write", new, answer)


def _mark(mark: int) -> int | None:
    """A writer's mark; nil for no item (and for what was not returned)."""
    return None if mark in (ABSENT, NULL) else mark
