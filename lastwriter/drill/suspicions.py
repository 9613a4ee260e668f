"""While the load runs: the verifier's checks over the last seconds, for what looks lost or stale by now to be shown."""

from __future__ import annotations

import time

import orjson

from lastwriter.drill.progress import Progress
from verifier.live import Pace, Suspected, Watch
from verifier.rundir import RunDirectory, RunInfo


class Suspicions:
    """Looks, tells, and appends what it found to ``live.jsonl``::

        {"event": "suspected", "t_ns": …, "second": 12, "stale": {"us-west-2": 3}, "lost": {"us-east-1": 1},
         "examples": ["…"]}

    ``second`` counts from t0 to the newest of them. With a look every second or so all is told within five seconds of
    its happening. Nothing that goes wrong here may disturb the run: it ends the view.
    """

    def __init__(self, directory: RunDirectory, run: RunInfo, progress: Progress) -> None:
        """``run`` with its t0."""
        self._directory, self._t0_ns, self._progress = directory, run.start_ns or 0, progress
        self._watch: Watch | None = Watch(directory, run)
        self._pace = Pace()
        self._so_far = Suspected()

    def look(self, *, last: bool = False) -> None:
        """Look, if it is time; ``last``: in any case, and say what it comes to."""
        if self._watch is None or not (last or self._pace.due()):
            return
        began = time.monotonic()
        try:
            found = self._watch.look()
            if found:
                self._append(found)
                news = new_in(found, self._so_far)
                self._so_far = together(self._so_far, found)
                self._progress.suspected(self._so_far, news)
        except Exception as error:  # noqa: BLE001 - the view is a convenience
            self._watch = None
            self._progress.note(f"suspected losses are not shown any more: {type(error).__name__}: {error}")
        self._pace.looked(time.monotonic() - began)
        if last and self._so_far:
            self._progress.note(f"in all {self._so_far.line()}; the verdict will know what became of them")

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


def together(one: Suspected, other: Suspected) -> Suspected:
    """Both as one."""

    def added(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
        return {region: first.get(region, 0) + second.get(region, 0) for region in (*first, *second)}

    return Suspected(
        added(one.stale, other.stale),
        added(one.lost, other.lost),
        (one.examples + other.examples)[:1],
        max(one.newest_ns, other.newest_ns),
    )


def new_in(found: Suspected, before: Suspected) -> Suspected:
    """What had not been seen in its Region before; with an example, where nothing of its kind had been seen at all."""

    def unseen(now: dict[str, int], then: dict[str, int]) -> dict[str, int]:
        return {region: count for region, count in now.items() if region not in then}

    new_kind = bool(found.stale and not before.stale) or bool(found.lost and not before.lost)
    stale, lost = unseen(found.stale, before.stale), unseen(found.lost, before.lost)
    return Suspected(stale, lost, found.examples[:1] if new_kind else (), found.newest_ns)
