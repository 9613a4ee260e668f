"""The schedule: what all processes send together does not depend on how many they are, nor on how slow the store is."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lastwriter.client.course import Burst, Course, Piece, pieces
from lastwriter.client.plan import PlannedPhase
from lastwriter.client.schedule import (
    SECOND_NS,
    Arrivals,
    arrivals_of,
    due_times,
    length_ns,
    stretches,
    uniform_positions,
)

rates = st.floats(0.5, 200)
shares = st.sampled_from(["0%", "10%", "50%", "100%", "250%", "0%..100%", "200%..50%"])
phases = st.lists(
    st.builds(
        lambda seconds, rate, burst: PlannedPhase(name="p", duration=f"{seconds}s", rate=rate, burst=burst),
        st.sampled_from([0.5, 1, 2.5, 4]),
        shares | st.lists(shares, min_size=1, max_size=3),
        st.none() | st.builds(lambda rate: {"every": "700ms", "length": "200ms", "rate": rate}, shares),
    ),
    min_size=1,
    max_size=4,
)


def all_of(arrivals: Arrivals) -> list[int]:
    return list(iter(arrivals.take, None))


def uniform(rate: float, plan: list[PlannedPhase], process: int, processes: int) -> Arrivals:
    return arrivals_of(rate, "uniform", plan, process, processes, random.Random(0))


@given(rates, phases, st.integers(1, 9))
def test_the_merged_schedule_is_the_same_however_many_share_it(
    rate: float, plan: list[PlannedPhase], processes: int
) -> None:
    alone = all_of(uniform(rate, plan, 0, 1))
    shared = [all_of(uniform(rate, plan, process, processes)) for process in range(processes)]
    assert sorted(itertools.chain(*shared)) == alone
    for process, mine in enumerate(shared):
        assert mine == alone[process::processes]


@given(rates, phases)
def test_every_phase_gets_its_rate(rate: float, plan: list[PlannedPhase]) -> None:
    times = all_of(uniform(rate, plan, 0, 1))
    assert times == sorted(times)
    start = 0.0
    for phase in plan:
        end = start + phase.duration
        within = [time for time in times if start * SECOND_NS <= time < end * SECOND_NS]
        due = sum(
            (part.first + part.last) / 2 * part.seconds for part in pieces(phase.duration, phase.rate, phase.burst)
        )
        assert abs(len(within) - rate * due) <= 1.001
        start = end
    assert not times or times[-1] < (length_ns(plan) or 0)


def test_uniform_arrivals_keep_equal_distances_and_begin_at_t0() -> None:
    assert all_of(uniform(4, [PlannedPhase(name="p", duration="1s")], 0, 1)) == [
        0,
        250_000_000,
        500_000_000,
        750_000_000,
    ]


def test_a_phase_of_rate_zero_is_silent_and_the_next_one_begins_on_time() -> None:
    plan = [PlannedPhase(name=name, duration="1s", rate=rate) for name, rate in (("a", "0%"), ("b", "100%"))]
    assert all_of(uniform(2, plan, 0, 1)) == [1_000_000_000, 1_500_000_000]


def rates_by(seconds: float, times: list[int]) -> list[float]:
    """Arrivals a second in each of the stretches of so many seconds."""
    counts = Counter(int(time / (seconds * SECOND_NS)) for time in times)
    return [counts[number] / seconds for number in range(max(counts) + 1)]


def test_a_ramp_rises_evenly_and_steps_are_of_equal_length() -> None:
    ramp = PlannedPhase(name="p", duration="4s", rate="0%..200%")
    assert rates_by(1, all_of(uniform(100, [ramp], 0, 1))) == pytest.approx([25, 75, 125, 175], abs=1)
    steps = PlannedPhase(name="p", duration="3s", rate=["50%", "100%", "300%"])
    assert rates_by(1, all_of(uniform(100, [steps], 0, 1))) == pytest.approx([50, 100, 300], abs=1)


def test_bursts_interrupt_the_rate_and_are_counted_from_the_start_of_the_phase() -> None:
    burst = {"every": "2s", "length": "500ms", "rate": "500%"}
    plan = [PlannedPhase(name="a", duration="1s"), PlannedPhase(name="p", duration="5s", rate="100%", burst=burst)]
    rates = rates_by(0.5, all_of(uniform(100, plan, 0, 1)))
    assert rates == pytest.approx([100] * 6 + [500] + [100] * 3 + [500] + [100], abs=3)


def test_pieces_lie_end_to_end_and_keep_the_ramp_between_bursts() -> None:
    course, burst = Course(((1.0, 2.0),)), Burst(every="2s", length="1s", rate="0%")
    assert pieces(5.5, course, burst) == [
        Piece(0.0, 2.0, 1.0, pytest.approx(1 + 2 / 5.5)),
        Piece(2.0, 1.0, 0.0, 0.0),
        Piece(3.0, 1.0, pytest.approx(1 + 3 / 5.5), pytest.approx(1 + 4 / 5.5)),
        Piece(4.0, 1.0, 0.0, 0.0),
        Piece(5.0, 0.5, pytest.approx(1 + 5 / 5.5), pytest.approx(2.0)),
    ]


@pytest.mark.parametrize(
    ("text", "course"),
    [
        ("50%", Course(((0.5, 0.5),))),
        ("100/s..30/min", Course(((100.0, 0.5),), absolute=True)),
        (["50%", "100% .. 200%"], Course(((0.5, 0.5), (1.0, 2.0)))),
    ],
)
def test_rates_are_read_and_written(text: Any, course: Course) -> None:
    phase = PlannedPhase(name="p", duration="1s", rate=text)
    assert phase.rate == course
    assert PlannedPhase.model_validate_json(phase.model_dump_json()) == phase


@pytest.mark.parametrize("text", [0.5, "fast", "1%..2%..3%", "5", [], ["50%", "10/s"], "10/s..50%"])
def test_what_is_no_rate_is_refused_with_what_to_write(text: Any) -> None:
    with pytest.raises(ValidationError, match=r"write|unit|mix"):
        PlannedPhase(name="p", duration="1s", rate=text)


def test_without_phases_it_never_ends() -> None:
    endless = due_times(stretches(10, []), uniform_positions(0, 1))
    assert next(itertools.islice(endless, 1_000_000, None)) == 100_000 * SECOND_NS
    assert length_ns([]) is None


def test_poisson_arrivals_keep_the_rate_and_have_exponential_gaps() -> None:
    plan = [PlannedPhase(name="p", duration="200s")]
    processes = 5
    merged = sorted(
        itertools.chain(
            *(all_of(arrivals_of(50, "poisson", plan, p, processes, random.Random(p))) for p in range(processes))
        )
    )
    assert abs(len(merged) - 10_000) < 500  # five standard deviations
    gaps = [after - before for before, after in itertools.pairwise(merged)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert 0.85 < variance / mean**2 < 1.15  # 1 for an exponential distribution, 0 for equal distances


def test_poisson_arrivals_are_the_seeds() -> None:
    plan = [PlannedPhase(name="p", duration="5s")]
    first, again, other = (
        all_of(arrivals_of(50, "poisson", plan, 0, 1, random.Random(seed))) for seed in ("a", "a", "b")
    )
    assert first == again != other


@given(rates, phases, st.integers(1, 4), st.lists(st.floats(0, 1), max_size=30))
def test_offered_counts_what_was_due_whether_it_was_taken_or_not(
    rate: float, plan: list[PlannedPhase], processes: int, steps: list[float]
) -> None:
    times = all_of(uniform(rate, plan, 0, processes))
    arrivals = uniform(rate, plan, 0, processes)
    end_ns = length_ns(plan) or 0
    at_ns, taken = 0, []
    for step in steps:
        if step < 0.5:
            due = arrivals.take()
            if due is not None:
                taken.append(due)
        else:
            at_ns = min(end_ns, at_ns + int((step - 0.5) * SECOND_NS))
            assert arrivals.offered_by(at_ns) == sum(time <= at_ns for time in times)
    assert taken + all_of(arrivals) == times, "asking what was offered neither drops nor reorders anything"
    assert arrivals.offered_by(end_ns) == len(times)


def test_a_limit_ends_it() -> None:
    arrivals = arrivals_of(10, "uniform", [], 0, 1, random.Random(0), limit=3)
    assert all_of(arrivals) == [0, 100_000_000, 200_000_000]
    assert arrivals.offered_by(SECOND_NS) == 3
