"""The ledger of intents: what became of what the users wanted.

Over every marked key an acknowledged write is *kept* if it is in the final lineage of its item
(:mod:`verifier.checks.lineage`), *lost* if it is certainly not, and *unattributed* where the lineage does not show it.
``acknowledged = kept + lost + unattributed``, to the unit. An intent may take several attempts: it is kept if any of
them is, and applied twice if more than one is.

Operations that a killed worker may have made without a row could have changed any total, so with such a gap every
total is a bound (:attr:`Balance.exact` is false). What is listed as lost is lost all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from verifier.answers import asked
from verifier.checks.lineage import Lineage, Place, lineage_of
from verifier.checks.marks import NOT_FOUND, updates
from verifier.checks.store import books_of
from verifier.checks.types import AllFindings, Context, Note, Result, Violation, join_notes, judgement, noted
from verifier.history.columns import Bool, History, Int8, Int64, one_row_each
from verifier.history.keys import hashes_of
from verifier.history.schema import ALREADY_APPLIED, Outcome
from verifier.verdict import IntentLedger, KindLedger, StoreLedger

NOBODY: Final = "nobody"
"""Stands for the Region of the winner where nothing stands in the place of a lost write (the item is gone)."""
NOT_RECORDED: Final = "not recorded"
"""Stands for the Region of a winner that has no row."""

WORST: Final = 200
"""Findings that a check lists one by one; the others are in findings.parquet only."""
WORST_KEYS: Final = 100
"""Keys with the most lost writes that the ledger names."""


class Fate(IntEnum):
    """What became of an intent to write."""

    KEPT = 0
    LOST = 1
    UNATTRIBUTED = 2
    REFUSED = 3
    """Every attempt failed: nothing was written, and the user knows."""
    UNKNOWN = 4
    """No attempt succeeded, and at least one may have taken effect."""


@dataclass(frozen=True, slots=True)
class Fates:
    """Every intent to write a marked key. Arrays of equal length, one element an intent."""

    row: Int64
    """The attempt that stands for it: the first acknowledged one, else the last that may have taken effect (before all
    one that stands in the lineage), else the last."""
    fate: Int8
    """:class:`Fate`."""
    twice: Bool
    """More than one of its attempts is in the final lineage."""
    maybe_twice: Bool
    """Not known to be, but more than one may be: an attempt that never answered may stand there unseen."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Every lost acknowledged write. Arrays of equal length, by key in order of answer."""

    row: Int64
    winner: Int64
    """Row of the write that stands in its place: the first of the final lineage that is after the point at which the
    two parted and not wholly before the lost write; :data:`NOT_FOUND` if it has no row or there is none."""
    winner_exists: Bool
    """Whether anything stands in its place."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Both ledgers of a run and what they were made from."""

    fates: Fates
    lost: Lost
    store: StoreLedger | None
    intent: IntentLedger | None
    judged: bool
    """The intent ledger says something: there are marked writes and a final state."""
    reason: str | None
    """Why it does not."""
    exact: bool
    open_keys: int
    """Keys whose lineage is not known to its root."""
    open_lost: tuple[int, int]
    """Least and most of the unattributed writes that are lost."""
    lineage: Lineage
    failed: bool = False
    """The ledger itself failed; :attr:`reason` says how."""


def balance_of(history: History, context: Context) -> Balance:
    """The run's :class:`Balance`, worked out once."""
    made = context.shared.get("balance")
    if not isinstance(made, Balance):
        try:
            made = _balance(history, context)
        except Exception as error:  # noqa: BLE001 - what fails here must not take the other checks with it
            made = _failed(f"the ledger itself failed: {type(error).__name__}: {error}", len(history.keys))
        context.shared["balance"] = made
    return made


def check_lost(history: History, context: Context) -> Result:
    """No acknowledged write is lost."""
    balance = balance_of(history, context)
    lost = balance.lost
    count = len(lost.row)
    fate = balance.fates.fate
    judged = int(((fate == Fate.KEPT) | (fate == Fate.LOST)).sum())
    open_ = int((fate == Fate.UNATTRIBUTED).sum())
    notes = [Note(balance.reason)] if balance.reason else []
    if open_:
        notes.append(noted("of {count} acknowledged writes the record does not show whether they survived", open_))
    if not balance.exact:
        notes.append(Note("a worker's last rows are missing: totals are bounds"))
    if balance.lineage.concluded:
        concluded = "{count} predecessors were concluded from values or order, not seen"
        notes.append(noted(concluded, balance.lineage.concluded))
    if balance.lineage.strangers:
        notes.append(noted("{count} marks belong to no recorded operation", balance.lineage.strangers))
    if balance.lineage.contradictions:
        contradictions = "{count} marks were shown with two different predecessors"
        notes.append(noted(contradictions, balance.lineage.contradictions))
    verdict = judgement(count, judged)
    first = _first(history.end_ns[lost.row])
    return Result(
        verdict="unknown" if verdict == "holds" and balance.open_lost[1] else verdict,
        exercised=judged,
        violations=tuple(_lost_violation(history, balance, at) for at in first.tolist()),
        count=count,
        note=join_notes(notes),
        everything=_all_lost(history, lost, first),
        failed=bool(balance.open_lost[1]),
    )


