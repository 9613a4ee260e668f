"""What can be measured of a run: one row a metric, with its unit and the function that measures it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.checks.ledger import Balance, Fate
from verifier.checks.marks import of_kind, updates
from verifier.checks.types import Context, Result
from verifier.history.columns import NO_CODE, Bool, Float64, History, Int64
from verifier.history.schema import Outcome
from verifier.staleness import reads_judged, stale_reads
from verifier.values import Unit
from verifier.verdict import ContractRow
from verifier.windows import loaded_seconds, marked_seconds, window_mask

CONDITION_FAILED: Final = "ConditionalCheckFailedException"
CONFLICT: Final = "ReplicatedWriteConflictException"
THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "Throttling",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
    }
)
IN_FLIGHT: Final = "InFlight"
"""The worker stopped before the attempt was answered or given up: its end says nothing about latency."""

TOO_MANY_MARKED_SECONDS: Final = 0.05
"""Above this share of seconds in which the client itself was slow, expectations on latency are inconclusive."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What an expectation is narrowed to."""

    phase: str | None = None
    region: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Bounds of a measured number (equal: it is known); None: it could not be measured, and why."""

    low: float | None
    high: float | None
    reason: str | None = None
    conclusive: bool = True
    """False: whatever the bounds say of an expectation, it was not put to the test."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a metric may be computed from."""

    history: History
    context: Context
    balance: Balance
    results: Mapping[str, Result]
    contract: tuple[ContractRow, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    unit: Unit
    description: str
    measure: Callable[[Facts, Selection], Measured]
    narrows: frozenset[str] = frozenset({"phase", "region", "kind"})
    """By what an expectation may narrow it."""


def exactly(value: float) -> Measured:
    """A number that is known."""
    return Measured(value, value)


def unmeasured(reason: str) -> Measured:
    """A number that is not."""
    return Measured(None, None, reason)


def answered_ms(history: History, rows: Bool | Int64) -> Float64:
    """From schedule to answer of each row, in milliseconds; of an attempt that was given up, to that moment."""
    picked: Float64 = (history.end_ns[rows] - history.scheduled_ns[rows]) / 1e6
    return picked


def timed(history: History) -> Bool:
    """Rows whose end says how long a user waited."""
    return with_error(history, IN_FLIGHT, invert=True)


def with_error(history: History, *names: str, invert: bool = False) -> Bool:
    """Rows with one of these errors (or, inverted, with none of them)."""
    wanted = np.array([*(name in names for name in history.errors), False])
    hit = np.asarray(wanted[history.error], np.bool_) if wanted.any() else np.zeros(len(history), np.bool_)
    return ~hit if invert else hit


def percentile(values: Float64, share: float) -> float:
    """Smallest value that at least this share of the values does not exceed (no interpolation)."""
    at = max(0, math.ceil(share * len(values)) - 1)
    return float(np.partition(values, at)[at])


# Functions of the table below, in its order.


def _lost_updates(facts: Facts, selection: Selection) -> Measured:
    if (refusal := _no_ledger(facts)) is not None:
        return refusal
    fate = facts.balance.fates.fate[_intents(facts, selection)]
    lost = int((fate == Fate.LOST).sum())
    open_ = int((fate == Fate.UNATTRIBUTED).sum())
    if not facts.balance.exact:
        return Measured(lost, math.inf, "part of the record is missing: the total is a lower bound")
    return Measured(lost, lost + open_, f"of {open_:,} writes the record does not show whether they survived")


def _lost_share(facts: Facts, selection: Selection) -> Measured:
    if (refusal := _no_ledger(facts)) is not None:
        return refusal
    fate = facts.balance.fates.fate[_intents(facts, selection)]
    lost = int((fate == Fate.LOST).sum())
    open_ = int((fate == Fate.UNATTRIBUTED).sum())
    acknowledged = lost + open_ + int((fate == Fate.KEPT).sum())
    if not acknowledged:
        return unmeasured("no acknowledged write")
    unrecorded = sum(lost_range.count for lost_range in facts.history.lost)
    if unrecorded:
        total = acknowledged + unrecorded
        return Measured(lost / total, (lost + open_ + unrecorded) / total, "part of the record is missing")
    return Measured(lost / acknowledged, (lost + open_) / acknowledged, "the lineage is broken")


def _twice(facts: Facts, selection: Selection) -> Measured:
    if (refusal := _no_ledger(facts)) is not None:
        return refusal
    balance = facts.balance
    selected = _intents(facts, selection)
    twice = int((balance.fates.twice & selected).sum())
    maybe = int((balance.fates.maybe_twice & selected).sum())
    if selection == Selection() and balance.store is not None:
        twice += balance.store.surplus
    if not balance.exact:
        return Measured(twice, math.inf, "part of the record is missing: the total is a lower bound")
    return Measured(twice, twice + maybe, f"of {maybe:,} intents an unanswered attempt may have taken effect, unseen")


def _stale_reads(facts: Facts, selection: Selection) -> Measured:
    history = facts.history
    judged = reads_judged(history, facts.results)
    if not judged:
        return unmeasured("no strong read of a marked item or of a counter")
    rows = stale_reads(history, judged)
    count = int(_select(facts, selection)[rows].sum())
    if any(result.verdict in ("unknown", "possible") for result in judged):
        return Measured(count, math.inf, "a check of strong reads was inconclusive")
    return exactly(count)


def _contract_breaches(facts: Facts, _: Selection) -> Measured:
    breaches = sum(row.violations for row in facts.contract if row.verdict == "violated")
    judged = [row for row in facts.contract if row.exercised]
    if not judged:
        return unmeasured("nothing in the run could have shown a breach")
    if any(row.verdict in ("unknown", "possible") for row in judged):
        return Measured(breaches, math.inf, "a promise that was exercised could not be judged")
    return exactly(breaches)


def _differing_items(facts: Facts, _: Selection) -> Measured:
    result = facts.results.get("convergence")
    if result is None or not result.exercised:
        return unmeasured("the final state was not read in two Regions")
    if result.verdict == "unknown":
        return unmeasured(result.note or "the run had not settled")
    return exactly(result.count if result.count is not None else len(result.violations))


def _counter(*errors: str) -> Callable[[Facts, Selection], Measured]:
    def measure(facts: Facts, selection: Selection) -> Measured:
        hit = with_error(facts.history, *errors) & _select(facts, selection)
        return _at_least(facts, int(hit.sum()))

    return measure


def _refused(facts: Facts, selection: Selection) -> Measured:
    fate = facts.balance.fates.fate[_intents(facts, selection)]
    return _at_least(facts, int((fate == Fate.REFUSED).sum()))


def _unknown_writes(facts: Facts, selection: Selection) -> Measured:
    hit = updates(facts.history) & (facts.history.outcome == Outcome.UNKNOWN) & _select(facts, selection)
    return _at_least(facts, int(hit.sum()))


def _conflict_rate(facts: Facts, selection: Selection) -> Measured:
    chosen = updates(facts.history) & _select(facts, selection)
    return _share(with_error(facts.history, CONFLICT) & chosen, chosen)


def _error_rate(facts: Facts, selection: Selection) -> Measured:
    history = facts.history
    chosen = _select(facts, selection)
    bad = (history.outcome != Outcome.OK) & with_error(history, CONDITION_FAILED, invert=True)
    return _share(bad & chosen, chosen)


def _availability(facts: Facts, selection: Selection) -> Measured:
    history = facts.history
    answered = (history.outcome == Outcome.OK) | with_error(history, CONDITION_FAILED)
    first = history.attempt == 1
    chosen = first & _select(facts, selection)
    good = np.isin(history.intent[chosen], history.intent[answered])
    return _share(good, np.ones(len(good), np.bool_))


def _amplification(facts: Facts, selection: Selection) -> Measured:
    history = facts.history
    chosen = _select(facts, selection)
    intents = int((chosen & (history.attempt == 1)).sum())
    return exactly(int(chosen.sum()) / intents) if intents else unmeasured("no operation of that sort")


def _latency(share: float) -> Callable[[Facts, Selection], Measured]:
    def measure(facts: Facts, selection: Selection) -> Measured:
        history = facts.history
        values = answered_ms(history, _select(facts, selection) & timed(history))
        if not len(values):
            return unmeasured("no operation of that sort")
        if share < 1 and len(values) < 1 / (1 - share):
            return unmeasured(f"{len(values)} operations are too few for that percentile")
        value = percentile(values, share)
        marked, seconds = len(marked_seconds(history, facts.context)), loaded_seconds(facts.context)
        if marked > TOO_MANY_MARKED_SECONDS * seconds:
            # A slow client adds to what it measures, but it also sends less than was asked for: nothing is proved.
            reason = f"the load generator itself was slow in {marked} of {seconds:,} seconds"
            return Measured(0.0, value, reason, conclusive=False)
        return exactly(value)

    return measure


_WHOLE: Final[frozenset[str]] = frozenset()

METRICS: Final[Mapping[str, Metric]] = {
    "lost_updates": Metric("count", "acknowledged writes that are not in the final lineage", _lost_updates),
    "lost_share": Metric("share", "the same as a share of the acknowledged writes", _lost_share),
    "double_applications": Metric("count", "intents applied twice or more, and increments by nobody", _twice),
    "stale_strong_reads": Metric("count", "strong reads that missed a write answered before they began", _stale_reads),
    "contract_breaches": Metric("count", "breaches of what the mode promises", _contract_breaches, _WHOLE),
    "differing_items": Metric("count", "items that differ between replicas once settled", _differing_items, _WHOLE),
    "conflicts": Metric("count", "attempts refused with ReplicatedWriteConflictException", _counter(CONFLICT)),
    "conflict_rate": Metric("share", "the same as a share of the attempts to write", _conflict_rate),
    "condition_failed": Metric("count", "attempts whose condition failed", _counter(CONDITION_FAILED)),
    "throttled": Metric("count", "attempts that were throttled", _counter(*THROTTLED)),
    "refused": Metric("count", "intents to write whose every attempt failed", _refused),
    "unknown_writes": Metric("count", "attempts to write whose outcome was never learnt", _unknown_writes),
    "availability": Metric("share", "intents that got an answer (a failed condition is one)", _availability),
    "error_rate": Metric("share", "attempts that failed or were not answered, failed conditions apart", _error_rate),
    "amplification": Metric("ratio", "attempts per intent", _amplification),
    "p50": Metric("ms", "latency from schedule to answer: half of the attempts took no longer", _latency(0.5)),
    "p95": Metric("ms", "95 % took no longer", _latency(0.95)),
    "p99": Metric("ms", "99 % took no longer", _latency(0.99)),
    "p999": Metric("ms", "99.9 % took no longer", _latency(0.999)),
    "max": Metric("ms", "the longest", _latency(1.0)),
}  # fmt: skip
"""Every metric that an expectation may name."""


def _no_ledger(facts: Facts) -> Measured | None:
    if not facts.balance.judged:
        return unmeasured(facts.balance.reason or "no marked write")
    return None


def _at_least(facts: Facts, count: int) -> Measured:
    if facts.history.lost:
        return Measured(count, math.inf, "part of the record is missing: the total is a lower bound")
    return exactly(count)


def _share(part: Bool, whole: Bool) -> Measured:
    total = int(whole.sum())
    return exactly(int(part.sum()) / total) if total else unmeasured("no operation of that sort")


def _intents(facts: Facts, selection: Selection) -> Bool:
    """Which of the writing intents are selected, by the attempt that stands for each."""
    return _select(facts, selection)[facts.balance.fates.row]


def _select(facts: Facts, selection: Selection) -> Bool:
    history = facts.history
    chosen = np.ones(len(history), np.bool_)
    if selection.region is not None:
        code = history.regions.index(selection.region) if selection.region in history.regions else NO_CODE - 1
        chosen &= history.region == code
    if selection.kind is not None:
        chosen &= of_kind(history, selection.kind)
    if selection.phase is not None:
        chosen &= window_mask(history, facts.context, selection.phase)
    return chosen
