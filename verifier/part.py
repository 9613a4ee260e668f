"""What one part of the keys says of a run, and how the parts are put together.

Every check is about keys that stand on their own: what it finds of some keys does not depend on the others. So a
history can be cut into stretches of keys (:mod:`verifier.history.keys` says in which order), each judged wherever there
is room, and the sum is the same to the byte, however many parts there were. That asks of a check:

- its verdict, the operations judged and its findings add up (:func:`conclude` says how);
- numbers in its note are counted notes (:class:`verifier.checks.types.Note`), which add up as well;
- what it knows besides its rows is the same for all parts: the :class:`Context`, the lost ranges, the names of kinds.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from verifier.account import Account
from verifier.checks import explain
from verifier.checks.findings import candidates, listed, severity
from verifier.checks.ledger import balance_of
from verifier.checks.registry import CHECK, CheckRow
from verifier.checks.searched import drawn
from verifier.checks.types import Context, Result, Violation, counted, join_notes, pieces_of
from verifier.contract import applicable, violations
from verifier.history.columns import History
from verifier.history.parts import read_piece, write_piece
from verifier.history.tokens import merged
from verifier.latency import Group, Latencies, latencies_of
from verifier.metrics import METRICS, Facts, Selection
from verifier.outputs.findings import findings_table
from verifier.outputs.lost import lost_lines
from verifier.patterns import count_intents
from verifier.rpo import Losses, losses_of
from verifier.rto import count_windows
from verifier.search.judge import Part as Searched
from verifier.staleness import Stale, stale_of
from verifier.tally import Tally, failure
from verifier.verdict import Finding, merge

Say = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is behind."""

Asked = tuple[str, Selection]
"""A metric, and what it is narrowed to."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the worst findings of a part, which may be one of the worst of all."""

    severity: tuple[object, ...]
    rule: str
    place: int
    """Of the finding among all of its check and part."""
    tell: Callable[[], Finding]
    """The finding in words."""


@dataclass(frozen=True, slots=True)
class CheckPart:
    """What a check concludes of one part; its worst findings apart from the result."""

    result: Result
    candidates: tuple[Candidate, ...]
    findings: pa.Table | Path
    """All findings (:data:`verifier.outputs.findings.COLUMNS` but the sentence), by key; or where they are kept."""


@dataclass(frozen=True, slots=True)
class Part:
    """Everything that one part says."""

    operations: int
    checks: Mapping[str, CheckPart]
    account: Account
    lost: bytes | Path
    """Lines of lost.jsonl; or where they were laid down."""
    tallies: tuple[Tally, ...]
    """One for each metric asked for."""
    stale: Stale
    latencies: Mapping[Group, Latencies]
    intents: Tally
    windows: Tally
    """Of users' waiting after faults (:mod:`verifier.rto`)."""
    losses: Losses
    """Of failovers (:mod:`verifier.rpo`)."""
    searched: tuple[Searched, ...]
    """Some of the keys that the general search found no order of, or did not finish."""


@dataclass(frozen=True, slots=True)
class Concluded:
    """What a check concludes of all parts."""

    result: Result
    worst: tuple[Finding, ...]
    """In words, worst first."""
    places: tuple[tuple[int, int], ...]
    """Where each of them stands: number of the part, place in its findings."""
    parts: tuple[int, ...]
    """Numbers of the parts whose findings count."""


def examine(history: History, context: Context, asked: Sequence[Asked], say: Say) -> Part:
    """Judge and count one part."""
    say("following the lineages", 0.0)
    attempts, history = history, merged(history)
    balance = balance_of(history, context)
    results: dict[str, Result] = {}
    rows = applicable(context.mode)
    for at, row in enumerate(rows):
        say(f"checking: {row.statement}", 0.1 + 0.7 * at / len(rows))
        results[row.name] = run_check(row, history, context)
    say("measuring", 0.8)
    facts = Facts(attempts, context, balance, results)
    return Part(
        operations=len(history),
        checks={name: _check_part(CHECK[name], history, context, result) for name, result in results.items()},
        account=Account.of(balance),
        lost=lost_lines(history, context, balance),
        tallies=tuple(_counted(facts, metric, selection) for metric, selection in asked),
        stale=stale_of(history, results),
        latencies=latencies_of(attempts, context),
        intents=count_intents(attempts, context, balance),
        windows=count_windows(attempts, context),
        losses=losses_of(history, context, balance),
        searched=drawn(context),
    )


def run_check(row: CheckRow, history: History, context: Context) -> Result:
    """What a check concludes; inconclusive with the error if it crashes."""
    try:
        return row.check(history, context)
    except Exception as error:  # noqa: BLE001 - a check that crashes must not take the others with it
        return Result("unknown", 0, note=f"the check itself failed: {type(error).__name__}: {error}", failed=True)


