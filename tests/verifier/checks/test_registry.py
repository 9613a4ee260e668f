"""All checks together: correct stores keep their contract, each planted bug is found, and sentences read well."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.builders import build, run_info
from tests.verifier.stores import Bug, Run, simulate
from verifier.checks.explain import finding
from verifier.checks.registry import CHECKS
from verifier.checks.types import Context, Result
from verifier.contract import applicable, contract_rows, contract_verdict
from verifier.history.columns import History
from verifier.part import run_check
from verifier.rundir import Mode


def judged(run: Run) -> tuple[History, Context, dict[str, Result]]:
    history, context = build(run.ops, **run.arguments(), run=run_info(run.mode, queues_empty=True, settled=True))
    return history, context, {row.name: row.check(history, context) for row in applicable(run.mode)}


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    mode=st.sampled_from(["MREC", "MRSC"]),
    kinds=st.sampled_from([("add",), ("write",), ("add", "write")]),
    unknown=st.sampled_from([0.0, 0.1, 0.4]),
    refused=st.sampled_from([0.0, 0.2]),
    retries=st.booleans(),
    cut=st.booleans(),
    killed=st.booleans(),
    delay_ms=st.sampled_from([2, 40]),
)
def test_a_correct_store_keeps_its_contract(
    seed: int,
    mode: Mode,
    kinds: tuple[str, ...],
    unknown: float,
    refused: float,
    retries: bool,
    cut: bool,
    killed: bool,
    delay_ms: int,
) -> None:
    run = simulate(
        seed,
        mode,
        kinds=kinds,
        unknown=unknown,
        refused=refused,
        retries=retries,
        cut=cut,
        killed=killed,
        delay_ms=delay_ms,
    )
    history, context, results = judged(run)
    for row in contract_rows(mode, results):
        assert row.violations == 0, finding_texts(history, context, results)
        assert row.verdict in ("holds", "unknown")
    if mode == "MRSC":
        assert results["lost"].count == 0


BUGS: list[tuple[Bug, Mode, set[str]]] = [
    ("acknowledged without effect", "MRSC", {"lost", "store", "forks", "counter", "register"}),
    ("applied to a stale copy", "MRSC", {"lost", "store", "forks", "counter", "register"}),
    ("refused although applied", "MRSC", {"refused", "register"}),
    ("applied twice", "MRSC", {"store", "counter"}),
    ("replica left behind", "MREC", {"convergence"}),
    ("relay", "MREC", {"relay"}),
    ("refused although applied", "MREC", {"refused"}),
]


@pytest.mark.parametrize(("bug", "mode", "checks"), BUGS)
def test_each_planted_bug_is_found_by_its_checks_and_said(bug: Bug, mode: Mode, checks: set[str]) -> None:
    found: set[str] = set()
    broken = False
    for seed in range(6):
        run = simulate(seed, mode, bug=bug, intents=25, refused=0.1, cut=mode == "MREC", delay_ms=4)
        history, context, results = judged(run)
        found |= {name for name, result in results.items() if result.verdict == "violated"}
        broken |= contract_verdict(contract_rows(mode, results)) == "violated"
        for text in finding_texts(history, context, results):
            assert text.endswith(".")
            assert "None" not in text
            assert str(-(2**63)) not in text
    assert checks <= found
    assert broken


def test_a_check_that_crashes_is_inconclusive_and_says_so() -> None:
    history, context, _ = judged(simulate(1, "MRSC"))
    row = CHECKS[0]

    def crash(history: History, context: Context) -> Result:
        raise ZeroDivisionError("of its own making")

    result = run_check(type(row)("crash", "", crash, row.explain, (), {}), history, context)
    assert result.verdict == "unknown"
    assert result.note is not None
    assert "ZeroDivisionError: of its own making" in result.note


def test_names_are_unique_and_every_check_stands_for_something() -> None:
    assert len({row.name for row in CHECKS}) == len(CHECKS)
    assert all(row.role and row.needs for row in CHECKS)


def finding_texts(history: History, context: Context, results: dict[str, Result]) -> list[str]:
    return [
        finding(row.name, row.explain, history, context, violation).sentence
        for row in applicable(context.mode)
        for violation in results[row.name].violations
    ]
