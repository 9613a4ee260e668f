"""When each process sends: times fixed before the run begins, so that a slow store cannot slow the load down.

Arrivals of a load are counted from 0 in the order of the merged schedule. With the rate r(t) of the load, arrival n
is due when the integral of r from t0 on reaches n. Uniform arrivals have n = 0, 1, 2 …, and process p of P takes p,
p + P, p + 2P …; with Poisson arrivals each process draws its own, P apart on average. All times are nanoseconds
from t0.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lastwriter.client.course import pieces
from lastwriter.client.plan import PlannedPhase

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time on which the rate is constant, or rises or falls evenly."""

    start_ns: int
    rate: float
    """Arrivals a second, at its start."""
    slope: float
    """By how much the rate rises a second."""
    before: float
    """Arrivals due before it begins."""
    after: float
    """Arrivals due before it ends; infinite for a stretch without end."""


def stretches(rate: float, phases: Sequence[PlannedPhase]) -> list[Stretch]:
    """A load's rate over time. Without phases it is the same for ever."""
    if not phases:
        return [Stretch(0, rate, 0.0, 0.0, float("inf"))]
    found: list[Stretch] = []
    start_s, before = 0.0, 0.0
    for phase in phases:
        for piece in pieces(phase.duration, phase.rate, phase.burst):
            after = before + rate * (piece.first + piece.last) / 2 * piece.seconds
            start_ns = round((start_s + piece.start_s) * SECOND_NS)
            slope = rate * (piece.last - piece.first) / piece.seconds
            found.append(Stretch(start_ns, rate * piece.first, slope, before, after))
            before = after
        start_s += phase.duration
    return found


def peak(phases: Sequence[PlannedPhase]) -> float:
    """The highest rate of the phases, as a share of a load's own."""
    bursts = [phase.burst.rate for phase in phases if phase.burst is not None]
    return max((course.highest for course in (*bursts, *(phase.rate for phase in phases))), default=1.0)


def length_ns(phases: Sequence[PlannedPhase]) -> int | None:
    """From t0 to the end of the last phase; None without phases: until somebody stops it."""
    return round(sum(phase.duration for phase in phases) * SECOND_NS) if phases else None


def uniform_positions(process: int, processes: int) -> Iterator[float]:
    """Arrivals of process p of P in a merged schedule at equal distances."""
    return itertools.count(process, processes)


def poisson_positions(processes: int, rng: random.Random) -> Iterator[float]:
    """Arrivals of one of P processes, drawn independently: the merged schedule is a Poisson process."""
    position = 0.0
    while True:
        position += rng.expovariate(1 / processes)
        yield position


def due_times(rate: Sequence[Stretch], positions: Iterable[float]) -> Iterator[int]:
    """When arrivals at ascending ``positions`` are due. Ends with the last stretch."""
    ascending = iter(positions)
    position = next(ascending, None)
    for stretch in rate:
        while position is not None and position < stretch.after:
            more, mean = position - stretch.before, stretch.rate
            if stretch.slope:
                # The time t at which rate · t + slope · t² / 2 = more, in the form that does not cancel.
                mean = (mean + math.sqrt(max(0.0, mean * mean + 2 * stretch.slope * more))) / 2
            yield stretch.start_ns + (int(more / mean * SECOND_NS) if more else 0)
            position = next(ascending, None)


class Arrivals:
    """What one process has to send, in order, and how much of it was due by any time."""

    def __init__(self, times: Iterable[int], limit: int | None = None) -> None:
        self._times = itertools.islice(times, limit) if limit is not None else iter(times)
        self._coming = next(self._times, None)
        self._ahead: deque[int] = deque()
        """Due and counted, not taken: the process is behind."""
        self._uncounted: deque[int] = deque()
        """Taken and not counted as offered yet."""
        self._offered = 0

    def take(self) -> int | None:
        """When the next intent is due (the past, after a stall); None: nothing more to send."""
        if self._ahead:
            return self._ahead.popleft()
        due = self._coming
        if due is not None:
            self._uncounted.append(due)
            self._coming = next(self._times, None)
        return due

    def offered_by(self, at_ns: int) -> int:
        """How many intents were due by ``at_ns``, sent or not. Ask with ascending times."""
        while self._uncounted and self._uncounted[0] <= at_ns:
            self._uncounted.popleft()
            self._offered += 1
        while self._coming is not None and self._coming <= at_ns:
            self._ahead.append(self._coming)
            self._offered += 1
            self._coming = next(self._times, None)
        return self._offered


def arrivals_of(
    rate: float,
    arrival: Literal["uniform", "poisson"],
    phases: Sequence[PlannedPhase],
    process: int,
    processes: int,
    rng: random.Random,
    limit: int | None = None,
) -> Arrivals:
    """The schedule of process p of P of a load."""
    positions = uniform_positions(process, processes) if arrival == "uniform" else poisson_positions(processes, rng)
    return Arrivals(due_times(stretches(rate, phases), positions), limit)
