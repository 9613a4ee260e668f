"""What can be measured of a run: one row a metric, with its unit and the function that measures it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.answers import CONDITION_FAILED, CONFLICT, THROTTLED, TIMEOUT, server_errors, timed, with_error
from verifier.checks.ledger import Balance, Fate
from verifier.checks.marks import of_kind, updates
from verifier.checks.types import Context, Result
from verifier.distribution import NOTHING, Distribution
from verifier.history.columns import NO_CODE, Bool, History
from verifier.history.schema import EXPIRY, Kind, Outcome
from verifier.intents import intents_of
from verifier.rpo import losses_of, rpo_rows
from verifier.rto import count_windows, rto_rows
from verifier.staleness import judging_reads, stale_rows
from verifier.tally import Tally, number
from verifier.values import Unit
from verifier.verdict import Rpo
from verifier.whole import Whole
from verifier.windows import loaded_seconds, window_mask

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
    """Everything that may be counted of one part of the keys (mostly, all of them)."""

    history: History
    context: Context
    balance: Balance
    results: Mapping[str, Result]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: counted part by part, then measured from the sum of what was counted."""

    unit: Unit
    description: str
    count: Callable[[Facts, Selection], Tally]
    measure: Callable[[Tally, Whole, Selection], Measured]
    narrows: frozenset[str] = frozenset({"phase", "region", "kind"})
    """By what an expectation may narrow it."""


def exactly(value: float) -> Measured:
    """A number that is known."""
    return Measured(value, value)


def unmeasured(reason: str) -> Measured:
    """A number that is not."""
    return Measured(None, None, reason)


# Functions of the table below, in its order: what is counted, then what that says.


def _count_fates(facts: Facts, selection: Selection) -> Tally:
    fate = np.bincount(facts.balance.fates.fate[_intents(facts, selection)], minlength=len(Fate)).tolist()
    return {name.name.lower(): fate[name] for name in Fate}


def _lost_updates(tally: Tally, whole: Whole, _: Selection) -> Measured:
    if (refusal := _no_ledger(whole)) is not None:
        return refusal
    lost, open_ = number(tally, "lost"), number(tally, "unattributed")
    if not whole.account.exact:
        return Measured(lost, math.inf, "part of the record is missing: the total is a lower bound")
    return Measured(lost, lost + open_, f"of {open_:,} writes the record does not show whether they survived")


def _lost_share(tally: Tally, whole: Whole, _: Selection) -> Measured:
    if (refusal := _no_ledger(whole)) is not None:
        return refusal
    lost, open_ = number(tally, "lost"), number(tally, "unattributed")
    acknowledged = lost + open_ + number(tally, "kept")
    if not acknowledged:
        return unmeasured("no acknowledged write")
    unrecorded = sum(lost_range.count for lost_range in whole.lost)
    if unrecorded:
        total = acknowledged + unrecorded
        return Measured(lost / total, (lost + open_ + unrecorded) / total, "part of the record is missing")
    return Measured(lost / acknowledged, (lost + open_) / acknowledged, "the lineage is broken")


def _count_twice(facts: Facts, selection: Selection) -> Tally:
    selected, fates = _intents(facts, selection), facts.balance.fates
    return {"twice": int((fates.twice & selected).sum()), "maybe": int((fates.maybe_twice & selected).sum())}


def _twice(tally: Tally, whole: Whole, selection: Selection) -> Measured:
    if (refusal := _no_ledger(whole)) is not None:
        return refusal
    twice, maybe = number(tally, "twice"), number(tally, "maybe")
    if selection == Selection() and whole.account.store is not None:
        twice += whole.account.store.surplus
    if not whole.account.exact:
        return Measured(twice, math.inf, "part of the record is missing: the total is a lower bound")
    return Measured(twice, twice + maybe, f"of {maybe:,} intents an unanswered attempt may have taken effect, unseen")


def _count_stale_reads(facts: Facts, selection: Selection) -> Tally:
    rows = stale_rows(facts.history, facts.results)
    return {
        "stale": int(_select(facts, selection)[rows].sum()),
        "strong": int(of_kind(facts.history, Kind.READ).any()),
    }


def _stale_reads(tally: Tally, whole: Whole, _: Selection) -> Measured:
    judged = judging_reads(whole.results) if number(tally, "strong") else []
    if not judged:
        return unmeasured("no strong read of a marked item or of a counter")
    count = number(tally, "stale")
    if any(result.verdict in ("unknown", "possible") for result in judged):
        return Measured(count, math.inf, "a check of strong reads was inconclusive")
    return exactly(count)


