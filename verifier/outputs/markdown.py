"""``summary.md``: the first draft of a postmortem: what was expected, what happened, what was lost, what next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from verifier.headline import share_text
from verifier.outputs.junit import expectation_text
from verifier.recovery import fault_lines
from verifier.rundir import RunInfo
from verifier.summary import ledger_lines
from verifier.verdict import WORDS, CheckSummary, ContractRow, InvariantRow, LatencyRow, Verdict
from verifier.windows import AROUND_FAULTS

_FINDINGS_A_CHECK = 3


def summary(verdict: Verdict, run: RunInfo) -> str:
    """The whole file."""
    profile = run.profile
    parts = [f"# {profile.get('name', verdict.run)} in {verdict.mode}", verdict.headline + "."]
    if not verdict.complete:
        parts.append(
            "**The record is incomplete.** " + " ".join(_sentence(text) for text in verdict.incomplete_reasons)
        )
    parts += ["## Hypothesis", str(profile.get("hypothesis") or "None was stated.")]
    parts += ["## Expected", _expectations(verdict)]
    parts += ["## Timeline", _timeline(verdict, run)]
    parts += ["## What was lost", _bullets(ledger_lines(verdict))]
    if recovery := fault_lines(verdict.faults):
        parts += ["## What the faults cost", _bullets(recovery)]
        proofs = [proof for fault in verdict.faults for row in fault.rpo for proof in row.proofs[:_FINDINGS_A_CHECK]]
        parts += [_bullets(proof.sentence for proof in proofs)] if proofs else []
    if verdict.intents.by_pattern:
        parts += ["## Pattern by pattern", _patterns(verdict)]
    parts += ["## Contract and invariants", _promises(verdict)]
    found = [check for check in verdict.checks if check.findings]
    if found:
        parts += ["## Worst findings", "\n".join(_findings(check) for check in found)]
    rows = [row for row in verdict.latency if row.window in AROUND_FAULTS] or verdict.latency
    parts += ["## Latency", _latency(rows)]
    parts += ["## Actions to consider", _bullets(actions(verdict))]
    parts += ["## How it was run", _how(verdict, run)]
    return "\n\n".join(parts) + "\n"


def actions(verdict: Verdict) -> list[str]:
    """What follows from the findings, to be thought about, not done blindly."""
    advice = []
    intent = verdict.ledger.intent
    if verdict.contract_verdict == "violated":
        advice.append("The store broke what its mode promises: keep this run, and report it with its findings.")
    if intent is not None and intent.lost:
        advice.append(f"{intent.lost:,} acknowledged writes are gone; lost.jsonl lists them, ready to be replayed.")
        if verdict.mode == "MREC":
            advice.append(
                "Several Regions wrote the same items: give each item a home Region that alone writes it, keep one "
                "item a Region and sum on read, or use MRSC."
            )
    if intent is not None and intent.twice:
        advice.append("Intents were applied twice: retries need a condition or a token that makes them idempotent.")
    if verdict.intents.conflicts:
        advice.append(
            f"{verdict.intents.conflicts:,} writes met a conflict and wrote nothing: they need a bounded retry."
        )
    if not verdict.complete:
        advice.append("Part of the record is missing: run again before anything is concluded from a total.")
    if any(row.met is None for row in verdict.expectations):
        advice.append("Some expectations could not be measured: see their reasons under Expected.")
    return advice or ["None: the run did what was expected of it."]


def _expectations(verdict: Verdict) -> str:
    if not verdict.expectations:
        return f"Nothing in {verdict.mode} but the contract."
    lines = ["| expectation | measured | met |", "| --- | --- | --- |"]
    for row in verdict.expectations:
        met = {True: "yes", False: "**no**", None: f"inconclusive: {row.reason}"}[row.met]
        lines.append(f"| {_cell(expectation_text(row))} | {row.measured or '–'} | {_cell(met)} |")
    return "\n".join(lines)


def _timeline(verdict: Verdict, run: RunInfo) -> str:
    t0 = run.start_ns if run.start_ns is not None else run.created_ns
    events = [(phase.start_ns - t0, f"phase {phase.name} begins") for phase in run.phases]
    for fault in verdict.faults:
        events.append((fault.asked_ns, f"{fault.what}: asked for ({fault.id})"))
        if fault.onset_ns is not None:
            events.append((fault.onset_ns, f"{fault.what}: seen in effect"))
        if fault.healed_ns is not None:
            events.append((fault.healed_ns, f"{fault.what}: seen healed"))
    if run.end_ns is not None:
        events.append((run.end_ns - t0, "load ends"))
    lines = ["| time from t0 | event |", "| --- | --- |", f"| 0 s | load begins ({run.created}) |"]
    lines += [f"| {at / 1e9:.3f} s | {_cell(text)} |" for at, text in sorted(events)]
    return "\n".join(lines)


def _promises(verdict: Verdict) -> str:
    lines = ["| | | verdict | exercised by | findings |", "| --- | --- | --- | --- | --- |"]
    rows: list[tuple[str, str, ContractRow | InvariantRow]] = []
    rows += [("contract", row.promise, row) for row in verdict.contract]
    rows += [("invariant", row.invariant, row) for row in verdict.invariants]
    for role, text, row in rows:
        word = WORDS[row.verdict] if row.exercised else "not exercised"
        lines.append(f"| {role} | {text} | {word} | {row.exercised:,} operations | {row.violations:,} |")
    return "\n".join(lines)


def _patterns(verdict: Verdict) -> str:
    """What became of each load's intents, before, during and after each fault."""
    named = {fault.id: fault.what for fault in verdict.faults} | {"run": "the whole run"}
    lines = [
        "| pattern | keys | when | intents | answered | lost | twice | refused | attempts an intent | p50 | p99 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in verdict.intents.by_pattern:
        answered = share_text(row.answered, row.intents)
        lost = f"{row.lost:,} of {row.acknowledged:,}" + (f" (+{row.unattributed:,}?)" if row.unattributed else "")
        latency = " | ".join("–" if value is None else f"{value:,.1f} ms" for value in (row.p50_ms, row.p99_ms))
        lines.append(
            f"| {row.pattern or row.workload} | {_cell(row.keys)} | {_cell(named.get(row.window, row.window))} | "
            f"{row.intents:,} | {answered} | {lost} | {row.twice:,} | {row.refused:,} | {row.amplification} | "
            f"{latency} |"
        )
    return "\n".join(lines)


def _findings(check: CheckSummary) -> str:
    shown = check.findings[:_FINDINGS_A_CHECK]
    more = check.violations - len(shown)
    tail = f"\n- … and {more:,} more in findings.parquet" if more > 0 else ""
    return f"\n**{check.name}** ({check.violations:,})\n\n" + _bullets(one.sentence for one in shown) + tail


def _latency(rows: Sequence[LatencyRow]) -> str:
    lines = ["| window | Region | kind | operations | p50 | p99 | max |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        figures = " | ".join(
            "–" if value is None else f"{value:,.1f} ms" for value in (row.p50_ms, row.p99_ms, row.max_ms)
        )
        lines.append(f"| {row.window} | {row.region} | {row.kind} | {row.count:,} | {figures} |")
    return "\n".join(lines)


def _how(verdict: Verdict, run: RunInfo) -> str:
    lines = [
        f"run {verdict.run}, {run.created}, seed {run.seed}, ended: {run.ended or 'never in order'}",
        f"target {run.target}, table {run.table}, Regions {', '.join(run.regions)}"
        + (f", witness {run.witness}" if run.witness else ""),
        f"client {run.client}, {verdict.operations:,} operations recorded",
        *(f"again: `{command}`" for command in verdict.reproduce),
        *(f"warning: {text}" for text in verdict.warnings),
    ]
    return _bullets(lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."
