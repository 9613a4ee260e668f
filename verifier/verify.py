"""From a run directory to its verdict: read, check, explain, measure, write.

>>> verdict = verify(Path("results/20261120T120000Z-quickstart-mrec"))

Every file is replaced as a whole, and verdict.json last: where it is, the others belong to it. A check that crashes is
inconclusive and says so; the others go on.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from verifier.account import account_of
from verifier.checks.registry import CheckRow
from verifier.checks.types import Context
from verifier.context import read_context
from verifier.contract import applicable, contract_rows, contract_verdict, invariant_rows, violations
from verifier.errors import RecordError
from verifier.expectations import Expectation, applying, judge, met_all
from verifier.headline import headline
from verifier.history.columns import LostRange
from verifier.latency import added_intents, latency_rows
from verifier.outputs.findings import write_findings
from verifier.outputs.junit import junit
from verifier.outputs.markdown import summary
from verifier.part import Concluded, Part, conclude, examine
from verifier.rundir import FaultRecord, RunDirectory, RunInfo
from verifier.staleness import staleness_of
from verifier.tally import added
from verifier.verdict import VERDICT_SCHEMA, CheckSummary, FaultRow, Verdict
from verifier.whole import Whole
from verifier.windows import marked_seconds, t0_of

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
    expectations = applying(expectations_of(context.run, directory), context.mode)
    asked = [(expectation.metric, expectation.selection) for expectation in expectations]
    part = examine(history, context, asked, lambda what, share: say(what, 0.3 + 0.5 * share))
    record = Record(context, history.regions, history.kinds, history.lost, history.incomplete)
    say("putting it into words", 0.85)
    judged = Judged(record, [part], marked_seconds(history, context))
    verdict = _verdict(judged, expectations)
    say("writing the verdict", 0.9)
    _write(directory, judged, verdict)
    say("done", 1.0)
    return verdict


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a record as a whole before any operation is judged."""

    context: Context
    regions: tuple[str, ...]
    """That were asked."""
    kinds: tuple[str, ...]
    lost: tuple[LostRange, ...]
    incomplete: tuple[str, ...]


class Judged:
    """All parts, and what they come to together."""

    def __init__(self, record: Record, parts: Sequence[Part], marked: list[int]) -> None:
        self.record, self.parts = record, parts
        self.rows = applicable(record.context.mode)
        self.checks = {row.name: conclude([part.checks[row.name] for part in parts]) for row in self.rows}
        results = {name: concluded.result for name, concluded in self.checks.items()}
        self.whole = Whole(
            context=record.context,
            results=results,
            contract=tuple(contract_rows(record.context.mode, results)),
            account=account_of([part.account for part in parts], record.kinds),
            lost=record.lost,
            marked_seconds=marked,
        )


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


def _verdict(judged: Judged, expectations: Sequence[Expectation]) -> Verdict:
    record, whole, parts = judged.record, judged.whole, judged.parts
    context, run = record.context, record.context.run
    contract = list(whole.contract)
    of_contract = contract_verdict(contract)
    cut_short = _cut_short(run)
    tallies = [added(part.tallies[at] for part in parts) for at in range(len(expectations))]
    measured = judge(expectations, tallies, whole, cut_short)
    reasons = [*record.incomplete, *([cut_short] if cut_short else [])]
    told = {name: concluded.worst for name, concluded in judged.checks.items()}
    return Verdict(
        schema_version=VERDICT_SCHEMA,
        run=run.run,
        mode=context.mode,
        complete=not reasons,
        incomplete_reasons=reasons,
        headline=headline(context.mode, contract, of_contract, whole.account),
        contract_verdict=of_contract,
        contract=contract,
        invariants=invariant_rows(context.mode, whole.results),
        expectations=measured,
        expectations_met=met_all(measured, of_contract),
        checks=[_summary(row, judged.checks[row.name]) for row in judged.rows],
        ledger=whole.account.ledger(),
        staleness=staleness_of([part.stale for part in parts], whole.results, told, record.regions),
        faults=[_fault_row(fault, t0_of(context)) for fault in context.faults],
        latency=latency_rows([part.latencies for part in parts], context, record.regions, record.kinds),
        intents=added_intents([part.intents for part in parts]),
        operations=sum(part.operations for part in parts),
        marked_seconds=whole.marked_seconds,
        warnings=list(run.warnings),
        reproduce=_reproduce(run),
    )


def _summary(row: CheckRow, concluded: Concluded) -> CheckSummary:
    result = concluded.result
    return CheckSummary(
        name=row.name,
        verdict=result.verdict,
        exercised=result.exercised,
        violations=violations(result),
        findings=list(concluded.worst[:_LISTED]),
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


def _write(directory: RunDirectory, judged: Judged, verdict: Verdict) -> None:
    """All files aside first, then each put in its place; verdict.json last."""

    def findings(path: Path) -> None:
        write_findings(path, [_tables(name, concluded, judged.parts) for name, concluded in judged.checks.items()])

    def lost(path: Path) -> None:
        with path.open("wb") as file:
            file.writelines(part.lost for part in judged.parts)

    def text(content: str) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(content.encode())

    run = judged.record.context.run
    writers: list[tuple[Path, Callable[[Path], object]]] = [
        (directory.findings, findings),
        (directory.lost, lost),
        (directory.junit, text(junit(verdict))),
        (directory.summary, text(summary(verdict, run))),
        (directory.verdict, text(verdict.model_dump_json(by_alias=True, indent=2) + "\n")),
    ]
    aside = [(path, path.with_name(f".{path.name}.{os.getpid()}.tmp")) for path, _ in writers]
    try:
        for (_, write), (_, temporary) in zip(writers, aside, strict=True):
            write(temporary)
        for path, temporary in aside:
            temporary.replace(path)
    except OSError as error:
        raise RecordError(f"{directory.path}: the verdict cannot be written ({error.strerror or error})") from None
    finally:
        for _, temporary in aside:
            temporary.unlink(missing_ok=True)


def _tables(
    name: str, concluded: Concluded, parts: Sequence[Part]
) -> tuple[list[pa.Table], dict[tuple[int, int], str]]:
    """A check's findings part by part, and the sentences of the worst by place."""
    tables = [parts[number].checks[name].findings for number in concluded.parts]
    at = {number: place for place, number in enumerate(concluded.parts)}
    told = zip(concluded.places, concluded.worst, strict=True)
    return tables, {(at[number], place): finding.sentence for (number, place), finding in told}
