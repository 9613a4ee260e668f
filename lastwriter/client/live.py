"""The master's view of a run under way: workers' counts merged by the second into ``live.jsonl`` and ``latency.hlog``.

A second is written when every worker has reported past it, or two seconds later at the latest. Lines of
``live.jsonl``::

    {"event": "start", "t0_ns": …, "workers": 2, "worker_info": [{"worker": 0, "host": …, "pid": …}, …]}
    {"t_ns": …, "second": 3, "phase": "baseline", "users": 40, "offered": 200, "sent": 200, "late": 0,
     "regions": {"us-east-1": {"rate": 67, "intents": 66, "ok": 66, "fail": 1, "unknown": 0, "condition": 0,
     "conflict": 1, "throttled": 0, "server_error": 0, "timeout": 0, "other": 0, "p50_ms": 1.2, "p99_ms": 7.5}}}
    {"event": "worker-lost", "worker": 1}
    {"event": "route", "region": "us-east-1", "to": "us-east-2"}            its users go there (all of it: routes.jsonl)
    {"event": "task-error", "worker": 1, "error": "TypeError: …"}           a task raised; the first of its kind
    {"event": "suspected", "second": 3, "stale": {…}, "lost": {…}, …}   of lastwriter.drill.suspicions
    {"event": "end", "end_ns": …}                       with "aborted": "why" if the run could not go on

``rate`` counts attempts answered in that second, ``intents`` those of them that were first attempts. ``condition`` to
``other`` say why attempts failed or are unknown (:func:`lastwriter.client.outcome.family`). Latencies run from schedule
to answer. ``offered``, ``sent`` and ``late`` (sent more than 10 ms after they were due) count intents, in the second
in which they were due or sent.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from lastwriter.client import histogram
from lastwriter.client.histogram import Int64
from lastwriter.client.outcome import FAMILIES, family
from lastwriter.client.plan import PlannedPhase
from lastwriter.client.stats import Cell, LocustStats, add_to_locust
from verifier.rundir import RunDirectory

SECOND_NS: Final = 1_000_000_000
PATIENCE_NS: Final = 2 * SECOND_NS
"""How long a second waits for workers that have not reported past it."""

_NOT_IN_A_TAG: Final = re.compile(r"[,\s/]")
_NO_LATENCIES: Final = np.zeros(histogram.LENGTH, np.int64)
_LEGEND: Final = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'


@dataclass
class _Second:
    """What is known of one second so far: counts by Region, latencies by bucket for each tag of ``latency.hlog``."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    latencies: dict[str, Int64] = field(default_factory=dict)
    """By Region."""
    buckets: dict[str, Int64] = field(default_factory=dict)
    offered: int = 0
    sent: int = 0
    late: int = 0