def check_twice(history: History, context: Context) -> Result:
    """No intent is applied more than once."""
    balance = balance_of(history, context)
    fates = balance.fates
    twice = np.flatnonzero(fates.twice)
    again = np.unique(history.intent[history.attempt > 1])
    retried = int(((fates.fate != Fate.REFUSED) & np.isin(history.intent[fates.row], again)).sum())
    maybe = int(fates.maybe_twice.sum())
    rows = fates.row[twice]
    inside = np.flatnonzero((balance.lineage.place == Place.INSIDE) & np.isin(history.intent, history.intent[rows]))
    by_intent: dict[int, list[int]] = {}
    for attempt, intent in zip(inside.tolist(), history.intent[inside].tolist(), strict=True):
        by_intent.setdefault(intent, []).append(attempt)
    several = not one_row_each(history)
    violations = []
    for row, intent in zip(rows.tolist(), history.intent[rows].tolist(), strict=True):
        attempts = by_intent[intent]
        if several and len(set(history.op[attempts].tolist())) < len(attempts):
            attempts = [attempt for attempt in attempts if history.key[attempt] == history.key[row]]
        violations.append(Violation(int(history.key[row]), tuple(attempts), int(history.end_ns[row])))
    note: str | None = None if retried else "no intent took a second attempt"
    if maybe:
        note = noted("of {count} intents an attempt that never answered may have taken effect too, unseen", maybe)
    verdict = judgement(len(twice), 0 if maybe or not balance.exact else retried)
    return Result(verdict, retried, tuple(violations), count=len(twice), note=note, failed=maybe > 0)


# The intent ledger.


def _balance(history: History, context: Context) -> Balance:
    lineage = lineage_of(history, context)
    fates = _fates(history, lineage)
    lost = _lost(history, lineage, fates)
    reason = None
    if not lineage.final_read:
        reason = "the final state was not read"
    elif not len(fates.row):
        reason = "no marked write in the run"
    open_lost = _open_lost(history, lineage, fates)
    return Balance(
        fates=fates,
        lost=lost,
        store=books_of(history, context).ledger,
        intent=_intent_ledger(history, fates, lost) if len(fates.row) else None,
        judged=reason is None,
        reason=reason,
        exact=not history.lost,
        open_keys=int(lineage.open_keys.sum()),
        open_lost=open_lost,
        lineage=lineage,
    )


def _failed(reason: str, keys: int) -> Balance:
    """A balance that says nothing but why."""
    nothing, none, no_keys = np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(keys, np.bool_)
    empty = Lineage(
        place=np.zeros(0, np.int8),
        parent=nothing,
        branch=nothing,
        parted=nothing,
        chain=nothing,
        offsets=np.zeros(keys + 1, np.int64),
        position=nothing,
        open_keys=no_keys,
        marked=no_keys,
        split=no_keys,
        gaps={},
        final_read=False,
        concluded=0,
        unseen=no_keys,
        contradictions=0,
        strangers=0,
    )
    return Balance(
        fates=Fates(nothing, np.zeros(0, np.int8), none, none),
        lost=Lost(nothing, nothing, none),
        store=None,
        intent=None,
        judged=False,
        reason=reason,
        exact=False,
        open_keys=0,
        open_lost=(0, 0),
        lineage=empty,
        failed=True,
    )


