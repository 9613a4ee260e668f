"""What the terminal says of a verdict, in words: the answer first, then losses, staleness, latencies, promises."""

from __future__ import annotations

from collections.abc import Iterable

from verifier.outputs.junit import expectation_text
from verifier.recovery import fault_lines
from verifier.values import format_ms
from verifier.verdict import WORDS, ContractRow, InvariantRow, LatencyRow, Verdict
from verifier.windows import AROUND_FAULTS

_MOST_KEYS = 3


def terminal_lines(verdict: Verdict) -> list[str]:
    """Plain text, one entry a line, no colour; an empty line between paragraphs."""
    lines = [verdict.headline + "."]
    lines += [f"Incomplete: {reason}" for reason in verdict.incomplete_reasons]
    lines += _paragraph("Lost", ledger_lines(verdict))
    lines += _paragraph("Stale", _stale(verdict))
    lines += _paragraph("Faults", [_fault(verdict, at) for at in range(len(verdict.faults))])
    lines += _paragraph("What the faults cost", fault_lines(verdict.faults))
    lines += _paragraph("Latency from schedule to answer, p50 / p99", _latency(verdict))
    lines += _paragraph("Intents", _intents(verdict))
    lines += _paragraph(
        f"What {verdict.mode} promises", (_promise(verdict, row, row.promise) for row in verdict.contract)
    )
    lines += _paragraph("What the application needs", _invariants(verdict))
    lines += _paragraph("Expectations", _expectations(verdict))
    lines += _paragraph("Warnings", verdict.warnings)
    return lines


def ledger_lines(verdict: Verdict) -> list[str]:
    """What was lost, by Region, by winner and by key."""
    intent, store = verdict.ledger.intent, verdict.ledger.store
    lines = []
    if intent is not None:
        bound = "" if verdict.ledger.exact else " (bounds: part of the record is missing)"
        lines.append(
            f"{intent.acknowledged:,} acknowledged writes = {intent.kept:,} kept + {intent.lost:,} lost + "
            f"{intent.unattributed:,} unattributed{bound}"
        )
        for region, winners in intent.lost_by_winner.items():
            by = ", ".join(
                f"{count:,} to {winner}" for winner, count in sorted(winners.items(), key=lambda one: -one[1])
            )
            lines.append(f"{region} lost {intent.lost_by_region[region]:,}: {by}")
        worst = list(intent.lost_by_key.items())
        if worst:
            more = f" and {len(worst) - _MOST_KEYS} more keys" if len(worst) > _MOST_KEYS else ""
            lines.append("most on " + ", ".join(f"{key} ({count:,})" for key, count in worst[:_MOST_KEYS]) + more)
        if intent.refused or intent.unknown:
            lines.append(f"{intent.refused:,} refused (nothing written), {intent.unknown:,} with unknown outcome")
        if intent.twice:
            lines.append(f"{intent.twice:,} applied more than once")
    if store is not None:
        expected = f"{store.initial + store.acknowledged:,}"
        if store.unknown:
            expected += f" to {store.initial + store.acknowledged + store.unknown:,}"
        short = f", {store.missing:,} missing" if store.missing else ""
        over = f", {store.surplus:,} too many" if store.surplus else ""
        keys = f"{store.keys:,} counter{'' if store.keys == 1 else 's'}"
        lines.append(f"{keys} ended at {store.final:,} in total; acknowledged were {expected}{short}{over}")
    return lines or ["no write in this run carries a mark: losses cannot be told"]


def _stale(verdict: Verdict) -> list[str]:
    found = verdict.staleness
    if found is None:
        return []
    if not found.stale or found.p50_ms is None or found.max_ms is None:
        return [f"none of {found.reads:,} strong reads missed a write that was in place before it began"]
    where = ", ".join(f"{region} {count:,}" for region, count in found.by_region.items())
    lines = [
        f"{found.stale:,} of {found.reads:,} strong reads missed a write that was in place before they began ({where})",
        f"half of them were behind by {format_ms(found.p50_ms)} or more, the worst by {format_ms(found.max_ms)}"
        + (f" and {found.max_versions:,} versions" if found.max_versions else ""),
    ]
    return [*lines, *([found.worst.sentence] if found.worst else [])]


