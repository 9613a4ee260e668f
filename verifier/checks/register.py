"""Strong reads, writes and conditions of one item are linearizable: exact, O(n log n), for items with a mark per write.

The writers' marks say which write each operation shows; :mod:`verifier.checks.clusters` gathers them. Linked clusters
(each write names the one it was applied to) form chains whose order is forced, with nothing in between:

1. inside a chain nothing may begin after something further down the chain has ended;
2. whole chains are then clusters themselves, and :mod:`verifier.checks.zones` finds every pair that contradicts itself.

Both are exact: if neither finds anything, writing the chains down in an order that the zones allow is a legal history.

**Staleness.** A strong read r of A is stale if some write B came after A (it began when A was in place, or A's chain
leads to it) and was in place when r began. ``stale_ms`` is how long B had been in place, ``stale_versions`` counts such
B; both are at least that much. Every stale read is one violation; what contradicts without a stale read (two reads that
show concurrent writes in both orders) is one violation for each pair of clusters reported by the zones.
"""

from __future__ import annotations

import numpy as np

from verifier.checks.chains import chains_of
from verifier.checks.clusters import Clusters, Role, clusters_of
from verifier.checks.findings import Found, merge_results, result
from verifier.checks.layout import (
    AFTER,
    BEFORE,
    Layout,
    first_of,
    greatest,
    key_chunks,
    running_min_after,
    smallest,
)
from verifier.checks.types import Context, Replica, Result, join_notes
from verifier.checks.zones import conflicts
from verifier.history.columns import Bool, History, Int64


def check_register(history: History, context: Context) -> Result:
    """All Regions together, the final sweep included: MRSC's contract, what an application may hope for in MREC."""
    return register_violations(history, context, final=tuple(context.final.values()))


def check_local_register(history: History, context: Context) -> Result:
    """Every Region by itself: MREC's contract. Other Regions' writes arrive at any time after their start, or never."""
    results = []
    for name in context.regions:
        if name not in history.regions:
            continue
        own = history.region == history.regions.index(name)
        final = (context.final[name],) if name in context.final else ()
        initial = context.initial.get(name)
        results.append(register_violations(history, context, rows=own, unknown_rows=~own, initial=initial, final=final))
    return merge_results(results)


def register_violations(
    history: History,
    context: Context,
    *,
    rows: Bool | None = None,
    unknown_rows: Bool | None = None,
    initial: Replica | None = None,
    final: tuple[Replica, ...] = (),
) -> Result:
    """Judge the operations in ``rows`` (null: all) together with the final sweep of the given replicas.

    Updates in ``unknown_rows`` may have taken effect too, at any time after their start; nothing else is taken from
    them. ``initial`` is the state that the run began with (null: the first of the context's replicas; none at all: an
    empty table). With clocks of several hosts, what they may explain away is only ``possible``.
    """
    if initial is None:
        initial = next(iter(context.initial.values()), None)
    everything = np.ones(len(history), np.bool_) if rows is None else rows
    slack = 2 * context.epsilon_ns
    times = [history.start_ns, history.end_ns, *(one.start_ns for one in final), *(one.end_ns for one in final)]
    first = min((int(time.min()) for time in times if len(time)), default=0)
    last = max((int(time.max()) for time in times if len(time)), default=0) + slack
    found: list[Found] = []
    for slack_ns in sorted({slack, 0}, reverse=True):
        clusters = clusters_of(history, context, everything, unknown_rows, initial, final, slack_ns)
        found = list(clusters.found)
        for begin, end in key_chunks(len(history.keys), first - slack, last):
            part = clusters if end - begin == len(history.keys) else clusters.of_keys(begin, end)
            if len(part.key):
                found += _Order(part, begin, Layout(end - begin, first - slack, last), slack_ns).violations()
        if found:
            break
    return result(found, clusters.judged, context.regions, slack, join_notes(clusters.notes))


