"""Attempts with one ClientRequestToken are one operation: the service applies it once, whichever attempt brought it.

They send identical bodies, so all of them leave the mark of the first. What is judged is one row, the first attempt's:
from its start to the first answer that it had taken effect, or with an unknown outcome if there was none and an attempt
may have. The rows of the others stay in their places as attempts that did nothing of their own, so that a row's number
means the same before and after. Latencies, errors and attempts are counted of the rows as they were.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from __future__ import annotations

import dataclasses

import numpy as np

from verifier.history.columns import NULL, History, Int64
from verifier.history.schema import Outcome


def merged(history: History) -> History:
    """The history to be judged; the same object if no two attempts share a token."""
    rows = np.flatnonzero(history.token != NULL)
    if len(rows) < 2:
        return history
    # One operation is one token on one item: the items of a transaction have a row each.
    order = rows[np.lexsort((history.op[rows], history.key[rows], history.token[rows]))]
    token, key = history.token[order], history.key[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (token[1:] != token[:-1]) | (key[1:] != key[:-1])
    if new.all():
        return history
    group = np.cumsum(new) - 1
    first = order[new]
    size = len(first)
    outcome = history.outcome[order]
    answer = _earliest(group, size, order, np.where(outcome == Outcome.OK, history.end_ns[order], _NEVER))
    unknown = np.zeros(size, np.bool_)
    unknown[group[outcome == Outcome.UNKNOWN]] = True
    answered = answer >= 0
    speaking = np.where(answered, answer, first)  # the row whose answer is the operation's

    columns = {name: getattr(history, name).copy() for name in ("outcome", "end_ns", "start_ns", *_ANSWERS)}
    others = order[~new]
    columns["outcome"][others] = Outcome.FAIL
    for name in _ANSWERS:
        columns[name][first] = getattr(history, name)[speaking]
        columns[name][others] = -1 if name == "error" else NULL
    start = np.full(size, _NEVER)
    np.minimum.at(start, group, history.start_ns[order])
    end = np.full(size, -_NEVER)
    np.maximum.at(end, group, history.end_ns[order])
    columns["start_ns"][first] = start
    columns["end_ns"][first] = np.where(answered, history.end_ns[speaking], end)
    columns["outcome"][first] = np.where(answered, Outcome.OK, np.where(unknown, Outcome.UNKNOWN, Outcome.FAIL))
    return dataclasses.replace(history, **columns)


_NEVER = np.iinfo(np.int64).max
_ANSWERS = ("result", "saw", "prev", "error")
"""Columns that hold what came back."""


def _earliest(group: Int64, size: int, rows: Int64, at: Int64) -> Int64:
    """By group the row with the earliest time; −1 where there is none."""
    best = np.full(size, _NEVER)
    np.minimum.at(best, group, at)
    found = np.full(size, -1, np.int64)
    hit = np.flatnonzero((at == best[group]) & (at < _NEVER))[::-1]
    found[group[hit]] = rows[hit]
    return found
