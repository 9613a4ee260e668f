"""From a run directory to its verdict: read, check, explain, measure, write.

>>> verdict = verify(Path("results/20261120T120000Z-quickstart-mrec"))

Every file is replaced as a whole, and verdict.json last: where it is, the others belong to it. A check that crashes is
inconclusive and says so; the others go on.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from verifier import memory
from verifier.account import account_of
from verifier.checks.findings import listed
from verifier.checks.registry import CheckRow
from verifier.checks.types import Context
from verifier.cluster import is_history, judged_on_cluster
from verifier.context import context_of_run, read_context, unread_faults
from verifier.contract import applicable, contract_rows, contract_verdict, invariant_rows, violations
from verifier.doubt import doubted
from verifier.engine import Cut, Limits, judged_in_parts
from verifier.errors import RecordError, or_no_verdict
from verifier.expectations import Expectation, applying, judge, met_all
from verifier.faults import fault_rows
from verifier.headline import headline
from verifier.history.columns import LostRange
from verifier.history.reader import worker_files
from verifier.history.replicas import unread_replicas
from verifier.history.row_groups import in_row_groups
from verifier.history.survey import rows_on_disk
from verifier.latency import latency_rows
from verifier.outputs.findings import write_findings
from verifier.outputs.junit import junit
from verifier.outputs.markdown import summary
from verifier.part import Asked, Concluded, Part, conclude, copy_lost, examine, findings_of
from verifier.patterns import intents_row
from verifier.remote import Place
from verifier.rundir import RunDirectory, RunInfo
from verifier.search.judge import Judged, witness_of
from verifier.search.linearise import Limits as Search
from verifier.search.models import CAS_REGISTER
from verifier.staleness import staleness_of
from verifier.tally import added
from verifier.verdict import VERDICT_SCHEMA, CheckSummary, Verdict, merge
from verifier.whole import Whole
from verifier.windows import marked_seconds, seconds_marked

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is behind."""

_LISTED = 50
"""Findings of a check that verdict.json lists."""


def verify(
    path: Path | str,
    *,
    progress: Progress | None = None,
    limits: Limits | None = None,
    scheduler: str | None = None,
    output: Path | None = None,
    search: Search | None = None,
    picture: Callable[[Judged], None] | None = None,
) -> Verdict:
    """Judge a run and write verdict.json, findings.parquet, lost.jsonl, junit.xml and summary.md into its directory.

    ``path`` may be a URL (:mod:`verifier.remote`); ``scheduler`` is that of a Dask cluster (:mod:`verifier.cluster`)
    which judges the parts; ``output`` is another directory for the files. What is concluded depends on none of these,
    nor on the limits; ``search`` says when the general search gives up (in each part, where there are several), and
    ``picture`` is given what it found no order of, or did not finish. Raises :class:`RecordError` (one line) for a
    record that cannot be read or trusted; nothing is written then.
    """
    say = progress or _silent
    limits = limits or Limits()
    place = Place(str(path))
    say("reading the record", 0.0)
    with (
        or_no_verdict(),
        memory.kept(),
        place.at_hand(lambda name: scheduler is None or not is_history(name)) as directory,
    ):
        context = context_of_run(directory)
        if search is not None:
            context = replace(context, search=search)
        expectations = applying(expectations_of(context.run, directory), context.mode)
        asked = [(expectation.metric, expectation.selection) for expectation in expectations]
        if scheduler is None:
            judging = _judged(directory, context, asked, limits, say)
        else:
            judging = _judged_elsewhere(scheduler, place, directory, context, asked, limits, say)
        with judging as together:
            say("putting it into words", 0.87)
            unread = [*unread_replicas(directory, context.run), *unread_faults(directory, context)]
            verdict = _verdict(together, expectations, unread)
            say("writing the verdict", 0.9)
            into = directory if output is None else RunDirectory(output)
            written = _write(into, together, verdict)
            if picture is not None:
                picture(_searched(together.parts))
        if place.is_remote and output is None:
            place.put(written)
    say("done", 1.0)
    return verdict


@contextlib.contextmanager
def _judged(
    directory: RunDirectory, context: Context, asked: Sequence[Asked], limits: Limits, say: Progress
) -> Iterator[Together]:
    """All parts of a record: one that fits into memory is one part."""
    if context.run.start_ns is None or limits.fits(rows_on_disk(directory)):
        history, context = read_context(directory.path, context)
        part = examine(history, context, asked, lambda what, share: say(what, 0.3 + 0.55 * share))
        record = Record(context, history.regions, history.kinds, history.lost, history.incomplete, history.odd)
        yield Together(record, [part], marked_seconds(history, context))
        return
    with (
        in_row_groups(directory.path, worker_files(directory)) as files,
        judged_in_parts(directory, files, context, asked, limits, say) as cut,
    ):
        yield _together(cut)


@contextlib.contextmanager
def _judged_elsewhere(
    scheduler: str,
    place: Place,
    directory: RunDirectory,
    context: Context,
    asked: Sequence[Asked],
    limits: Limits,
    say: Progress,
) -> Iterator[Together]:
    """All parts of a record, judged by a cluster."""
    if context.run.start_ns is None:
        raise RecordError(f"{place.name}: the load never began, so there is nothing for a cluster to judge")
    with judged_on_cluster(scheduler, place, directory, context, asked, limits, say) as cut:
        yield _together(cut)


