"""Seeded random schedules of operations, faults and restarts through both modes, judged by the verifier's own checks.

The emulator keeps its contract in all of them, and the verifier accuses it in none: one property holds both to account.
"""

from __future__ import annotations

from collections import Counter

import pytest

from lastwriter.emulator.core.bugs import BUGS, Bug
from tests.emulator.bug_drills import LOST_REPLIES, OF_STREAMS
from tests.emulator.drills import Drill, Window, perform, verdicts
from tests.emulator.schedules import schedule
from tests.emulator.virtual import REGIONS
from verifier.history.schema import Outcome

MODES = ("MREC", "MRSC")
OFTEN = 10
"""One write in so many, for bugs that do not hit them all."""


@pytest.mark.parametrize("mode", MODES)
def test_the_contract_is_kept(mode: str) -> None:
    exercised = judge(mode, range(40))
    assert exercised["convergence"] == 40
    assert exercised["register" if mode == "MRSC" else "local_register"] > 30


@pytest.mark.long
@pytest.mark.parametrize("block", range(5))
@pytest.mark.parametrize("mode", MODES)
def test_the_contract_is_kept_in_thousands(mode: str, block: int) -> None:
    judge(mode, range(1000 + 300 * block, 1300 + 300 * block))


def test_a_request_refused_after_its_reply_was_lost_may_have_taken_effect() -> None:
    throttled = {"kind": "region-throttled", "regions": REGIONS, "share": "30%"}
    windows = Window(0, 3_600_000, LOST_REPLIES), Window(0, 3_600_000, throttled)
    drill = Drill("MREC", operations=100, counters=0, registers=0, idempotent=3, own=True, windows=windows)
    history, context = perform(drill, 1)
    doubtful = (history.outcome == Outcome.UNKNOWN) & (history.error == history.errors.index("ThrottlingException"))
    assert doubtful.any()
    found = verdicts(drill, history, context)
    assert found["refused"] == "holds"
    assert "violated" not in found.values(), found


@pytest.mark.parametrize("seed", [2219, 2292])
def test_a_schedule_that_was_once_judged_wrongly(seed: int) -> None:
    judge("MREC", range(seed, seed + 1))


def test_a_kill_in_the_moment_of_healing_keeps_what_healing_answered() -> None:
    windows = tuple(
        Window(at_ms - 60, at_ms, {"kind": "region-isolated", "regions": [REGIONS[at_ms // 100 % 3]]})
        for at_ms in range(100, 1100, 100)
    )
    settings = {"latency_scale": "0%"}  # all that waited is answered as the Region is back
    drill = Drill("MRSC", 120, restart_ms=100, deletable=2, think_ms=30, windows=windows, settings=settings)
    for seed in range(6):
        found = verdicts(drill, *perform(drill, seed))
        assert "violated" not in found.values(), (seed, found)


def judge(mode: str, seeds: range) -> Counter[str]:
    """No check finds anything; how often each had something to judge."""
    exercised: Counter[str] = Counter()
    for seed in seeds:
        drill = schedule(mode, seed)
        found = verdicts(drill, *perform(drill, seed))
        assert "violated" not in found.values(), (seed, found, drill)
        exercised.update(name for name, verdict in found.items() if verdict == "holds")
    return exercised


def first(bug: Bug, mode: str, seeds: range) -> int | None:
    """The first seed in which the check named for a bug finds it."""
    for seed in seeds:
        drill = schedule(mode, seed)
        if verdicts(drill, *perform(drill, seed, {bug.name: OFTEN})).get(bug.check) == "violated":
            return seed
    return None


CASES = [(bug, mode) for bug in BUGS if bug.name not in OF_STREAMS for mode in MODES if bug.mode in (mode, "both")]


@pytest.mark.long
@pytest.mark.parametrize(("bug", "mode"), CASES, ids=[f"{bug.name}-{mode}" for bug, mode in CASES])
def test_random_schedules_find_every_planted_bug(bug: Bug, mode: str) -> None:
    assert first(bug, mode, range(600)) is not None
