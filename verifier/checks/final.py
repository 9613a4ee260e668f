"""What is known of the end: items on which replicas differ, and items whose final state may not be what was read.

Final replicas are read when all has settled. Where it had not by the deadline, or a Region could not be read at all,
what was read of an MREC table is a state on the way: what the others have yet to hear, or what the Region that is away
acknowledged last, may still win. Nobody is accused on account of such an item's end. An MRSC replica is read
strongly, and what it shows is what there is.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from verifier.checks.marks import keys_with, of_kind, updates
from verifier.checks.types import Context
from verifier.history.columns import Bool, History
from verifier.history.schema import EXPIRY, Kind, Outcome


def differing(history: History, context: Context) -> Bool:
    """Keys whose item is not the same in every replica that was read (k)."""
    replicas = list(context.final.values())
    different = np.zeros(len(history.keys), np.bool_)
    if len(replicas) < 2:
        return different
    items = pa.array([item for replica in replicas for item in replica.items], pa.string()).dictionary_encode()
    codes = items.indices.to_numpy()
    content = [np.full(len(history.keys), -1, np.int64) for _ in replicas]
    at = 0
    for replica, of in zip(replicas, content, strict=True):
        of[replica.key] = codes[at : at + len(replica.key)]
        at += len(replica.key)
    for other in content[1:]:
        different |= other != content[0]
    return different


def may_expire(history: History) -> Bool:
    """Keys whose item was given a time that it may live, for all that is known (k)."""
    if EXPIRY not in history.errors:
        return np.zeros(len(history.keys), np.bool_)
    unanswered = updates(history) & (history.outcome == Outcome.UNKNOWN)  # such a write may have given one
    return keys_with(history, unanswered | (history.error == history.errors.index(EXPIRY)))


def may_vanish(history: History) -> Bool:
    """Keys whose item may be deleted at any time: its time may be over, or a deletion never answered (k)."""
    deleting = of_kind(history, Kind.DELETE) & (history.outcome == Outcome.UNKNOWN)
    return keys_with(history, deleting) | may_expire(history)


def somewhere(history: History, context: Context) -> Bool:
    """Keys that some replicas have an item of and some have none of (k)."""
    held = np.zeros(len(history.keys), np.int64)
    for replica in context.final.values():
        held[replica.key] += 1
    return (held > 0) & (held < len(context.final))


def changed_unread(history: History, context: Context) -> Bool:
    """Updates that may have taken effect in a Region of an MREC table whose final state was not read (n)."""
    if context.mode != "MREC" or context.run.settled or not context.final:
        return np.zeros(len(history), np.bool_)
    unread = np.array([name not in context.final for name in history.regions])
    return np.asarray(updates(history) & (history.outcome != Outcome.FAIL) & unread[history.region], np.bool_)


def in_doubt(history: History, context: Context) -> Bool:
    """Keys whose final state may still change (k); worked out once."""
    made = context.shared.get("in_doubt")
    if not isinstance(made, np.ndarray):
        made = np.zeros(len(history.keys), np.bool_)
        if context.mode == "MREC" and not context.run.settled and context.final:
            made = differing(history, context) | keys_with(history, changed_unread(history, context))
        context.shared["in_doubt"] = made
    return made
