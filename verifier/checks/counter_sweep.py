"""Counters whose increments answer without the new value are linearizable: exact for increments of one, O(n log n).

Calls and returns are gone through in order of time, and with them the smallest value that the counter can have:

- an increment counts when it returns, unless it has been counted already;
- a read that is called when that value is greater than what it shows misses increments: they are lost, or it is stale;
- a read that returns a greater value makes increments under way count at once, those that return first before the
  others, and unanswered ones last. If there are not enough of them, it shows increments that nobody made.

A read is impossible exactly if it shows more than had been attempted when it ended, or less than some *base* (the start
of the record, or a read that ended before it began) plus the increments wholly between the two. That is the witness.
A loss is counted once: what later reads miss besides is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from verifier.checks import explain_order
from verifier.checks.counter_value import check_counter_value
from verifier.checks.explain import who
from verifier.checks.findings import ENDLESS, WORST, Found, merge_results, result
from verifier.checks.layout import BEFORE
from verifier.checks.marks import of_kind, updates
from verifier.checks.types import Context, Result, Violation, noted
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import ABSENT, Kind, Outcome

_PLENTY: Final = 1 << 40
"""Increments of a killed worker: more than any counter has."""


def check_counters(history: History, context: Context) -> Result:
    """Every counter: by the values that increments returned and, where some returned none, by the sweep as well."""
    by_value = check_counter_value(history, context)
    accused = np.zeros(len(history.keys), np.bool_)
    if by_value.everything is not None:
        accused[by_value.everything.key] = True
    return merge_results([by_value, check_counter_sweep(history, context, but=accused)])


def check_counter_sweep(history: History, context: Context, but: Bool | None = None) -> Result:
    """Counters with acknowledged increments that returned no value. ``but``: keys that have been accused already."""
    slack = 2 * context.epsilon_ns
    keys, note = _keys(history)
    if not keys.any():
        return Result("unknown", 0)
    taken = of_kind(history, Kind.ADD) & (history.outcome == Outcome.OK) & (history.result == NULL)
    exercised = int((taken & keys[history.key]).sum())
    if but is not None:
        keys &= ~but
    counters = list(_counters(history, context, keys))
    found: list[Found] = []
    for slack_ns in sorted({slack, 0}, reverse=True):
        found = [one for counter in counters for one in _found(counter, slack_ns) if len(one)]
        if found:
            break
    return result(found, exercised, context.regions, slack, note)


def explain(history: History, context: Context, found: Violation) -> str:
    """A read that misses increments; everything else about counters is told where orders are."""
    if found.facts.get("rule") != "missing":
        return explain_order.order(history, context, found)
    rows = found.facts["rows"]
    assert isinstance(rows, dict)
    replica, by, base = found.facts.get("final"), rows["by"], rows["base"]
    if replica is not None:
        shown, when = _final_value(context, str(replica), found.key)
        blamed = f"The final item of {replica}"
    else:
        shown, when = _value(history, by), int(history.start_ns[by])
        blamed = who(history, context, by)
    if base >= 0:
        known, since = _value(history, base), int(history.end_ns[base])
        began = f"{who(history, context, base)} had shown {known:,}"
    else:
        known, since = _initial(history, context)[found.key], BEFORE
        began = f"it began with {known:,}"
    adds = of_kind(history, Kind.ADD) & (history.key == found.key) & (history.outcome == Outcome.OK)
    between = int((adds & (history.start_ns > since) & (history.end_ns < when)).sum())
    gone = known + between - shown
    return (
        f"{blamed} shows {shown:,}, but {began}, and {between:,} acknowledged "
        f"increment{' was' if between == 1 else 's were'} wholly between the two: "
        f"{gone:,} {'is' if gone == 1 else 'are'} lost, or not to be seen there yet."
    )


@dataclass(frozen=True, slots=True)
class _Counter:
    """One key. Arrays by acknowledged increment, read, and unanswered increment."""

    key: int
    initial: int
    add_start: Int64
    add_end: Int64
    add_row: Int64
    start: Int64
    end: Int64
    value: Int64
    row: Int64
    replica: Int64
    unknown_start: Int64
    unknown_count: Int64


def _keys(history: History) -> tuple[Bool, str | None]:
    """Keys that only increments by one change, some of which were acknowledged without a value."""
    size = len(history.keys)

    def having(rows: Bool) -> Bool:
        mask = np.zeros(size, np.bool_)
        mask[history.key[rows]] = True
        return mask

    add, effective = of_kind(history, Kind.ADD), history.outcome != Outcome.FAIL
    keys = having(add & (history.outcome == Outcome.OK) & (history.result == NULL))
    if not keys.any():
        return keys, None
    keys &= ~having(updates(history) & ~add & effective)
    several = keys & having(add & effective & (history.value != 1))
    keys &= ~several
    count = int(several.sum())
    steps = "{count} counters have steps other than one and no values returned: not judged"
    return keys, noted(steps, count) if count else None


def _counters(history: History, context: Context, keys: Bool) -> Iterator[_Counter]:
    initial = _initial(history, context)
    mine = np.flatnonzero(keys[history.key])
    mine = mine[np.argsort(history.key[mine], kind="stable")]
    bounds = np.searchsorted(history.key[mine], np.arange(len(history.keys) + 1))
    add, read = of_kind(history, Kind.ADD), of_kind(history, Kind.READ, Kind.TXN_READ)
    for key in np.flatnonzero(keys).tolist():
        rows = mine[bounds[key] : bounds[key + 1]]
        outcome = history.outcome[rows]
        adds = rows[add[rows] & (outcome == Outcome.OK)]
        perhaps = rows[add[rows] & (outcome == Outcome.UNKNOWN)]
        reads = rows[read[rows] & (outcome == Outcome.OK)]
        reads = reads[(history.result[reads] != NULL) | (history.saw[reads] == ABSENT)]
        shown = [
            (history.start_ns[reads], history.end_ns[reads], history.result[reads], reads, np.full(len(reads), -1))
        ]
        shown += [_swept(replica_at, name, key, context) for name, replica_at in enumerate(context.final)]
        start, end, value, row, replica = (np.concatenate(one) for one in zip(*shown, strict=True))
        yield _Counter(
            key=key,
            initial=int(initial[key]),
            add_start=history.start_ns[adds],
            add_end=history.end_ns[adds],
            add_row=adds,
            start=start,
            end=end,
            value=np.where(value == NULL, 0, value),
            row=row,
            replica=replica,
            unknown_start=np.concatenate(
                (history.start_ns[perhaps], [max(lost.since_ns, BEFORE) for lost in history.lost])
            ).astype(np.int64),
            unknown_count=np.concatenate(
                (np.ones(len(perhaps), np.int64), [min(lost.count, _PLENTY) for lost in history.lost])
            ).astype(np.int64),
        )


def _swept(region: str, number: int, key: int, context: Context) -> tuple[Int64, Int64, Int64, Int64, Int64]:
    """A replica's final item as a read; none where the item has no value."""
    replica = context.final[region]
    at = np.flatnonzero(replica.key == key)
    none = np.zeros(0, np.int64)
    if len(at) and replica.value[at[0]] == NULL:
        return none, none, none, none, none
    if len(at):
        times, value = (replica.start_ns[at], replica.end_ns[at]), replica.value[at]
    elif replica.read_ns is not None:
        begin, end = replica.read_ns
        times, value = (np.full(1, begin, np.int64), np.full(1, end, np.int64)), np.zeros(1, np.int64)
    else:
        return none, none, none, none, none
    where = context.regions.index(region) if region in context.regions else number
    return *times, value, np.full(1, -1, np.int64), np.full(1, where, np.int64)


