"""Recovery times: windows from the onset, by population, policy and kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.verifier.builders import REGIONS, Op, build, read, run_info
from verifier.errors import RecordError
from verifier.rto import count_windows, rto_rows
from verifier.rundir import FaultRecord
from verifier.tally import added
from verifier.verdict import Rto

S = 1_000_000_000
FAULT = FaultRecord(id="f", kind="region-down", regions=[REGIONS[0]], asked_ns=9 * S, onset_ns=10 * S, healed_ns=20 * S)


def judged(ops: list[Op], profile: dict[str, object] | None = None) -> dict[tuple[str, str, str], Rto]:
    """As one part, and once more as two."""
    run = run_info(profile=profile or {"name": "test"}, end_ns=100 * S)
    history, context = build(ops, run=run, faults=(FAULT,))
    rows = rto_rows(count_windows(history, context), context)
    halves = [
        build(half, run=run, faults=(FAULT,)) for half in (ops[::2], ops[1::2])
    ]  # an intent's attempts stay together in these tests
    if all(op.attempt == 1 for op in ops):
        assert rto_rows(added(count_windows(*half) for half in halves), context) == rows
    return {(row.population, row.failover, row.kind): row for row in rows.get("f", [])}


def answers(from_s: float, until_s: float, every_ms: int = 50, **more: object) -> list[Op]:
    step = every_ms * 1_000_000
    return [read(at, at + 1000, saw=1, **more) for at in range(int(from_s * S), int(until_s * S), step)]


def refusals(from_s: float, until_s: float, **more: object) -> list[Op]:
    return [
        replace(op, outcome="fail", saw=None, error="ConnectError", **more)  # type: ignore[arg-type]
        for op in answers(from_s, until_s)
    ]


def test_it_is_the_start_of_the_first_window_after_the_last_bad_one() -> None:
    ops = [*answers(0, 10), *refusals(10, 12.5), *answers(12.5, 14.2), *refusals(14.2, 14.6), *answers(14.6, 25)]
    (row,) = judged(ops).values()
    assert (row.recovered, row.time_ms, row.window_s) == (True, 5000.0, 1)
    assert row.due == len([op for op in ops if 10 * S <= op.start < 20 * S])


def test_a_fault_that_nobody_felt_takes_no_time() -> None:
    (row,) = judged(answers(0, 30)).values()
    assert (row.recovered, row.time_ms) == (True, 0.0)


def test_users_that_are_not_answered_until_the_end_have_not_recovered() -> None:
    (row,) = judged([*answers(0, 11), *refusals(11, 20)]).values()
    assert (row.recovered, row.time_ms) == (False, 10_000.0)


def test_with_few_intents_windows_are_longer_and_with_too_few_nothing_is_said() -> None:
    (row,) = judged(answers(0, 30, every_ms=200)).values()
    assert (row.window_s, row.recovered) == (2, True)
    (row,) = judged(answers(0, 30, every_ms=3000)).values()
    assert (row.recovered, row.time_ms) == (None, None)
    assert row.reason is not None
    assert "too few" in row.reason


def test_a_second_attempt_elsewhere_counts_for_those_who_made_it_unless_it_comes_too_late() -> None:
    def moved(wait_s: float) -> list[Op]:
        ops = []
        for number, op in enumerate(answers(10, 20)):
            first = replace(op, op=2 * number + 1, outcome="fail", saw=None, error="ConnectError")
            at = op.start + int(wait_s * S)
            again = replace(op, op=2 * number + 2, intent=2 * number + 1, attempt=2, start=at, end=at + 9)
            ops += [first, replace(again, region=REGIONS[1], user_region=REGIONS[0], scheduled=op.start)]
        return ops

    found = judged(moved(2))
    assert list(found) == [(REGIONS[0], "none", "read")]
    assert found[REGIONS[0], "none", "read"].time_ms == 0.0
    assert judged(moved(6))[REGIONS[0], "none", "read"].recovered is False


def test_a_failed_condition_is_an_answer() -> None:
    ops = [replace(op, kind="cas", error="ConditionalCheckFailedException") for op in refusals(10, 20)]
    (row,) = judged(ops).values()
    assert (row.recovered, row.time_ms) == (True, 0.0)


def test_populations_and_policies_are_told_apart_and_a_sweep_is_nobody() -> None:
    profile: dict[str, object] = {
        "load": [
            {"workload": "test", "keys": {"prefix": "stay"}},
            {"workload": "test", "keys": {"prefix": "go"}, "failover": "routed"},
        ]
    }
    ops = [
        *refusals(10, 20, key="stay-1"),
        *answers(10, 20, key="go-1", region=REGIONS[1], user_region=REGIONS[0]),
        *answers(10, 20, key="go-2", region=REGIONS[1]),
        *answers(10, 20, key="go-2", region=REGIONS[2], workload="failover-sweep"),
    ]
    found = judged(ops, profile)
    assert {name: row.recovered for name, row in found.items()} == {
        (REGIONS[0], "none", "read"): False,
        (REGIONS[0], "routed", "read"): True,
        (REGIONS[1], "routed", "read"): True,
    }


def test_faults_that_never_took_hold_have_no_recovery() -> None:
    history, context = build(answers(0, 30), faults=(FAULT.model_copy(update={"onset_ns": None}),))
    assert rto_rows(count_windows(history, context), context) == {}


def test_a_profile_says_when_users_count_as_served() -> None:
    """Nine of ten are answered at once, the tenth after three seconds."""
    ops = answers(0, 25, every_ms=50)
    slow = [
        replace(op, end=op.start + 3 * S) if at % 10 == 0 and op.start >= 10 * S else op for at, op in enumerate(ops)
    ]
    found = {}
    for objective, within in [("95%", "5s"), ("95%", "2s"), ("90%", "2s")]:
        (row,) = judged(slow, {"name": "test", "rto": {"objective": objective, "within": within}}).values()
        assert (row.objective, row.within_ms) == (float(objective[:2]) / 100, float(within[0]) * 1000)
        found[objective, within] = row.recovered, row.time_ms
    assert list(found.values()) == [(True, 0.0), (False, 10_000.0), (True, 0.0)]


@pytest.mark.parametrize(("rto", "words"), [({"objective": "0%"}, "write it like 95%"), ({"within": "5"}, "no unit")])
def test_terms_that_cannot_be_meant_are_one_line(rto: dict[str, str], words: str) -> None:
    with pytest.raises(RecordError, match=f"profile.rto: .*{words}"):
        judged(answers(0, 25), {"name": "test", "rto": rto})
