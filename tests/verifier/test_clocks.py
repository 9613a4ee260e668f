"""Clocks of several hosts: offsets from readings, and how wrong they may be in between."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.verifier.builders import build, read, run_info, write
from verifier.clocks import RATE_ERROR, UNRELATED_NS, Clocks, clocks_of
from verifier.history.schema import op_id
from verifier.rundir import ClockAnchor, WorkerInfo

MS = 1_000_000
S = 1_000 * MS


def clocks(*anchors: ClockAnchor, reference: str | None = "a") -> Clocks:
    run = run_info(
        workers=[WorkerInfo(worker=0, host="a"), WorkerInfo(worker=1, host="b")], clock=list(anchors), host=reference
    )
    found = clocks_of(run)
    assert found is not None
    return found


def anchor(at_ns: int, offset_ns: int, epsilon_ns: int = MS) -> ClockAnchor:
    return ClockAnchor(host="b", at_ns=at_ns, offset_ns=offset_ns, epsilon_ns=epsilon_ns)


def test_one_host_needs_no_clock() -> None:
    workers = [WorkerInfo(worker=0, host="a"), WorkerInfo(worker=1, host="a")]
    assert clocks_of(run_info(workers=workers)) is None
    assert clocks_of(run_info(workers=workers, host="a")) is None


def test_workers_on_another_host_than_the_reference_are_corrected_even_if_it_is_only_one() -> None:
    run = run_info(workers=[WorkerInfo(worker=0, host="b")], clock=[anchor(0, 7)], host="a")
    found = clocks_of(run)
    assert found is not None
    history, _ = build([write(107, 109)])
    assert found.corrected(history).start_ns.tolist() == [100]


def test_times_are_brought_to_the_reference_hosts_clock() -> None:
    found = clocks(anchor(0, 100 * S), anchor(10 * S, 100 * S + 2 * MS))
    history, _ = build([write(5, 6, op=op_id(0, 1)), read(105 * S, 106 * S, op=op_id(1, 1))])
    corrected = found.corrected(history)
    assert sorted(corrected.start_ns.tolist()) == pytest.approx([5, 5 * S - MS], abs=1000)
    assert corrected.scheduled_ns.tolist() == corrected.start_ns.tolist()


def test_epsilon_grows_with_the_distance_to_the_nearest_reading() -> None:
    found = clocks(anchor(0, 0), anchor(100 * S, 0))
    history, _ = build([read(at * S, at * S, op=op_id(1, at + 1)) for at in (0, 10, 50, 90, 100, 1000)])
    epsilon = dict(
        zip((history.start_ns // S).tolist(), found.epsilon(history, history.start_ns).tolist(), strict=True)
    )
    assert epsilon[0] == epsilon[100] == MS
    assert epsilon[10] == pytest.approx(MS + 10 * S * RATE_ERROR, rel=1e-6)
    assert epsilon[50] == pytest.approx(MS + 50 * S * RATE_ERROR, rel=1e-6)
    assert epsilon[1000] == pytest.approx(MS + 900 * S * RATE_ERROR, rel=1e-6)


def test_the_reference_host_is_exact_and_a_host_that_nobody_asked_is_unrelated() -> None:
    found = clocks()
    history, _ = build([write(5, 6, op=op_id(0, 1)), read(7, 8, op=op_id(1, 1))])
    assert sorted(found.epsilon(history, history.start_ns).tolist()) == [0, UNRELATED_NS]


def test_readings_that_contradict_each_other_bound_everything_between_them() -> None:
    found = clocks(anchor(0, 0, 10), anchor(1000, 10 * MS, 10))  # ten milliseconds in a microsecond
    history, _ = build([read(500, 500, op=op_id(1, 1))])
    assert found.epsilon(history, history.start_ns)[0] >= 5 * MS - 20


@pytest.mark.parametrize("seed", range(20))
def test_the_true_offset_is_never_further_off_than_epsilon(seed: int) -> None:
    """A clock that drifts as badly as it may, read over round trips that are as lopsided as they may be."""
    rng = random.Random(seed)
    at, true = [0], [rng.randrange(-S, S)]
    for _ in range(200):
        step = rng.randrange(1, 2 * S)
        at.append(at[-1] + step)
        true.append(true[-1] + round(step * rng.uniform(-RATE_ERROR, RATE_ERROR)))
    anchors = []
    for place in sorted(rng.sample(range(len(at)), rng.randrange(1, 12))):
        epsilon = rng.randrange(1, 3 * MS)
        anchors.append(anchor(at[place], true[place] + rng.randint(-epsilon, epsilon), epsilon))
    found = clocks(*anchors)
    local = [moment + offset for moment, offset in zip(at, true, strict=True)]
    history, _ = build([read(moment, moment, op=op_id(1, place + 1)) for place, moment in enumerate(local)])
    corrected = found.corrected(history)
    epsilon = found.epsilon(corrected, corrected.start_ns)
    moments = np.array(at)[(corrected.op - op_id(1, 1)).astype(int)]
    assert (np.abs(corrected.start_ns - moments) <= epsilon + 3).all()
