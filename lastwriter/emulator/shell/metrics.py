"""What ``GET /metrics`` of the control port says, in Prometheus's text format. Counted elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.faults import FaultState
from lastwriter.emulator.shell.counts import Counts

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
CONFLICTS: Final = frozenset({"ReplicatedWriteConflictException", "TransactionConflictException"})
THROTTLES: Final = frozenset({"ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"})
Samples = Iterable[tuple[Mapping[str, str], float]]


def exposition(core: Core, faults: Iterable[FaultState], counts: Mapping[str, Counts]) -> str:
    """Every metric with its help."""
    regions = core.network.regions
    pairs = [(source, target) for source in regions for target in regions if source != target]
    tables = [table.engine for table in core.control.tables]
    now_ns = core.scheduler.now_ns

    def lag_s(source: str, target: str) -> float:
        oldest = [at_ns for table in tables if (at_ns := table.oldest_ns(source, target)) is not None]
        return max(0, now_ns - min(oldest)) / 1e9 if oldest else 0.0

    def by_pair(value: Any) -> Samples:
        return [({"source": source, "target": target}, value(source, target)) for source, target in pairs]

    def by_region(value: Any) -> Samples:
        return [({"region": region}, value(count)) for region, count in counts.items()]

    active = Counter(fault.spec.kind for fault in faults if fault.healed_ns is None)
    errors = [
        ({"region": region, "error": name}, number)
        for region, count in counts.items()
        for name, number in sorted(count.errors.items())
    ]
    metrics: list[tuple[str, str, str, Samples]] = [
        ("requests_total", "counter", "Requests of a Region's endpoint.", by_region(lambda count: count.requests)),
        ("errors_total", "counter", "Requests answered with an exception, or cut off.", errors),
        (
            "conflicts_total",
            "counter",
            "Requests that lost to another Region or a transaction.",
            by_region(lambda count: sum(count.errors[name] for name in CONFLICTS)),
        ),
        (
            "throttles_total",
            "counter",
            "Requests throttled.",
            by_region(lambda count: sum(count.errors[name] for name in THROTTLES)),
        ),
        (
            "throttled_total",
            "counter",
            "Requests throttled for want of units, by what was exceeded.",
            [
                ({"region": region, "reason": reason}, number)
                for region in regions
                for reason, number in core.control.throttled(region).items()
            ],
        ),
        (
            "replication_throttled",
            "gauge",
            "Replicated changes that wait in the Region for its write units.",
            [
                ({"region": region}, sum(member.store.meter.waiting for member in members if member.store.meter))
                for region, members in ((region, core.control.members.get(region, {}).values()) for region in regions)
            ],
        ),
        (
            "replication_backlog",
            "gauge",
            "Changes of the source that the target has not applied.",
            by_pair(lambda source, target: sum(table.backlog(source, target) for table in tables)),
        ),
        ("replication_lag_seconds", "gauge", "Age of the oldest of them.", by_pair(lag_s)),
        (
            "link_up",
            "gauge",
            "Whether messages pass from the source to the target.",
            by_pair(lambda source, target: core.network.links[source, target].breaks == 0),
        ),
        ("faults", "gauge", "Faults in effect.", [({"kind": kind}, number) for kind, number in active.items()]),
    ]
    lines = []
    for name, kind, words, samples in metrics:
        lines += [f"# HELP lastwriter_{name} {words}", f"# TYPE lastwriter_{name} {kind}"]
        for labels, value in samples:
            inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
            number = f"{value:.6g}" if value % 1 else str(int(value))
            lines.append(f"lastwriter_{name}{{{inside}}} {number}")
    return "\n".join(lines) + "\n"