def _count_nothing(_: Facts, __: Selection) -> Tally:
    return {}


def _contract_breaches(_: Tally, whole: Whole, __: Selection) -> Measured:
    breaches = sum(row.violations for row in whole.contract if row.verdict == "violated")
    judged = [row for row in whole.contract if row.exercised]
    if not judged:
        return unmeasured("nothing in the run could have shown a breach")
    if any(row.verdict in ("unknown", "possible") for row in judged):
        return Measured(breaches, math.inf, "a promise that was exercised could not be judged")
    return exactly(breaches)


def _differing_items(_: Tally, whole: Whole, __: Selection) -> Measured:
    result = whole.results.get("convergence")
    if result is None or not result.exercised:
        return unmeasured("the final state was not read in two Regions")
    if result.verdict == "unknown":
        return unmeasured(result.note or "the run had not settled")
    return exactly(result.count if result.count is not None else len(result.violations))


def _found_by(check: str) -> Callable[[Tally, Whole, Selection], Measured]:
    """How many findings a check has."""

    def measure(_: Tally, whole: Whole, __: Selection) -> Measured:
        result = whole.results.get(check)
        if result is None or not result.exercised:
            return unmeasured(f"the check `{check}` had nothing to judge in this run")
        count = result.count if result.count is not None else len(result.violations)
        if result.verdict in ("unknown", "possible"):
            return Measured(count, math.inf, result.note or f"the check `{check}` was inconclusive")
        return exactly(count)

    return measure


def _count_errors(*errors: str) -> Callable[[Facts, Selection], Tally]:
    def count(facts: Facts, selection: Selection) -> Tally:
        return {"hit": int((with_error(facts.history, *errors) & _select(facts, selection)).sum())}

    return count


def _count_server_errors(facts: Facts, selection: Selection) -> Tally:
    return {"hit": int((server_errors(facts.history) & _select(facts, selection)).sum())}


def _total(tally: Tally, whole: Whole, _: Selection) -> Measured:
    return _at_least(whole, number(tally, "hit"))


def _refused(tally: Tally, whole: Whole, _: Selection) -> Measured:
    return _at_least(whole, number(tally, "refused"))


def _count_unknown_writes(facts: Facts, selection: Selection) -> Tally:
    hit = updates(facts.history) & (facts.history.outcome == Outcome.UNKNOWN) & _select(facts, selection)
    return {"hit": int(hit.sum())}


def _count_conflicts(facts: Facts, selection: Selection) -> Tally:
    chosen = updates(facts.history) & _select(facts, selection)
    return {"part": int((with_error(facts.history, CONFLICT) & chosen).sum()), "whole": int(chosen.sum())}


def _count_failures(facts: Facts, selection: Selection) -> Tally:
    history = facts.history
    chosen = _select(facts, selection)
    bad = (history.outcome != Outcome.OK) & with_error(history, *CONDITION_FAILED, invert=True)
    return {"part": int((bad & chosen).sum()), "whole": int(chosen.sum())}


def _count_answered_intents(facts: Facts, selection: Selection) -> Tally:
    history = facts.history
    answered = (history.outcome == Outcome.OK) | with_error(history, *CONDITION_FAILED)
    chosen = (history.attempt == 1) & _select(facts, selection)
    open_ = history.intent[chosen & ~answered]  # another attempt may have been answered
    good = int((chosen & answered).sum())
    if len(open_):
        good += int(np.isin(open_, history.intent[answered & (history.attempt > 1)]).sum())
    return {"part": good, "whole": int(chosen.sum())}


def _share(tally: Tally, _: Whole, __: Selection) -> Measured:
    total = number(tally, "whole")
    return exactly(number(tally, "part") / total) if total else unmeasured("no operation of that sort")


def _count_attempts(facts: Facts, selection: Selection) -> Tally:
    chosen = _select(facts, selection)
    return {"part": int(chosen.sum()), "whole": int((chosen & (facts.history.attempt == 1)).sum())}


def _count_latencies(facts: Facts, selection: Selection) -> Tally:
    history = facts.history
    rows = _select(facts, selection) & timed(history)
    return {"latency": Distribution.of_ns(history.end_ns[rows] - history.scheduled_ns[rows])}


