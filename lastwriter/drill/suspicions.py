"""While the load runs: the verifier's checks over the last seconds, for what looks lost or stale by now to be shown."""

from __future__ import annotations

import time
from typing import Final

import orjson

from lastwriter.drill.progress import Progress
from verifier.live import Pace, Suspected, Watch
from verifier.rundir import RunDirectory, RunInfo

TELL_EVERY_S: Final = 2.0
"""Between two lines about it; with a look every second or so all is told within five seconds of its happening."""


class Suspicions:
    """Looks, tells, and appends what it found to ``live.jsonl``::

        {"event": "suspected", "t_ns": …, "second": 12, "stale": {"us-west-2": 3}, "lost": {"us-east-1": 1},
         "examples": ["…"]}

    ``second`` counts from t0 to the newest of them. Nothing that goes wrong here may disturb the run: it ends the view.
    """

    def __init__(self, directory: RunDirectory, run: RunInfo, progress: Progress) -> None:
        """``run`` with its t0."""
        self._directory, self._t0_ns, self._progress = directory, run.start_ns or 0, progress
        self._watch: Watch | None = Watch(directory, run)
        self._pace = Pace()
        self._waiting: list[Suspected] = []
        self._told = 0.0

    def look(self, *, last: bool = False) -> None:
        """Look, if it is time; ``last``: in any case, and tell all of it."""
        if self._watch is None or not (last or self._pace.due()):
            return
        began = time.monotonic()
        try:
            found = self._watch.look()
            if found:
                self._waiting.append(found)
                self._append(found)
        except Exception as error:  # noqa: BLE001 - the view is a convenience
            self._watch = None
            self._progress.note(f"suspected losses are not shown any more: {type(error).__name__}: {error}")
        self._pace.looked(time.monotonic() - began)
        if self._waiting and (last or time.monotonic() - self._told >= TELL_EVERY_S):
            self._told = time.monotonic()
            waiting, self._waiting = self._waiting, []
            self._progress.suspected(together(waiting))

    def _append(self, found: Suspected) -> None:
        entry = {
            "event": "suspected",
            "t_ns": time.monotonic_ns(),
            "second": (found.newest_ns - self._t0_ns) // 1_000_000_000,
            "stale": found.stale,
            "lost": found.lost,
            "examples": found.examples,
        }
        with self._directory.live.open("ab") as file:
            file.write(orjson.dumps(entry) + b"\n")


def together(several: list[Suspected]) -> Suspected:
    """One for several looks."""
    stale: dict[str, int] = {}
    lost: dict[str, int] = {}
    for one in several:
        for into, counts in ((stale, one.stale), (lost, one.lost)):
            for region, count in counts.items():
                into[region] = into.get(region, 0) + count
    return Suspected(
        stale,
        lost,
        tuple(example for one in several for example in one.examples)[:1],
        max((one.newest_ns for one in several), default=0),
    )
