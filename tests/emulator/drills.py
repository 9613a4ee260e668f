"""Drills in virtual time: seeded processes and faults on a core, recorded as the load generator records them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lastwriter.emulator.faults import FaultSpec
from tests.emulator.virtual import MS, REGIONS, Call, S, World
from tests.verifier.builders import Item, Op, build, run_info
from verifier.checks.types import Context
from verifier.history.columns import History
from verifier.history.schema import ABSENT
from verifier.rundir import FaultRecord

NAMES = {"#w": "_w", "#p": "_p", "#v": "v"}
_KEPT = "SET #p = if_not_exists(#w, :none), #w = :op"


@dataclass(frozen=True)
class Drill:
    """What is done."""

    mode: str
    operations: int = 1500
    processes: int = 9
    counters: int = 2
    registers: int = 2
    own: bool = False
    """Every key is written in one Region only."""
    conditions: bool = False
    """Some writes ask for the item to be absent, and for the item if it is not."""
    reads: float = 0.35
    think_ms: float = 10
    together: bool = False
    """Processes begin their operations at whole milliseconds, so that some are simultaneous."""
    fault: Mapping[str, Any] | None = None
    """Set and healed again and again: FaultSpec's fields."""
    fault_ms: int = 600
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Process:
    number: int
    region: str
    next_ns: int
    call: Call | None = None
    row: dict[str, Any] = field(default_factory=dict)


def perform(drill: Drill, seed: int, bugs: dict[str, int] | None = None) -> tuple[History, Context]:
    """The history of a drill with what a check needs to know besides."""
    rng = random.Random(seed)
    settings = {"mrsc_timeout": "400ms", "client_latency": "1ms", **drill.settings}
    w = World(drill.mode, bugs=bugs, seed=seed, **settings)
    processes = [_Process(n, REGIONS[n % 3], rng.randrange(20 * MS)) for n in range(drill.processes)]
    ops: list[Op] = []
    faults: list[FaultRecord] = []
    fault: str | None = None
    fault_at_ns = drill.fault_ms * MS
    sent = 0
    while sent < drill.operations or any(process.call for process in processes):
        idle = [process for process in processes if process.call is None] if sent < drill.operations else []
        moments = [process.next_ns for process in idle]
        if w.core.next_ns is not None:
            moments.append(w.core.next_ns)
        if drill.fault is not None:
            moments.append(fault_at_ns)
        w.to(max(w.now_ns, min(moments)))
        if drill.fault is not None and w.now_ns >= fault_at_ns:
            fault_at_ns += drill.fault_ms * MS
            if fault is None:
                fault = w.book.set(FaultSpec(**drill.fault))
                faults.append(_record(w, drill.fault))
            else:
                w.heal(fault)
                fault = None
                faults[-1] = faults[-1].model_copy(update={"healed_ns": w.now_ns, "clear_asked_ns": w.now_ns})
        for process in processes:
            if process.call is not None and process.call.end_ns is not None:
                ops.append(_row(process))
                if ops[-1].outcome == "unknown":
                    process.number += drill.processes
                pause_ns = int(rng.expovariate(1 / drill.think_ms) * MS)
                process.next_ns = w.now_ns + max(1, pause_ns)
                if drill.together:
                    process.next_ns = (process.next_ns // MS + 1) * MS
                process.call = None
        for process in idle:
            if process.call is None and process.next_ns <= w.now_ns and sent < drill.operations:
                sent += 1
                _send(w, process, sent, rng, drill)
    if fault is not None:
        w.heal(fault)
        faults[-1] = faults[-1].model_copy(update={"healed_ns": w.now_ns, "clear_asked_ns": w.now_ns})
    w.settle()
    w.wait(S)
    keys = sorted({op.key for op in ops})
    final = {region: _final(w, region, keys) for region in REGIONS}
    return build(
        sorted(ops, key=lambda op: op.start),
        mode=drill.mode,  # type: ignore[arg-type]
        final=final,
        initial={region: {} for region in REGIONS},
        faults=tuple(faults),
        run=run_info(drill.mode, queues_empty=True, settled=True),  # type: ignore[arg-type]
    )


def _send(w: World, process: _Process, op: int, rng: random.Random, drill: Drill) -> None:
    """The next operation of a process, under way."""
    number = rng.randrange(drill.counters + drill.registers)
    if drill.own and rng.random() >= drill.reads:
        mine = [n for n in range(drill.counters + drill.registers) if REGIONS[n % 3] == process.region]
        if mine:
            number, kind = rng.choice(mine), "update"
        else:
            kind = "read"
    else:
        kind = "read" if rng.random() < drill.reads or drill.own else "update"
    key = f"k{number}"
    if kind == "update":
        kind = "add" if number < drill.counters else "write"
        if kind == "write" and drill.conditions and rng.random() < 0.5:
            kind = "create"
    process.row = {"kind": kind, "key": key, "op": op, "region": process.region, "process": process.number}
    if kind == "read":
        process.call = w.send(process.region, "GetItem", Key={"pk": {"S": key}}, ConsistentRead=True)
        return
    value = 1 if kind == "add" else op
    process.row["value"] = value
    request: dict[str, Any] = {
        "Key": {"pk": {"S": key}},
        "UpdateExpression": f"{_KEPT} ADD #v :v" if kind == "add" else f"{_KEPT}, #v = :v",
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": {
            ":none": {"N": str(ABSENT)},
            ":op": {"N": str(op)},
            ":v": {"N": str(value)},
        },
        "ReturnValues": "ALL_NEW",
    }
    if kind == "create":
        process.row["expect"] = ABSENT
        request |= {
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    process.call = w.send(process.region, "UpdateItem", **request)


def _row(process: _Process) -> Op:
    """What the load generator would have recorded."""
    call = process.call
    assert call is not None
    assert call.end_ns is not None
    assert call.body is not None
    return row_of(process.row, call.status, call.body, call.start_ns, call.end_ns)


def row_of(asked: Mapping[str, Any], status: int, body: Mapping[str, Any], start_ns: int, end_ns: int) -> Op:
    """The row of an operation (``asked``: its fields so far) that was answered so."""
    row = {**asked, "start": start_ns, "end": end_ns}
    item = body.get("Item") or body.get("Attributes")
    error = str(body.get("__type", "")).rpartition("#")[2] or None
    if status == 200:
        row["saw"] = ABSENT if item is None else _number(item, "_w")
        row["prev"] = None if item is None else _number(item, "_p")
        row["result"] = None if item is None else _number(item, "v")
    elif status == 500 or status < 0:
        row |= {"outcome": "unknown", "error": error}
    else:
        row |= {"outcome": "fail", "error": error}
        if item is not None:
            row["saw"], row["prev"] = _number(item, "_w"), _number(item, "_p")
    return Op(**row)


def _number(item: Mapping[str, Any], name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


def _final(w: World, region: str, keys: list[str]) -> dict[str, Item]:
    found = {}
    for key in keys:
        start_ns = w.now_ns
        call = w.get(region, key, consistent=True)
        if call.item is not None:
            found[key] = Item(
                _number(call.item, "v"), _number(call.item, "_w"), _number(call.item, "_p"), start_ns, w.now_ns
            )
    return found


def _record(w: World, fields: Mapping[str, Any]) -> FaultRecord:
    links = [tuple(link) for link in fields.get("links", [])]
    return FaultRecord(
        id=f"f{w.now_ns}",
        kind=fields["kind"],
        regions=list(fields.get("regions", [])),
        links=[*links, *((b, a) for a, b in links)],
        asked_ns=w.now_ns,
        onset_ns=w.now_ns,
    )