def _initial(history: History, context: Context) -> Int64:
    initial = np.zeros(len(history.keys), np.int64)
    for replica in list(context.initial.values())[:1]:
        initial[replica.key] = np.where(replica.value == NULL, 0, replica.value)
    return initial


def _found(counter: _Counter, slack_ns: int) -> list[Found]:
    """What is wrong with one counter, with every call brought forward by the slack."""
    early = replace(
        counter,
        add_start=counter.add_start - slack_ns,
        start=counter.start - slack_ns,
        unknown_start=counter.unknown_start - slack_ns,
    )
    missing, phantom = _swept_through(early)
    return [_missing(counter, early, missing, slack_ns), _phantoms(counter, phantom)]


def _swept_through(counter: _Counter) -> tuple[Int64, Int64]:
    """Reads that miss increments, and reads that show some that nobody made; each adds to what was wrong before."""
    initial = counter.initial
    by_call, by_return = (np.argsort(times, kind="stable") for times in (counter.start, counter.end))
    shown = counter.value[by_return]
    # What an earlier read has shown raises nothing, as long as there have been increments enough.
    raising = shown > np.maximum.accumulate(np.concatenate(([initial], shown)))[:-1]
    sweep = _Sweep(counter)
    wanting = sweep.raised(by_return[raising])
    if wanting.any():
        sweep = _Sweep(counter)
        by_return = by_return[shown > initial]
        wanting = sweep.raised(by_return)
    phantom = by_return[_records(wanting)] if wanting.any() else by_return[:0]
    missing = by_call[_records(sweep.least_before(counter.start[by_call]) - counter.value[by_call])]
    return missing, phantom