def conclude(parts: Sequence[CheckPart]) -> Concluded:
    """What a check says of all parts: the worst verdict of those that judged anything, and the sum of the rest.

    Where anything is certain to be wrong, what clocks may explain away is left out, as it is within a part.
    """
    results = [part.result for part in parts]
    judging = [one for one in results if one.exercised or one.violations or one.count or one.failed] or results[:1]
    verdict = merge(one.verdict for one in judging)
    counting = [at for at, one in enumerate(results) if not (verdict == "violated" and one.verdict == "possible")]
    exercised = sum(one.exercised for one in results)
    notes = _notes([one for one in results if one.exercised] or results) + [one.note for one in results if one.failed]
    notes += [counted(one.note) for one in results if not one.failed]
    ranked = sorted(((one, at) for at in counting for one in parts[at].candidates), key=lambda pair: pair[0].severity)
    chosen = [ranked[place] for place in listed([one.rule for one, _ in ranked])]
    return Concluded(
        result=Result(
            verdict,
            exercised,
            count=sum(violations(results[at]) for at in counting),
            note=join_notes(notes),
        ),
        worst=tuple(one.tell() for one, _ in chosen),
        places=tuple((at, one.place) for one, at in chosen),
        parts=tuple(counting),
    )


def _notes(results: Sequence[Result]) -> list[str | None]:
    """Sentences without a number: what is true of the whole is said of every part."""
    said = [[piece for piece in pieces_of(one.note) if counted(piece) is None] if one.note else [] for one in results]
    return [piece for piece in said[0] if all(piece in others for others in said)]


def told(part: Part) -> Part:
    """The same part with its candidates in words, so that it can leave the process that holds its history."""
    checks = {
        name: CheckPart(
            check.result,
            tuple(Candidate(one.severity, one.rule, one.place, _Told(one.tell())) for one in check.candidates),
            check.findings,
        )
        for name, check in part.checks.items()
    }
    return replace(part, checks=checks)


def laid_down(part: Part, folder: Path, number: int) -> Part:
    """The same part (:func:`told`) with what may be large in files of this folder."""
    checks = {}
    for name, check in part.checks.items():
        assert isinstance(check.findings, pa.Table)
        path = folder / f"findings-{number:06}-{name}"
        if len(check.findings):
            write_piece(check.findings.unify_dictionaries(), path)
        checks[name] = replace(check, findings=path if len(check.findings) else check.findings)
    lost = folder / f"lost-{number:06}"
    assert isinstance(part.lost, bytes)
    lost.write_bytes(part.lost)
    return replace(part, checks=checks, lost=lost)


def findings_of(check: CheckPart) -> pa.Table:
    """All findings of a check of one part, wherever they are."""
    return read_piece(check.findings) if isinstance(check.findings, Path) else check.findings


def copy_lost(part: Part, into: BinaryIO) -> None:
    """Write the part's lines of lost.jsonl."""
    if isinstance(part.lost, bytes):
        into.write(part.lost)
        return
    with part.lost.open("rb") as file:
        shutil.copyfileobj(file, into)


@dataclass(frozen=True, slots=True)
class _Told:
    finding: Finding

    def __call__(self) -> Finding:
        return self.finding


@dataclass(frozen=True, slots=True)
class _Teller:
    """Puts a finding into words when it is asked to; one that cannot be is listed with the reason."""

    row: CheckRow
    history: History
    context: Context
    violation: Violation

    def __call__(self) -> Finding:
        history, context, violation = self.history, self.context, self.violation
        try:
            return explain.finding(self.row.name, self.row.explain, history, context, violation)
        except Exception as error:  # noqa: BLE001 - a sentence that fails must not take the finding with it
            reason = f"(this finding could not be put into words: {type(error).__name__}: {error})"
            return explain.finding(self.row.name, lambda *_: reason, history, context, violation)


def _check_part(row: CheckRow, history: History, context: Context, result: Result) -> CheckPart:
    table, places = findings_table(history, context, row.name, result)
    chosen = candidates(result.violations)
    found = tuple(
        Candidate(
            severity(history, result.violations[at]),
            str(result.violations[at].facts.get("rule", "")),
            int(places[at]),
            _Teller(row, history, context, result.violations[at]),
        )
        for at in chosen
    )
    bare = Result(result.verdict, result.exercised, count=violations(result), note=result.note, failed=result.failed)
    return CheckPart(bare, found, table)


def _counted(facts: Facts, metric: str, selection: Selection) -> Tally:
    try:
        return METRICS[metric].count(facts, selection)
    except Exception as error:  # noqa: BLE001 - one metric that fails must not take the verdict with it
        return failure(error)
