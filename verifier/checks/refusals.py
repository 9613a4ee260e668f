"""A refused write wrote nothing, and (MRSC) no two writes succeed from one predecessor.

``ReplicatedWriteConflictException`` and every other refusal of the closed list in :class:`Outcome` mean that nothing
was written; so the mark of a refused attempt stands nowhere: not in an answer, not as the predecessor of a later write,
not in a final item.

In MRSC all writes of an item stand in one order, so each state has at most one successor. Two acknowledged writes that
both name the same ``_p`` were both applied to the same state: one of them is lost, whatever the item says later.
"""

from __future__ import annotations

import numpy as np

from verifier.checks.lineage import GAP, ROOT, lineage_of
from verifier.checks.marks import NOT_FOUND, is_mark, keys_with, marks_of, may_remove, of_kind, updates
from verifier.checks.types import Context, Result, Violation, judgement, noted
from verifier.history.columns import NULL, History, Int64
from verifier.history.schema import Kind, Outcome


def check_refused(history: History, context: Context) -> Result:
    """No mark of a refused write is seen anywhere."""
    marks = marks_of(history, context)
    refused = updates(history) & (history.outcome == Outcome.FAIL)
    marked = keys_with(history, is_mark(history.saw))
    exercised = int((refused & marked[history.key]).sum())
    if not exercised:
        return Result("unknown", 0, note="no write was refused")
    everything = np.arange(len(history), dtype=np.int64)
    shown: dict[int, tuple[int, ...]] = {}
    for column in (history.saw, history.prev):
        rows = everything[is_mark(column) & (column != history.op)]
        writer = marks.find(column[rows], history.key[rows])
        hit = (writer != NOT_FOUND) & refused[writer]
        for by, row in zip(writer[hit].tolist(), rows[hit].tolist(), strict=True):
            shown.setdefault(by, (by, row))
    final: dict[int, str] = {}
    for region, replica in context.final.items():
        for column in (replica.w, replica.p):
            writer = marks.find(column, replica.key)
            for by in writer[(writer != NOT_FOUND) & refused[writer]].tolist():
                shown.setdefault(by, (by,))
                final.setdefault(by, region)
    violations = [
        Violation(int(history.key[by]), rows, int(history.end_ns[rows[-1]]), facts={"final": final.get(by)})
        for by, rows in sorted(shown.items())
    ]
    return Result(judgement(len(violations), exercised), exercised, tuple(violations), count=len(violations))


def check_forks(history: History, context: Context) -> Result:
    """No two acknowledged writes name the same predecessor."""
    lineage = lineage_of(history, context)
    own = updates(history) & (history.outcome == Outcome.OK) & (history.saw == history.op) & (history.prev != NULL)
    rows = np.flatnonzero(own)
    if not len(rows):
        return Result("unknown", 0, note="no write says what it was applied to")
    parent = lineage.parent[rows]
    removed = keys_with(history, of_kind(history, Kind.DELETE) & (history.outcome != Outcome.FAIL))
    rooted = (parent == ROOT) & ~removed[history.key[rows]]
    if history.lost and may_remove(history):
        rooted[:] = False  # an unrecorded delete may have made an item begin anew
    # Predecessors that are rows and the initial states of keys, in one numbering.
    place: Int64 = np.where(rooted, len(history) + history.key[rows], parent)
    judged = rooted | (parent >= 0)
    rows, place = rows[judged], place[judged]
    followers = np.bincount(place, minlength=len(history) + len(history.keys))
    forked = np.flatnonzero(followers > 1)
    violations = []
    if len(forked):
        order = np.lexsort((history.start_ns[rows], place))
        first = np.searchsorted(place[order], forked)
        for at, node in zip(first.tolist(), forked.tolist(), strict=True):
            pair = rows[order[at : at + 2]]
            witness = (int(node), *pair.tolist()) if node < len(history) else tuple(pair.tolist())
            facts = {"followers": int(followers[node]), "from_start": node >= len(history)}
            end = int(history.end_ns[pair].max())
            violations.append(Violation(int(history.key[pair[0]]), witness, end, facts=facts))
    count = int((followers[forked] - 1).sum())
    unjudged = int((parent == GAP).sum())
    note = noted("of {count} writes the predecessor has no row", unjudged) if unjudged else None
    return Result("violated" if count else "holds", len(rows), tuple(violations), count=count, note=note)
