"""From a run directory to its verdict: read, check, explain, measure, write.

>>> verdict = verify(Path("results/20261120T120000Z-quickstart-mrec"))

Every file is replaced as a whole, and verdict.json last: where it is, the others belong to it. A check that crashes is
inconclusive and says so; the others go on.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from verifier.checks import explain
from verifier.checks.ledger import WORST, Balance, balance_of
from verifier.checks.registry import CHECKS, CheckRow
from verifier.checks.types import Context, Result
from verifier.context import read_context
from verifier.contract import applicable, contract_rows, contract_verdict, invariant_rows, violations
from verifier.errors import RecordError
from verifier.expectations import Expectation, judge, met_all
from verifier.headline import headline
from verifier.history.columns import History
from verifier.latency import intents_of, latency_rows
from verifier.metrics import Facts
from verifier.outputs.findings import findings_file
from verifier.outputs.junit import junit
from verifier.outputs.lost import lost_lines
from verifier.outputs.markdown import summary
from verifier.rundir import FaultRecord, RunDirectory, RunInfo
from verifier.staleness import staleness_of
from verifier.verdict import VERDICT_SCHEMA, CheckSummary, FaultRow, Finding, Verdict
from verifier.windows import marked_seconds, origin_ns

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is behind."""

_LISTED = 50
"""Findings of a check that verdict.json lists."""


def verify(path: Path, *, progress: Progress | None = None) -> Verdict:
    """Judge a run and write verdict.json, findings.parquet, lost.jsonl, junit.xml and summary.md into its directory.

    Raises :class:`RecordError` (one line) for a record that cannot be read or trusted; nothing is written then.
    """
    say = progress or _silent
    directory = RunDirectory(path)
    say("reading the record", 0.0)
    history, context = read_context(path)
    expectations = expectations_of(context.run, directory)
    say("following the lineages", 0.3)
    balance = balance_of(history, context)
    results: dict[str, Result] = {}
    rows = applicable(context.mode)
    for at, row in enumerate(rows):
        say(f"checking: {row.statement}", 0.4 + 0.4 * at / len(rows))
        results[row.name] = run_check(row, history, context)
    say("putting it into words", 0.8)
    explained = {row.name: _explained(row, history, context, results[row.name]) for row in rows}
    say("measuring", 0.85)
    verdict = _verdict(history, context, balance, results, explained, expectations)
    say("writing the verdict", 0.9)
    _write(directory, history, context, balance, results, explained, verdict)
    say("done", 1.0)
    return verdict


def run_check(row: CheckRow, history: History, context: Context) -> Result:
    """What a check concludes; inconclusive with the error if it crashes."""
    try:
        return row.check(history, context)
    except Exception as error:  # noqa: BLE001 - a check that crashes must not take the others with it
        return Result("unknown", 0, note=f"the check itself failed: {type(error).__name__}: {error}")


def expectations_of(run: RunInfo, directory: RunDirectory) -> list[Expectation]:
    """Expectations of the run's profile. Raises :class:`RecordError`."""
    listed = run.profile.get("expect") or []
    try:
        return [Expectation.model_validate(one) for one in listed]
    except (ValidationError, TypeError) as error:
        text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise RecordError(f"{directory.run_json}: profile.expect: {text}") from None


def _silent(_: str, __: float) -> None:
    pass


def _explained(row: CheckRow, history: History, context: Context, result: Result) -> list[Finding]:
    """The worst findings in words; one that cannot be put into words is listed with the reason."""
    found = []
    for violation in result.violations[:WORST]:
        try:
            found.append(explain.finding(row.name, row.explain, history, context, violation))
        except Exception as error:  # noqa: BLE001 - a sentence that fails must not take the finding with it
            reason = f"{type(error).__name__}: {error}"
            found.append(
                explain.finding(
                    row.name,
                    lambda *_, reason=reason: f"(this finding could not be put into words: {reason})",
                    history,
                    context,
                    violation,
                )
            )
    return found


