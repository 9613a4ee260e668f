"""Checks of order where operations were recorded on several hosts: what counts as before, and what only may be.

Within one host times are exact; between hosts each is known up to its ε (:mod:`verifier.clocks`). A check that knows
one clock only is asked up to 2 + h times, each time with times that make it see no order that is not certain:

1. all times as they are. What is not accused now is not accused by any order that the clocks allow;
2. every operation widened to [start − ε, end + ε]: what is accused is ``violated``;
3. for the keys that are left, once a host: its own operations as they are, all others widened by the ε of both. What is
   accused is ``violated`` as well: it needs the order within the host;
4. for those that are still left, a search on the order itself (:mod:`verifier.search.mixed`), where a model of the
   keys is given;
5. whatever nobody could prove is ``possible``, with the clock error Γ that it would need.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from verifier.checks.findings import merge_results
from verifier.checks.types import AllFindings, Check, Context, Replica, Result
from verifier.clocks import Clocks
from verifier.history.columns import NULL, History, Int64
from verifier.history.schema import Outcome

Search = Callable[[History, Context, Int64, "Order"], Int64]
"""Of these keys those that have no legal order, whatever the clocks were."""

SEARCHED_KEYS: Final = 100
"""Keys that the search is asked about at most: it is slow, and ``possible`` is true of the others as well."""


def by_host(check: Check, search: Search | None = None) -> Check:
    """The check, asked so that clocks of several hosts are allowed for. With one host it is the check itself."""

    def judged(history: History, context: Context) -> Result:
        clocks = context.clocks
        if clocks is None:
            return check(history, context)
        order = Order(history, context, clocks)
        raw = order.ask(check, history, 0)
        if not _keys(raw).size:
            return raw
        widened = order.ask(check, order.widened(), 0, order.least_ns)
        certain = [widened]
        left = np.setdiff1d(_keys(raw), _keys(widened))
        for host in range(len(clocks.hosts)):
            if not left.size:
                break
            found = _of_keys(order.ask(check, order.one_host(host), int(order.worst[host])), left)
            certain.append(found)
            left = np.setdiff1d(left, _keys(found))
        open_ = _of_keys(raw, left)
        if search is not None and 0 < left.size <= SEARCHED_KEYS:
            proven = search(history, context, left, order)
            certain.append(_of_keys(raw, proven))
            open_ = _of_keys(raw, np.setdiff1d(left, proven))
        return _together(raw, certain, open_)

    return judged


class Order:
    """The operations of a run with their ε, and the histories that show a check only what is certain of their order."""

    def __init__(self, history: History, context: Context, clocks: Clocks) -> None:
        self.history, self.context = history, context
        self.host = clocks.hosts_of(history)
        self.before = clocks.epsilon(history, history.start_ns)
        self.after = clocks.epsilon(history, history.end_ns)
        self.worst = np.zeros(len(clocks.hosts), np.int64)
        np.maximum.at(self.worst, self.host, np.maximum(self.before, self.after))
        here = np.unique(self.host)
        if context.worst_epsilon_ns is not None:  # these are some of the operations: the others are as certain
            here = np.array(sorted(context.worst_epsilon_ns), np.int64)
            self.worst[here] = [context.worst_epsilon_ns[host] for host in here.tolist()]
        two = np.sort(np.concatenate((self.worst[here], [0])))  # the sweep's clock is the reference itself
        self.least_ns = int(two[0] + two[1]) if len(two) > 1 else 0

    def widened(self) -> History:
        """Every operation of every host widened by its ε; the replicas were read by the reference host."""
        return self._moved(self.before, self.after)

    def one_host(self, host: int) -> History:
        """The operations of one host as they are, all others widened by their ε and that host's."""
        other = self.host != host
        worst = int(self.worst[host])
        before, after = (np.where(other, one + worst, 0) for one in (self.before, self.after))
        return self._moved(before, after)

    def ask(self, check: Check, history: History, sweep_ns: int, slack_ns: int = 0) -> Result:
        """What the check says of operations that were moved, in times that were not.

        ``sweep_ns``: by how much the final sweep is widened; ``slack_ns``: what every Γ was made smaller by.
        """
        context = self.context
        final = {region: _moved_replica(replica, sweep_ns) for region, replica in context.final.items()}
        # Nothing but certain times; what others worked out from other times is worked out anew.
        result = check(history, dataclasses.replace(context, clocks=None, epsilon_ns=0, final=final, shared={}))
        if history is self.history:
            return result
        worst = tuple(
            dataclasses.replace(
                one,
                at_ns=int(self._at(history, np.array([one.at_ns]), np.array(one.rows[-1:], np.int64))[0])
                if one.rows
                else one.at_ns,
                gamma_ns=None if one.gamma_ns is None else one.gamma_ns + slack_ns,
            )
            for one in result.violations
        )
        every = result.everything
        if every is not None:
            at = every.at_ns.copy()
            some = np.flatnonzero(np.diff(every.offsets) > 0)
            at[some] = self._at(history, at[some], every.rows[every.offsets[some + 1] - 1])
            gamma = every.gamma_ns
            if gamma is not None:
                gamma = np.where(gamma == NULL, NULL, gamma + slack_ns)
            every = dataclasses.replace(every, at_ns=at, gamma_ns=gamma)
        return dataclasses.replace(result, violations=worst, everything=every)

    def _at(self, moved: History, at_ns: Int64, row: Int64) -> Int64:
        """When a finding could first be seen, if that is the start or the end of the row that is blamed."""
        at = np.where(at_ns == moved.end_ns[row], self.history.end_ns[row], at_ns)
        return np.where(at_ns == moved.start_ns[row], self.history.start_ns[row], at)

    def apart(self, first: int, second: int) -> int:
        """How far the times of two rows (end of the first, start of the second) must be apart to prove an order."""
        if self.host[first] == self.host[second]:
            return 0
        return int(self.after[first] + self.before[second])

    def _moved(self, before: Int64, after: Int64) -> History:
        history = self.history
        answered = history.outcome != Outcome.UNKNOWN
        return dataclasses.replace(
            history,
            start_ns=history.start_ns - before,
            end_ns=history.end_ns + np.where(answered, after, 0),
        )


