"""An expectation is met, missed or inconclusive, and never met for want of a measurement."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.verifier.builders import REGIONS, Item, Op, add, build, read, run_info, write
from verifier.account import Account
from verifier.checks.ledger import balance_of
from verifier.contract import applicable, contract_rows
from verifier.expectations import METRICS, Expectation, applying, compare, judge, met_all
from verifier.history.columns import LostRange
from verifier.metrics import Facts, Measured, Selection
from verifier.rundir import FaultRecord, PhaseWindow
from verifier.values import format_value, parse_value
from verifier.verdict import ExpectationRow
from verifier.whole import Whole
from verifier.windows import marked_seconds

A, B, C = REGIONS
MS = 1_000_000


def facts(ops: list[Op], **more: object) -> Facts:
    history, context = build(ops, **more)  # type: ignore[arg-type]
    results = {row.name: row.check(history, context) for row in applicable(context.mode)}
    return Facts(history, context, balance_of(history, context), results)


def whole(of: Facts) -> Whole:
    return Whole(
        context=of.context,
        results=of.results,
        contract=tuple(contract_rows(of.context.mode, of.results)),
        account=Account.of(of.balance),
        lost=of.history.lost,
        marked_seconds=marked_seconds(of.history, of.context),
    )


def judged(expectations: list[Expectation], of: Facts, cut_short: str | None = None) -> list[ExpectationRow]:
    chosen = applying(expectations, of.context.mode)
    return judge(chosen, [METRICS[one.metric].count(of, one.selection) for one in chosen], whole(of), cut_short)


def measure(of: Facts, metric: str, **narrowed: str) -> ExpectationRow:
    (row,) = judged([Expectation(metric=metric, op="==", value="0", **narrowed)], of)
    return row


def kept(count: int, item: Item) -> dict[str, object]:
    """Increments one after the other, and the final item in every Region."""
    ops = [add(10 * n, 10 * n + 5, n + 1, op=n + 1, prev=n or -1, region=REGIONS[n % 3]) for n in range(count)]
    return {"ops": ops, "final": {region: {"k": item} for region in REGIONS}}


numbers = st.floats(-1e6, 1e6)


@given(low=numbers, width=st.floats(0, 1e6), value=numbers, share=st.floats(0, 1))
def test_bounds_decide_only_what_holds_for_every_number_between_them(
    low: float, width: float, value: float, share: float
) -> None:
    measured = Measured(low, low + width)
    truth = min(low + share * width, low + width)
    signs = {
        "==": truth == value,
        "!=": truth != value,
        "<": truth < value,
        "<=": truth <= value,
        ">": truth > value,
        ">=": truth >= value,
    }
    for op, holds in signs.items():
        assert compare(measured, op, value) in (holds, None)  # type: ignore[arg-type]
        if width == 0:
            assert compare(measured, op, value) is holds  # type: ignore[arg-type]


def test_a_lower_bound_breaks_but_never_keeps() -> None:
    at_least_three = Measured(3, math.inf)
    assert compare(at_least_three, "==", 0) is False
    assert compare(at_least_three, "<=", 5) is None
    assert compare(at_least_three, ">", 2) is True
    assert compare(Measured(None, None, "no marks"), "==", 0) is None


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("0", "count", 0), ("1,000", "count", 1000), ("1%", "share", 0.01), ("0", "ms", 0), ("2s", "ms", 2000)],
)
def test_values_have_units(text: str, unit: str, value: float) -> None:
    assert parse_value(text, unit) == value  # type: ignore[arg-type]


@given(st.floats(0.001, 1e9), st.sampled_from(["ms", "share", "ratio"]))
@example(999.8, "ms")  # 1s and 1,000s, not 1e+03ms and 1e+03s
@example(999_800.0, "ms")
@example(999_499.0, "ms")
def test_what_is_printed_can_be_read_back(value: float, unit: str) -> None:
    back = parse_value(format_value(value, unit), unit)  # type: ignore[arg-type]
    assert back == pytest.approx(value, rel=0.01, abs=6e-4)


@given(st.floats(1e-12, 0.001), st.sampled_from(["ms", "share"]))
@example(1e-7, "share")  # ten of a hundred million: 0.00001%, not 1e-05%
def test_what_is_small_is_printed_with_its_digits(value: float, unit: str) -> None:
    back = parse_value(format_value(value, unit), unit)  # type: ignore[arg-type]
    assert back == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metric": "lost_update", "value": 0}, "did you mean lost_updates?"),
        ({"metric": "p99", "value": 300}, "has no unit; write it like 300ms"),
        ({"metric": "p99", "value": "300/s"}, "unknown unit '/s'"),
        ({"metric": "error_rate", "value": "1"}, "write it like 1%"),
        ({"metric": "lost_updates", "value": "few"}, "is not a value"),
        ({"metric": "contract_breaches", "value": 0, "region": A}, "cannot be narrowed by region"),
        ({"metric": "lost_updates", "value": 0, "when": "now"}, "Extra inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("?", r"\?")):
        Expectation.model_validate({"op": "==", **fields})


def test_losses_are_counted_by_region_kind_and_phase() -> None:
    ops = [
        add(0, 5, 1, op=1, prev=-1, region=A),
        add(1, 5, 1, op=2, prev=-1, region=B),
        add(20, 25, 2, op=3, prev=2, region=B),
    ]
    run = run_info("MREC", phases=[PhaseWindow(name="early", start_ns=0, end_ns=10)])
    of = facts(ops, mode="MREC", run=run, final={region: {"k": Item(1, 1, -1)} for region in REGIONS})
    assert measure(of, "lost_updates").measured == "2"
    assert measure(of, "lost_share").measured == "66.67%"
    assert measure(of, "lost_updates", region=A).measured == "0"
    assert measure(of, "lost_updates", region=B, phase="early").measured == "1"
    assert measure(of, "lost_updates", kind="write").measured == "0"
    assert measure(of, "lost_updates", region="eu-west-1").measured == "0"


def test_without_marks_or_final_state_losses_are_inconclusive() -> None:
    row = measure(facts([add(0, 5, 1)]), "lost_updates")
    assert (row.met, row.reason) == (None, "the final state was not read")
    row = measure(facts([Op("write", 0, 5, saw=None, outcome="fail")]), "lost_updates")
    assert row.met is None


def test_a_killed_worker_leaves_a_lower_bound_and_an_inconclusive_zero() -> None:
    lost = (LostRange(1, 1 << 48, (1 << 48) + 10, 7),)
    of = facts(**kept(3, Item(3, 3, 2)), lost=lost)  # type: ignore[arg-type]
    row = measure(of, "lost_updates")
    assert (row.measured, row.met) == ("at least 0", None)
    assert measure(of, "double_applications").met is None
    of = facts(**kept(3, Item(1, 1, -1)), lost=lost)  # type: ignore[arg-type]
    assert (measure(of, "lost_updates").measured, measure(of, "lost_updates").met) == ("at least 2", False)


def test_latency_counts_from_the_schedule_and_refuses_a_percentile_of_too_few() -> None:
    ops = [read(n * MS, n * MS + 2 * MS, -1, op=n + 1, scheduled=n * MS - MS) for n in range(200)]
    of = facts(ops, run=run_info(end_ns=10**9))
    assert measure(of, "p50").measured == "3ms"
    assert measure(of, "p99", kind="read").measured == "3ms"
    assert measure(of, "p999").met is None
    assert measure(of, "p50", kind="add").reason == "no operation of that sort"


def test_a_slow_client_makes_latencies_inconclusive() -> None:
    ops = [read(n * MS + 50 * MS, n * MS + 51 * MS, -1, op=n + 1, scheduled=n * MS) for n in range(100)]
    of = facts(ops, run=run_info(end_ns=10**9))
    (below, above) = judged(
        [Expectation(metric="p50", op="<", value="60ms"), Expectation(metric="p50", op=">", value="40ms")], of
    )
    reason = "the load generator itself was slow in 1 of 1 seconds"
    assert (below.met, below.measured, below.reason) == (None, "at most 51ms", reason)
    assert above.met is None


def test_availability_errors_and_amplification_are_shares_of_what_they_say() -> None:
    condition = "ConditionalCheckFailedException"
    ops = [
        add(0, 5, op=1, outcome="fail", error="ThrottlingException"),
        add(6, 9, 1, op=2, prev=-1, intent=1, attempt=2),
        Op("cas", 10, 15, op=3, outcome="fail", error=condition),
        add(20, 25, op=4, outcome="unknown", error="Timeout"),
        add(30, 35, op=5, outcome="unknown", error="InternalServerError"),
        add(30, 35, op=6, outcome="unknown", error="HTTP503"),
    ]
    of = facts(ops)
    assert measure(of, "availability").measured == "40%"
    assert measure(of, "error_rate").measured == "66.67%"
    assert measure(of, "amplification").measured == "1.2"
    assert measure(of, "server_errors").measured == "2"
    assert measure(of, "timeouts").measured == "1"
    assert measure(of, "throttled").measured == "1"
    assert measure(of, "condition_failed").measured == "1"
    assert measure(of, "unknown_writes").measured == "3"


def test_around_faults_is_a_phase_too() -> None:
    fault = FaultRecord(id="f", kind="link-cut", links=[(A, B)], asked_ns=9, onset_ns=10, healed_ns=20)
    ops = [write(at, at + 1, op=at + 1, outcome="fail", error="InternalServerError") for at in (0, 12, 15, 30)]
    of = facts(ops, faults=(fault,))
    counts = [measure(of, "error_rate", phase=phase) for phase in ("before", "during", "after")]
    assert [row.measured for row in counts] == ["100%"] * 3
    assert measure(of, "amplification", phase="nonsense").met is None


def test_only_expectations_of_the_mode_apply() -> None:
    of = facts([add(0, 5, 1, prev=-1)], mode="MREC")
    rows = judged(
        [Expectation(metric="conflicts", op="==", value="0", mode=mode) for mode in ("MREC", "MRSC", None)],
        of,
    )
    assert [row.mode for row in rows] == ["MREC", None]


def test_a_run_that_was_cut_short_meets_nothing() -> None:
    of = facts(**kept(3, Item(3, 3, 2)))  # type: ignore[arg-type]
    (good, bad) = judged(
        [Expectation(metric="lost_updates", op=op, value="0") for op in ("==", ">")], of, "the run was interrupted"
    )
    assert (good.met, good.reason) == (None, "the run was interrupted")
    assert bad.met is False


def row(met: bool | None, metric: str = "lost_updates") -> ExpectationRow:
    return ExpectationRow(metric=metric, op="==", value="0", met=met)


@pytest.mark.parametrize(
    ("rows", "contract", "met"),
    [
        ([], "holds", True),
        ([], "violated", False),
        ([], "unknown", None),
        ([], "possible", None),
        ([row(True)], "unknown", True),
        ([row(True), row(None)], "holds", None),
        ([row(None), row(False)], "holds", False),
        ([row(True)], "violated", False),
        ([row(True), row(True, "contract_breaches")], "violated", True),
    ],
)
def test_one_miss_decides_and_a_broken_contract_is_a_miss(
    rows: list[ExpectationRow], contract: str, met: bool | None
) -> None:
    assert met_all(rows, contract) is met  # type: ignore[arg-type]


def test_every_metric_says_what_it_is_and_measures_or_says_why_not() -> None:
    of = facts(**kept(30, Item(30, 30, 29)))  # type: ignore[arg-type]
    for name, metric in METRICS.items():
        assert metric.description
        measured = metric.measure(metric.count(of, Selection()), whole(of), Selection())
        assert (measured.low is None) == (measured.high is None), name
        assert measured.low is not None or measured.reason, name
