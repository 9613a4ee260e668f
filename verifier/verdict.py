"""``verdict.json``: what the verifier concluded of a run. The types are the file's schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from verifier.rundir import Mode

VERDICT_SCHEMA: Final = 1

Judgement = Literal["holds", "unknown", "possible", "violated"]
"""Verdict of a check. ``possible``: violated only if clocks were off by more than is known."""

_ORDER: Final[tuple[Judgement, ...]] = ("holds", "unknown", "possible", "violated")


def merge(judgements: Iterable[Judgement]) -> Judgement:
    """The worst of several: violated > possible > unknown > holds. Of none: unknown."""
    return max(judgements, key=_ORDER.index, default="unknown")


WORDS: Final[dict[Judgement, str]] = {
    "holds": "holds",
    "unknown": "inconclusive",
    "possible": "possible",
    "violated": "violated",
}
"""How a verdict is said on screen. ``possible`` is followed by the clock error that would explain it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class WitnessOperation(_Part):
    """One operation that proves a finding. Times are nanoseconds from the run's t0."""

    op: int
    process: int | None
    region: str
    kind: str
    key: str
    value: int | None = None
    result: int | None = None
    saw: int | None = None
    prev: int | None = None
    outcome: Literal["ok", "fail", "unknown"]
    error: str | None = None
    start_ns: int
    end_ns: int | None = Field(description="null: unknown, it may have taken effect at any later time")


class Finding(_Part):
    """One breach: where, which operations prove it, and a sentence that a person is convinced by."""

    check: str
    rule: str | None = Field(None, description="what is broken, where the check has several: stale, lost update …")
    key: str
    regions: list[str] = []
    operations: list[WitnessOperation] = Field(default=[], description="the witness: illegal on its own")
    sentence: str
    at_ns: int = Field(description="when it could first be seen, from t0")
    gamma_ns: int | None = Field(None, description="clock slack that would explain it away; null: none would")
    stale_ms: float | None = None
    stale_versions: int | None = None
    fault: str | None = Field(None, description="id of the fault window it falls in")


class CheckSummary(_Part):
    """One check of the verifier, with what it could judge."""

    name: str
    verdict: Judgement
    exercised: int = Field(description="operations that it could judge")
    violations: int = Field(description="exact count, however many findings are listed")
    findings: list[Finding] = Field(default=[], description="the worst; all are in findings.parquet")
    note: str | None = Field(None, description="what was left out or could not be judged, and why")


class ContractRow(_Part):
    """One promise of the mode."""

    promise: str
    check: str
    verdict: Judgement
    exercised: int = Field(description="operations that could have shown a breach; 0: nothing was proved")
    violations: int


class InvariantRow(_Part):
    """One thing that the application needs and the mode does not promise (or promises too)."""

    invariant: str
    check: str
    verdict: Judgement
    exercised: int
    violations: int


class ExpectationRow(_Part):
    """One expectation of the profile, measured."""

    metric: str
    op: Literal["==", "!=", "<", "<=", ">", ">="]
    value: str
    phase: str | None = None
    region: str | None = None
    kind: str | None = None
    mode: Mode | None = None
    measured: str | None = Field(None, description="in the metric's unit; null: could not be measured")
    met: bool | None = Field(None, description="null: inconclusive")
    reason: str | None = Field(None, description="why it is inconclusive")


class StoreLedger(_Part):
    """What the store did with the attempts it answered, summed over keys. Units of the counted value."""

    keys: int
    initial: int
    acknowledged: int
    unknown: int = Field(description="what unknown attempts would add, had they all taken effect")
    final: int
    missing: int = Field(description="below the least that the record allows: lost by the store")
    surplus: int = Field(description="above the most that the record allows: applied twice, or by nobody")


class KindLedger(_Part):
    """The intent ledger of one kind of update. ``acknowledged = kept + lost + unattributed``."""

    acknowledged: int
    kept: int
    lost: int
    unattributed: int


