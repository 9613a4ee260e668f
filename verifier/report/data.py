"""What the page shows, worked out from the verdict and the record. No HTML is made here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from verifier.report import series, words
from verifier.report.columns import AllFindings, Lost
from verifier.report.findings import every_operation, reduce_findings
from verifier.report.record import Record
from verifier.rundir import RunInfo
from verifier.verdict import Judgement, LatencyRow, Verdict

WINDOWS: Final = ("before", "during", "after")
HEAT_STEPS: Final = 6

State = Literal["good", "bad", "maybe", "none"]
"""How an answer is coloured; the word beside it says the same."""

STATE_OF: Final[dict[Judgement, State]] = {"holds": "good", "violated": "bad", "possible": "maybe", "unknown": "none"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the three questions that the page answers before anything else."""

    question: str
    state: State
    word: str
    sentence: str


@dataclass(frozen=True, slots=True)
class LatencyGroup:
    """Rows of one Region and kind, with where they lie on the scale that all of them share (0 to 100)."""

    region: str
    kind: str
    rows: tuple[tuple[LatencyRow, dict[str, float] | None], ...]
    slower: float | None
    """p99 during over p99 before."""

    @property
    def by_window(self) -> dict[str, LatencyRow | None]:
        """Rows by window; null where nothing happened in one of :data:`WINDOWS`."""
        rows = {row.window: row for row, _ in self.rows}
        return {window: rows.get(window) for window in (*WINDOWS, *rows)}


@dataclass(frozen=True, slots=True)
class LossCell:
    """Writes lost in one Region to winners of another."""

    count: int
    heat: int
    """0 to :data:`HEAT_STEPS`."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn over time."""

    t0_ns: int
    buckets: series.Buckets
    series: series.Series


@dataclass(frozen=True, slots=True)
class PageData:
    """Everything that the templates and the page's script need."""

    verdict: Verdict
    run: RunInfo
    t0_ns: int
    regions: tuple[str, ...]
    answers: tuple[Answer, ...]
    windows: tuple[str, ...]
    latency_by_fault: tuple[LatencyGroup, ...]
    felt: tuple[tuple[str, tuple[LatencyGroup, ...]], ...]
    """The same by Region."""
    latency_by_phase: tuple[LatencyGroup, ...]
    loss_winners: tuple[str, ...]
    loss_matrix: tuple[tuple[str, tuple[LossCell, ...], int], ...]
    """Lost Region, one cell a winner, total."""
    loss_by_key: tuple[tuple[str, int, float, tuple[int, ...]], ...]
    """Key, lost writes, share of the worst key's (0 to 100), lost writes by Region."""
    loss_has_regions: bool
    """The last is known (lost.jsonl was there)."""
    drawn_as_a_whole: bool
    """The run is so small that one diagram shows every operation."""
    findings_shown: int
    findings_total: int
    statements: dict[str, str]
    """Check → what holds if it finds nothing."""
    windows_named: dict[str, str]
    """Window of a load's intents → in words."""
    script: dict[str, Any]
    """What the page's script reads."""


