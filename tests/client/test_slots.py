"""Slots and dispatch: every process of a plan runs on exactly one worker, in the Region that its share asks for."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lastwriter.client.dispatch import assignment
from lastwriter.client.plan import Load, LoadPlan, PlannedPhase
from lastwriter.client.slots import plan_slots, process_count, region_cycle, share_words, slots_by_worker, worker_slots

REGIONS = ["us-east-1", "us-east-2", "us-west-2"]


def plan_of(*loads: Load, phases: bool = True) -> LoadPlan:
    return LoadPlan(
        run="r",
        run_directory="r",
        seed=1,
        mode="MREC",
        table="t",
        endpoints={region: f"http://{region}" for region in REGIONS},
        loads=list(loads),
        phases=[PlannedPhase(name="p", duration="1s")] if phases else [],
    )


loads = st.builds(
    lambda workload, count, shares: Load(
        workload=workload,
        users=count,
        regions={region: f"{share}%" for region, share in zip(REGIONS, shares, strict=True)} if any(shares) else {},
    ),
    st.sampled_from(["a", "b"]),
    st.integers(1, 12),
    st.tuples(*[st.sampled_from([0, 10, 45, 100])] * 3),
)


@given(st.lists(loads, min_size=1, max_size=4), st.integers(1, 5))
def test_every_process_runs_on_exactly_one_worker(some: list[Load], workers: int) -> None:
    plan = plan_of(*some)
    everywhere = plan_slots(plan)
    taken = [
        slot for worker in range(workers) for slots in worker_slots(plan, worker, workers).values() for slot in slots
    ]
    key = lambda slot: (slot.load_index, slot.process)  # noqa: E731
    assert sorted(taken, key=key) == everywhere
    assert len({key(slot) for slot in taken}) == sum(load.users or 0 for load in some)
    assert len({slot.seed for slot in taken}) == len(taken)


@given(st.lists(loads, min_size=1, max_size=4), st.integers(1, 5))
def test_locust_is_told_to_start_exactly_the_users_that_the_workers_have_slots_for(
    some: list[Load], workers: int
) -> None:
    plan = plan_of(*some)
    classes: Any = [type(name.upper(), (), {"workload": name}) for name in "ab"]
    counts = assignment(plan, [f"w{number}" for number in range(workers)], classes)
    assert counts is not None
    for number in range(workers):
        slots = [slot for mine in worker_slots(plan, number, workers).values() for slot in mine]
        assert Counter(slot.load.workload.upper() for slot in slots) == Counter(counts[f"w{number}"])


@given(st.dictionaries(st.sampled_from(REGIONS), st.integers(1, 100), min_size=1), st.integers(1, 60))
def test_regions_stay_within_one_process_of_their_share(shares: dict[str, int], count: int) -> None:
    counts = Counter(islice(region_cycle({region: float(share) for region, share in shares.items()}), count))
    for region, share in shares.items():
        assert abs(counts[region] - share / sum(shares.values()) * count) <= 1 + 1e-6


def test_processes_are_enough_for_the_rate_and_for_every_region() -> None:
    assert process_count(Load(workload="a", rate="500/s"), REGIONS) == 100
    assert process_count(Load(workload="a", rate="1/s"), REGIONS) == 3
    ninety_ten = {"us-east-1": "90%", "us-west-2": "10%"}
    few = Load(workload="a", rate="5/s", regions=ninety_ten)
    assert Counter(islice(region_cycle({"a": 0.9, "b": 0.1}), process_count(few, REGIONS)))["b"] == 1
    assert process_count(Load(workload="a", rate="5/s", processes=2), REGIONS) == 2


def test_started_by_hand_in_a_closed_loop_there_are_as_many_processes_as_users() -> None:
    plan = plan_of(Load(workload="a"), phases=False)
    assert assignment(plan, ["w0"], [type("A", (), {"workload": "a"})]) is None, "Locust's number of users decides"
    one, other = (list(islice(worker_slots(plan, worker, 2)[0], 6)) for worker in range(2))
    assert [slot.process for slot in one] == [0, 2, 4, 6, 8, 10]
    assert [slot.process for slot in other] == [1, 3, 5, 7, 9, 11]
    assert Counter(slot.region for slot in one + other) == dict.fromkeys(REGIONS, 4)


def test_processes_that_share_a_rate_can_be_divided_by_the_shares() -> None:
    assert process_count(Load(workload="a", rate="20/s"), REGIONS) == 6, "four would be two here and one there"
    seventy_thirty = Load(workload="a", rate="60/s", regions={"us-east-1": "70%", "us-east-2": "30%"})
    assert Counter(slot.region for slot in plan_slots(plan_of(seventy_thirty))) == {"us-east-1": 9, "us-east-2": 4}


@given(st.floats(0.5, 3000), st.dictionaries(st.sampled_from(REGIONS), st.integers(1, 100), min_size=1))
def test_every_region_has_its_share_of_a_rate(rate: float, shares: dict[str, int]) -> None:
    total = sum(shares.values())
    regions = {region: f"{share / total * 100}%" for region, share in shares.items()}
    load = Load(workload="a", rate=f"{rate:.3f}/s", regions=regions)
    slots = Counter(slot.region for slot in plan_slots(plan_of(load)))
    for region, share in shares.items():
        assert slots[region] >= 1
        assert abs(slots[region] / slots.total() - share / total) < 0.03


def test_what_a_worker_does_of_the_load_is_told_in_users_and_rate() -> None:
    plan = plan_of(Load(workload="a", rate="90/s", processes=6), Load(workload="b", users=2))
    first, second = slots_by_worker(plan, 2)
    assert share_words(first, [*first, *second]) == "4 of 8 users, 45/s of 90/s"
    (closed,) = slots_by_worker(plan_of(Load(workload="b", users=2)), 1)
    assert share_words(closed, closed) == "2 of 2 users"
