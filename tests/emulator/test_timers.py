"""The alarm of a running emulator, and the order of what is due in virtual time."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
import uvloop

from lastwriter.emulator.core.scheduler import Scheduler
from lastwriter.emulator.shell.timers import Waker

MS = 1_000_000


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
@pytest.mark.parametrize("descriptor", [True, False])
def test_an_alarm_is_never_early(run: object, descriptor: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not descriptor:
        monkeypatch.setattr("sys.platform", "elsewhere")

    async def main() -> None:
        rng = random.Random(1)
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        waker = Waker(loop, woken.set)
        try:
            for _ in range(40):
                due_ns = time.monotonic_ns() + rng.randrange(5 * MS)
                waker.at(due_ns)
                await asyncio.wait_for(woken.wait(), 10)
                assert time.monotonic_ns() >= due_ns
                woken.clear()
        finally:
            waker.close()

    run(main())  # type: ignore[operator]


def test_an_earlier_alarm_replaces_a_later_one_and_the_past_is_now() -> None:
    async def main() -> None:
        woken = asyncio.Event()
        waker = Waker(asyncio.get_running_loop(), woken.set)
        try:
            waker.at(time.monotonic_ns() + 3600 * 1000 * MS)
            waker.at(time.monotonic_ns() - 5 * MS)
            await asyncio.wait_for(woken.wait(), 10)
        finally:
            waker.close()

    uvloop.run(main())


def test_events_run_in_order_of_time_and_then_of_asking() -> None:
    scheduler = Scheduler()
    ran: list[tuple[str, int]] = []

    def note(name: str) -> None:
        ran.append((name, scheduler.now_ns))

    scheduler.at(20, note, "c")
    scheduler.at(10, note, "a")
    scheduler.at(10, note, "b")
    scheduler.advance(9)
    assert ran == []
    assert scheduler.next_ns == 10
    scheduler.advance(15)
    assert ran == [("a", 10), ("b", 10)]
    scheduler.advance(25)
    assert ran[2:] == [("c", 20)]
    assert scheduler.now_ns == 25
    assert scheduler.next_ns is None


def test_what_is_asked_for_soon_runs_before_the_next_event() -> None:
    scheduler = Scheduler()
    ran: list[str] = []
    scheduler.at(10, lambda: (scheduler.soon(ran.append, "soon"), ran.append("first")))
    scheduler.at(10, ran.append, "second")
    scheduler.advance(10)
    assert ran == ["first", "soon", "second"]


def test_a_limited_call_leaves_the_rest_due_and_time_where_it_was() -> None:
    scheduler = Scheduler()
    ran: list[int] = []
    for number in range(5):
        scheduler.at(number, ran.append, number)
    scheduler.advance(100, limit=3)
    assert (ran, scheduler.next_ns, scheduler.now_ns) == ([0, 1, 2], 3, 2)
    scheduler.advance(100, limit=3)
    assert (ran, scheduler.next_ns, scheduler.now_ns) == ([0, 1, 2, 3, 4], None, 100)