def _moved_replica(replica: Replica, slack_ns: int) -> Replica:
    if not slack_ns:
        return replica
    return dataclasses.replace(replica, start_ns=replica.start_ns - slack_ns, end_ns=replica.end_ns + slack_ns)


def _keys(result: Result) -> Int64:
    if result.everything is not None:
        return np.unique(result.everything.key)
    return np.unique(np.array([one.key for one in result.violations], np.int64))


def _of_keys(result: Result, keys: Int64) -> Result:
    """The findings on these keys."""
    every = result.everything
    if every is None:
        kept = tuple(one for one in result.violations if one.key in set(keys.tolist()))
        return dataclasses.replace(
            result, verdict="violated" if kept else "holds", violations=kept, count=len(kept), everything=None
        )
    which = np.isin(every.key, keys)
    worst = np.arange(len(result.violations)) if every.worst is None else every.worst
    kept_worst = np.flatnonzero(which[worst])
    lengths = np.diff(every.offsets)
    number = np.cumsum(which) - 1
    some = AllFindings(
        key=every.key[which],
        at_ns=every.at_ns[which],
        offsets=np.concatenate(([0], np.cumsum(lengths[which]))).astype(np.int64),
        rows=every.rows[np.repeat(which, lengths)],
        gamma_ns=None if every.gamma_ns is None else every.gamma_ns[which],
        stale_ms=None if every.stale_ms is None else every.stale_ms[which],
        stale_versions=None if every.stale_versions is None else every.stale_versions[which],
        worst=number[worst[kept_worst]],
        rule=None if every.rule is None else every.rule[which],
        rules=every.rules,
        replica=None if every.replica is None else every.replica[which],
    )
    return dataclasses.replace(
        result,
        verdict="violated" if which.any() else "holds",
        violations=tuple(result.violations[at] for at in kept_worst.tolist()),
        count=len(some.key),
        everything=some,
    )


def _together(raw: Result, certain: Sequence[Result], open_: Result) -> Result:
    """What is certain is violated, the rest possible; exercised and notes are those of the first look."""
    found = [one for one in certain if _count(one)]
    # As within a check: where anything is certain to be wrong, what clocks may explain away is left out.
    merged = merge_results([dataclasses.replace(one, note=None) for one in found or [open_]])
    return dataclasses.replace(
        merged, verdict="violated" if found else "possible", exercised=raw.exercised, note=raw.note
    )


def _count(result: Result) -> int:
    return len(result.violations) if result.count is None else result.count