def _latency(share: float) -> Callable[[Tally, Whole, Selection], Measured]:
    def measure(tally: Tally, whole: Whole, _: Selection) -> Measured:
        latency = tally.get("latency", NOTHING)
        assert isinstance(latency, Distribution)
        value, values = latency.rank_ms(share), latency.total
        if value is None:
            return unmeasured("no operation of that sort")
        if share < 1 and values < 1 / (1 - share):
            return unmeasured(f"{values} operations are too few for that percentile")
        marked, seconds = len(whole.marked_seconds), loaded_seconds(whole.context)
        if marked > TOO_MANY_MARKED_SECONDS * seconds:
            # A slow client adds to what it measures, but it also sends less than was asked for: nothing is proved.
            reason = f"the load generator itself was slow in {marked} of {seconds:,} seconds"
            return Measured(0.0, value, reason, conclusive=False)
        return exactly(value)

    return measure


def _count_succeeded_intents(facts: Facts, selection: Selection) -> Tally:
    table = intents_of(facts.history, facts.context)
    chosen = _select(facts, selection)[table.first]
    return {"part": int((table.succeeded & chosen).sum()), "whole": int(chosen.sum())}


def _count_waits(facts: Facts, selection: Selection) -> Tally:
    history, table = facts.history, intents_of(facts.history, facts.context)
    chosen = _select(facts, selection)[table.first] & table.answered & table.in_order
    return {"latency": Distribution.of_ns((table.final_ns - history.scheduled_ns[table.first])[chosen])}


def _count_losses(facts: Facts, _: Selection) -> Tally:
    return losses_of(facts.history, facts.context, facts.balance).tally


def _rpo(of: Callable[[Rpo], float | None]) -> Callable[[Tally, Whole, Selection], Measured]:
    """The worst of all failovers, of one Region where one is asked for."""

    def measure(tally: Tally, whole: Whole, selection: Selection) -> Measured:
        rows = [row for rows in rpo_rows(tally, (), whole.context).values() for row in rows]
        rows = [row for row in rows if selection.region in (None, row.region)]
        if not rows:
            return unmeasured("no fault took that Region away" if selection.region else "no fault took a Region away")
        values = [value for value in map(of, rows) if value is not None]
        open_ = sum(row.unread + row.unclear for row in rows)
        if not values:
            return unmeasured("nobody read elsewhere what the lost Region had acknowledged")
        if open_ or whole.lost:
            reason = f"of {open_:,} acknowledged writes it is not known whether they were there"
            return Measured(max(values), math.inf, reason)
        return exactly(max(values))

    return measure


def _count_windows(facts: Facts, _: Selection) -> Tally:
    return count_windows(facts.history, facts.context)


def _rto(tally: Tally, whole: Whole, selection: Selection) -> Measured:
    """The longest of all faults, populations and kinds, or of those asked for (a Region is where users live)."""
    rows = [row for rows in rto_rows(tally, whole.context).values() for row in rows]
    rows = [row for row in rows if selection.region in (None, row.population) and selection.kind in (None, row.kind)]
    if not rows:
        return unmeasured("no fault took hold while such intents were due")
    known = [row.time_ms for row in rows if row.time_ms is not None]
    least = max(known, default=0.0)
    if any(row.recovered is False for row in rows):
        return Measured(least, math.inf, "some users had not recovered when the fault ended")
    if len(known) < len(rows):
        reason = next(row.reason for row in rows if row.time_ms is None)
        return Measured(least, math.inf, reason) if known else unmeasured(reason or "too few intents")
    return exactly(least)


_WHOLE: Final[frozenset[str]] = frozenset()

