"""Keys that the exact checks leave out, judged by the general search (:mod:`verifier.search`).

- An item that is deleted, by somebody or by its time to live: "no such item" is then not one state but many, so that a
  read of it names no write.
- A condition that failed without handing the item back: it says only that the state was another one.
- A key whose order is known in part only, because several hosts recorded it (:mod:`verifier.checks.by_host`).

Such a key is a register of writers' marks with compare-and-set: an update that says what it was applied to is one, too.
The search is exponential at worst, so it has a deadline for all keys together and a bound on memory; what it does not
finish is inconclusive, and the note says how many keys those are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from verifier.checks.by_host import Order
from verifier.checks.findings import merge_results
from verifier.checks.marks import keys_with, of_kind, updates
from verifier.checks.types import AllFindings, Check, Context, Replica, Result, Violation, join_notes, noted, pieces_of
from verifier.foreign.run import counter_keys, operations_of_rows
from verifier.history.columns import NO_CODE, NULL, Bool, History, Int64
from verifier.history.schema import EXPIRY, Kind, Outcome, short
from verifier.search.judge import Part, witness_of
from verifier.search.linearise import Limits, Linearisation, linearise
from verifier.search.mixed import explained
from verifier.search.model import Call, Model, Operation
from verifier.search.models import CAS_REGISTER, COUNTER
from verifier.verdict import merge

_MOST_DRAWN: Final = 5
"""Keys without an order, and keys that were not finished, that are kept to be drawn."""

MOST_OPERATIONS: Final = 50_000
"""Keys with more are not begun: their operations alone, as objects, would take a good part of the memory."""

_WITNESSES_S: Final = 10.0
"""For the witnesses of all keys together."""
_GAMMA_S: Final = 5.0
"""For the clock errors that would explain findings away, of all keys together."""
_MIXED_S: Final = 10.0
_LEFT_OUT: Final = "need the general search"
"""What the exact check says of the keys that are searched."""
_REFUSED: Final = "ConditionalCheckFailedException"
_INITIAL: Final = -1
_FINAL: Final = -2

Placed = tuple[int, Operation]
"""Row of the history, :data:`_INITIAL` or :data:`_FINAL`; and the operation."""


def check_searched(history: History, context: Context) -> Result:
    """Judge the keys with deletions, and those with conditions that failed without saying upon what."""
    return _searched(history, context, context.search.deadline_s, None)


def check_searched_locally(history: History, context: Context) -> Result:
    """The same Region by Region: other Regions' updates arrive at any time after their start, or never."""
    regions = [name for name in context.regions if name in history.regions]
    deadline_s = context.search.deadline_s / max(1, len(regions))
    return merge_results([_searched(history, context, deadline_s, name) for name in regions])


def _searched(history: History, context: Context, deadline_s: float, region: str | None) -> Result:
    deleted, bare = keys_to_search(history)
    if region is not None:
        here = keys_with(history, history.region == history.regions.index(region))
        deleted, bare = deleted & here, bare & here
    keys = np.flatnonzero(deleted | bare)
    if not len(keys):
        return Result("unknown", 0)
    if history.lost:
        note = noted("{count} keys need the general search, which cannot allow for missing rows", len(keys))
        return Result("unknown", 0, note=note, failed=True)
    where = "" if region is None else f" in {region}"
    until, left = time.monotonic() + deadline_s, _Left(_WITNESSES_S, _GAMMA_S)
    exercised, found, open_ = 0, [], 0
    by_key = _rows_by_key(history, keys)
    for key in sorted(keys.tolist(), key=lambda one: len(by_key[one])):
        if len(by_key[key]) > MOST_OPERATIONS:
            open_ += 1
            continue
        placed = operations_on(history, context, key, by_key[key], region=region)
        limits = replace(context.search, deadline_s=max(0.0, until - time.monotonic()))
        result = linearise([operation for _, operation in placed], CAS_REGISTER, limits)
        if result.verdict != "holds":
            _to_be_drawn(context, f"{history.keys[key]}{where}", placed, result)
        if result.verdict == "unknown":
            open_ += 1
            continue
        exercised += sum(operation.call.answer != "unknown" and row >= 0 for row, operation in placed)
        if result.verdict == "violated":
            found.append(_violation(history, key, placed, result.stuck[0], left))
    notes: list[str | None] = [
        noted(f"{{count}} keys with deletions were judged by the general search{where}", int(deleted.sum())),
        noted(
            f"{{count}} keys with conditions that failed without a reason were judged by it as well{where}",
            int(bare.sum()),
        ),
        noted(f"{{count}} of these keys were not finished in time or memory{where}", open_),
    ]
    return Result(
        "violated" if found else "unknown" if open_ or not exercised else "holds",
        exercised,
        tuple(found),
        count=len(found),
        note=join_notes(note for note in notes if not str(note).startswith("0 ")),
        everything=_columns(found),
        failed=open_ > 0,
    )


