"""Findings for the page: compact rows of the worst, with the operations that stood around their witnesses.

The page's script reads what :func:`reduce_findings` returns; its shape is described there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final

import numpy as np
import orjson

from verifier.checks.explain import witness
from verifier.history.columns import History, Int64
from verifier.history.schema import ABSENT, WORKER_SHIFT
from verifier.report.columns import AllFindings
from verifier.report.record import Record, Window
from verifier.verdict import Finding, Verdict, WitnessOperation

MAX_FINDINGS: Final = 2_000
MAX_BYTES: Final = 3_500_000
"""Of all findings as JSON: the page stays below 6 MB whatever the keys and sentences are."""

WITH_NEIGHBOURS: Final = 300
"""Findings that show what else happened to their key."""

MAX_NEIGHBOURS: Final = 24

DRAWN_AS_A_WHOLE: Final = 80
"""Operations of a run that one diagram can show."""

_ROLES: Final = {"lost": ("lost", "stands in its place")}
"""What each operation of a check's witness is, in its order, where the check fixes it."""


def reduce_findings(verdict: Verdict, everything: AllFindings, record: Record, t0_ns: int) -> list[dict[str, Any]]:
    """The worst findings of each check, as many as the page can hold; all checks get an equal share of the room.

    Those of verdict.json first, in its order, then the others that were put into words. Each: ``check, key, regions,
    sentence, at`` (ns from t0), ``gamma, stale_ms, stale_versions, fault``, ``ops`` (the witness) and, for some of
    them, ``near`` (other operations on the key at that time). An operation is ``{id, role, process, region, kind,
    value, result, saw, prev, outcome, error, start, end}`` with nanoseconds from t0; fields that are null are left out.
    Writers are named as ``worker:sequence``, or ``none`` for "no such item".
    """
    more = list(_others(verdict, everything, record, t0_ns))
    chosen = _fair_share(
        [[*check.findings, *(finding for finding in more if finding.check == check.name)] for check in verdict.checks],
        MAX_FINDINGS,
    )
    counters = record.added_to(frozenset(finding.key for finding in chosen))
    with_neighbours = _first_of_each(chosen, WITH_NEIGHBOURS)
    neighbours = _neighbours([chosen[i] for i in with_neighbours], record, counters, t0_ns)
    near = dict(zip(with_neighbours, neighbours, strict=True))
    reduced: list[dict[str, Any]] = []
    used = 0
    for index, finding in enumerate(chosen):
        row = _row(finding, counters)
        if near.get(index):
            row["near"] = near[index]
        used += len(orjson.dumps(row))
        if used > MAX_BYTES:
            break
        reduced.append(row)
    return reduced


def every_operation(record: Record, t0_ns: int, lost: frozenset[int]) -> list[dict[str, Any]]:
    """All operations of a run that is small enough to be drawn as a whole, in the shape of a witness; else none."""
    if record.rows > DRAWN_AS_A_WHOLE:
        return []
    history = record.everything()
    counters = record.added_to(frozenset(history.keys))
    rows = [int(row) for row in np.argsort(history.start_ns, kind="stable")]
    return [
        _operation(witness(history, row, t0_ns), counters, "lost" if int(history.op[row]) in lost else None)
        for row in rows
    ]


def mark(op: int | None) -> str | None:
    """A writer as a person reads it: ``worker:sequence``; JavaScript's numbers could not hold the id."""
    if op is None:
        return None
    if op == ABSENT:
        return "none"
    if op < 0:
        return str(op)
    return f"{op >> WORKER_SHIFT}:{op & ((1 << WORKER_SHIFT) - 1)}"


def _others(verdict: Verdict, everything: AllFindings, record: Record, t0_ns: int) -> Iterator[Finding]:
    """Findings in words that verdict.json does not list, in the order of findings.parquet: the worst first."""
    listed = {
        (check.name, finding.key, finding.at_ns, tuple(operation.op for operation in finding.operations))
        for check in verdict.checks
        for finding in check.findings
    }
    unlisted = [
        row
        for row in everything.in_words
        if (row["check"], row["key"], row["at_ns"], tuple(row["operations"])) not in listed
    ]
    history = record.operations([op for row in unlisted for op in row["operations"]])
    rows = _RowsByOp(history)
    for row in unlisted:
        operations = []
        for op in row["operations"]:
            here = [at for at in rows.of(op) if history.keys[history.key[at]] == row["key"]]
            operations += [witness(history, at, t0_ns) for at in here or rows.of(op)]
        yield Finding(
            check=row["check"],
            key=row["key"],
            regions=list(dict.fromkeys(row["regions"])),
            operations=operations,
            sentence=row["sentence"],
            at_ns=row["at_ns"],
            gamma_ns=row["gamma_ns"],
            stale_ms=row["stale_ms"],
            stale_versions=row["stale_versions"],
            fault=row["fault"],
        )


