"""What the mode promises, promise by promise, and what the application needs beyond it.

Each row is one check of the registry in the role that it has in the run's mode. A promise that nothing in the run could
have broken is not exercised: it is neither kept nor broken, and the headline counts those that were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from verifier.checks.registry import CHECKS, CheckRow
from verifier.checks.types import Result
from verifier.rundir import Mode
from verifier.verdict import ContractRow, InvariantRow, Judgement, merge


def applicable(mode: Mode) -> tuple[CheckRow, ...]:
    """Checks that are run in this mode."""
    return tuple(row for row in CHECKS if mode in row.role)


def contract_rows(mode: Mode, results: Mapping[str, Result]) -> list[ContractRow]:
    """One row a promise of the mode."""
    return [
        ContractRow(
            promise=row.statement,
            check=row.name,
            verdict=results[row.name].verdict,
            exercised=results[row.name].exercised,
            violations=violations(results[row.name]),
        )
        for row in applicable(mode)
        if row.role[mode] == "contract"
    ]


def invariant_rows(mode: Mode, results: Mapping[str, Result]) -> list[InvariantRow]:
    """One row a need of the application that is not promised."""
    return [
        InvariantRow(
            invariant=row.statement,
            check=row.name,
            verdict=results[row.name].verdict,
            exercised=results[row.name].exercised,
            violations=violations(results[row.name]),
        )
        for row in applicable(mode)
        if row.role[mode] == "invariant"
    ]


def contract_verdict(rows: Sequence[ContractRow]) -> Judgement:
    """The worst of the promises that were exercised; none exercised: unknown."""
    return merge(row.verdict for row in rows if row.exercised or row.verdict in ("violated", "possible"))


def violations(result: Result) -> int:
    """Exact number of violations."""
    return result.count if result.count is not None else len(result.violations)