class _Order:
    """The order of the clusters of some keys: their zones, their chains, and what contradicts it."""

    def __init__(self, clusters: Clusters, first_key: int, layout: Layout, slack_ns: int) -> None:
        self.clusters, self.first_key, self.layout, self.slack = clusters, first_key, layout, slack_ns
        self.key = clusters.key - first_key
        size = len(self.key)
        self.f = smallest(size, clusters.member, clusters.end)
        self.f[clusters.initial] = BEFORE
        self.z = greatest(size, clusters.member, clusters.start)
        self.placed_f = layout.place(self.key, self.f)
        self.by_f = np.argsort(self.placed_f, kind="stable")  # nearly in order as rows stand
        self.chains = chains_of(clusters.previous, self.by_f)

    def violations(self) -> list[Found]:
        """Everything that contradicts the order; mostly nothing, which is found out first."""
        clusters, chains = self.clusters, self.chains
        size = len(self.key)
        after, behind = running_min_after(self.f[chains.order], chains.chain)
        self.after, self.behind = np.empty(size, np.int64), np.empty(size, np.int64)
        self.after[chains.order], self.behind[chains.order] = after, chains.order[behind]
        late = clusters.start > self.after[clusters.member] + self.slack

        begins = np.flatnonzero(np.diff(chains.chain, prepend=-1))
        self.chain_f = np.minimum.reduceat(self.f[chains.order], begins)
        self.chain_z = np.maximum.reduceat(self.z[chains.order], begins)
        self.chain_of = np.empty(size, np.int64)
        self.chain_of[chains.order] = np.cumsum(np.diff(chains.chain, prepend=-1) != 0) - 1
        pairs = conflicts(self.key[chains.order[begins]], self.chain_f, self.chain_z, self.slack)
        if not (len(pairs.first) or late.any() or chains.circular.any()):
            return []

        hits = np.flatnonzero(clusters.end == self.f[clusters.member])
        self.first_ended = first_of(size, clusters.member[hits], clusters.row[hits])
        troubled = np.zeros(len(begins), np.bool_)
        troubled[self.chain_of[clusters.member[clusters.role == Role.DISPUTED]]] = True
        found = [self._circular(), self._late_writes(late), self._stale_reads(late, troubled)]
        troubled[self.chain_of[clusters.member[late]]] = True
        troubled[self.chain_of[chains.circular]] = True
        left = ~troubled[pairs.first] & ~troubled[pairs.second]
        found.append(self._contradictions(pairs.first[left], pairs.second[left]))
        return [one for one in found if len(one)]

    def _circular(self) -> Found:
        """Writes each of which was applied to what the next one wrote, all the way round."""
        at = np.flatnonzero(self.chains.circular)
        rows = self.clusters.write[at]
        before = self.clusters.write[self.clusters.previous[at]]
        return Found("circle", self.clusters.key[at], self.z[at], {"before": before, "write": rows})

    def _late_writes(self, late: Bool) -> Found:
        """Writes that began after something had ended that was built upon them."""
        clusters = self.clusters
        at = clusters.member[late & (clusters.role == Role.WRITE)]
        on_top = self.behind[at]
        witness = {"later": clusters.write[on_top], "in_place": self.first_ended[on_top], "by": clusters.write[at]}
        start = clusters.write_start[at]
        return Found("late", clusters.key[at], start, witness, start - self.after[at])

    def _stale_reads(self, late: Bool, troubled: Bool) -> Found:
        """Reads that began after a later write was in place; marks the chains that they show as troubled."""
        clusters, layout, slack = self.clusters, self.layout, self.slack
        writes = np.flatnonzero(clusters.write_start > BEFORE)
        starts = layout.place(self.key, clusters.write_start)
        reads = np.flatnonzero(clusters.role == Role.READ)
        shown = clusters.member[reads]
        in_place = np.where(self.f < AFTER, np.maximum(self.f, BEFORE), AFTER)
        in_place[(in_place > BEFORE) & (in_place < AFTER)] += slack
        in_place = layout.place(self.key, in_place)[shown]

        # The latest start of a write that was in place before the read began.
        ended = self.placed_f[self.by_f]
        newest = np.maximum.accumulate(np.where(clusters.write_start > BEFORE, starts, -1)[self.by_f])
        began = layout.place(self.key[shown], clusters.start[reads] - slack)
        last = np.searchsorted(ended, began, side="left") - 1
        overtaken = (last >= 0) & (newest[np.maximum(last, 0)] > in_place)
        stale = overtaken | late[reads]
        reads, shown, in_place, overtaken = reads[stale], shown[stale], in_place[stale], overtaken[stale]
        if not len(reads):
            return Found("stale", shown, shown, {})
        troubled[self.chain_of[shown]] = True

        # Of the writes that prove it the one that had been in place longest.
        by_start = writes[np.argsort(starts[writes], kind="stable")]
        start_sorted = starts[by_start]
        one = np.zeros(len(by_start), np.int64)
        _, where = running_min_after(self.placed_f[by_start], one, inclusive=True)
        at = np.searchsorted(start_sorted, in_place, side="right")
        proof = np.full(len(reads), -1, np.int64)
        proof[overtaken] = by_start[where[at[overtaken]]]
        proven = np.where(overtaken, self.f[proof], AFTER)
        by_chain = late[reads] & (self.after[shown] <= proven)
        proof = np.where(by_chain, self.behind[shown], proof)
        proven = np.where(by_chain, self.after[shown], proven)
        begin = clusters.start[reads]
        gamma = begin - proven
        timed = ~by_chain
        gamma[timed] = np.minimum(gamma[timed], clusters.write_start[proof[timed]] - self.f[shown[timed]])

        # Writes in place, less those that had begun before the value shown was in place: at least so many are missing.
        known = np.sort(self.placed_f[writes])
        versions = np.searchsorted(known, layout.place(self.key[shown], begin)) - at
        witness = {
            "write": clusters.write[shown],
            "shown_at": np.where(by_chain, -1, self.first_ended[shown]),
            "later": clusters.write[proof],
            "in_place": self.first_ended[proof],
            "by": clusters.row[reads],
        }
        return Found(
            "stale",
            clusters.key[shown],
            clusters.end[reads],
            witness,
            gamma,
            stale_ns=begin - proven - slack,
            stale_versions=np.maximum(versions, 1),
            replica=clusters.replica[reads],
        )

    def _contradictions(self, first: Int64, second: Int64) -> Found:
        """Pairs of chains each of which must stand before the other, and no stale read to blame."""
        clusters = self.clusters
        chains = len(self.chain_f)
        member_chain = self.chain_of[clusters.member]
        ends = np.flatnonzero(clusters.end == self.chain_f[member_chain])
        starts = np.flatnonzero(clusters.start == self.chain_z[member_chain])
        earliest = first_of(chains, member_chain[ends], ends)
        latest = first_of(chains, member_chain[starts], starts)
        witness = {}
        for name, one in (("one", first), ("other", second)):
            witness[f"{name}_write"] = clusters.write[clusters.member[latest[one]]]
            witness[f"{name}_ended"] = self._row(earliest[one])
            witness[f"{name}_began"] = self._row(latest[one])
        gamma = np.minimum(self.chain_z[first] - self.chain_f[second], self.chain_z[second] - self.chain_f[first])
        last = np.where(self.chain_z[first] > self.chain_z[second], latest[first], latest[second])
        at = np.where(clusters.end[last] < AFTER, clusters.end[last], clusters.start[last])
        key = clusters.key[clusters.member[latest[first]]]
        return Found("order", key, at, witness, gamma, replica=clusters.replica[last])

    def _row(self, member: Int64) -> Int64:
        return np.where(member >= 0, self.clusters.row[member], -1)