def _together(cut: Cut) -> Together:
    names = cut.plan.names.others
    record = Record(cut.context, names["region"], names["kind"], cut.plan.lost, cut.plan.incomplete, cut.plan.odd)
    return Together(record, cut.parts, seconds_marked(cut.context, cut.late))


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a record as a whole before any operation is judged."""

    context: Context
    regions: tuple[str, ...]
    """That were asked."""
    kinds: tuple[str, ...]
    lost: tuple[LostRange, ...]
    incomplete: tuple[str, ...]
    odd: tuple[str, ...]
    """What an honest recorder does not write, and what it means."""


class Together:
    """All parts, and what they come to together."""

    def __init__(self, record: Record, parts: Sequence[Part], marked: list[int]) -> None:
        self.record, self.parts = record, parts
        self.rows = applicable(record.context.mode)
        self.checks = {row.name: conclude([part.checks[row.name] for part in parts]) for row in self.rows}
        results = {name: concluded.result for name, concluded in self.checks.items()}
        results = doubted(results, added(part.intents for part in parts))
        self.checks = {name: replace(concluded, result=results[name]) for name, concluded in self.checks.items()}
        self.whole = Whole(
            context=record.context,
            results=results,
            contract=tuple(contract_rows(record.context.mode, results)),
            account=account_of([part.account for part in parts], record.kinds),
            lost=record.lost,
            marked_seconds=marked,
        )


def _searched(parts: Sequence[Part]) -> Judged:
    """What the general search found no order of, or did not finish, of all parts; the worst first."""
    worst = {"violated": 0, "unknown": 1}
    found = sorted((one for part in parts for one in part.searched), key=lambda one: worst[one.found.verdict])
    if found and found[0].found.verdict == "violated":
        first = found[0]
        found[0] = replace(first, witness=witness_of(first.operations, first.found.stuck[0], CAS_REGISTER))
    return Judged(CAS_REGISTER, merge(one.found.verdict for one in found), tuple(found), 0)


def expectations_of(run: RunInfo, directory: RunDirectory) -> list[Expectation]:
    """Expectations of the run's profile. Raises :class:`RecordError`."""
    listed = run.profile.get("expect") or []
    try:
        return [Expectation.model_validate(one) for one in listed]
    except (ValidationError, TypeError) as error:
        text = str(error.errors()[0]["msg"] if isinstance(error, ValidationError) else error)
        raise RecordError(f"{directory.run_json}: profile.expect: {text.removeprefix('Value error, ')}") from None


def _silent(_: str, __: float) -> None:
    pass


def _verdict(judged: Together, expectations: Sequence[Expectation], unread: Sequence[str]) -> Verdict:
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
        faults=fault_rows(context, added(part.windows for part in parts), [part.losses for part in parts]),
        latency=latency_rows([part.latencies for part in parts], context, record.regions, record.kinds),
        intents=intents_row(added(part.intents for part in parts), context),
        operations=sum(part.operations for part in parts),
        marked_seconds=whole.marked_seconds,
        warnings=[*run.warnings, *record.odd, *unread],
        reproduce=_reproduce(run),
    )


def _summary(row: CheckRow, concluded: Concluded) -> CheckSummary:
    result = concluded.result
    return CheckSummary(
        name=row.name,
        verdict=result.verdict,
        exercised=result.exercised,
        violations=violations(result),
        findings=[concluded.worst[at] for at in listed([one.rule or "" for one in concluded.worst], _LISTED)],
        note=result.note,
    )


def _cut_short(run: RunInfo) -> str | None:
    """Why the load did not run as planned; None if it did (a stop condition is part of the plan)."""
    if run.ended in ("finished", "stopped"):
        return None
    if run.ended is None:
        return "the run never ended in order: it was killed, or its disk was full"
    return f"the run was {run.ended}" + (f": {run.reason}" if run.reason else "")


def _reproduce(run: RunInfo) -> list[str]:
    if run.arguments:
        return [shlex.join(["lastwriter", *run.arguments])]
    name = run.profile.get("name")
    if not isinstance(name, str):
        return []
    return [f"lastwriter run {name} --mode {run.mode} --seed {run.seed} --client {run.client}"]


def _write(directory: RunDirectory, judged: Together, verdict: Verdict) -> list[Path]:
    """All files aside first, then each put in its place; verdict.json last. The files in that order."""

    def findings(path: Path) -> None:
        write_findings(path, [_tables(name, concluded, judged.parts) for name, concluded in judged.checks.items()])

    def lost(path: Path) -> None:
        with path.open("wb") as file:
            for part in judged.parts:
                copy_lost(part, file)

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
        directory.path.mkdir(parents=True, exist_ok=True)
        for (_, write), (_, temporary) in zip(writers, aside, strict=True):
            write(temporary)
        for path, temporary in aside:
            temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RecordError(
            f"{directory.path}: the verdict cannot be written ({reason}); --output names another folder"
        ) from None
    finally:
        for _, temporary in aside:
            with contextlib.suppress(OSError):  # a read-only file system refuses that, too
                temporary.unlink(missing_ok=True)
    return [path for path, _ in writers]


def _tables(
    name: str, concluded: Concluded, parts: Sequence[Part]
) -> tuple[Iterator[pa.Table], dict[tuple[int, int], str]]:
    """A check's findings part by part, and the sentences of the worst by place."""
    at = {number: place for place, number in enumerate(concluded.parts)}
    told = zip(concluded.places, concluded.worst, strict=True)
    tables = (findings_of(parts[number].checks[name]) for number in concluded.parts)
    return tables, {(at[number], place): finding.sentence for (number, place), finding in told}
