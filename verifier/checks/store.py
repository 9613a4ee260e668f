"""The ledger of the store: what it did with the attempts that it answered, counter by counter.

A counter is a key that only increments change. Its final value must lie between ``initial + acknowledged`` and
``initial + acknowledged + unknown``; below, increments are missing, above, somebody's were applied twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from verifier.checks.final import in_doubt
from verifier.checks.marks import keys_with, of_kind, updates
from verifier.checks.types import Context, Replica, Result, Violation, join_notes, judgement, noted
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import Kind, Outcome
from verifier.verdict import StoreLedger


@dataclass(frozen=True, slots=True)
class Books:
    """The store ledger and what is wrong with it."""

    counters: Bool
    """Keys that only increments change, and whose final value was read (k)."""
    ledger: StoreLedger | None
    """Null: no counter whose final value was read."""
    breaches: tuple[tuple[int, int, int], ...]
    """(key, missing, surplus) of every counter outside its interval."""


def books_of(history: History, context: Context) -> Books:
    """The run's :class:`Books`, worked out once."""
    made = context.shared.get("books")
    if not isinstance(made, Books):
        counters = _counters(history, context)
        made = context.shared["books"] = Books(counters, *_store(history, context, np.flatnonzero(counters)))
    return made


def check_store(history: History, context: Context) -> Result:
    """No counter ends outside what its increments allow."""
    books = books_of(history, context)
    effective = updates(history) & (history.outcome != Outcome.FAIL)
    exercised = int((effective & books.counters[history.key]).sum()) if books.ledger is not None else 0
    at_ns = _end_of(history, context) if books.breaches else 0
    violations = [
        Violation(key, (), at_ns, facts={"missing": missing, "surplus": surplus}, size=missing + surplus)
        for key, missing, surplus in books.breaches
    ]
    notes: list[str] = []
    if history.lost:
        notes.append("a worker's last rows are missing: what they could explain is not counted")
    doubtful = int((books.counters & in_doubt(history, context)).sum())
    if doubtful:
        notes.append(noted("{count} counters had not settled, or were changed in a Region that was not read", doubtful))
    verdict = judgement(len(violations), exercised)
    return Result(
        "unknown" if verdict == "holds" and doubtful else verdict,
        exercised,
        tuple(violations),
        note=join_notes(notes),
        failed=doubtful > 0,
    )


def _counters(history: History, context: Context) -> Bool:
    """Keys that only increments change, and whose final value was read (k)."""
    if not context.final:
        return np.zeros(len(history.keys), np.bool_)
    adds = of_kind(history, Kind.ADD) & (history.value != NULL)
    return keys_with(history, adds) & ~keys_with(history, updates(history) & ~adds)


def _store(
    history: History, context: Context, counters: Int64
) -> tuple[StoreLedger | None, tuple[tuple[int, int, int], ...]]:
    if not len(counters):
        return None, ()
    keys = len(history.keys)
    rows = np.flatnonzero(of_kind(history, Kind.ADD) & (history.value != NULL))
    key, delta, outcome = history.key[rows], history.value[rows], history.outcome[rows]

    def total(chosen: Bool) -> Int64:
        sums = np.zeros(keys, np.int64)
        np.add.at(sums, key[chosen], delta[chosen])
        return sums[counters]

    acknowledged, unknown = total(outcome == Outcome.OK), total(outcome == Outcome.UNKNOWN)
    up = total((outcome == Outcome.UNKNOWN) & (delta > 0))
    initial = _values(context.initial.values(), keys)[counters]
    finals = np.stack([_values([replica], keys)[counters] for replica in context.final.values()])
    least, most = initial + acknowledged + (unknown - up), initial + acknowledged + up
    # Replicas that differ: each is judged by itself, and what none of them explains is a breach.
    missing = np.maximum(0, least - finals.max(axis=0))
    surplus = np.maximum(0, finals.min(axis=0) - most)
    if history.lost:
        # Any key may have had unrecorded increments. They explain every surplus, and a shortfall only if any are
        # negative, which they are not where all recorded ones are positive.
        surplus[:] = 0
        if len(delta) and int(delta.min()) < 0:
            missing[:] = 0
    doubtful = in_doubt(history, context)[counters]
    missing[doubtful] = surplus[doubtful] = 0
    broken = np.flatnonzero((missing > 0) | (surplus > 0))
    breaches = tuple((int(counters[at]), int(missing[at]), int(surplus[at])) for at in broken.tolist())
    return (
        StoreLedger(
            keys=len(counters),
            initial=int(initial.sum()),
            acknowledged=int(acknowledged.sum()),
            unknown=int(unknown.sum()),
            final=int(finals[0].sum()),
            missing=int(missing.sum()),
            surplus=int(surplus.sum()),
        ),
        breaches,
    )


def _values(replicas: Iterable[Replica], keys: int) -> Int64:
    values = np.zeros(keys, np.int64)
    for replica in replicas:
        values[replica.key] = np.where(replica.value == NULL, 0, replica.value)
        break
    return values


def _end_of(history: History, context: Context) -> int:
    ends = [replica.read_ns[1] for replica in context.final.values() if replica.read_ns is not None]
    return max(ends, default=int(history.end_ns.max()))