class IntentLedger(_Part):
    """What became of what the users wanted. Counts of intents, over every workload whose items carry marks.

    ``acknowledged = kept + lost + unattributed``.
    """

    acknowledged: int
    kept: int
    lost: int = Field(description="acknowledged, and not in the final lineage; each is a line of lost.jsonl")
    twice: int = Field(description="more than one attempt in the final lineage")
    unattributed: int = Field(description="the lineage is broken there: lost or kept, not known which")
    refused: int = Field(description="intents whose every attempt failed: nothing written, and the user knows")
    unknown: int = Field(description="intents whose outcome the user never learnt")
    lost_by_region: dict[str, int] = {}
    lost_by_winner: dict[str, dict[str, int]] = Field(
        default={}, description="Region of the lost write → Region of the write that stands in its place → count"
    )
    lost_by_key: dict[str, int] = Field(default={}, description="the hundred worst")
    by_kind: dict[str, KindLedger] = Field(default={}, description="add, write, cas, create: the same, apart")


class Ledger(_Part):
    """The two loss ledgers."""

    store: StoreLedger | None = Field(None, description="null: no counters in the run")
    intent: IntentLedger | None = Field(None, description="null: no marked writes in the run")
    exact: bool = Field(True, description="false: part of the record is missing, totals are bounds")


class RpoProof(_Part):
    """One acknowledged write that the failover does not find, and what shows that."""

    key: str
    op: int
    shown_by: int = Field(description="operation that shows the state without it")
    fate: Literal["delayed", "destroyed", "open"]
    before_ms: float = Field(description="how long before the failover it had been acknowledged")
    sentence: str


class Rpo(_Part):
    """What giving up one Region cost, by the first read of each item elsewhere.

    ``acknowledged = present + superseded + missing + unread + unclear``; ``missing = delayed + destroyed + open``.
    """

    region: str = Field(description="the Region that was lost")
    failover_ns: int = Field(description="when it was given up, from t0")
    decided: bool = Field(description="by the application (routes.jsonl); else this is the onset of the fault")
    acknowledged: int = Field(description="writes that it had acknowledged by then")
    present: int
    superseded: int = Field(description="not there, but a blind write that is not wholly before it had overwritten it")
    missing: int
    delayed: int = Field(description="missing then, and in what the item finally holds")
    destroyed: int = Field(description="missing then, and for good")
    unread: int = Field(description="of items that nobody read elsewhere before the fault was over: not known")
    unclear: int = Field(description="read, but the record does not show how that state came about")
    time_ms: float | None = Field(description="RPO: from the earliest missing write's answer to the failover")
    proofs: list[RpoProof] = Field(default=[], description="the missing writes acknowledged longest before")


class Rto(_Part):
    """How long the users of one Region went without answers to one kind of intent, from the onset of the fault."""

    population: str = Field(description="Region that the users live in")
    failover: str = Field(description="what they do when it does not answer: none, routed, sdk-retry")
    kind: str
    recovered: bool | None = Field(description="every window was good from some time on; null: not to be told")
    time_ms: float | None = Field(description="RTO, to a window; not recovered: at least so long")
    window_s: int | None
    objective: float = Field(description="least share of answered intents of a good window")
    within_ms: float = Field(5000.0, description="an answer that takes longer came too late")
    due: int = Field(description="intents that were due while the fault was in effect")
    answered: int = Field(description="of them answered in time")
    reason: str | None = None


class FaultRow(_Part):
    """One fault as it was asked for and as it was observed. Nanoseconds from t0."""

    id: str
    kind: str
    what: str = Field(description="in words: 'link us-east-1 – us-west-2 cut'")
    regions: list[str] = []
    asked_ns: int
    onset_ns: int | None
    healed_ns: int | None
    rpo: list[Rpo] = Field(default=[], description="one for each Region that it took away")
    rto: list[Rto] = Field(default=[], description="by population and kind of those that had intents due")