def page_data(
    verdict: Verdict, run: RunInfo, record: Record, drawn: Drawn, lost: Lost, everything: AllFindings
) -> PageData:
    """Everything about one run; numbers are those of the verdict, charts are drawn from the record."""
    t0_ns = drawn.t0_ns
    regions = tuple(dict.fromkeys([*run.regions, *record.regions]))
    findings = reduce_findings(verdict, everything, record, t0_ns)
    operations = every_operation(record, t0_ns, lost.few)
    winners, matrix = _loss_matrix(verdict, regions)
    by_fault = latency_groups(verdict.latency, WINDOWS, regions)
    phases = tuple(dict.fromkeys(row.window for row in verdict.latency if row.window not in WINDOWS))
    return PageData(
        verdict=verdict,
        run=run,
        t0_ns=t0_ns,
        regions=regions,
        answers=(_contract_answer(verdict), _loss_answer(verdict), _expectation_answer(verdict)),
        windows=WINDOWS,
        latency_by_fault=by_fault,
        felt=tuple(
            (name, tuple(group for group in by_fault if group.region == name))
            for name in dict.fromkeys(group.region for group in by_fault)
        ),
        latency_by_phase=latency_groups(verdict.latency, phases, regions),
        loss_winners=winners,
        loss_matrix=matrix,
        loss_by_key=_loss_by_key(verdict, regions, lost),
        windows_named={"run": "the whole run"} | {fault.id: fault.what for fault in verdict.faults},
        loss_has_regions=bool(lost.by_key),
        drawn_as_a_whole=bool(operations),
        findings_shown=len(findings),
        findings_total=sum(check.violations for check in verdict.checks),
        statements={row.check: row.promise for row in verdict.contract}
        | {row.check: row.invariant for row in verdict.invariants},
        script={
            "regions": regions,
            "run": verdict.run,
            "findings": findings,
            "operations": operations,
            "totals": {check.name: check.violations for check in verdict.checks if check.violations},
            "faults": [
                {"id": f.id, "what": f.what, "kind": f.kind, "onset": f.onset_ns, "healed": f.healed_ns}
                for f in verdict.faults
            ],
            "time": _time(verdict, run, record, drawn, lost, everything),
        },
    )


def latency_groups(
    rows: Sequence[LatencyRow], windows: Sequence[str], regions: Sequence[str]
) -> tuple[LatencyGroup, ...]:
    """The rows of some windows, by Region and kind; Regions and windows in the order given."""
    chosen = [row for row in rows if row.window in windows]
    low, high = _scale([value for row in chosen for value in (row.p50_ms, row.max_ms) if value])
    grouped: dict[tuple[str, str], list[LatencyRow]] = {}
    for row in chosen:
        grouped.setdefault((row.region, row.kind), []).append(row)
    groups = []
    for (region, kind), members in sorted(grouped.items(), key=lambda pair: regions.index(pair[0][0])):
        members.sort(key=lambda row: windows.index(row.window))
        p99 = {row.window: row.p99_ms for row in members}
        before, during = p99.get("before"), p99.get("during")
        groups.append(
            LatencyGroup(
                region,
                kind,
                tuple((row, _positions(row, low, high)) for row in members),
                during / before if before and during else None,
            )
        )
    return tuple(groups)


def _scale(values: Sequence[float]) -> tuple[float, float]:
    low, high = (math.log(min(values)), math.log(max(values))) if values else (0.0, 1.0)
    return low, max(high, low + 1e-6)


def _positions(row: LatencyRow, low: float, high: float) -> dict[str, float] | None:
    if not (row.p50_ms and row.p99_ms and row.max_ms):
        return None
    figures = {"p50": row.p50_ms, "p99": row.p99_ms, "max": row.max_ms}
    return {name: round(100 * (math.log(value) - low) / (high - low), 1) for name, value in figures.items()}


def _contract_answer(verdict: Verdict) -> Answer:
    exercised = sum(1 for row in verdict.contract if row.exercised)
    breaches = sum(row.violations for row in verdict.contract)
    counted = f"{exercised} of {words.plural(len(verdict.contract), 'promise')} exercised"
    word, sentence = {
        "holds": ("Kept", f"{counted}, no breach found."),
        "violated": (
            "Broken",
            f"{words.plural(breaches, 'breach', 'breaches')}; {counted}. That is a bug in the store.",
        ),
        "possible": ("Possibly broken", f"{counted}. Clocks off by more than is known would explain it."),
        "unknown": ("Not known", f"{counted}: too little to say."),
    }[verdict.contract_verdict]
    return Answer(f"Did {verdict.mode} keep its promises?", STATE_OF[verdict.contract_verdict], word, sentence)


