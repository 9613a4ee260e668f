"""For each planted bug the drill in which it shows, whatever the seed; without the bug nobody is accused."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lastwriter.emulator.core.bugs import BUG
from tests.emulator.drills import Drill, Window
from tests.emulator.virtual import EAST, OHIO, OREGON

MREC: Final = Drill("MREC", settings={"replicator_delay": "30ms", "replicator_delay_spread": "100%"})
MRSC: Final = Drill("MRSC")
OWN: Final = replace(MREC, own=True, counters=3, registers=0)
ISOLATED: Final = {"kind": "region-isolated", "regions": [EAST]}
FAR_AWAY: Final = {"kind": "link-latency", "links": [(EAST, OHIO), (EAST, OREGON)], "latency": "50ms"}
LOST_REPLIES: Final = {"kind": "reply-lost", "regions": [EAST, OHIO, OREGON], "share": "30%"}

DRILLS: Final = {
    "early-ack": replace(MRSC, fault=ISOLATED),
    "read-without-heartbeat": MRSC,
    "isolated-read": replace(MRSC, fault=ISOLATED),
    "early-recovery": replace(
        MRSC,
        fault=ISOLATED,
        fault_ms=300,
        windows=(Window(0, 3_600_000, FAR_AWAY),),  # it takes a while to catch up
        processes=18,
        reads=0.6,
        think_ms=2,
        settings={"mrsc_timeout": "150ms"},
    ),
    "stale-condition": replace(MRSC, conditions=True, counters=0),
    "early-heartbeat": replace(
        MRSC,
        fault={"kind": "link-latency", "links": [(OHIO, EAST), (OREGON, EAST)], "jitter": "200ms", "one_way": True},
    ),
    "two-winners": MRSC,
    "conflict-applied": MRSC,
    "relay": replace(OWN, fault={"kind": "link-cut", "links": [(EAST, OHIO)]}),
    "reordered": replace(OWN, registers=3, think_ms=3),
    "late-wins": replace(MREC, registers=20, think_ms=2),
    "own-ties-win": replace(
        MREC, together=True, processes=30, reads=0.1, counters=0, registers=100, think_ms=0.01
    ),
    "stuck-item": replace(OWN, registers=3),
    "tombstone-forgotten": replace(MREC, counters=0, registers=0, deletable=60, reads=0.1, think_ms=1),
    "torn-transaction": replace(MREC, counters=0, registers=0, pairs=4, reads=0.6, think_ms=2),
    "token-forgotten": replace(OWN, counters=0, idempotent=3, fault=LOST_REPLIES),
    "refused-applied": replace(MREC, conditions=True, pairs=1),
    "restart-forgets": replace(OWN, restart_ms=700),
    "lost-write": OWN,
    "applied-twice": OWN,
}  # fmt: skip
BOTH: Final = {
    "refused-applied": replace(MRSC, operations=3000, registers=20, reads=0.2),  # few writes conflict, many take effect
    "restart-forgets": replace(MRSC, restart_ms=700),
    "lost-write": MRSC,
    "applied-twice": MRSC,
}
HIDDEN_RETRIES: Final = replace(OWN, hidden_retries=True, fault=LOST_REPLIES)
"""No bug of the emulator: a client that sends again what got no answer, behind the back of its recorder."""

OF_STREAMS: Final = {name for name in BUG if name.startswith("stream-")}
"""See test_stream_bugs.py."""
CASES: Final = [*((name, drill) for name, drill in DRILLS.items()), *BOTH.items()]