def _verdict(
    history: History,
    context: Context,
    balance: Balance,
    results: dict[str, Result],
    explained: dict[str, list[Finding]],
    expectations: Sequence[Expectation],
) -> Verdict:
    run, t0 = context.run, origin_ns(history, context)
    contract = contract_rows(context.mode, results)
    judged = contract_verdict(contract)
    facts = Facts(history, context, balance, results, tuple(contract))
    cut_short = _cut_short(run)
    measured = judge(expectations, facts, cut_short)
    reasons = [*history.incomplete, *([cut_short] if cut_short else [])]
    return Verdict(
        schema_version=VERDICT_SCHEMA,
        run=run.run,
        mode=context.mode,
        complete=not reasons,
        incomplete_reasons=reasons,
        headline=headline(context.mode, contract, judged, balance),
        contract_verdict=judged,
        contract=contract,
        invariants=invariant_rows(context.mode, results),
        expectations=measured,
        expectations_met=met_all(measured, judged),
        checks=[_summary(row, results[row.name], explained[row.name]) for row in CHECKS if row.name in results],
        ledger=balance.ledger(),
        staleness=staleness_of(history, results, explained),
        faults=[_fault_row(fault, t0) for fault in context.faults],
        latency=latency_rows(history, context),
        intents=intents_of(history),
        operations=len(history),
        marked_seconds=marked_seconds(history, context),
        warnings=list(run.warnings),
        reproduce=_reproduce(run),
    )


def _summary(row: CheckRow, result: Result, found: list[Finding]) -> CheckSummary:
    return CheckSummary(
        name=row.name,
        verdict=result.verdict,
        exercised=result.exercised,
        violations=violations(result),
        findings=found[:_LISTED],
        note=result.note,
    )


def _cut_short(run: RunInfo) -> str | None:
    """Why the load did not run as planned; None if it did (a stop condition is part of the plan)."""
    if run.ended in ("finished", "stopped"):
        return None
    if run.ended is None:
        return "the run never ended in order: it was killed"
    return f"the run was {run.ended}" + (f": {run.reason}" if run.reason else "")


def _fault_row(fault: FaultRecord, t0: int) -> FaultRow:
    def since(at_ns: int | None) -> int | None:
        return None if at_ns is None else at_ns - t0

    regions = list(dict.fromkeys([*fault.regions, *(region for link in fault.links for region in link)]))
    return FaultRow(
        id=fault.id,
        kind=fault.kind,
        what=_what(fault),
        regions=regions,
        asked_ns=fault.asked_ns - t0,
        onset_ns=since(fault.onset_ns),
        healed_ns=since(fault.healed_ns),
    )


def _what(fault: FaultRecord) -> str:
    """``link us-east-1 - us-west-2 cut``."""
    regions = ", ".join(fault.regions)
    if fault.kind == "link-cut":
        if fault.parameters.get("one_way"):
            return "one way cut: " + ", ".join(f"{source} → {target}" for source, target in fault.links)
        pairs = list(dict.fromkeys(tuple(sorted(link)) for link in fault.links))
        return f"link{'s' if len(pairs) > 1 else ''} " + ", ".join(f"{a} – {b}" for a, b in pairs) + " cut"
    words = {
        "region-isolated": f"{regions} isolated from the other Regions",
        "region-down": f"{regions} down",
        "replication-paused": f"replication of {regions} paused",
    }
    return words.get(fault.kind, f"{fault.kind} {regions}".strip())


def _reproduce(run: RunInfo) -> list[str]:
    if run.arguments:
        return [shlex.join(["lastwriter", *run.arguments])]
    name = run.profile.get("name")
    if not isinstance(name, str):
        return []
    return [f"lastwriter run {name} --mode {run.mode} --seed {run.seed} --client {run.client}"]


def _write(
    directory: RunDirectory,
    history: History,
    context: Context,
    balance: Balance,
    results: dict[str, Result],
    explained: dict[str, list[Finding]],
    verdict: Verdict,
) -> None:
    """All files aside first, then each put in its place; verdict.json last."""
    contents: list[tuple[Path, bytes]] = [
        (directory.findings, findings_file(history, context, results, explained)),
        (directory.lost, lost_lines(history, context, balance)),
        (directory.junit, junit(verdict).encode()),
        (directory.summary, summary(verdict, context.run).encode()),
        (directory.verdict, verdict.model_dump_json(by_alias=True, indent=2).encode() + b"\n"),
    ]
    aside = [(path, path.with_name(f".{path.name}.{os.getpid()}.tmp")) for path, _ in contents]
    try:
        for (_, content), (_, temporary) in zip(contents, aside, strict=True):
            temporary.write_bytes(content)
        for path, temporary in aside:
            temporary.replace(path)
    except OSError as error:
        raise RecordError(f"{directory.path}: the verdict cannot be written ({error.strerror or error})") from None
    finally:
        for _, temporary in aside:
            temporary.unlink(missing_ok=True)