class _RowsByOp:
    """Rows of the history by operation id; sorted once, searched as asked."""

    def __init__(self, history: History) -> None:
        self._order: Int64 = np.argsort(history.op, kind="stable")
        self._sorted = history.op[self._order]

    def of(self, op: int) -> list[int]:
        """Rows with this id: one, or one an item of a transaction; none if it was not recorded."""
        low, high = np.searchsorted(self._sorted, [op, op + 1])
        return [int(row) for row in self._order[low:high]]


def _fair_share(lists: Sequence[Sequence[Finding]], most: int) -> list[Finding]:
    """The first of each list, then the second of each … until there are enough; grouped by list again."""
    take = [0] * len(lists)
    left = most
    while left and any(take[i] < len(found) for i, found in enumerate(lists)):
        for i, found in enumerate(lists):
            if left and take[i] < len(found):
                take[i] += 1
                left -= 1
    return [finding for found, count in zip(lists, take, strict=True) for finding in found[:count]]


def _first_of_each(findings: Sequence[Finding], most: int) -> list[int]:
    """Positions of the first findings of each check, equally many, at most so many in all."""
    each = most // max(len({finding.check for finding in findings}), 1)
    seen: dict[str, int] = {}
    chosen = []
    for position, finding in enumerate(findings):
        seen[finding.check] = seen.get(finding.check, 0) + 1
        if seen[finding.check] <= each:
            chosen.append(position)
    return chosen


def _row(finding: Finding, counters: frozenset[str]) -> dict[str, Any]:
    return _without_null(
        {
            "check": finding.check,
            "key": finding.key,
            "regions": finding.regions,
            "sentence": finding.sentence,
            "at": finding.at_ns,
            "gamma": finding.gamma_ns,
            "stale_ms": finding.stale_ms,
            "stale_versions": finding.stale_versions,
            "fault": finding.fault,
            "ops": [
                _operation(operation, counters, role)
                for operation, role in zip_longest(
                    finding.operations, _ROLES.get(finding.check, ())[: len(finding.operations)]
                )
            ],
        }
    )


def _operation(operation: WitnessOperation, counters: frozenset[str], role: str | None = None) -> dict[str, Any]:
    counted = operation.key in counters
    return _without_null(
        {
            "id": mark(operation.op),
            "process": operation.process,
            "region": operation.region,
            "kind": operation.kind,
            "role": role,
            "value": operation.value if counted else _value(operation.value, operation.op),
            "result": operation.result if counted else _value(operation.result, operation.saw),
            "saw": mark(operation.saw),
            "prev": mark(operation.prev),
            "outcome": operation.outcome,
            "error": operation.error,
            "start": operation.start_ns,
            "end": operation.end_ns,
        }
    )


def _value(value: int | None, writer: int | None) -> int | str | None:
    """A register's value; where it is the writer's own operation id, as that id is written everywhere else."""
    return mark(value) if value is not None and value == writer else value


def _neighbours(
    findings: Sequence[Finding], record: Record, counters: frozenset[str], t0_ns: int
) -> list[list[dict[str, Any]]]:
    """For each finding: other operations on its key between its first start and its last end, the nearest to it."""
    windows = [_window(finding, t0_ns) for finding in findings]
    history = record.around([window for window in windows if window is not None])
    code_of = {key: code for code, key in enumerate(history.keys)}
    order = np.lexsort((history.start_ns, history.key))
    keys, starts = history.key[order], history.start_ns[order]
    found: list[list[dict[str, Any]]] = []
    for finding, window in zip(findings, windows, strict=True):
        code = code_of.get(finding.key)
        if code is None or window is None:
            found.append([])
            continue
        low, high = np.searchsorted(keys, [code, code + 1])
        low, high = low + np.searchsorted(starts[low:high], [window.first_ns, window.last_ns + 1])
        distance = np.min([np.abs(starts[low:high] - start) for start in window.starts_ns], axis=0)
        nearest = np.sort(np.argsort(distance, kind="stable")[: window.most])
        proof = {operation.op for operation in finding.operations}
        others = [int(row) for row in order[low + nearest] if int(history.op[row]) not in proof][:MAX_NEIGHBOURS]
        found.append([_operation(witness(history, row, t0_ns), counters) for row in others])
    return found


def _window(finding: Finding, t0_ns: int) -> Window | None:
    """Where its neighbours are; null: no operation of it is known."""
    if not finding.operations:
        return None
    begin = min(operation.start_ns for operation in finding.operations)
    end = max(operation.end_ns or operation.start_ns for operation in finding.operations)
    margin = max((end - begin) // 10, 2_000_000)
    return Window(
        finding.key,
        t0_ns + begin - margin,
        t0_ns + end + margin - 1,
        tuple(t0_ns + operation.start_ns for operation in finding.operations),
        MAX_NEIGHBOURS + len(finding.operations),
    )


def _without_null(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}