def _fates(history: History, lineage: Lineage) -> Fates:
    rows = np.flatnonzero(updates(history) & asked(history) & lineage.marked[history.key])
    if len(rows) and int(history.attempt[rows].max()) > 1:
        _, code = np.unique(history.intent[rows], return_inverse=True)
        ops, number, times = np.unique(history.op[rows], return_inverse=True, return_counts=True)
        if len(ops) < len(rows):  # of a request on several items each is an effect of its own
            item = np.where(times[number] > 1, history.key[rows] + 1, 0)
            _, code = np.unique(code.astype(np.int64) * (len(history.keys) + 1) + item, return_inverse=True)
        intents = int(code.max()) + 1
    else:
        code, intents = np.arange(len(rows)), len(rows)
    outcome, place = history.outcome[rows], lineage.place[rows]
    inside = place == Place.INSIDE
    kept = np.bincount(code[inside], minlength=intents)
    acknowledged = np.bincount(code[outcome == Outcome.OK], minlength=intents) > 0
    unknown = np.bincount(code[outcome == Outcome.UNKNOWN], minlength=intents) > 0
    open_ = np.bincount(code[place == Place.OPEN], minlength=intents) > 0
    fate = np.full(intents, Fate.REFUSED, np.int8)
    hidden = ((outcome == Outcome.UNKNOWN) & ~inside & lineage.unseen[history.key[rows]]) | (place == Place.OPEN)
    if ALREADY_APPLIED in history.errors:
        # An attempt stood that was never answered: which one, and where, only the lineage can say.
        refused = history.error[rows] == history.errors.index(ALREADY_APPLIED)
        proven = unknown & (np.bincount(code[refused], minlength=intents) > 0)
        open_ |= proven & (np.bincount(code[hidden], minlength=intents) > 0)
        acknowledged |= proven
    fate[unknown] = Fate.UNKNOWN
    fate[acknowledged] = Fate.LOST
    fate[acknowledged & open_] = Fate.UNATTRIBUTED
    fate[acknowledged & (kept > 0)] = Fate.KEPT
    # Of an intent's attempts the first acknowledged one stands for it, else the last one that may have taken effect,
    # else the last: later entries overwrite.
    stands = np.zeros(intents, np.int64)
    order = np.argsort(history.attempt[rows], kind="stable") if intents < len(rows) else slice(None)
    for chosen in (slice(None), outcome[order] == Outcome.UNKNOWN, inside[order]):
        stands[code[order][chosen]] = rows[order][chosen]
    answered = np.flatnonzero(outcome[order] == Outcome.OK)[::-1]
    stands[code[order][answered]] = rows[order][answered]
    possible = kept + np.bincount(code[hidden], minlength=intents)
    return Fates(row=stands, fate=fate, twice=kept > 1, maybe_twice=(kept <= 1) & (possible > 1))


def _lost(history: History, lineage: Lineage, fates: Fates) -> Lost:
    rows = fates.row[fates.fate == Fate.LOST]
    rows = rows[np.lexsort((history.op[rows], history.end_ns[rows], history.key[rows]))]
    if not len(rows):
        return Lost(rows, rows, np.zeros(0, np.bool_))
    key = history.key[rows].astype(np.int64)
    first, length = lineage.offsets[key], np.diff(lineage.offsets)[key]
    place = np.maximum(lineage.parted[rows], _first_not_before(history, lineage, key, history.start_ns[rows]))
    exists = length > 0
    at = first + np.minimum(place, np.maximum(length - 1, 0))
    winner = np.full(len(rows), NOT_FOUND, np.int64)
    winner[exists] = lineage.chain[at[exists]]
    return Lost(rows, winner, exists)


def _first_not_before(history: History, lineage: Lineage, key: Int64, start_ns: Int64) -> Int64:
    """Position in each key's lineage of the first write that is not wholly before ``start_ns``."""
    chain = lineage.chain
    if not len(chain):
        return np.zeros(len(key), np.int64)
    latest = int(max(history.end_ns.max(), start_ns.max())) + 1
    earliest = int(min(history.start_ns.min(), start_ns.min()))
    bounded = (chain != NOT_FOUND) & (history.outcome[chain] != Outcome.UNKNOWN)
    end = np.where(bounded, history.end_ns[chain], latest) - earliest
    span = latest - earliest + 2
    keys = np.repeat(np.arange(len(lineage.offsets) - 1), np.diff(lineage.offsets))
    if len(lineage.offsets) * span >= np.iinfo(np.int64).max:
        raise OverflowError("too many keys over too long a time for one pass")
    # Keys ascend along the chain, so one running maximum serves them all.
    ends = np.maximum.accumulate(keys * span + end)
    return np.searchsorted(ends, key * span + (start_ns - earliest)) - lineage.offsets[key]


