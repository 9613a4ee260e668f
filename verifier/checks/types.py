"""What a check takes and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from verifier.history.columns import Float64, History, Int64
from verifier.rundir import FaultRecord, Mode, RunInfo
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


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a check may know besides the operations."""

    mode: Mode
    regions: tuple[str, ...]
    run: RunInfo
    faults: tuple[FaultRecord, ...] = ()
    initial: Mapping[str, Replica] = field(default_factory=dict)
    """By Region; empty: a fresh table."""
    final: Mapping[str, Replica] = field(default_factory=dict)
    """By Region; empty: never read."""
    epsilon_ns: int = 0
    """How wrong the order of two hosts' times may be; 0 on one host."""
    slow_seconds: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Worker → seconds from t0 in which it measured itself as slow; no entry: it did not measure."""
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


@dataclass(frozen=True, slots=True)
class AllFindings:
    """Every finding of a check as columns of equal length, for findings.parquet: a million objects would be too slow.

    Those that :attr:`Result.violations` lists stand first, in the same order; the others in any.

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


def judgement(violations: int, exercised: int) -> Judgement:
    """Verdict of a check that leaves nothing open: nothing judged is nothing proved."""
    if violations:
        return "violated"
    return "holds" if exercised else "unknown"


class Check(Protocol):
    """A check is a function from columns to findings."""

    def __call__(self, history: History, context: Context) -> Result: ...