def drawn(context: Context) -> tuple[Part, ...]:
    """Of the keys that were searched some that have no order or were not finished: how far the search got."""
    known = context.shared.get("searched")
    return tuple(known) if isinstance(known, list) else ()


def _to_be_drawn(context: Context, key: str, placed: Sequence[Placed], found: Linearisation) -> None:
    known = context.shared.setdefault("searched", [])
    assert isinstance(known, list)
    if sum(part.found.verdict == found.verdict for part in known) < _MOST_DRAWN:
        known.append(Part(key, tuple(_readable(operation) for _, operation in placed), found))


def _readable(operation: Operation) -> Operation:
    """Marks as people can read them."""

    def named(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(map(named, value))
        return short(value) if isinstance(value, int) and value >= 0 else value

    call = operation.call
    return replace(operation, call=call._replace(value=named(call.value), result=named(call.result)))


def _columns(found: Sequence[Violation]) -> AllFindings:
    def column(values: Iterable[int | None]) -> Int64:
        return np.array([NULL if value is None else value for value in values], np.int64)

    return AllFindings(
        key=column(one.key for one in found),
        at_ns=column(one.at_ns for one in found),
        offsets=np.concatenate(([0], np.cumsum([len(one.rows) for one in found]))).astype(np.int64),
        rows=column(row for one in found for row in one.rows),
        gamma_ns=column(one.gamma_ns for one in found),
        stale_ms=np.full(len(found), np.nan),
        stale_versions=np.full(len(found), NULL, np.int64),
        worst=np.arange(len(found)),
        rule=np.zeros(len(found), np.int64),
        rules=("search",),
    )


def keys_to_search(history: History) -> tuple[Bool, Bool]:
    """Keys with deletions; and others with conditions that failed without handing the item back."""
    marked = keys_with(history, updates(history) & (history.outcome == Outcome.OK) & (history.saw == history.op))
    marked |= ~keys_with(history, updates(history) & (history.outcome != Outcome.FAIL))  # nobody wrote without a mark
    deleting = of_kind(history, Kind.DELETE) & (history.outcome != Outcome.FAIL)
    transactional = keys_with(history, of_kind(history, Kind.TXN_WRITE, Kind.TXN_READ))
    deleted = keys_with(history, deleting) & ~transactional
    if _REFUSED not in history.errors:
        return deleted, np.zeros(len(history.keys), np.bool_)
    failed = of_kind(history, Kind.CAS, Kind.CREATE, Kind.DELETE) & (history.outcome == Outcome.FAIL)
    failed &= (history.error == history.errors.index(_REFUSED)) & (history.saw == NULL)
    failed &= (history.expect != NULL) | of_kind(history, Kind.CREATE)
    return deleted, keys_with(history, failed) & marked & ~transactional & ~deleted


def search_registers(history: History, context: Context, keys: Int64, order: Order) -> Int64:
    """Of these keys, recorded by several hosts, those without any legal order (:func:`by_host`'s last resort)."""
    return _search_mixed(history, context, keys, order, CAS_REGISTER)


def search_counters(history: History, context: Context, keys: Int64, order: Order) -> Int64:
    """The same of counters."""
    return _search_mixed(history, context, keys, order, COUNTER)


def _search_mixed(history: History, context: Context, keys: Int64, order: Order, model: Model) -> Int64:
    if history.lost:
        return keys[:0]
    until = time.monotonic() + _MIXED_S
    by_key = _rows_by_key(history, keys)
    proven = []
    for key in keys.tolist():
        placed = operations_on(history, context, key, by_key[key], model)

        def before(first: int, second: int, placed: list[Placed] = placed) -> bool:
            return _before(order, placed[first], placed[second])

        left = until - time.monotonic()
        calls = [operation.call for _, operation in placed]
        answered = [operation.end is not None for _, operation in placed]
        if left <= 0:
            break
        if explained(calls, answered, before, model, min(left, 2.0)) == "violated":
            proven.append(key)
    return np.array(proven, np.int64)


def _before(order: Order, first: Placed, second: Placed) -> bool:
    (one, earlier), (other, later) = first, second
    if earlier.end is None or one == _FINAL or other == _INITIAL:
        return False
    if one == _INITIAL:
        return True
    slack = int(order.after[one]) if other == _FINAL else order.apart(one, other)
    return earlier.end + slack < later.start


def operations_on(
    history: History,
    context: Context,
    key: int,
    rows: Int64,
    model: Model = CAS_REGISTER,
    region: str | None = None,
) -> list[Placed]:
    """What is known of one key in the order of starts: its rows, what it began with, and the final sweep.

    ``region``: as it was seen there. What others wrote may arrive at any time, and whatever it was conditional upon.
    """
    counters = counter_keys(history) if model is COUNTER else np.zeros(len(history.keys), np.bool_)
    refused, expiry = (
        history.errors.index(name) if name in history.errors else NO_CODE - 1 for name in (_REFUSED, EXPIRY)
    )
    placed: list[Placed] = []
    for row, operation in operations_of_rows(history, counters, rows):
        call = operation.call
        if region is not None and history.regions[history.region[row]] != region:
            if call.answer == "fail" or call.function in model.reads:
                continue
            call = Call("write", call.value[1] if call.function == "cas" else call.value, "unknown")
            operation = replace(operation, end=None)
        if call.answer == "fail" and (call.function not in model.refusals or history.error[row] != refused):
            continue
        if call.answer == "unknown" and call.function in model.reads:
            continue
        start = operation.start
        if history.error[row] == expiry and history.value[row] != NULL and context.clocks is None:
            start = max(start, int(history.value[row]))  # not before the item's time is over
        placed.append((row, replace(operation, call=call, start=start)))
    first = min((operation.start for _, operation in placed), default=0)
    initial = (
        context.initial
        if region is None
        else {name: context.initial[name] for name in (region,) if name in context.initial}
    )
    for replica in list(initial.values())[:1]:
        shown = _shown(replica, key, model)
        state = None if shown is None else shown[0]
        if model is not COUNTER and shown is None and (replica.key == key).any():
            state = NULL  # an item without a mark: not one that this run wrote, and not none either
        if state is not None:
            call = Call("add" if model is COUNTER else "write", state)
            placed.insert(0, (_INITIAL, Operation("initial", call, first - 2, first - 1, key)))
    for name, replica in context.final.items():
        shown = _shown(replica, key, model) if region in (None, name) else None
        if shown is not None:
            call = Call("read", None, "ok", (shown[0] or 0) if model is COUNTER else shown[0])
            placed.append((_FINAL, Operation(f"final {name}", call, shown[1], shown[2], key)))
    return _without_the_unseen(placed)


def _without_the_unseen(placed: list[Placed]) -> list[Placed]:
    """Without unanswered writes that nobody saw: for all that is known they never happened, and nothing is explained by
    them (but a condition that failed: it says only what the state was not)."""
    calls = [operation.call for _, operation in placed]
    if any(call.answer == "fail" for call in calls):
        return placed
    seen = {call.result for call in calls} | {call.value[0] for call in calls if call.function == "cas"}

    def matters(call: Call) -> bool:
        new = call.value[1] if call.function == "cas" else call.value
        return call.answer != "unknown" or call.function not in ("write", "cas") or new is None or new in seen

    return [one for one in placed if matters(one[1].call)]


def _shown(replica: Replica, key: int, model: Model) -> tuple[int | None, int, int] | None:
    """What a replica held of a key (none: no such item), and when it was read; null: nothing that tells anything."""
    at = np.flatnonzero(replica.key == key)
    if not len(at):
        if not len(replica.key):
            return None
        return None, int(replica.start_ns.min()), int(replica.end_ns.max())
    shown = int((replica.value if model is COUNTER else replica.w)[at[0]])
    return None if shown == NULL else (shown, int(replica.start_ns[at[0]]), int(replica.end_ns[at[0]]))


def _rows_by_key(history: History, keys: Int64) -> dict[int, Int64]:
    """Rows of each key in order of start."""
    wanted = np.zeros(len(history.keys), np.bool_)
    wanted[keys] = True
    rows = np.flatnonzero(wanted[history.key])
    rows = rows[np.lexsort((history.start_ns[rows], history.key[rows]))]
    bounds = np.searchsorted(history.key[rows], np.concatenate((keys, keys + 1))).reshape(2, -1)
    return {int(key): rows[first:last] for key, first, last in zip(keys, *bounds, strict=True)}


def _violation(history: History, key: int, placed: list[Placed], stuck: int, left: _Left) -> Violation:
    operations = [operation for _, operation in placed]
    began = time.monotonic()
    found = witness_of(operations, stuck, CAS_REGISTER, min(1.0, left.witnesses_s)) if left.witnesses_s > 0 else ()
    told = time.monotonic()
    witness = [placed[at] for at in found] or [placed[stuck]]
    rows = tuple(row for row, _ in witness if row >= 0)
    final = next((str(one.process).removeprefix("final ") for row, one in witness if row == _FINAL), None)
    at = max((one.end for _, one in witness if one.end is not None), default=0)
    gamma = gamma_by_bisection(operations, CAS_REGISTER, left.gammas_s)
    left.witnesses_s -= told - began
    left.gammas_s -= time.monotonic() - told
    facts: dict[str, object] = {"rule": "search", **({"final": final} if final else {})}
    return Violation(key, rows, at, gamma_ns=gamma, facts=facts)


@dataclass
class _Left:
    """Time that is left for telling violations; those that come later are told in short."""

    witnesses_s: float
    gammas_s: float


def gamma_by_bisection(operations: Sequence[Operation], model: Model, budget_s: float) -> int | None:
    """The clock error that would explain a violation away: what all operations must be widened by, both ends together.

    Null: none would. Where the time is used up it is what is known: at least so much. Found to one part in a hundred.
    """
    written = {call.value[1] if call.function == "cas" else call.value for call in (one.call for one in operations)}
    if any(one.call.result is not None and one.call.result not in written for one in operations):
        return None  # a state that nobody left
    if budget_s <= 0:
        return 1
    until = time.monotonic() + budget_s
    limits = Limits(deadline_s=max(0.05, budget_s / 4), configurations=200_000)

    def legal(gamma: int) -> bool | None:
        moved = [
            replace(one, start=one.start - gamma // 2, end=None if one.end is None else one.end + (gamma + 1) // 2)
            if one.process != "initial"
            else replace(one, start=one.start - gamma, end=one.end - gamma if one.end is not None else None)
            for one in operations
        ]
        verdict = linearise(moved, model, limits).verdict
        return None if verdict == "unknown" else verdict == "holds"

    ends = [one.end for one in operations if one.end is not None]
    most = max(ends, default=0) - min(one.start for one in operations) + 2
    endless = legal(most)
    if endless is False:
        return None
    low, high = 1, most
    while high - low > max(1, high // 100) and time.monotonic() < until:
        middle = (low + high) // 2
        found = legal(middle)
        if found is None:
            break
        low, high = (low, middle) if found else (middle, high)
    return low


def with_search(exact: Check, searched: Check) -> Check:
    """An exact check of registers, and the search for the keys that it leaves out."""

    def both(history: History, context: Context) -> Result:
        first = exact(history, context)
        second = searched(history, context)
        if not second.exercised and not second.failed:
            return first
        told = [one for one in (first, second) if one.exercised or one.violations or one.failed]
        return replace(
            merge_results([first, second]),
            verdict=merge(one.verdict for one in told),
            note=join_notes([*(one for one in pieces_of(first.note or "") if _LEFT_OUT not in one), second.note]),
            failed=first.failed or second.failed,
        )

    return both
