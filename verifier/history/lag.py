"""How far each worker could be trusted with times: the seconds in which it was slow itself, as it measured them.

A worker writes one JSON object a second to ``history/worker-N.lag.jsonl`` (``lastwriter.client.truth`` says what is in
it). A second counts as slow where ``lag_p99_ms`` (how late its loop woke) or ``late_p99_ms`` (how late an idle process
woke for its intent) exceeds :data:`SLOW_CLIENT_MS`; and where the worker was so far behind that the second has no line
though a later one has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from verifier.clocks import Clocks

SLOW_CLIENT_MS: Final = 10.0
"""A worker that is later than this at p99 puts its own doing into the latencies of that second."""

_SECOND_NS: Final = 1_000_000_000
_LAG_FILE: Final = re.compile(r"worker-(\d+)\.lag\.jsonl\Z")


def read_slow_seconds(folder: Path, t0_ns: int, clocks: Clocks | None = None) -> dict[int, tuple[int, ...]]:
    """Seconds from ``t0_ns`` in which a worker was slow, by number of the worker; of those that measured themselves.

    A worker tells the time of its own host; ``clocks`` say what that is at the host of t0.

    A line that cannot be read (the last one of a worker that was killed) says nothing; a file without any good line
    counts as no measurement. None of this can make a record worse than it is, so nothing is raised.
    """
    slow: dict[int, tuple[int, ...]] = {}
    for path in sorted(folder.glob("worker-*.lag.jsonl")):
        number = _LAG_FILE.search(path.name)
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            continue
        measured = _measured(lines, t0_ns, None if clocks is None or number is None else (clocks, int(number[1])))
        if number is not None and measured:
            slow[int(number[1])] = _slow(measured)
    return slow


def _measured(lines: Iterable[bytes], t0_ns: int, elsewhere: tuple[Clocks, int] | None) -> dict[int, bool]:
    """Second → whether it was slow."""
    measured: dict[int, bool] = {}
    for line in lines:
        try:
            one: Any = json.loads(line)
            began = int(one["t_ns"])
            if elsewhere is not None:
                clocks, worker = elsewhere
                began = int(clocks.of_worker(worker, np.array([began], np.int64))[0])
            second = (began - t0_ns + _SECOND_NS // 2) // _SECOND_NS  # it begins with its second, up to clock errors
            worst = max(float(one.get(name) or 0.0) for name in ("lag_p99_ms", "late_p99_ms"))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        measured[second] = measured.get(second, False) or worst > SLOW_CLIENT_MS
    return measured


def _slow(measured: dict[int, bool]) -> tuple[int, ...]:
    missing = set(range(min(measured), max(measured))) - measured.keys()
    return tuple(sorted({second for second, slow in measured.items() if slow} | missing))
