"""Two tiny stores that know the truth: histories for tests, with what really became of every write.

Independent of the emulator and of the verifier: each version of an item carries the set of all writes that it was made
of, so what is kept is looked up, not concluded. Bugs can be planted.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.verifier.builders import REGIONS, Item, Op
from verifier.history.columns import LostRange
from verifier.history.schema import ABSENT, op_id
from verifier.rundir import FaultRecord, Mode

MS = 1_000_000
CONFLICT = "ReplicatedWriteConflictException"

Bug = Literal[
    "acknowledged without effect",  # MRSC: one write in twenty is answered and thrown away
    "applied to a stale copy",  # MRSC: one write in twenty overwrites what it has not seen
    "refused although applied",  # one refusal in two took effect
    "replica left behind",  # MREC: one item never arrives in one Region
    "late write beats newer",  # MREC: whatever arrives last wins
    "relay",  # MREC: what arrives is passed on
    "applied twice",  # one increment in twenty counts double
]


@dataclass
class Version:
    """A state of an item."""

    value: int
    w: int
    p: int
    stamp: tuple[int, str]
    made_of: frozenset[int]


@dataclass
class Run:
    """What a simulated run leaves, and the truth about it."""

    mode: Mode
    ops: list[Op]
    initial: dict[str, dict[str, Item]]
    final: dict[str, dict[str, Item]]
    kept: dict[str, frozenset[int]]
    """By key: every write that the final item is made of (of the first Region)."""
    faults: tuple[FaultRecord, ...]
    lost: tuple[LostRange, ...] = ()

    def arguments(self) -> dict[str, object]:
        """For :func:`builders.build` after the operations."""
        return {
            "mode": self.mode,
            "initial": self.initial,
            "final": self.final,
            "faults": self.faults,
            "lost": self.lost,
        }


@dataclass
class _Step:
    effect: int
    start: int
    end: int
    worker: int
    process: int
    region: str
    key: str
    kind: str
    outcome: str
    applied: bool
    op: int = 0
    intent: int = 0
    attempt: int = 1


@dataclass(order=True)
class _Message:
    due: int
    number: int
    source: str = field(compare=False)
    target: str = field(compare=False)
    key: str = field(compare=False)
    version: Version = field(compare=False)


def simulate(
    seed: int,
    mode: Mode,
    *,
    kinds: Collection[str] = ("add",),
    processes: int = 6,
    intents: int = 10,
    keys: int = 2,
    reads: float = 0.3,
    unknown: float = 0.0,
    refused: float = 0.0,
    retries: bool = False,
    cut: bool = False,
    killed: bool = False,
    delay_ms: int = 20,
    bug: Bug | None = None,
    away: str | None = None,
) -> Run:
    """One run. ``unknown`` and ``refused`` are shares of the writes; half of the unknown ones took effect.

    ``away``: a Region that cannot be read in the end, and the others are read before all has settled.
    """
    rng = random.Random(seed)
    steps = _schedule(rng, sorted(kinds), processes, intents, keys, reads, unknown, refused, retries)
    end = max(step.effect for step in steps)
    cuts = [(end // 4, end * 3 // 4, REGIONS[0], REGIONS[1])] if cut else []
    store = _Store(mode, rng, cuts, delay_ms * MS, bug)
    ops = [store.do(step) for step in steps]
    read = {region: dict(items) for region, items in store.replicas.items() if region != away}
    store.settle()
    if away is None:
        read = store.replicas
    last = max(max(op.end for op in ops), store.now) + MS
    names = sorted({op.key for op in ops})
    final = {
        region: {
            key: Item(version.value, version.w, version.p, last, last + MS)
            for key in names
            if (version := read[region].get(key))
        }
        for region in read
    }
    kept = {
        key: version.made_of if (version := store.replicas[REGIONS[0]].get(key)) else frozenset[int]() for key in names
    }
    faults = tuple(
        FaultRecord(id="f1", kind="link-cut", links=[(a, b)], asked_ns=since, onset_ns=since, healed_ns=until)
        for since, until, a, b in cuts
    )
    lost: tuple[LostRange, ...] = ()
    if killed:
        mine = sorted((op for op in ops if op.op is not None and op.op >= op_id(1, 0)), key=lambda op: op.op or 0)
        gone = mine[len(mine) * 2 // 3 :]
        since = min((op.start for op in gone), default=0)
        lost = (LostRange(1, min((op.op or 0 for op in gone), default=op_id(1, 0)), op_id(1, 10_000), since),)
        names_gone = {op.op for op in gone}
        ops = [op for op in ops if op.op not in names_gone]
    return Run(
        mode, sorted(ops, key=lambda op: op.start), {region: {} for region in REGIONS}, final, kept, faults, lost
    )


def _schedule(
    rng: random.Random,
    kinds: list[str],
    processes: int,
    intents: int,
    keys: int,
    reads: float,
    unknown: float,
    refused: float,
    retries: bool,
) -> list[_Step]:
    """When everybody does what, in order of effect; what a process does next does not depend on what it saw."""
    steps = []
    number = 0
    for process in range(processes):
        now = rng.randrange(5 * MS)
        logical = process
        for _ in range(intents):
            key = f"k{rng.randrange(keys)}"
            region, worker = REGIONS[process % len(REGIONS)], process % 2
            kind = "read" if rng.random() < reads else rng.choice(kinds)
            if kind != "read":  # a key is of one kind, as in our workloads
                kind = kinds[int(key[1:]) % len(kinds)]
            intent = 0
            for attempt in range(1, 4):
                outcome, applied = "ok", True
                if kind != "read":
                    dice = rng.random()
                    if dice < unknown:
                        outcome, applied = "unknown", rng.random() < 0.5
                    elif dice < unknown + refused:
                        outcome, applied = "fail", False
                start = now + rng.randrange(1, 3 * MS)
                effect = start + rng.randrange(1, 3 * MS)
                end = effect + rng.randrange(1, 3 * MS)
                if outcome == "unknown":
                    end = start + 4 * MS
                    effect = start + rng.randrange(1, 12 * MS)
                number += 1
                step = _Step(effect, start, end, worker, logical, region, key, kind, outcome, applied)
                step.intent, step.attempt = intent or number, attempt
                step.op = number
                intent = step.intent
                steps.append(step)
                now = end
                if outcome == "unknown":
                    logical += 1000  # goes on as a new process
                if outcome == "ok" or not retries:
                    break
    # Ids as workers give them: in order of start.
    sequence = {0: 0, 1: 0}
    names: dict[int, int] = {}
    for step in sorted(steps, key=lambda step: step.start):
        sequence[step.worker] += 1
        names[step.op] = op_id(step.worker, sequence[step.worker])
    for step in steps:
        step.op, step.intent = names[step.op], names[step.intent]
    return sorted(steps, key=lambda step: step.effect)


class _Store:
    """Replicas, messages under way, and the bug."""

    def __init__(
        self, mode: Mode, rng: random.Random, cuts: list[tuple[int, int, str, str]], delay_ns: int, bug: Bug | None
    ) -> None:
        self.mode, self.rng, self.cuts, self.delay, self.bug = mode, rng, cuts, delay_ns, bug
        self.replicas: dict[str, dict[str, Version]] = {region: {} for region in REGIONS}
        self.waiting: list[_Message] = []
        self.last_due: dict[tuple[str, str, str], int] = {}
        self.sent = 0
        self.now = 0
        self.old: dict[str, Version] = {}

    def do(self, step: _Step) -> Op:
        """Take one operation, at its time of effect, and say what is recorded of it."""
        self.deliver(step.effect)
        self.now = step.effect
        replica = self.replicas[step.region]
        op = Op(
            step.kind,
            step.start,
            step.end,
            key=step.key,
            region=step.region,
            op=step.op,
            process=step.process,
            intent=step.intent,
            attempt=step.attempt,
            outcome=step.outcome,
        )
        current = replica.get(step.key)
        if step.kind == "read":
            if current is None:
                return replace(op, saw=ABSENT)
            return replace(op, saw=current.w, prev=current.p, result=current.value)
        value = 1 if step.kind == "add" else step.op % 1000
        op = replace(op, value=value)
        applied = step.applied
        if step.outcome == "fail":
            op = replace(op, error=CONFLICT)
            applied = self.bug == "refused although applied" and self.rng.random() < 0.5
        version = self.version(step, value, current)
        if self.bug == "acknowledged without effect" and step.outcome == "ok" and self.rng.random() < 0.05:
            applied = False
            op = replace(op, saw=step.op, prev=version.p, result=version.value)
        if applied:
            self.write(step, version)
        if step.outcome == "ok":
            op = replace(op, saw=step.op, prev=version.p, result=version.value)
        return op

    def version(self, step: _Step, value: int, current: Version | None) -> Version:
        if self.bug == "applied to a stale copy" and self.rng.random() < 0.05:
            current = self.old.get(step.key)
        if current is not None:
            self.old[step.key] = current
        before = current.value if current else 0
        double = 1 if self.bug == "applied twice" and self.rng.random() < 0.05 else 0
        stamp = max(step.effect, current.stamp[0] + 1 if current else 0)
        return Version(
            value=before + value + double if step.kind == "add" else value,
            w=step.op,
            p=current.w if current else ABSENT,
            stamp=(stamp, step.region),
            made_of=(current.made_of if current else frozenset()) | {step.op},
        )

    def write(self, step: _Step, version: Version) -> None:
        if self.mode == "MRSC":
            for replica in self.replicas.values():
                replica[step.key] = version
            return
        self.replicas[step.region][step.key] = version
        for target in REGIONS:
            if target != step.region:
                self.send(step.region, target, step.key, version)

    def send(self, source: str, target: str, key: str, version: Version) -> None:
        due = self.now + self.rng.randrange(1, 2 * self.delay)
        due = max(due, self.last_due.get((source, target, key), 0))
        self.last_due[source, target, key] = due
        self.sent += 1
        heapq.heappush(self.waiting, _Message(due, self.sent, source, target, key, version))

    def deliver(self, until: int) -> None:
        while self.waiting and self.waiting[0].due <= until:
            message = heapq.heappop(self.waiting)
            held = [
                end
                for start, end, a, b in self.cuts
                if start <= message.due < end and {a, b} == {message.source, message.target}
            ]
            if held:
                message.due = max(held)
                heapq.heappush(self.waiting, message)
                continue
            self.arrive(message)

    def arrive(self, message: _Message) -> None:
        replica = self.replicas[message.target]
        current = replica.get(message.key)
        newer = current is None or message.version.stamp > current.stamp
        if self.bug == "replica left behind" and (message.target, message.key) == (REGIONS[2], "k0"):
            return
        if newer or self.bug == "late write beats newer":
            replica[message.key] = message.version
        if self.bug == "relay" and newer and message.version.stamp[1] == message.source:
            self.now = max(self.now, message.due)
            for target in REGIONS:
                if target not in (message.source, message.target):
                    self.send(message.target, target, message.key, message.version)

    def settle(self) -> None:
        while self.waiting:
            self.now = max(self.now, self.waiting[0].due)
            self.deliver(self.now)
