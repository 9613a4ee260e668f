"""What a check takes and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from verifier.clocks import Clocks
from verifier.history.columns import Float64, History, Int64
from verifier.rundir import FaultRecord, Mode, RouteEvent, RunInfo
from verifier.search.linearise import Limits
from verifier.verdict import Judgement


@dataclass(frozen=True, slots=True)
class Replica:
    """Every item of one replica, read strongly (``initial/`` or ``final/``). Arrays of length ``n``, one row an item.

    ``key`` holds codes into :attr:`History.keys` (the reader extends that tuple by keys that no operation touched);
    ``value``, ``w`` and ``p`` hold :data:`verifier.history.columns.NULL` where the item has no such attribute.
    """

    region: str
    key: Int64
    value: Int64
    w: Int64
    p: Int64
    items: tuple[str, ...]
    start_ns: Int64
    end_ns: Int64
    read_ns: tuple[int, int] | None = None
    """From when to when the replica was read, all of it: it holds for keys that have no item. Null: it has no item at
    all, so that no call says when."""

    def __post_init__(self) -> None:
        if self.read_ns is None and len(self.key):
            object.__setattr__(self, "read_ns", (int(self.start_ns.min()), int(self.end_ns.max())))


@dataclass(frozen=True, slots=True)
class Stream:
    """What one reader got of the streams, in the order in which it got it. Arrays of length ``n``.

    ``key`` and ``region`` hold codes into :attr:`History.keys` and :attr:`Context.regions`; ``old`` and ``new`` are
    marks (ABSENT: no item; null: an item without one); ``event`` is a code that two records share iff they are one.
    """

    reader: str
    live: bool
    """Read while the load went on; else after it had settled."""
    whole: frozenset[int]
    """Regions (codes) of whose streams it has everything since before the load; of others a part, from somewhere on."""
    region: Int64
    key: Int64
    old: Int64
    new: Int64
    event: Int64
    read_ns: Int64


SEARCH_LIMITS: Final = Limits(deadline_s=30.0, memory_bytes=1 << 30)
"""Of the general search, where a run is judged by checks that are quick."""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a check may know besides the operations."""

    mode: Mode
    regions: tuple[str, ...]
    run: RunInfo
    faults: tuple[FaultRecord, ...] = ()
    routes: tuple[RouteEvent, ...] = ()
    """What the application's failover decided and did."""
    initial: Mapping[str, Replica] = field(default_factory=dict)
    """By Region; empty: a fresh table."""
    final: Mapping[str, Replica] = field(default_factory=dict)
    """By Region; empty: never read."""
    index: Mapping[str, Replica] = field(default_factory=dict)
    """What each Region's index then held; empty: there is none, or it was not read."""
    streams: tuple[Stream, ...] = ()
    """By reader; empty: nobody read any."""
    epsilon_ns: int = 0
    """How wrong any time may be against the reference host's clock; 0 on one host."""
    clocks: Clocks | None = None
    """The hosts and how well their clocks are known; null: there is one host."""
    worst_epsilon_ns: Mapping[int, int] | None = None
    """Host → the greatest ε of any of its times, of all that have operations; null: those that are judged are all."""
    first_scheduled_ns: int | None = None
    """When the first operation of the run was due; null: there is none, or those that are judged are all."""
    slow_seconds: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Worker → seconds from t0 in which it measured itself as slow; no entry: it did not measure."""
    search: Limits = SEARCH_LIMITS
    """When the general search gives up, of all keys that are judged together."""
    shared: dict[str, object] = field(default_factory=dict, compare=False, repr=False)
    """What several checks need and is worked out once, by whoever needs it first (the lineage, a layout by key)."""

    @property
    def injected_skew_ns(self) -> int:
        """How far two Regions' clocks may have been apart because of faults: the last writer by them is not always the
        last in real time."""
        offsets = (fault.parameters.get("offset_ns", 0) for fault in self.faults if fault.kind == "clock-skew")
        return sum(abs(offset) for offset in offsets if isinstance(offset, int))


@dataclass(frozen=True, slots=True)
class Violation:
    """A finding before it is explained: rows of the history that are illegal on their own.

    The explainer of the check turns it into a sentence. Rows index :class:`History`.
    """

    key: int
    rows: tuple[int, ...]
    at_ns: int
    gamma_ns: int | None = None
    stale_ms: float | None = None
    stale_versions: int | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    """What the explainer needs besides the rows."""
    size: int = 0
    """How much is wrong, where that can be counted and findings have no Γ to be ranked by: the greater the worse."""


@dataclass(frozen=True, slots=True)
class AllFindings:
    """Every finding of a check as columns of equal length, for findings.parquet: a million objects would be too slow.

    Those of one key stand in an order that does not depend on the findings of other keys.

    ``rows`` holds the witness rows (of :class:`History`) of all findings end to end; those of finding ``i`` are
    ``rows[offsets[i]:offsets[i + 1]]``. Null: :data:`verifier.history.columns.NULL`, NaN for ``stale_ms``.
    """

    key: Int64
    at_ns: Int64
    offsets: Int64
    rows: Int64
    gamma_ns: Int64 | None = None
    stale_ms: Float64 | None = None
    stale_versions: Int64 | None = None
    worst: Int64 | None = None
    """Place of each of :attr:`Result.violations`; null: they stand first, in the same order."""
    rule: Int64 | None = None
    """What is broken, within the check: an index of :attr:`rules`, −1 for none; null: the check has one rule only."""
    rules: tuple[str, ...] = ()
    replica: Int64 | None = None
    """Region (an index of :attr:`Context.regions`) whose final item shows it, −1 where none does; null: none at all."""


class Note(str):
    """What a check left out or could not judge: a sentence, or several joined by semicolons.

    Numbers in it add up when a history is judged part by part, so they are given apart (:func:`noted`). A plain string
    does as a note as well; of several parts that say the same it is said once.
    """

    pieces: tuple[tuple[str, int | None], ...]
    """Each sentence, with ``{count}`` where its number belongs, and the number."""

    def __new__(cls, text: str = "", pieces: tuple[tuple[str, int | None], ...] | None = None) -> Note:
        note = super().__new__(cls, text)
        note.pieces = ((text, None),) if pieces is None and text else pieces or ()
        return note

    def __getnewargs__(self) -> tuple[str, tuple[tuple[str, int | None], ...]]:  # type: ignore[override]
        return str(self), self.pieces


def noted(text: str, count: int) -> Note:
    """A note with a number: ``noted("{count} keys with deletes are not judged", 3)``."""
    return Note(text.replace("{count}", f"{count:,}"), ((text, count),))


def by_length(text: str, lengths_ns: Int64, of: str = "", *, least: bool = False) -> list[Note]:
    """How many of these durations are short, middling and long, as counted notes: ``by_length("{count} came", …)``."""
    notes = []
    below = 0
    for most_ns, said in ((10**8, "within 100 ms"), (10**9, "within 1 s"), (10**10, "within 10 s"), (None, "later")):
        within = np.ones(len(lengths_ns), np.bool_) if most_ns is None else lengths_ns <= most_ns
        count = int(within.sum()) - below
        below += count
        if count:
            bound = said.replace("within", "by at most").replace("later", "by more than 10 s") if least else said
            notes.append(noted(f"{text} {bound}{f' {of}' if of and most_ns is not None and not least else ''}", count))
    return notes


def pieces_of(note: str) -> list[Note]:
    """The sentences of a note, each as one."""
    if not isinstance(note, Note):
        return [Note(note)]
    return [Note(text) if count is None else noted(text, count) for text, count in note.pieces]


def join_notes(notes: Iterable[str | None]) -> Note | None:
    """One note for several: numbers of the same sentence are added, the same sentence is said once; null: nothing."""
    found: dict[str, int | None] = {}
    for note in notes:
        for piece in pieces_of(note) if note else ():
            ((text, count),) = piece.pieces
            found[text] = count if count is None else (found.get(text) or 0) + count
    pieces = tuple(sorted(found.items()))
    if not pieces:
        return None
    texts = (text if count is None else text.replace("{count}", f"{count:,}") for text, count in pieces)
    return Note("; ".join(texts), pieces)


def counted(note: str | None) -> Note | None:
    """Of a note only the sentences with a number."""
    return join_notes(piece for piece in pieces_of(note) if piece.pieces[0][1] is not None) if note else None


@dataclass(frozen=True, slots=True)
class Result:
    """What a check concluded."""

    verdict: Judgement
    exercised: int
    """Operations that it could judge; 0 means that nothing was proved and the verdict is ``unknown``."""
    violations: tuple[Violation, ...] = ()
    count: int | None = None
    """Exact number of violations, where not all are listed; null: ``len(violations)``."""
    note: str | None = None
    """What was left out or could not be judged, and why."""
    everything: AllFindings | None = None
    """All violations, where ``violations`` holds only the worst few hundred; null: ``violations`` is all of them."""
    failed: bool = False
    """The check failed, gave up, or had to leave something open: its verdict counts even where it judged nothing."""


def judgement(violations: int, exercised: int) -> Judgement:
    """Verdict of a check that leaves nothing open: nothing judged is nothing proved."""
    if violations:
        return "violated"
    return "holds" if exercised else "unknown"


class Check(Protocol):
    """A check is a function from columns to findings."""

    def __call__(self, history: History, context: Context) -> Result: ...
