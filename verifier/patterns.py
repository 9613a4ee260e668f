"""What became of the intents, all together and load by load: each load is a pattern, each window a fault or none.

Windows are by the schedule of an intent's first attempt: before all faults, each fault by itself, and after them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from verifier.answers import CONDITION_FAILED, CONFLICT, THROTTLED, TIMEOUT, asked, server_errors, with_error
from verifier.checks.ledger import Balance, Fate
from verifier.checks.marks import updates
from verifier.checks.types import Context
from verifier.distribution import NOTHING, Distribution
from verifier.history.columns import Bool, History, Int64
from verifier.history.schema import Outcome
from verifier.intents import intents_of
from verifier.loads import SWEEP, load_of_rows, loads_of
from verifier.tally import Tally, number
from verifier.verdict import IntentRow, Intents
from verifier.windows import fault_span

WHOLE_RUN: Final = "run"
"""Window of a run without faults."""
BEFORE: Final = "before"
AFTER: Final = "after"

_SHARES: Final = (0.5, 0.95, 0.99, 0.999, 1.0)
_ALL: Final = ""


def windows_of(context: Context) -> list[tuple[str, int, int]]:
    """Name, start and end (inclusive) of each: before the faults, each fault by its id, after them; or the run."""
    most = int(np.iinfo(np.int64).max)
    spans = [(fault.id, *fault_span(fault)) for fault in context.faults]
    if not spans:
        return [(WHOLE_RUN, -most, most)]
    first, last = min(start for _, start, _ in spans), max(end for _, _, end in spans)
    after = [(AFTER, last + 1, most)] if last < most else []
    return [(BEFORE, -most, first - 1), *spans, *after]


def count_intents(history: History, context: Context, balance: Balance) -> Tally:
    """Everything that :func:`intents_row` needs of some keys."""
    if not len(history):
        return {}
    table = intents_of(history, context)
    users = _users(history, table.first)
    counts: dict[str, int | Distribution] = {}
    due = history.scheduled_ns[table.first]
    took = np.where(table.in_order, table.final_ns - due, -1)
    counts |= _counted(_ALL, table.attempts, table.answered, took, users)
    counts[f"{_ALL}|succeeded"] = int((table.succeeded & users).sum())
    counts[f"{_ALL}|unknown"] = int((table.unknown & users).sum())
    changing = updates(history) & asked(history)
    counts[f"{_ALL}|updates"] = int(changing.sum())
    counts[f"{_ALL}|unknown_updates"] = int((changing & (history.outcome == Outcome.UNKNOWN)).sum())
    counts[f"{_ALL}|conflicts"] = int(with_error(history, CONFLICT).sum())
    counts[f"{_ALL}|throttled"] = int(with_error(history, *THROTTLED).sum())
    counts[f"{_ALL}|condition_failed"] = int(with_error(history, *CONDITION_FAILED).sum())
    counts[f"{_ALL}|server_errors"] = int(server_errors(history).sum())
    counts[f"{_ALL}|timeouts"] = int(with_error(history, TIMEOUT).sum())
    loads = load_of_rows(history, context)
    fates = balance.fates
    for name, start, end in windows_of(context):
        inside = users & (due >= start) & (due <= end)
        writes = history.scheduled_ns[fates.row]
        writing = (writes >= start) & (writes <= end)
        for load in range(len(loads_of(context.run.profile))):
            cell = f"{load}|{name}"
            counts |= _counted(cell, table.attempts, table.answered, took, inside & (loads[table.first] == load))
            chosen = writing & (loads[fates.row] == load)
            fate = np.bincount(fates.fate[chosen], minlength=len(Fate)).tolist()
            counts |= {f"{cell}|{one.name.lower()}": fate[one] for one in Fate}
            counts[f"{cell}|twice"] = int((fates.twice & chosen).sum())
    return counts


def intents_row(tally: Tally, context: Context) -> Intents:
    """What all parts say together."""

    def count(what: str) -> int:
        return number(tally, f"{_ALL}|{what}")

    intents, attempts = count("intents"), count("attempts")
    p50, p95, p99, p999, most = _latency(tally, _ALL)
    return Intents(
        intents=intents,
        succeeded=count("succeeded"),
        failed=intents - count("succeeded") - count("unknown"),
        unknown=count("unknown"),
        attempts=attempts,
        success_rate=round(count("succeeded") / intents, 6) if intents else None,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        p999_ms=p999,
        max_ms=most,
        amplification=round(attempts / intents, 4) if intents else None,
        conflicts=count("conflicts"),
        throttled=count("throttled"),
        condition_failed=count("condition_failed"),
        server_errors=count("server_errors"),
        timeouts=count("timeouts"),
        by_pattern=list(_rows(tally, context)),
    )


def _rows(tally: Tally, context: Context) -> Iterable[IntentRow]:
    for place, load in enumerate(loads_of(context.run.profile)):
        for name, _, _ in windows_of(context):
            cell = f"{place}|{name}"
            intents, attempts = number(tally, f"{cell}|intents"), number(tally, f"{cell}|attempts")
            if not intents:
                continue
            p50, _, p99, _, most = _latency(tally, cell)
            lost, open_ = number(tally, f"{cell}|lost"), number(tally, f"{cell}|unattributed")
            yield IntentRow(
                workload=load.workload,
                pattern=load.pattern,
                keys=load.prefix,
                window=name,
                intents=intents,
                attempts=attempts,
                answered=number(tally, f"{cell}|answered"),
                acknowledged=number(tally, f"{cell}|kept") + lost + open_,
                lost=lost,
                unattributed=open_,
                twice=number(tally, f"{cell}|twice"),
                refused=number(tally, f"{cell}|refused"),
                amplification=round(attempts / intents, 4),
                p50_ms=p50,
                p99_ms=p99,
                max_ms=most,
            )


def _counted(cell: str, attempts: Int64, answered: Bool, took: Int64, chosen: Bool) -> Tally:
    return {
        f"{cell}|intents": int(chosen.sum()),
        f"{cell}|attempts": int(attempts[chosen].sum()),
        f"{cell}|answered": int((answered & chosen).sum()),
        f"{cell}|latency": Distribution.of_ns(took[chosen & answered & (took >= 0)]),
    }


def _latency(tally: Tally, cell: str) -> list[float | None]:
    found = tally.get(f"{cell}|latency", NOTHING)
    assert isinstance(found, Distribution)
    return found.ranks_ms(_SHARES)


def _users(history: History, rows: Int64) -> Bool:
    """Intents that somebody waits for: not the reads of a failover's sweep."""
    if SWEEP not in history.workloads:
        return np.ones(len(rows), np.bool_)
    return np.asarray(history.workload[rows] != history.workloads.index(SWEEP), np.bool_)