METRICS: Final[Mapping[str, Metric]] = {
    "lost_updates": Metric(
        "count", "acknowledged writes that are not in the final lineage", _count_fates, _lost_updates
    ),
    "lost_share": Metric("share", "the same as a share of the acknowledged writes", _count_fates, _lost_share),
    "double_applications": Metric(
        "count", "intents applied twice or more, and increments by nobody", _count_twice, _twice
    ),
    "stale_strong_reads": Metric(
        "count", "strong reads that missed a write answered before they began", _count_stale_reads, _stale_reads
    ),
    "contract_breaches": Metric(
        "count", "breaches of what the mode promises", _count_nothing, _contract_breaches, _WHOLE
    ),
    "differing_items": Metric(
        "count", "items that differ between replicas once settled", _count_nothing, _differing_items, _WHOLE
    ),
    **{
        name: Metric("count", what, _count_nothing, _found_by(check), _WHOLE)
        for name, what, check in (
            ("torn_reads", "transactional reads that show half of a transaction of their own Region", "torn"),
            ("unbalanced_reads", "reads of a whole group, and final replicas, that add up to something else", "bank"),
            ("wrong_elements", "elements of sets that were lost, behind, seen again or nobody's", "sets"),
            ("ledger_faults", "entries of ledgers that are missing, repeated or out of order", "gapless"),
            ("stock_faults", "takings beyond what there was, stock below zero or miscounted", "stock"),
            (
                "stream_faults",
                "records of streams that are missing, repeated, out of order or without effect",
                "streams",
            ),
            ("index_differences", "items that differ between an index and its table once settled", "index"),
            ("gone_early", "reads that show an item gone before its time", "expiry"),
        )
    },
    "conflicts": Metric(
        "count", "attempts refused with ReplicatedWriteConflictException", _count_errors(CONFLICT), _total
    ),
    "conflict_rate": Metric("share", "the same as a share of the attempts to write", _count_conflicts, _share),
    "condition_failed": Metric("count", "attempts whose condition failed", _count_errors(*CONDITION_FAILED), _total),
    "throttled": Metric("count", "attempts that were throttled", _count_errors(*THROTTLED), _total),
    "server_errors": Metric("count", "attempts that were answered with a 5xx", _count_server_errors, _total),
    "timeouts": Metric("count", "attempts without an answer at their deadline", _count_errors(TIMEOUT), _total),
    "refused": Metric("count", "intents to write whose every attempt failed", _count_fates, _refused),
    "unknown_writes": Metric(
        "count", "attempts to write whose outcome was never learnt", _count_unknown_writes, _total
    ),
    "availability": Metric(
        "share", "intents that got an answer (a failed condition is one)", _count_answered_intents, _share
    ),
    "error_rate": Metric(
        "share", "attempts that failed or were not answered, failed conditions apart", _count_failures, _share
    ),
    "amplification": Metric("ratio", "attempts per intent", _count_attempts, _share),
    "p50": Metric(
        "ms", "latency from schedule to answer: half of the attempts took no longer", _count_latencies, _latency(0.5)
    ),
    "p95": Metric("ms", "95 % took no longer", _count_latencies, _latency(0.95)),
    "p99": Metric("ms", "99 % took no longer", _count_latencies, _latency(0.99)),
    "p999": Metric("ms", "99.9 % took no longer", _count_latencies, _latency(0.999)),
    "max": Metric("ms", "the longest", _count_latencies, _latency(1.0)),
    "success_rate": Metric("share", "intents of which an attempt succeeded", _count_succeeded_intents, _share),
    "intent_p50": Metric(
        "ms", "from an intent's first schedule to its final answer, pauses included", _count_waits, _latency(0.5)
    ),
    "intent_p95": Metric("ms", "95 % took no longer", _count_waits, _latency(0.95)),
    "intent_p99": Metric("ms", "99 % took no longer", _count_waits, _latency(0.99)),
    "intent_max": Metric("ms", "the longest", _count_waits, _latency(1.0)),
    "rpo": Metric(
        "ms",
        "how long before a failover the earliest missing write had been acknowledged, in the worst of them",
        _count_losses,
        _rpo(lambda row: row.time_ms),
        frozenset({"region"}),
    ),
    "rpo_writes": Metric(
        "count",
        "acknowledged writes that a failover did not find, in the worst of them",
        _count_losses,
        _rpo(lambda row: None if row.time_ms is None else row.missing),
        frozenset({"region"}),
    ),
    "rto": Metric(
        "ms",
        "how long after the onset of a fault users went without answers, at the worst",
        _count_windows,
        _rto,
        frozenset({"region", "kind"}),
    ),
}
"""Every metric that an expectation may name."""


def _no_ledger(whole: Whole) -> Measured | None:
    if not whole.account.judged:
        return unmeasured(whole.account.reason or "no marked write")
    return None


def _at_least(whole: Whole, count: int) -> Measured:
    if whole.lost:
        return Measured(count, math.inf, "part of the record is missing: the total is a lower bound")
    return exactly(count)


def _intents(facts: Facts, selection: Selection) -> Bool:
    """Which of the writing intents are selected, by the attempt that stands for each."""
    return _select(facts, selection)[facts.balance.fates.row]


def _select(facts: Facts, selection: Selection) -> Bool:
    history = facts.history
    chosen = with_error(history, EXPIRY, invert=True)  # those nobody asked for
    if selection.region is not None:
        code = history.regions.index(selection.region) if selection.region in history.regions else NO_CODE - 1
        chosen &= history.region == code
    if selection.kind is not None:
        chosen &= of_kind(history, selection.kind)
    if selection.phase is not None:
        chosen &= window_mask(history, facts.context, selection.phase)
    return chosen
