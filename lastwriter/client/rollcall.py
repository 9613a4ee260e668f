"""Who the workers of a run are, and how the clocks of their hosts stand to the master's.

The master sends a ping over Locust's channel, the worker answers with the time of its clock. That time was read
between sending and answer, so the clock's offset is known to within half the round trip, whatever part of it each way
took: that is ε. Of several pings the fastest is kept as the run's anchor. Workers that read the master's own clock
need none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import gevent

from lastwriter.client import clock
from verifier.rundir import ClockAnchor

PINGS: Final = 8
"""Pings of one reading; the fastest counts."""

PATIENCE_S: Final = 5.0
"""How long a reading waits for answers that do not come."""

PAUSE_S: Final = 0.01
"""Between two pings: a queue that the first has met is over then."""

Send = Callable[[str, dict[str, Any], str], None]
"""``send(message type, data, Locust's id of the worker)``."""


@dataclass(frozen=True, slots=True)
class Present:
    """A worker that answered."""

    host: str
    """What people call its host; unlike any other host's."""
    kernel: str
    """Which clock it reads (:func:`lastwriter.client.clock.kernel`)."""
    pid: int
    regions: tuple[str, ...]
    """Regions whose processes it runs; empty: any."""


class RollCall:
    """The master's knowledge of its workers; grows with every reading."""

    def __init__(self, send: Send, now: Callable[[], int] = time.monotonic_ns, pause_s: float = PAUSE_S) -> None:
        self._send, self._now, self._pause_s = send, now, pause_s
        self._present: dict[str, Present] = {}
        self._names = {clock.kernel(): clock.host()}
        self._answers: dict[tuple[str, int], tuple[int, int, int]] = {}
        self._reading = 0
        self._offset_ns: dict[str, int] = {clock.kernel(): 0}

    def present(self, worker_id: str) -> Present | None:
        """What is known of a worker; None: it has never answered."""
        return self._present.get(worker_id)

    def is_here(self, worker_id: str) -> bool:
        """Whether a worker reads the master's own clock: it is a process on this host."""
        found = self._present.get(worker_id)
        return found is not None and found.kernel == clock.kernel()

    def offset_ns(self, worker_id: str) -> int:
        """The worker's clock minus the master's, as last read; 0 where nobody knows."""
        found = self._present.get(worker_id)
        return 0 if found is None else self._offset_ns.get(found.kernel, 0)

    def read(self, worker_ids: Iterable[str]) -> list[ClockAnchor]:
        """Ping workers and wait for their answers; an anchor for each of their hosts that is not this one.

        Asks every worker that it has not met, and of the others one a host. Blocks for the pings' round trips, and
        for :data:`PATIENCE_S` where an answer does not come.
        """
        asked = self._to_ask(worker_ids)
        self._reading += 1
        for number in range(PINGS):
            if number:
                gevent.sleep(self._pause_s)
            for worker_id in asked:
                ping = {"ping": self._reading * PINGS + number, "sent_ns": self._now()}
                self._send("lastwriter-ping", ping, worker_id)
        first = self._reading * PINGS
        expected = {(worker_id, first + number) for worker_id in asked for number in range(PINGS)}
        deadline = time.monotonic() + PATIENCE_S
        while not expected <= self._answers.keys() and time.monotonic() < deadline:
            gevent.sleep(self._pause_s)
        anchors = [anchor for worker_id in asked if (anchor := self._anchor(worker_id)) is not None]
        self._answers.clear()
        best: dict[str, ClockAnchor] = {}
        for anchor in anchors:
            if anchor.host not in best or anchor.epsilon_ns < best[anchor.host].epsilon_ns:
                best[anchor.host] = anchor
        return list(best.values())

    def on_pong(self, worker_id: str, data: dict[str, Any]) -> None:
        """A worker's answer (:func:`answer`)."""
        received_ns = self._now()
        self._answers[worker_id, data["ping"]] = (data["sent_ns"], data["host_ns"], received_ns)
        kernel = str(data["kernel"])
        if kernel not in self._names:
            self._names[kernel] = _unlike(str(data["host"]), self._names.values())
        self._present[worker_id] = Present(self._names[kernel], kernel, int(data["pid"]), tuple(data["regions"]))

    def _to_ask(self, worker_ids: Iterable[str]) -> list[str]:
        asked, met = [], {clock.kernel()}
        for worker_id in worker_ids:
            found = self._present.get(worker_id)
            if found is None:
                asked.append(worker_id)
            elif found.kernel not in met:
                met.add(found.kernel)
                asked.append(worker_id)
        return asked

    def _anchor(self, worker_id: str) -> ClockAnchor | None:
        mine = [answer for (sender, _), answer in self._answers.items() if sender == worker_id]
        found = self._present.get(worker_id)
        if not mine or found is None or found.kernel == clock.kernel():
            return None
        sent_ns, host_ns, received_ns = min(mine, key=lambda answer: answer[2] - answer[0])
        at_ns = (sent_ns + received_ns) // 2
        self._offset_ns[found.kernel] = host_ns - at_ns
        return ClockAnchor(
            host=found.host,
            at_ns=at_ns,
            offset_ns=host_ns - at_ns,
            epsilon_ns=(received_ns - sent_ns) // 2 + 1,
        )


def answer(ping: dict[str, Any], regions: Iterable[str]) -> dict[str, Any]:
    """A worker's answer to a ping: who and where it is, and what its clock says."""
    return {
        **ping,
        "host_ns": clock.monotonic_ns(),
        "host": clock.host(),
        "kernel": clock.kernel(),
        "pid": os.getpid(),
        "regions": list(regions),
    }


def _unlike(name: str, others: Iterable[str]) -> str:
    taken = set(others)
    return next(
        candidate
        for number in range(1, len(taken) + 2)
        if (candidate := name if number == 1 else f"{name}-{number}") not in taken
    )