def _fault(verdict: Verdict, at: int) -> str:
    fault = verdict.faults[at]
    onset = f"in effect from {fault.onset_ns / 1e9:.2f} s" if fault.onset_ns is not None else "never seen in effect"
    healed = f"healed at {fault.healed_ns / 1e9:.2f} s" if fault.healed_ns is not None else "not seen to heal"
    return f"{fault.what}: {onset}, {healed}"


def _latency(verdict: Verdict) -> list[str]:
    """One line a Region and kind: before, during and after the faults, else phase by phase."""
    around = [row for row in verdict.latency if row.window in AROUND_FAULTS]
    rows = around or verdict.latency
    cells: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        cells.setdefault((row.region, row.kind), []).append(f"{row.window} {_figures(row)}")
    width = max((len(f"{region} {kind}") for region, kind in cells), default=0)
    lines = [f"{f'{region} {kind}':<{width}}  {',  '.join(texts)}" for (region, kind), texts in cells.items()]
    marked = len(verdict.marked_seconds)
    if lines and marked:
        lines.append(
            f"in {marked:,} second{'' if marked == 1 else 's'} a worker itself was slow (marked in the report): "
            "part of these figures is its own"
        )
    return lines


def _figures(row: LatencyRow) -> str:
    if row.p50_ms is None or row.p99_ms is None:
        return "unanswered"
    failed = f" ({row.failed + row.unknown:,} of {row.count:,} not ok)" if row.failed or row.unknown else ""
    return f"{format_ms(row.p50_ms)} / {format_ms(row.p99_ms)}{failed}"


def _intents(verdict: Verdict) -> list[str]:
    intents = verdict.intents
    lines = [
        f"{intents.intents:,} intents took {intents.attempts:,} attempts: {intents.succeeded:,} succeeded, "
        f"{intents.failed:,} failed, {intents.unknown:,} unknown"
    ]
    if intents.p50_ms is not None and intents.p99_ms is not None and intents.max_ms is not None:
        lines.append(
            f"from the first schedule to the final answer p50 {format_ms(intents.p50_ms)}, "
            f"p99 {format_ms(intents.p99_ms)}, max {format_ms(intents.max_ms)}"
        )
    reasons = {
        "conflicts": intents.conflicts,
        "throttled": intents.throttled,
        "conditions": intents.condition_failed,
        "server errors": intents.server_errors,
        "timeouts": intents.timeouts,
    }
    said = [f"{count:,} {name}" for name, count in reasons.items() if count]
    return lines + ([f"attempts that failed or stayed open: {', '.join(said)}"] if said else [])


def _invariants(verdict: Verdict) -> list[str]:
    """Those that the load could have shown broken; of the others, which need another workload, only how many."""
    judged = [row for row in verdict.invariants if row.exercised or row.verdict == "violated"]
    others = len(verdict.invariants) - len(judged)
    lines = [_promise(verdict, row, row.invariant) for row in judged]
    return lines + ([f"not exercised by this load: {others} more (summary.md names them)"] if others else [])


def _promise(verdict: Verdict, row: ContractRow | InvariantRow, text: str) -> str:
    if not row.exercised and row.verdict != "violated":
        return f"not exercised: {text}"
    findings = f", {row.violations:,} finding{'' if row.violations == 1 else 's'}" if row.violations else ""
    return f"{_word(verdict, row)}: {text} (judged on {row.exercised:,}{findings})"


def _word(verdict: Verdict, row: ContractRow | InvariantRow) -> str:
    """The verdict as it is said; ``possible`` with the clock error that would explain it."""
    if row.verdict != "possible":
        return WORDS[row.verdict]
    gammas = [one.gamma_ns for check in verdict.checks if check.name == row.check for one in check.findings]
    needed = max((gamma for gamma in gammas if gamma is not None), default=0) / 1e6
    return f"possible (clocks off by more than {format_ms(needed)} would explain it)"


def _expectations(verdict: Verdict) -> list[str]:
    lines = []
    for row in verdict.expectations:
        word = {True: "met", False: "NOT MET", None: "inconclusive"}[row.met]
        measured = f", measured {row.measured}" if row.measured is not None else ""
        reason = f" ({row.reason})" if row.met is None else ""
        lines.append(f"{word}: {expectation_text(row)}{measured}{reason}")
    return lines


def _paragraph(title: str, lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return ["", f"{title}:", *(f"  {line}" for line in found)] if found else []
