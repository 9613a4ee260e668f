"""Seeded random schedules: who does what, what breaks when, how far apart the Regions are. A seed is a drill."""

from __future__ import annotations

import random
from typing import Any

from tests.emulator.drills import Drill, Window
from tests.emulator.virtual import REGIONS


def schedule(mode: str, seed: int) -> Drill:
    """The drill of that seed."""
    rng = random.Random(f"{mode} {seed}")
    transactions = mode == "MREC" and rng.random() < 0.4
    operations = rng.choice([60, 120, 200, 300])
    processes = rng.choice([3, 6, 9, 15])
    length_ms = rng.choice([200, 800, 3000])  # about how long the operations take: faults are placed in it
    return Drill(
        mode,
        operations=operations,
        processes=processes,
        counters=rng.choice([0, 1, 3]),
        registers=rng.choice([1, 1, 3]),
        deletable=rng.choice([0, 0, 0, 1, 3]),
        pairs=rng.randrange(3) if transactions else 0,
        idempotent=rng.randrange(3) if transactions else 0,
        own=rng.random() < 0.5,
        conditions=rng.random() < 0.4,
        reads=rng.choice([0.1, 0.35, 0.6]),
        think_ms=length_ms * processes / operations,
        together=rng.random() < 0.2,
        windows=tuple(_window(length_ms, rng) for _ in range(rng.randrange(8))),
        restart_ms=rng.choice([None, None, None, length_ms // 4, length_ms // 15]),
        settings=_settings(rng),
    )


def _settings(rng: random.Random) -> dict[str, Any]:
    return {
        "replicator_delay": rng.choice(["0ms", "5ms", "50ms", "500ms"]),
        "replicator_delay_spread": rng.choice(["0%", "50%", "200%"]),
        "latency_scale": rng.choice(["0%", "10%", "100%", "100%"]),
        "client_latency": rng.choice(["0ms", "1ms"]),
        "mrsc_timeout": rng.choice(["120ms", "400ms", "2s"]),
        "transaction_time": rng.choice(["0ms", "0ms", "3ms"]),
        "index_delay": rng.choice(["0ms", "20ms"]),
        "throttling": rng.choice(["off", "off", "on"]),
    }


def _window(length_ms: int, rng: random.Random) -> Window:
    begin_ms = rng.randrange(length_ms)
    return Window(begin_ms, begin_ms + rng.choice([5, length_ms // 10, length_ms // 3, length_ms]), _fault(rng))


def _fault(rng: random.Random) -> dict[str, Any]:
    regions = rng.sample(REGIONS, rng.choice([1, 1, 1, 2, 3]))
    links = [tuple(rng.sample(REGIONS, 2)) for _ in range(rng.choice([1, 1, 2]))]
    share = rng.choice(["5%", "30%", "100%"])
    of_regions: list[dict[str, Any]] = [
        {"kind": "region-isolated"},
        {"kind": "region-down"},
        {"kind": "region-impaired", "errors": share, "errors_after": share, "slow": "20%", "slow_by": "100ms"},
        {"kind": "region-throttled", "share": share},
        {"kind": "replication-paused"},
        {"kind": "reply-lost", "share": share},
        {"kind": "connection-reset", "share": share},
        {"kind": "az-lost", "election": "300ms"},
    ]
    of_links: list[dict[str, Any]] = [
        {"kind": "link-cut", "one_way": rng.random() < 0.4},
        {"kind": "link-latency", "latency": "80ms", "jitter": rng.choice(["0ms", "60ms"])},
        {"kind": "link-latency", "jitter": "200ms", "one_way": True},
    ]
    if rng.random() < 0.5:
        return {**rng.choice(of_links), "links": links}
    return {**rng.choice(of_regions), "regions": regions}
