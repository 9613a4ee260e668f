"""Which clusters of operations contradict each other's order (P. B. Gibbons, E. Korach).

A cluster is everything that belongs to one value: its write and every read of it. In a sequential order the operations
of a cluster stand together, so the clusters themselves are ordered, and A must stand before B if some operation of A
ended before some operation of B began: f(A) < z(B), with f the earliest end and z the latest start. The history is
linearizable iff this relation has no cycle, and a shortest cycle has length two: so no search is needed, only pairs.

Of a pair that contradicts itself, f(A) < z(B) and f(B) < z(A), either both zones run forward (f < z) and overlap, or
one runs backward (z <= f) and lies inside a forward one. Two backward zones never contradict each other.

Source: "Testing shared memories", SIAM Journal on Computing 26, 1997.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verifier.checks.layout import AFTER, BEFORE, Keys, Layout
from verifier.history.columns import Int64


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Pairs of clusters that contradict each other: one pair for every cluster that some earlier one contradicts."""

    first: Int64
    second: Int64


def conflicts(key: Keys, f: Int64, z: Int64, slack_ns: int = 0) -> Conflicts:
    """All clusters of all keys at once, by index. ``slack_ns``: precedence must be clear by more than this.

    Complete: no pair iff no cycle. The list is linear in size, not every pair there is.
    """
    f = np.where((f > BEFORE) & (f < AFTER), f + slack_ns, f)
    finite = np.concatenate((f[(f > BEFORE) & (f < AFTER)], z[(z > BEFORE) & (z < AFTER)]))
    if not len(finite):
        return Conflicts(np.zeros(0, np.int64), np.zeros(0, np.int64))
    layout = Layout(int(key.max()) + 1, int(finite.min()), int(finite.max()))
    placed_f, placed_z = layout.place(key, f), layout.place(key, z)

    forward = np.flatnonzero(placed_f < placed_z)
    forward = forward[np.argsort(placed_f[forward], kind="stable")]
    begins, ends = placed_f[forward], placed_z[forward]
    reach = np.maximum.accumulate(ends)
    # Which zone reaches that far: the last one that raised the maximum.
    raised = np.ones(len(ends), np.bool_)
    raised[1:] = ends[1:] > reach[:-1]
    reaching = np.maximum.accumulate(np.where(raised, np.arange(len(ends)), 0))

    overlapping = np.flatnonzero(reach[:-1] > begins[1:]) + 1
    backward = np.flatnonzero(placed_f >= placed_z)
    before = np.searchsorted(begins, placed_z[backward], side="left") - 1
    inside = (before >= 0) & (reach[before] > placed_f[backward]) if len(reach) else np.zeros(len(backward), np.bool_)
    return Conflicts(
        np.concatenate((forward[reaching[overlapping - 1]], forward[reaching[before[inside]]])),
        np.concatenate((forward[overlapping], backward[inside])),
    )