class _Sweep:
    """The smallest value that one counter can have, as reads are gone through in the order in which they returned.

    Increments have numbers in the order in which they returned. On a tie calls come first, then increments return.
    """

    def __init__(self, counter: _Counter) -> None:
        self._counter = counter
        by_end = np.argsort(counter.add_end, kind="stable")
        rank = np.empty(len(by_end), np.int64)
        rank[by_end] = np.arange(len(by_end))
        self._ended = counter.add_end[by_end]
        by_start = np.argsort(counter.add_start, kind="stable")
        self._begun, self._called = counter.add_start[by_start], rank[by_start].tolist()
        self._uncounted = bytearray(len(by_end))
        """By number: called, and not counted before it returned."""
        self._raised_at = self._raised_by = np.zeros(0, np.int64)

    def raised(self, reads: Int64) -> Int64:
        """Count as many increments as each of these reads needs, in order; how many there were too few for each."""
        counter, called, uncounted = self._counter, self._called, self._uncounted
        ends = counter.end[reads]
        begun = np.searchsorted(self._begun, ends, side="right").tolist()
        ended = np.searchsorted(self._ended, ends, side="right").tolist()
        order = np.argsort(counter.unknown_start, kind="stable")
        unknown = np.concatenate(([0], np.cumsum(counter.unknown_count[order])))
        spare = unknown[np.searchsorted(counter.unknown_start[order], ends, side="right")].tolist()
        least, seen, counted, used = counter.initial, 0, 0, 0
        wanting, raised = np.zeros(len(reads), np.int64), np.zeros(len(reads), np.int64)
        for at, value in enumerate(counter.value[reads].tolist()):
            for number in called[seen : begun[at]]:
                uncounted[number] = 1
            seen, until = begun[at], ended[at]
            least += uncounted.count(1, counted, until)
            counted = until
            more = value - least
            if more <= 0:
                continue
            # Those that return first before the others, and unanswered ones last.
            place = until
            while more > 0 and (place := uncounted.find(1, place)) >= 0:
                uncounted[place] = 0
                more -= 1
            extra = min(more, spare[at] - used)
            used += extra
            wanting[at] = more - extra
            raised[at] = value - least - wanting[at]
            least += int(raised[at])
        for number in called[seen:]:
            uncounted[number] = 1
        self._raised_at, self._raised_by = ends, np.cumsum(raised)
        return wanting

    def least_before(self, times: Int64) -> Int64:
        """The smallest value right before each of these times."""
        ended = np.concatenate(([0], np.cumsum(np.frombuffer(self._uncounted, np.uint8), dtype=np.int64)))
        raised = np.concatenate(([0], self._raised_by))
        returned = ended[np.searchsorted(self._ended, times, side="left")]
        return self._counter.initial + returned + raised[np.searchsorted(self._raised_at, times, side="left")]


def _records(values: Int64) -> Int64:
    """Places of the values that are greater than zero and than everything before."""
    return np.flatnonzero(values > np.maximum.accumulate(np.concatenate(([0], values)))[:-1])


def _missing(counter: _Counter, early: _Counter, at: Int64, slack_ns: int) -> Found:
    bases, gammas = np.full(len(at), -1, np.int64), np.full(len(at), slack_ns + 1, np.int64)
    for number, read in enumerate(at[:WORST].tolist()):
        bases[number], gammas[number] = _base(counter, early, read)
    row, replica = counter.row[at], counter.replica[at]
    witness = {"base": bases, "by": row}
    return Found("missing", np.full(len(at), counter.key), counter.end[at], witness, gammas, replica=replica)


def _base(counter: _Counter, early: _Counter, read: int) -> tuple[int, int]:
    """Row of the base that proves most, −1 for the start of the record; and the clock error that would explain it."""
    before = np.flatnonzero((early.end < early.start[read]) & (counter.row >= 0))
    inside = counter.add_end < early.start[read]
    starts = np.sort(early.add_start[inside])
    since = np.concatenate(([BEFORE], counter.end[before]))
    known = np.concatenate(([counter.initial], counter.value[before]))
    least = known + len(starts) - np.searchsorted(starts, since, side="right")
    best = int(np.argmax(least))
    row = int(counter.row[before[best - 1]]) if best else -1
    # Raw distances: so many of the increments between may be moved to one side before nothing is missing any more.
    between = inside & (early.add_start > since[best])
    apart = counter.start[read] - counter.add_end[between]
    if best:
        apart = np.minimum(apart, counter.add_start[between] - since[best])
    needed = int(least[best] - counter.value[read])
    gamma = int(np.sort(apart)[needed - 1]) if 0 < needed <= len(apart) else ENDLESS
    return row, min(gamma, int(counter.start[read] - since[best])) if best else gamma


def _phantoms(counter: _Counter, at: Int64) -> Found:
    starts = np.sort(
        np.concatenate((counter.add_start, np.repeat(counter.unknown_start, np.minimum(counter.unknown_count, 1))))
    )
    needed = counter.value[at] - counter.initial - 1
    gamma = np.full(len(at), ENDLESS, np.int64)
    there = needed < len(starts)
    gamma[there] = np.maximum(starts[needed[there]] - counter.end[at][there], 1)
    witness = {"by": counter.row[at]}
    return Found("surplus", np.full(len(at), counter.key), counter.end[at], witness, gamma, replica=counter.replica[at])


def _value(history: History, row: int) -> int:
    return 0 if history.result[row] == NULL else int(history.result[row])


def _final_value(context: Context, region: str, key: int) -> tuple[int, int]:
    """What a final item shows, and when it was read."""
    replica = context.final[region]
    at = np.flatnonzero(replica.key == key)
    if not len(at):
        return 0, replica.read_ns[0] if replica.read_ns is not None else 0
    return int(replica.value[at[0]]), int(replica.start_ns[at[0]])