class LatencyRow(_Part):
    """Latency of one Region and kind in one stretch of time, from schedule to answer, in milliseconds."""

    region: str
    kind: str
    window: Annotated[str, Field(description="phase name, or before | during | after for the fault windows")]
    count: int
    failed: int
    unknown: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    service_p50_ms: float | None = Field(None, description="from sending to answer")
    service_p99_ms: float | None = None


class Staleness(_Part):
    """How far strong reads were behind. A read is stale if it missed a write that was in place before it began."""

    reads: int = Field(description="strong reads that answered")
    stale: int
    p50_ms: float | None = Field(description="of the stale ones; at least so far behind")
    p99_ms: float | None
    max_ms: float | None
    max_versions: int | None = Field(description="writes missed, at least")
    by_region: dict[str, int] = Field(default={}, description="Region that was asked → stale reads")
    worst: Finding | None = None


class IntentRow(_Part):
    """Intents of one load in one stretch of time: what its pattern made of that. Reads and writes together."""

    workload: str
    pattern: str | None = Field(description="null: the profile does not say")
    keys: str = Field(description="what the load's keys begin with")
    window: str = Field(description="before or after all faults, or the id of one; run: there were none")
    intents: int
    attempts: int
    answered: int
    acknowledged: int = Field(description="intents to write that were acknowledged and carry marks")
    lost: int = Field(description="of them not in what the item finally holds")
    unattributed: int = Field(description="of them either")
    twice: int = Field(description="intents applied more than once")
    refused: int = Field(description="intents to write whose every attempt failed")
    amplification: float | None = Field(description="attempts per intent")
    p50_ms: float | None = Field(description="from the first schedule to the final answer, pauses included")
    p99_ms: float | None
    max_ms: float | None


class Intents(_Part):
    """Intents and the attempts they took."""

    intents: int
    succeeded: int
    failed: int
    unknown: int
    attempts: int
    success_rate: float | None = Field(None, description="share of the intents that succeeded")
    p50_ms: float | None = Field(None, description="from the first schedule to the final answer, pauses included")
    p95_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None
    by_pattern: list[IntentRow] = Field(default=[], description="load by load, before, during and after the faults")
    amplification: float | None = Field(description="attempts per intent")
    conflicts: int = Field(0, description="attempts refused by ReplicatedWriteConflictException")
    throttled: int = 0
    condition_failed: int = 0
    server_errors: int = Field(0, description="attempts that were answered with a 5xx")
    timeouts: int = Field(0, description="attempts without an answer at their deadline")


class Verdict(_Part):
    """``verdict.json``."""

    schema_version: int = Field(VERDICT_SCHEMA, alias="schema")
    run: str
    mode: Mode
    complete: bool = Field(description="false: part of the record is missing (a worker died, the run was cut short)")
    incomplete_reasons: list[str] = []
    headline: str = Field(description="one sentence: what was lost, and whether the contract was kept")
    contract_verdict: Judgement
    contract: list[ContractRow]
    invariants: list[InvariantRow]
    expectations: list[ExpectationRow]
    expectations_met: bool | None = Field(description="null: inconclusive")
    checks: list[CheckSummary]
    ledger: Ledger
    staleness: Staleness | None = Field(None, description="null: no strong read that could be judged")
    faults: list[FaultRow]
    latency: list[LatencyRow]
    intents: Intents
    operations: int
    marked_seconds: list[int] = Field(default=[], description="seconds from t0 in which a client itself was slow")
    cost: dict[str, Any] = {}
    warnings: list[str] = []
    reproduce: list[str] = Field(default=[], description="commands that run the drill again")


def exit_code(verdict: Verdict) -> int:
    """0 expectations met, 1 not met, 3 inconclusive."""
    if verdict.expectations_met is None:
        return 3
    return 0 if verdict.expectations_met else 1