class Live:
    """Merges what the workers report; writes what is complete. Disk errors end the view, never the run."""

    def __init__(
        self,
        directory: RunDirectory,
        phases: Sequence[PlannedPhase],
        regions: Iterable[str],
        t0_ns: int,
        stats: LocustStats | None = None,
    ) -> None:
        """``stats``: Locust's, to which everything is added as well."""
        self._stats = stats
        self._phases, self._regions, self._t0_ns = phases, list(regions), t0_ns
        self._live, self._latency = directory.live, directory.latency
        self._seconds: dict[int, _Second] = defaultdict(_Second)
        self._next = 0
        self._upto_ns: dict[int, int] = {}
        self._users: dict[int, int] = {}
        self._started = False

    def start(self, workers: Sequence[dict[str, Any]]) -> None:
        """The run begins with these workers."""
        self._started = True
        self._upto_ns = {worker["worker"]: self._t0_ns for worker in workers}
        base_s = (time.time_ns() - time.monotonic_ns() + self._t0_ns) / 1e9
        began = datetime.fromtimestamp(base_s, UTC).isoformat(timespec="milliseconds")
        head = [
            "#[Histogram log format version 1.2]\n",
            "#[lastwriter: nanoseconds from schedule to answer; one tag per phase, Region, kind and key class]\n",
            f"#[BaseTime: {base_s:.3f} (seconds since epoch)]\n",
            f"#[StartTime: {base_s:.3f} (seconds since epoch), {began}]\n",
            _LEGEND,
        ]
        _append(self._latency, "".join(head).encode())
        self.event("start", t0_ns=self._t0_ns, workers=len(workers), worker_info=list(workers))

    def event(self, name: str, **facts: Any) -> None:
        """A line about the run itself."""
        _append(self._live, orjson.dumps({"event": name, **facts}) + b"\n")

    def add(self, delta: dict[str, Any]) -> None:
        """A worker's report (:meth:`lastwriter.client.worker.WorkerRun._report`)."""
        worker = delta["worker"]
        self._upto_ns[worker] = max(delta["upto_ns"], self._upto_ns.get(worker, 0))
        self._users[worker] = delta["users"]
        for at, offered, sent, late in delta["intents"]:
            second = self._seconds[max(at, self._next)]
            second.offered += offered
            second.sent += sent
            second.late += late
        for cell in map(Cell.of, delta["cells"]):
            # What comes after its second has been written is counted in the next one rather than not at all.
            second = self._seconds[max(cell.second, self._next)]
            counts = second.counts[cell.region]
            counts.update({"ok": cell.ok, "fail": cell.fail, "unknown": cell.unknown, "intents": cell.intents})
            for error, count in cell.errors.items():
                counts[family(error)] += count
            for known, tag in ((second.latencies, cell.region), (second.buckets, self._tag(cell))):
                if tag not in known:
                    known[tag] = np.zeros(histogram.LENGTH, np.int64)
                known[tag][cell.buckets] += cell.counts
            if self._stats is not None:
                add_to_locust(self._stats, cell, self._t0_ns)

    def _tag(self, cell: Cell) -> str:
        """``baseline/us-east-1/add/hot``; what there is not is left out."""
        phase = self._phases[cell.phase].name if self._phases else None
        parts = (phase, cell.region, cell.kind, cell.key_class)
        return "/".join(_NOT_IN_A_TAG.sub("_", part) for part in parts if part is not None)

    def idle(self) -> bool:
        """Whether every worker has reported since t0, and none has a user left."""
        return self._started and all(
            upto_ns > self._t0_ns and not self._users.get(worker) for worker, upto_ns in self._upto_ns.items()
        )

    def lost(self, worker: int) -> None:
        """A worker is gone: nobody waits for its reports."""
        self._upto_ns.pop(worker, None)
        self._users.pop(worker, None)

    def write(self, now_ns: int, *, everything: bool = False) -> None:
        """Write every second that is complete; with ``everything``, also the one that has just begun."""
        if not self._started:
            return
        reported_ns = min(self._upto_ns.values(), default=now_ns)
        whole = (max(reported_ns, now_ns - PATIENCE_NS) - self._t0_ns) // SECOND_NS
        last = max(self._seconds, default=-1) + 1 if everything else whole
        while self._next < last:
            self._write_second(self._next, self._seconds.pop(self._next, _Second()))
            self._next += 1

    def _write_second(self, number: int, second: _Second) -> None:
        regions = {region: _region_line(region, second) for region in self._regions}
        line = {
            "t_ns": self._t0_ns + (number + 1) * SECOND_NS,
            "second": number,
            "phase": phase_at(self._phases, number),
            "users": sum(self._users.values()),
            "offered": second.offered,
            "sent": second.sent,
            "late": second.late,
            "regions": regions,
        }
        _append(self._live, orjson.dumps(line) + b"\n")
        if second.buckets:
            _append(self._latency, "".join(_interval(number, second)).encode())


def phase_at(phases: Sequence[PlannedPhase], second: int) -> str | None:
    """Name of the phase that a second from t0 begins in; None outside of all."""
    end = 0.0
    for phase in phases:
        end += phase.duration
        if second < end:
            return phase.name
    return None


def _region_line(region: str, second: _Second) -> dict[str, Any]:
    counts = second.counts.get(region, Counter())
    latencies = second.latencies.get(region, _NO_LATENCIES)
    return {
        "rate": counts["ok"] + counts["fail"] + counts["unknown"],
        **{name: counts[name] for name in ("intents", "ok", "fail", "unknown", *FAMILIES)},
        "p50_ms": _ms(histogram.percentile_ns(latencies, 0.5)),
        "p99_ms": _ms(histogram.percentile_ns(latencies, 0.99)),
    }


def _interval(number: int, second: _Second) -> Iterable[str]:
    for tag, counts in sorted(second.buckets.items()):
        encoded = histogram.to_hdr(counts)
        most_ms = encoded.get_max_value() / 1e6
        yield f"Tag={tag},{number:.3f},1.000,{most_ms:.3f},{encoded.encode().decode()}\n"


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / 1e6, 3)


def _append(path: Path, data: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError:  # the view is a convenience; the record says for itself what it could not keep
        return
