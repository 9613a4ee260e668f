"""Stock: what is there to be taken never falls below zero, no more is taken than there was, and the count is right.

For every item that anything was taken from (``take``), with what it held before the run and what was put in since:

- *below zero*: an answer or a final item shows less than nothing;
- *oversold*: an acknowledged taking beyond all that there can have been when it was answered: with those that had been
  answered before it takes more than the first stock and all deliveries that had begun;
- *miscounted*: a final count above what acknowledged takings can have left (goods that were sold are still offered), or
  below what all takings that may have taken effect can.
"""

from __future__ import annotations

import numpy as np

from verifier.checks.final import in_doubt
from verifier.checks.findings import ENDLESS, Found, result
from verifier.checks.marks import keys_with, of_kind, updates
from verifier.checks.types import Context, Result, join_notes, noted
from verifier.history.columns import NULL, History, Int64
from verifier.history.schema import Kind, Outcome


def check_stock(history: History, context: Context) -> Result:
    """Nothing is sold that is not there."""
    taking = of_kind(history, Kind.TAKE) & (history.value != NULL)
    if not taking.any():
        return Result("unknown", 0, note="nothing was taken from any stock")
    keys = keys_with(history, taking)
    putting = of_kind(history, Kind.ADD, Kind.CREATE) & (history.value != NULL)
    effective = history.outcome != Outcome.FAIL
    other = keys & keys_with(history, updates(history) & ~taking & ~putting & effective)
    notes: list[str] = []
    if other.any():
        notes.append(
            noted(
                "{count} stocks have other changes than takings and deliveries: only what is below zero",
                int(other.sum()),
            )
        )
    counted = keys & ~other
    exercised = int((taking & (history.outcome == Outcome.OK)).sum())
    if history.lost:
        notes.append("a worker's last rows are missing, and may have changed any stock: only what is below zero")
        counted[:] = False
    doubtful = counted & in_doubt(history, context)
    if doubtful.any():
        notes.append(noted("{count} stocks had not settled: their final counts are not judged", int(doubtful.sum())))
    supply, slack = _initial(history, context), 2 * context.epsilon_ns
    given = np.flatnonzero(putting & effective)
    most, least = supply.copy(), supply.copy()
    np.add.at(most, history.key[given], np.maximum(history.value[given], 0))
    np.add.at(least, history.key[given], np.minimum(history.value[given], 0))
    sure = given[history.outcome[given] == Outcome.OK]
    np.add.at(least, history.key[sure], np.maximum(history.value[sure], 0))
    np.add.at(most, history.key[sure], np.minimum(history.value[sure], 0))
    found = [
        *_below(history, context, keys),
        _oversold(
            history,
            np.flatnonzero(taking & (history.outcome == Outcome.OK) & counted[history.key]),
            given,
            supply,
            slack,
        ),
        *_miscounted(history, context, np.flatnonzero(taking & effective), counted & ~doubtful, least, most),
    ]
    return result(found, exercised, context.regions, slack, join_notes(notes))


def supply_of(history: History, context: Context, key: int) -> tuple[int, int, int]:
    """Of one stock: all that there can have been, how much was taken for certain, and how much at most."""
    mine = np.flatnonzero((history.key == key) & (history.outcome != Outcome.FAIL) & (history.value != NULL))
    put = mine[of_kind(history, Kind.ADD, Kind.CREATE)[mine]]
    taken = mine[of_kind(history, Kind.TAKE)[mine]]
    sure = taken[history.outcome[taken] == Outcome.OK]
    supply = int(_initial(history, context)[key]) + int(np.maximum(history.value[put], 0).sum())
    return supply, int(history.value[sure].sum()), int(history.value[taken].sum())


def by_the_end_of(history: History, context: Context, row: int) -> tuple[int, int]:
    """When a taking was answered: all that its stock can have had, and how much had been taken for certain."""
    end, answered = history.end_ns[row], history.outcome == Outcome.OK
    mine = (history.key == history.key[row]) & (history.outcome != Outcome.FAIL) & (history.value != NULL)
    value = history.value
    put = mine & of_kind(history, Kind.ADD, Kind.CREATE)
    come = put & (value > 0) & (history.start_ns <= end)
    back = put & (value < 0) & answered & (history.end_ns <= end)
    taken = mine & of_kind(history, Kind.TAKE) & answered & (history.end_ns <= end)
    supply = int(_initial(history, context)[history.key[row]]) + int(value[come].sum()) + int(value[back].sum())
    return supply, int(value[taken].sum())