def _intent_ledger(history: History, fates: Fates, lost: Lost) -> IntentLedger:
    counts = np.bincount(fates.fate, minlength=len(Fate)).tolist()
    region = history.region[lost.row]
    winner = winner_regions(history, lost)
    names = [NOT_RECORDED, *history.regions, NOBODY]  # as winner_regions numbers them, from −1 on
    counted = np.bincount(region.astype(np.int64) * len(names) + winner + 1)
    pairs: dict[str, dict[str, int]] = {}
    for pair in np.flatnonzero(counted).tolist():
        of, by = divmod(pair, len(names))
        pairs.setdefault(history.regions[of], {})[names[by]] = int(counted[pair])
    by_key = np.bincount(history.key[lost.row], minlength=len(history.keys))
    worst = np.argsort(-by_key, kind="stable")[:WORST_KEYS]
    if len(by_key) > WORST_KEYS:  # of several with equally many, whatever their numbers here
        equal = np.flatnonzero(by_key >= max(1, by_key[worst[-1]]))
        hashes = hashes_of([history.keys[key] for key in equal.tolist()])
        worst = equal[np.lexsort((hashes, -by_key[equal]))][:WORST_KEYS]
    return IntentLedger(
        acknowledged=counts[Fate.KEPT] + counts[Fate.LOST] + counts[Fate.UNATTRIBUTED],
        kept=counts[Fate.KEPT],
        lost=counts[Fate.LOST],
        twice=int(fates.twice.sum()),
        unattributed=counts[Fate.UNATTRIBUTED],
        refused=counts[Fate.REFUSED],
        unknown=counts[Fate.UNKNOWN],
        lost_by_region={of: sum(by.values()) for of, by in sorted(pairs.items())},
        lost_by_winner={of: dict(sorted(by.items())) for of, by in sorted(pairs.items())},
        lost_by_key={history.keys[key]: int(by_key[key]) for key in worst.tolist() if by_key[key]},
        by_kind=_by_kind(history, fates),
    )


def winner_regions(history: History, lost: Lost) -> Int64:
    """Region code of each winner; −1: it has no row; the number of Regions: nothing stands there."""
    region = np.where(lost.winner != NOT_FOUND, history.region[lost.winner], -1).astype(np.int64)
    region[~lost.winner_exists] = len(history.regions)
    return region


def _by_kind(history: History, fates: Fates) -> dict[str, KindLedger]:
    found = {}
    kind = history.kind[fates.row]
    for code, name in enumerate(history.kinds):
        counts = np.bincount(fates.fate[kind == code], minlength=len(Fate)).tolist()
        kept, lost, open_ = counts[Fate.KEPT], counts[Fate.LOST], counts[Fate.UNATTRIBUTED]
        if kept + lost + open_:
            found[name] = KindLedger(acknowledged=kept + lost + open_, kept=kept, lost=lost, unattributed=open_)
    return found


def _open_lost(history: History, lineage: Lineage, fates: Fates) -> tuple[int, int]:
    """Least and most of the unattributed writes that are lost, from what is known of each gap."""
    open_ = np.bincount(history.key[fates.row[fates.fate == Fate.UNATTRIBUTED]], minlength=len(history.keys))
    # Attempts below a gap whose intent is kept by another attempt may be those that are in the lineage there.
    others = np.bincount(history.key[lineage.place == Place.OPEN], minlength=len(history.keys)) - open_
    least, most = 0, int(open_.sum())
    for key, gap in lineage.gaps.items():
        if gap.kept is not None and open_[key]:
            least += max(0, int(open_[key]) - gap.kept[1])
            most -= min(int(open_[key]), max(0, gap.kept[0] - int(others[key])))
    return least, most


# Findings.


def _lost_violation(history: History, balance: Balance, at: int) -> Violation:
    lost = balance.lost
    row, winner = int(lost.row[at]), int(lost.winner[at])
    facts = {"winner_exists": bool(lost.winner_exists[at]), "branch": int(balance.lineage.branch[row])}
    rows = (row,) if winner == NOT_FOUND else (row, winner)
    return Violation(int(history.key[row]), rows, int(history.end_ns[row]), facts=facts)


def _first(at_ns: Int64) -> Int64:
    """Places of the earliest, and of all that are at the same time as the last of them."""
    if len(at_ns) <= WORST:
        return np.arange(len(at_ns))
    return np.flatnonzero(at_ns <= np.partition(at_ns, WORST - 1)[WORST - 1])


def _all_lost(history: History, lost: Lost, first: Int64) -> AllFindings:
    rows = np.stack((lost.row, lost.winner), axis=1).ravel()
    real = rows != NOT_FOUND
    offsets = np.concatenate(([0], np.cumsum(real.reshape(-1, 2).sum(axis=1))))
    return AllFindings(
        history.key[lost.row].astype(np.int64), history.end_ns[lost.row], offsets, rows[real], worst=first
    )
