"""Hosts' clocks: every recorded time brought to the reference host's clock, and how wrong it may be there.

Operations of one host are ordered by its own monotonic clock. Between hosts a time is known up to ε(t): a reading of
the host's clock (an *anchor*: half its round trip) holds at its own moment; away from it the clock may drift by
:data:`RATE_ERROR`. So each anchor bounds the offset by a cone around itself, and the true offset lies in all cones at
once. It is interpolated between the two anchors around t, and ε is how far the cones let it be from there.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.history.columns import History, Int64, LostRange
from verifier.rundir import RunInfo

RATE_ERROR: Final = 200e-6
"""Most by which a clock's rate may be wrong: 200 ppm, which is 360 ms in half an hour without a reading."""

UNRELATED_NS: Final = 10**17
"""Stands for ε where several hosts took part and nobody compared a clock with the others': no order is known."""


@dataclass(frozen=True, slots=True)
class _Readings:
    """One host's anchors in order of its own time; empty: its clock was never compared with the reference host's."""

    at_ns: Int64
    """Time of the host itself."""
    offset_ns: Int64
    epsilon_ns: Int64
    is_reference: bool = False

    def offset(self, at_ns: Int64) -> tuple[Int64, Int64]:
        """Host minus reference at these times of the host, and ε."""
        size = len(self.at_ns)
        if self.is_reference:
            return np.zeros(len(at_ns), np.int64), np.zeros(len(at_ns), np.int64)
        if not size:
            return np.zeros(len(at_ns), np.int64), np.full(len(at_ns), UNRELATED_NS, np.int64)
        best = np.interp(at_ns - self.at_ns[0], self.at_ns - self.at_ns[0], self.offset_ns - self.offset_ns[0])
        right = np.clip(np.searchsorted(self.at_ns, at_ns), 0, size - 1)
        low = np.full(len(at_ns), -np.inf)
        high = np.full(len(at_ns), np.inf)
        for side in (np.maximum(right - 1, 0), right):
            middle = self.offset_ns[side] - self.offset_ns[0]
            radius = self.epsilon_ns[side] + RATE_ERROR * np.abs(at_ns - self.at_ns[side])
            low, high = np.maximum(low, middle - radius), np.minimum(high, middle + radius)
        # Readings that contradict each other (a clock that was set, or worse than it should be): all between them.
        low, high = np.minimum(low, high), np.maximum(low, high)
        epsilon = np.ceil(np.maximum(np.abs(high - best), np.abs(best - low))).astype(np.int64)
        return np.rint(best).astype(np.int64) + self.offset_ns[0], epsilon


@dataclass(frozen=True, slots=True)
class Clocks:
    """The hosts of a run. Made by :func:`clocks_of`; only where there is more than one."""

    hosts: tuple[str, ...]
    host_of_worker: Int64
    """By number of the worker; a worker that the run does not list counts as the first host's."""
    readings: tuple[_Readings, ...]
    """By host."""

    def hosts_of(self, history: History) -> Int64:
        """Number of the host that each row was recorded on."""
        return self.host_of_worker[np.minimum(history.worker, len(self.host_of_worker) - 1)]

    def corrected(self, history: History) -> History:
        """The same operations with every time on the reference host's clock. Done once, when a record is read."""
        host = self.hosts_of(history)
        columns = {}
        for name in ("scheduled_ns", "start_ns", "end_ns"):
            times = getattr(history, name).copy()
            for number, readings in enumerate(self.readings):
                mine = np.flatnonzero(host == number)
                times[mine] -= readings.offset(times[mine])[0]
            columns[name] = times
        lost = tuple(self._lost(one) for one in history.lost)
        return dataclasses.replace(history, **columns, lost=lost)

    def of_worker(self, worker: int, times: Int64) -> Int64:
        """One worker's times on the reference host's clock."""
        return times - self._of(worker).offset(times)[0]

    def epsilon_of_worker(self, worker: int, times: Int64) -> Int64:
        """:meth:`epsilon` of times of one worker that are on the reference host's clock already."""
        readings = self._of(worker)
        return readings.offset(times + readings.offset(times)[0])[1]

    def host_of(self, worker: int) -> int:
        """Number of a worker's host."""
        return int(self.host_of_worker[min(worker, len(self.host_of_worker) - 1)])

    def _of(self, worker: int) -> _Readings:
        return self.readings[self.host_of(worker)]

    def _lost(self, lost: LostRange) -> LostRange:
        """Operations without a row began after a time of their host: widened at once, as nothing else does it."""
        host = int(self.host_of_worker[min(lost.worker, len(self.host_of_worker) - 1)])
        offset, epsilon = self.readings[host].offset(np.array([lost.since_ns], np.int64))
        since = lost.since_ns - int(offset[0]) - int(epsilon[0])
        return dataclasses.replace(lost, since_ns=max(since, -(1 << 61)))

    def epsilon(self, history: History, times: Int64) -> Int64:
        """ε of each row's ``times``, which are on the reference host's clock already."""
        host = self.hosts_of(history)
        epsilon = np.zeros(len(times), np.int64)
        for number, readings in enumerate(self.readings):
            mine = np.flatnonzero(host == number)
            if len(mine):
                # The offset moves by next to nothing while a clock moves by its own offset: once is enough.
                local = times[mine] + readings.offset(times[mine])[0]
                epsilon[mine] = readings.offset(local)[1]
        return epsilon


def clocks_of(run: RunInfo) -> Clocks | None:
    """The run's hosts; null where all workers ran on the reference host, whose clock is then everybody's."""
    hosts = tuple(dict.fromkeys(worker.host for worker in sorted(run.workers, key=lambda one: one.worker)))
    if not hosts or (len(hosts) < 2 and run.host in (None, *hosts)):
        return None  # a killed run does not list its workers; records of other hosts are not in its directory then
    host_of_worker = np.zeros(max(worker.worker for worker in run.workers) + 1, np.int64)
    for worker in run.workers:
        host_of_worker[worker.worker] = hosts.index(worker.host)
    readings = tuple(_readings(run, host) for host in hosts)
    return Clocks(hosts, host_of_worker, readings)


def worst_epsilon_ns(clocks: Clocks | None, history: History) -> int:
    """The greatest ε of any recorded time: for checks that compare everything with everything."""
    if clocks is None or not len(history):
        return 0
    return int(max(clocks.epsilon(history, times).max() for times in (history.start_ns, history.end_ns)))


def _readings(run: RunInfo, host: str) -> _Readings:
    anchors = [one for one in run.clock if one.host == host]
    rows = {(one.at_ns + one.offset_ns, one.offset_ns, one.epsilon_ns) for one in anchors}
    # Of several readings at one moment the one with the shortest round trip counts.
    kept = {at: (at, offset, epsilon) for at, offset, epsilon in sorted(rows, key=lambda row: -row[2])}
    columns = np.array(sorted(kept.values()), np.int64).reshape(-1, 3)
    return _Readings(columns[:, 0], columns[:, 1], columns[:, 2], host == run.host)