def _loss_answer(verdict: Verdict) -> Answer:
    question = "Is every acknowledged write still there?"
    ledger = verdict.ledger.intent
    if ledger is None or not ledger.acknowledged:
        return Answer(question, "none", "Not known", "No write of this run carried a mark that could be followed.")
    least = "" if verdict.ledger.exact else "at least "
    of_all = f"of {words.plural(ledger.acknowledged, 'acknowledged write')}"
    if ledger.lost:
        what = f"{ledger.lost:,} {of_all} {'is' if ledger.lost == 1 else 'are'} gone"
        return Answer(
            question, "bad", "No", f"{least}{what} ({words.share(ledger.lost, ledger.acknowledged)}).".capitalize()
        )
    if ledger.unattributed or not verdict.ledger.exact:
        return Answer(
            question, "none", "Not known", f"{ledger.kept:,} {of_all} are proved kept; the rest cannot be followed."
        )
    return Answer(
        question, "good", "Yes", f"All {words.plural(ledger.acknowledged, 'acknowledged write')} are accounted for."
    )


def _expectation_answer(verdict: Verdict) -> Answer:
    question = "Is that what the profile expected?"
    rows = verdict.expectations
    if not rows:
        return Answer(question, "none", "Not stated", "The profile states no expectations.")
    met = sum(1 for row in rows if row.met)
    missed = sum(1 for row in rows if row.met is False)
    open_ = len(rows) - met - missed
    sentence = f"{met} of {words.plural(len(rows), 'expectation')} met"
    if missed:
        sentence += f", {missed} missed"
    if open_:
        sentence += f", {open_} inconclusive"
    state: State = {True: "good", False: "bad", None: "none"}[verdict.expectations_met]  # type: ignore[assignment]
    word = {True: "Yes", False: "No", None: "Not known"}[verdict.expectations_met]
    return Answer(question, state, word, sentence + ".")


def _loss_matrix(
    verdict: Verdict, regions: Sequence[str]
) -> tuple[tuple[str, ...], tuple[tuple[str, tuple[LossCell, ...], int], ...]]:
    ledger = verdict.ledger.intent
    if ledger is None or not ledger.lost:
        return (), ()
    named = {winner for by_winner in ledger.lost_by_winner.values() for winner in by_winner}
    winners = tuple(dict.fromkeys([*(r for r in regions if r in named), *sorted(named)]))
    losers = tuple(dict.fromkeys([*(r for r in regions if r in ledger.lost_by_region), *ledger.lost_by_region]))
    worst = max((n for row in ledger.lost_by_winner.values() for n in row.values()), default=0)
    matrix = []
    for loser in losers:
        counts = [ledger.lost_by_winner.get(loser, {}).get(winner, 0) for winner in winners]
        cells = tuple(LossCell(n, math.ceil(HEAT_STEPS * n / worst) if n else 0) for n in counts)
        matrix.append((loser, cells, ledger.lost_by_region[loser]))
    return winners, tuple(matrix)


def _loss_by_key(
    verdict: Verdict, regions: Sequence[str], lost: Lost
) -> tuple[tuple[str, int, float, tuple[int, ...]], ...]:
    ledger = verdict.ledger.intent
    if ledger is None:
        return ()
    worst = max(ledger.lost_by_key.values(), default=1)
    return tuple(
        (key, n, round(100 * n / worst, 1), tuple(lost.by_key.get(key, {}).get(region, 0) for region in regions))
        for key, n in sorted(ledger.lost_by_key.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def _time(
    verdict: Verdict, run: RunInfo, record: Record, drawn: Drawn, lost: Lost, everything: AllFindings
) -> dict[str, Any]:
    buckets, t0_ns, groups = drawn.buckets, drawn.t0_ns, drawn.series.by_region_and_kind()
    return {
        "origin_s": (buckets.origin_ns - t0_ns) / 1e9,
        "width_s": buckets.width_ns / 1e9,
        "count": buckets.count,
        "kinds": list(record.kinds),
        "groups": {region: {kind: asdict(g) for kind, g in kinds.items()} for region, kinds in groups.items()},
        "errors": drawn.series.errors(),
        "writes": drawn.series.writes.tolist(),
        "lost": lost.over_time,
        "findings": everything.over_time,
        "phases": [
            {"name": p.name, "start": (p.start_ns - t0_ns) / 1e9, "end": (p.end_ns - t0_ns) / 1e9} for p in run.phases
        ],
        "marked": verdict.marked_seconds,
    }
