"""How far this worker itself can be trusted with times: its loop's lag, how late it woke for a due intent, its CPU.

One JSON object a second in ``history/worker-N.lag.jsonl``::

    {"second": 12, "t_ns": …, "lag_p50_ms": 0.1, "lag_p99_ms": 0.9, "lag_max_ms": 2.2, "late_p99_ms": 0.4,
    "late_max_ms": 1.1,
     "woken": 200, "cpu": 0.31}

``second`` counts from t0 and begins at ``t_ns`` (the worker's monotonic clock). ``lag``: how much later than asked
a greenlet that sleeps 10 ms wakes. ``late``: how long after an intent was due a process that was idle woke for it
(null: none did); what the store's slowness delays is not in it. ``cpu``: seconds of CPU a second. A second counts
as marked when ``lag_p99_ms`` or ``late_p99_ms`` exceeds 10.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import gevent
import orjson

from lastwriter.client.clock import monotonic_ns

PROBE_S: Final = 0.01
SECOND_NS: Final = 1_000_000_000


class Truth:
    """Measures one worker from t0 on."""

    def __init__(self, path: Path, t0_ns: int) -> None:
        self._path, self._t0_ns = path, t0_ns
        self._second = 0
        self._lag_ns: list[int] = []
        self._late_ns: list[int] = []
        self._cpu_ns = time.process_time_ns()
        self._lines: list[bytes] = []

    def woken(self, late_ns: int) -> None:
        """An idle process woke this much after its intent was due."""
        self._late_ns.append(late_ns)

    def probe(self) -> None:
        """Measure for ever; a greenlet of its own."""
        while True:
            asked_ns = monotonic_ns()
            gevent.sleep(PROBE_S)
            now_ns = monotonic_ns()
            self._lag_ns.append(now_ns - asked_ns - int(PROBE_S * SECOND_NS))
            if (now_ns - self._t0_ns) // SECOND_NS != self._second:
                self._turn(now_ns)

    def write(self) -> None:
        """Append the seconds that are over to the file. A full disk costs them, nothing else."""
        lines, self._lines = self._lines, []
        if lines:
            try:
                with self._path.open("ab") as file:
                    file.write(b"".join(lines))
            except OSError:
                return

    def close(self) -> None:
        """The last, partial second too."""
        if self._lag_ns:
            self._turn(monotonic_ns())
        self.write()

    def _turn(self, now_ns: int) -> None:
        lag, late, cpu_ns = sorted(self._lag_ns), sorted(self._late_ns), time.process_time_ns()
        self._lag_ns, self._late_ns = [], []
        began_ns = self._t0_ns + self._second * SECOND_NS
        line: dict[str, Any] = {
            "second": self._second,
            "t_ns": began_ns,
            "lag_p50_ms": _ms(lag, 0.5),
            "lag_p99_ms": _ms(lag, 0.99),
            "lag_max_ms": _ms(lag, 1),
            "late_p99_ms": _ms(late, 0.99),
            "late_max_ms": _ms(late, 1),
            "woken": len(late),
            "cpu": round((cpu_ns - self._cpu_ns) / max(1, now_ns - began_ns), 3),
        }
        self._lines.append(orjson.dumps(line) + b"\n")
        self._cpu_ns = cpu_ns
        self._second = int((now_ns - self._t0_ns) // SECOND_NS)


def _ms(ascending: list[int], share: float) -> float | None:
    if not ascending:
        return None
    return round(ascending[min(len(ascending) - 1, int(share * len(ascending)))] / 1e6, 3)
