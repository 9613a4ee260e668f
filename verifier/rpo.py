"""What a failover costs (RPO): which acknowledged writes of the lost Region its users do not find where they go.

At the moment of the failover everything that the lost Region had acknowledged should be there in the Region that takes
over. What shows it is the first read of each item elsewhere after that moment: the sweep that a routed failover makes,
or else any read (or update, which says what it was applied to). Such a read shows a state; of each acknowledged write w

- it is *present* if the state is w, or was built upon w;
- it is *superseded* if the state, not built upon w, holds a blind write that is not wholly before w: that one may
  lawfully have won, w would have been overwritten anyway;
- it is *missing* otherwise: w was built upon the state, or the state's write had ended before w began, or the state was
  reached on a way that never saw w.

What is missing was only *delayed* if it stands in the final lineage, it is *destroyed* if it certainly does not, and
open where the final state does not say. Items that nobody read are unread: unknown. The RPO as a time is how long
before the failover the earliest of the missing writes had been acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from verifier.checks.explain import milliseconds, who
from verifier.checks.ledger import Balance
from verifier.checks.lineage import Lineage, Place
from verifier.checks.marks import NOT_FOUND, of_kind, updates, writers_of
from verifier.checks.types import Context
from verifier.distribution import NOTHING, Distribution
from verifier.history.columns import NULL, Bool, History, Int64
from verifier.history.schema import ABSENT, Kind, Outcome
from verifier.rundir import FaultRecord
from verifier.tally import Tally, number
from verifier.verdict import Rpo, RpoProof
from verifier.windows import t0_of

LOSES_A_REGION: Final = frozenset({"region-down", "region-isolated"})
"""Kinds of fault after which users may have to go to another Region."""

PROOFS: Final = 5
"""Of the missing writes so many are listed, those acknowledged longest before the failover."""

_ROOT: Final = -1


class Found(IntEnum):
    """What became of an acknowledged write, as the first read elsewhere shows it."""

    PRESENT = 0
    SUPERSEDED = 1
    DELAYED = 2
    DESTROYED = 3
    OPEN = 4
    """Missing, and the final state does not say for how long."""
    UNREAD = 5
    UNCLEAR = 6
    """Read, but the record does not show how the state came about."""


@dataclass(frozen=True, slots=True)
class Failover:
    """A Region that was given up, and when."""

    fault: FaultRecord
    region: str
    at_ns: int
    until_ns: int
    """The fault is over: what is read later says nothing of the failover."""
    decided: bool
    """The application decided it (``routes.jsonl``); else it is the onset of the fault."""

    @property
    def name(self) -> str:
        """Of its counts."""
        return f"{self.fault.id}|{self.region}"


@dataclass(frozen=True, slots=True)
class Losses:
    """What some keys say of all failovers."""

    tally: Tally
    proofs: Mapping[str, tuple[tuple[int, str, RpoProof], ...]]
    """By failover: (time before it, key, proof) of the worst, in that order."""


def failovers(context: Context) -> list[Failover]:
    """Every Region that a fault took away, with the moment at which it was given up."""
    found = []
    for fault in context.faults:
        if fault.kind not in LOSES_A_REGION or fault.onset_ns is None:
            continue
        ends = [at for at in (fault.healed_ns, context.run.end_ns) if at is not None]
        until = min(ends, default=int(np.iinfo(np.int64).max // 4))
        for region in fault.regions:
            decided = [
                event.at_ns
                for event in context.routes
                if event.event == "decided"
                and event.region == region
                and event.to != region
                and fault.onset_ns <= event.at_ns <= until
            ]
            at = min(decided, default=fault.onset_ns)
            found.append(Failover(fault, region, at, until, bool(decided)))
    return found


def losses_of(history: History, context: Context, balance: Balance) -> Losses:
    """Judge the acknowledged writes of the lost Regions on these keys."""
    counts: dict[str, int | Distribution] = {}
    proofs = {}
    for failover in failovers(context):
        if failover.region in history.regions:
            rows, found, read = _judged(history, context, balance.lineage, failover)
            for what in Found:
                counts[f"{failover.name}|{what.name}"] = int((found == what).sum())
            missing = np.flatnonzero((found >= Found.DELAYED) & (found <= Found.OPEN))
            times = failover.at_ns - history.end_ns[rows[missing]]
            counts[f"{failover.name}|time"] = Distribution.of_ns(times)
            worst = missing[np.argsort(-times, kind="stable")[:PROOFS]]
            proofs[failover.name] = tuple(
                _proof(history, context, failover, int(rows[at]), int(read[at]), Found(int(found[at])))
                for at in worst.tolist()
            )
    return Losses(counts, proofs)


def rpo_rows(tally: Tally, parts: Sequence[Losses], context: Context) -> dict[str, list[Rpo]]:
    """By fault id, what all parts say."""
    t0 = t0_of(context)
    rows: dict[str, list[Rpo]] = {}
    for failover in failovers(context):
        count = {what: number(tally, f"{failover.name}|{what.name}") for what in Found}
        times = tally.get(f"{failover.name}|time", NOTHING)
        assert isinstance(times, Distribution)
        missing = count[Found.DELAYED] + count[Found.DESTROYED] + count[Found.OPEN]
        read = sum(count.values()) - count[Found.UNREAD] - count[Found.UNCLEAR]
        worst = sorted(
            (one for part in parts for one in part.proofs.get(failover.name, ())), key=lambda one: (-one[0], one[1])
        )
        rows.setdefault(failover.fault.id, []).append(
            Rpo(
                region=failover.region,
                failover_ns=failover.at_ns - t0,
                decided=failover.decided,
                acknowledged=sum(count.values()),
                present=count[Found.PRESENT],
                superseded=count[Found.SUPERSEDED],
                missing=missing,
                delayed=count[Found.DELAYED],
                destroyed=count[Found.DESTROYED],
                unread=count[Found.UNREAD],
                unclear=count[Found.UNCLEAR],
                time_ms=times.rank_ms(1.0) if missing else (0.0 if read else None),
                proofs=[proof for _, _, proof in worst[:PROOFS]],
            )
        )
    return rows


def _judged(history: History, context: Context, lineage: Lineage, failover: Failover) -> tuple[Int64, Int64, Int64]:
    """Rows of the acknowledged writes, what became of each (:class:`Found`), and the row that shows it (or −1)."""
    home = history.region == history.regions.index(failover.region)
    acknowledged = updates(history) & (history.outcome == Outcome.OK) & (history.saw == history.op) & home
    acknowledged &= (history.end_ns <= failover.at_ns) & lineage.marked[history.key]
    acknowledged &= ~of_kind(history, Kind.DELETE)
    rows = np.flatnonzero(acknowledged)
    first = _first_reads(history, failover, home)
    read = first[history.key[rows]]
    found = np.full(len(rows), Found.UNREAD, np.int64)
    deleted = np.zeros(len(history.keys), np.bool_)
    deleted[history.key[of_kind(history, Kind.DELETE, Kind.TXN_WRITE) & (history.outcome != Outcome.FAIL)]] = True
    simple = _simple(history, context, lineage, first)[history.key[rows]]
    at = np.flatnonzero(simple)
    state = _states(history, context, read[at])
    there = (lineage.position[rows[at]] >= 0) & (lineage.position[rows[at]] <= lineage.position[state])
    found[at] = np.where(there, Found.PRESENT, _fates(lineage, rows[at]))
    order = np.flatnonzero(~simple & (read >= 0))
    order = order[np.argsort(history.key[rows[order]], kind="stable")]
    bounds = np.flatnonzero(np.diff(history.key[rows[order]], prepend=-1))
    for mine in np.split(order, bounds[1:]):
        if len(mine):
            key = int(history.key[rows[mine[0]]])
            found[mine] = _of_key(history, context, lineage, rows[mine], int(read[mine[0]]), bool(deleted[key]))
    return rows, found, read


def _simple(history: History, context: Context, lineage: Lineage, first: Int64) -> Bool:
    """Keys without blind writes whose lineage is known, and whose first read shows a part of it: a state then holds all
    that stands before it there, and nothing else. All such keys are judged at once."""
    simple = (first >= 0) & ~lineage.open_keys
    blind = of_kind(history, Kind.WRITE, Kind.DELETE, Kind.TXN_WRITE) & (history.outcome != Outcome.FAIL)
    simple[history.key[blind]] = False
    keys = np.flatnonzero(simple)
    state = _states(history, context, first[keys])
    simple[keys] = (state != NOT_FOUND) & (lineage.position[np.maximum(state, 0)] >= 0)
    return simple


def _states(history: History, context: Context, reads: Int64) -> Int64:
    """Row of the write that each of these shows, or was applied to."""
    shown, before = writers_of(history, context, "saw")[reads], writers_of(history, context, "prev")[reads]
    return np.where(updates(history)[reads], before, shown)


def _first_reads(history: History, failover: Failover, home: Bool) -> Int64:
    """By key the row of the first read of its state elsewhere after the failover; −1 where there is none."""
    telling = of_kind(history, Kind.READ, Kind.READ_EVENTUAL, Kind.TXN_READ) & (history.saw != NULL)
    telling |= updates(history) & (history.prev != NULL)
    telling &= (history.outcome == Outcome.OK) & ~home
    telling &= (history.start_ns >= failover.at_ns) & (history.start_ns <= failover.until_ns)
    rows = np.flatnonzero(telling)
    rows = rows[np.lexsort((history.op[rows], history.start_ns[rows]))][::-1]
    first = np.full(len(history.keys), -1, np.int64)
    first[history.key[rows]] = rows  # the earliest is written last
    return first


def _of_key(history: History, context: Context, lineage: Lineage, writes: Int64, read: int, deleted: bool) -> Int64:
    """What became of these writes of one key, as ``read`` shows it."""
    column = "prev" if bool(updates(history)[read]) else "saw"
    mark = int(getattr(history, column)[read])
    state = int(_states(history, context, np.array([read], np.int64))[0])
    if mark == ABSENT or state == NOT_FOUND:
        if mark == ABSENT and not deleted:
            return _fates(lineage, writes)
        return np.full(len(writes), Found.UNCLEAR, np.int64)
    made_of, whole = _made_of(history, lineage, state)
    present = np.isin(writes, made_of)
    known: dict[int, bool] = {}
    upon = np.zeros(len(writes), np.bool_)
    for at in np.flatnonzero(~present).tolist():
        upon[at] = _built_upon(lineage, int(writes[at]), state, known)
    blind = made_of[of_kind(history, Kind.WRITE)[made_of]]
    answered = history.outcome[blind] == Outcome.OK
    ends = np.where(answered, history.end_ns[blind], np.iinfo(np.int64).max)
    superseded = history.start_ns[writes] <= (int(ends.max()) if len(ends) else np.iinfo(np.int64).min)
    answered_state = history.outcome[state] == Outcome.OK
    before = answered_state & (history.end_ns[state] < history.start_ns[writes])
    missing = upon | before | np.full(len(writes), whole)
    return np.select(
        [present, upon, superseded, missing],
        [
            np.full(len(writes), Found.PRESENT),
            _fates(lineage, writes),
            np.full(len(writes), Found.SUPERSEDED),
            _fates(lineage, writes),
        ],
        np.full(len(writes), Found.UNCLEAR),
    ).astype(np.int64)


def _made_of(history: History, lineage: Lineage, state: int) -> tuple[Int64, bool]:
    """The write that a state shows and all that it was built upon, as far as that is known; and whether that is all."""
    climbed = []
    row = state
    while row >= 0 and lineage.position[row] < 0:
        climbed.append(row)
        row = int(lineage.parent[row])
    key = int(history.key[state])
    if row < 0:
        return np.array(climbed, np.int64), row == _ROOT
    first = int(lineage.offsets[key])
    chain = lineage.chain[first : first + int(lineage.position[row]) + 1]
    known = chain[chain != NOT_FOUND]
    return np.concatenate((np.array(climbed, np.int64), known)), not bool(lineage.open_keys[key])


def _built_upon(lineage: Lineage, row: int, state: int, known: dict[int, bool]) -> bool:
    """Whether a write was built upon the state of another; both may be in the final lineage or beside it.

    ``known``: what has been found out for this state, by row; it is added to.
    """
    passed = []
    while row >= 0 and row not in known and row != state and lineage.position[row] < 0:
        passed.append(row)
        row = int(lineage.parent[row])
    if row >= 0 and row not in known:
        known[row] = row == state or bool(0 <= lineage.position[state] <= lineage.position[row])
    found = row >= 0 and known[row]
    known.update(dict.fromkeys(passed, found))
    return found


def _fates(lineage: Lineage, writes: Int64) -> Int64:
    """Of writes that are missing: delayed, destroyed or open."""
    place = lineage.place[writes]
    if not lineage.final_read:
        return np.full(len(writes), Found.OPEN, np.int64)
    return np.select(
        [place == Place.INSIDE, place == Place.OUTSIDE], [Found.DELAYED, Found.DESTROYED], Found.OPEN
    ).astype(np.int64)


def _proof(
    history: History, context: Context, failover: Failover, row: int, read: int, found: Found
) -> tuple[int, str, RpoProof]:
    before_ns = failover.at_ns - int(history.end_ns[row])
    key = history.keys[history.key[row]]
    what = {
        Found.DELAYED: "it arrived later",
        Found.DESTROYED: "it is not in what the item finally holds",
        Found.OPEN: "what became of it is not known",
    }[found]
    shows = "was applied to" if bool(updates(history)[read]) else "shows"
    sentence = (
        f"{who(history, context, row)} had been acknowledged {milliseconds(before_ns)} before the failover, but "
        f"{who(history, context, read)} {shows} a state without it; {what}."
    )
    fate = "delayed" if found == Found.DELAYED else "destroyed" if found == Found.DESTROYED else "open"
    return (
        before_ns,
        key,
        RpoProof(
            key=key,
            op=int(history.op[row]),
            shown_by=int(history.op[read]),
            fate=fate,
            before_ms=before_ns / 1e6,
            sentence=sentence,
        ),
    )


def worst_of(rows: Iterable[Rpo]) -> Rpo | None:
    """The failover that cost most."""
    return max(rows, key=lambda row: (row.missing, row.time_ms or 0.0), default=None)