def _initial(history: History, context: Context) -> Int64:
    values = np.zeros(len(history.keys), np.int64)
    for replica in list(context.initial.values())[:1]:
        values[replica.key] = np.where(replica.value == NULL, 0, replica.value)
    return values


def _below(history: History, context: Context, keys: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[Found]:
    rows = np.flatnonzero(
        (history.result != NULL)
        & (history.result < 0)
        & (history.outcome == Outcome.OK)
        & keys[history.key]
        & updates(history)
    )
    found = [Found("below zero", history.key[rows].astype(np.int64), history.end_ns[rows], {"by": rows})]
    for at, region in enumerate(context.regions):
        if region not in context.final:
            continue
        final = context.final[region]
        low = np.flatnonzero(keys[final.key] & (final.value != NULL) & (final.value < 0))
        nobody, places = np.full(len(low), -1, np.int64), np.full(len(low), at, np.int64)
        found.append(Found("below zero", final.key[low], final.end_ns[low], {"by": nobody}, replica=places))
    return found


def _oversold(history: History, rows: Int64, given: Int64, first: Int64, slack_ns: int) -> Found:
    """``rows``: acknowledged takings; ``given``: deliveries that may have taken effect; ``first``: stocks at first."""
    # What was put in is there from its beginning on at the earliest; what somebody took back, from his answer on.
    back = history.value[given] < 0
    given, back = (
        given[~back | (history.outcome[given] == Outcome.OK)],
        back[~back | (history.outcome[given] == Outcome.OK)],
    )
    arrives = np.where(back, history.end_ns[given], history.start_ns[given])

    def taken_beyond(slack: int) -> tuple[Int64, Int64]:
        """Takings that go beyond it, were clocks off by ``slack``; and by when all of what they need had arrived."""
        by_end = np.concatenate((rows, given))
        amount = np.concatenate((-history.value[rows], history.value[given]))
        late = np.concatenate((np.ones(len(rows)), np.zeros(len(given))))
        time = np.concatenate((history.end_ns[rows], arrives - np.where(back, 0, slack)))
        order = np.lexsort((late, time, history.key[by_end]))
        key = history.key[by_end[order]]
        total = np.cumsum(amount[order])
        begin = np.searchsorted(key, key)
        left = first[key] + total - np.where(begin > 0, total[begin - 1], 0)
        over = (left < 0) & (late[order] > 0)
        return by_end[order][over], left[over]

    over, left = taken_beyond(slack_ns)
    if not len(over):
        over, left = taken_beyond(0)
    gamma = np.full(len(over), ENDLESS, np.int64)
    for at, (row, short) in enumerate(zip(over.tolist(), left.tolist(), strict=True)):
        later = given[(history.key[given] == history.key[row]) & (arrives > history.end_ns[row]) & ~back]
        later = later[np.argsort(history.start_ns[later])]
        enough = np.flatnonzero(np.cumsum(history.value[later]) + short >= 0)
        if len(enough):
            gamma[at] = history.start_ns[later[enough[0]]] - history.end_ns[row]
    return Found("oversold", history.key[over].astype(np.int64), history.end_ns[over], {"by": over}, gamma)


def _miscounted(
    history: History,
    context: Context,
    rows: Int64,
    keys: np.ndarray[tuple[int], np.dtype[np.bool_]],
    least: Int64,
    most: Int64,
) -> list[Found]:
    sure, perhaps = np.zeros((2, len(history.keys)), np.int64)
    np.add.at(perhaps, history.key[rows], history.value[rows])
    answered = rows[history.outcome[rows] == Outcome.OK]
    np.add.at(sure, history.key[answered], history.value[answered])
    found = []
    for at, region in enumerate(context.regions):
        if region not in context.final:
            continue
        final = context.final[region]
        value = np.where(final.value == NULL, 0, final.value)
        # Where more was sold than there was, nothing is left to be offered again.
        wrong = (value > np.maximum(most - sure, 0)[final.key]) | (value < (least - perhaps)[final.key])
        off = np.flatnonzero(wrong & keys[final.key])
        nobody, places = np.full(len(off), -1, np.int64), np.full(len(off), at, np.int64)
        found.append(Found("miscounted", final.key[off], final.end_ns[off], {"by": nobody}, replica=places))
    return found
