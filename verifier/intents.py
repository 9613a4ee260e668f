"""Intents: what users wanted, over all the attempts that it took.

An intent is *answered* if any attempt succeeded, or failed its condition (that is an answer, too). Its latency is from
the schedule of its first attempt to its final answer, with every pause between attempts: what the user waited.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verifier.answers import CONDITION_FAILED, asked, with_error
from verifier.checks.types import Context
from verifier.history.columns import NO_CODE, Bool, History, Int64, one_row_each
from verifier.history.schema import ALREADY_APPLIED, IN_FLIGHT, Outcome


@dataclass(frozen=True, slots=True)
class IntentTable:
    """Every intent of some keys. Arrays of length ``n``, in order of no matter what."""

    first: Int64
    """Row of its first attempt."""
    last: Int64
    """Row of its last one."""
    attempts: Int64
    succeeded: Bool
    answered: Bool
    unknown: Bool
    """Not answered, and an attempt may have taken effect."""
    final_ns: Int64
    """When the answer that counts had come: of the first success, else of the last failed condition; else the end of
    the last attempt, which was no answer."""
    in_order: Bool
    """The end of every attempt tells how long a user waited: the worker did not stop first."""


def intents_of(history: History, context: Context) -> IntentTable:
    """The intents of these operations, worked out once."""
    made = context.shared.get("intents")
    if not isinstance(made, IntentTable):
        made = context.shared["intents"] = _made(history)
    return made


def population(history: History, rows: Int64) -> Int64:
    """Region that the clients of these rows live in, as codes of :func:`population_names`."""
    if history.user_region is None:
        return history.region[rows].astype(np.int64)
    names = population_names(history)
    living = np.array([*(names.index(name) for name in history.user_regions), NO_CODE], np.int64)
    of = living[history.user_region[rows]]
    return np.where(of >= 0, of, history.region[rows])


def population_names(history: History) -> tuple[str, ...]:
    """The Regions asked, then those that clients live in and nobody asked."""
    return tuple(dict.fromkeys((*history.regions, *history.user_regions)))


def _made(history: History) -> IntentTable:
    rows = np.flatnonzero(asked(history))
    intent, end = history.intent[rows], history.end_ns[rows]
    attempt = history.attempt[rows].astype(np.int64)
    conditional = with_error(history, *CONDITION_FAILED)[rows]
    applied = with_error(history, ALREADY_APPLIED)[rows]  # an earlier attempt took effect
    ok = (history.outcome[rows] == Outcome.OK) | applied
    maybe = history.outcome[rows] == Outcome.UNKNOWN
    stopped = with_error(history, IN_FLIGHT)[rows]
    size = len(rows)
    if not size or (int(attempt.max()) <= 1 and not _several_rows(history)):
        return IntentTable(
            first=rows,
            last=rows,
            attempts=np.ones(size, np.int64),
            succeeded=ok,
            answered=ok | conditional,
            unknown=maybe,
            final_ns=end,
            in_order=~stopped,
        )
    order = np.argsort(intent, kind="stable")
    begins = np.flatnonzero(np.diff(intent[order], prepend=intent[order[0]] - 1))
    place = attempt[order] * size + np.arange(size)
    first, last = (order[reduce(place, begins) % size] for reduce in (np.minimum.reduceat, np.maximum.reduceat))
    never = np.iinfo(np.int64).max
    succeeded_ns = np.minimum.reduceat(np.where(ok, end, never)[order], begins)
    refused_ns = np.maximum.reduceat(np.where(conditional, end, -never)[order], begins)
    succeeded = succeeded_ns < never
    answered = succeeded | (refused_ns > -never)
    return IntentTable(
        first=rows[first],
        last=rows[last],
        attempts=np.maximum.reduceat(attempt[order], begins),
        succeeded=succeeded,
        answered=answered,
        unknown=np.logical_or.reduceat(maybe[order], begins) & ~answered,
        final_ns=np.where(succeeded, succeeded_ns, np.where(answered, refused_ns, end[last])),
        in_order=~np.logical_or.reduceat(stopped[order], begins),
    )


def _several_rows(history: History) -> bool:
    """Requests on several items, whose rows share one intent; they have consecutive rows of one operation id."""
    return bool((history.intent != history.op).any()) or not one_row_each(history)
