"""Drills in virtual time: seeded processes, faults, restarts on a core, recorded as the load generator records them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from lastwriter.emulator.core.bugs import FORGETS_NS
from lastwriter.emulator.core.restoring import Restoring
from lastwriter.emulator.faults import FaultSpec
from lastwriter.emulator.settings import Settings
from tests.emulator.virtual import MS, REGIONS, TABLE, Call, S, World
from tests.verifier.builders import Item, Op, build, run_info
from verifier.checks.registry import CHECKS
from verifier.checks.types import Context
from verifier.history.columns import History
from verifier.history.schema import ABSENT
from verifier.rundir import FaultRecord

NAMES = {"#w": "_w", "#p": "_p", "#v": "v"}
_KEPT = "SET #p = if_not_exists(#w, :none), #w = :op"
_ATTEMPTS = 8
_ONE_WRITER = {"lost", "store", "twice"}


@dataclass(frozen=True)
class Window:
    """A fault, from when to when."""

    begin_ms: int
    end_ms: int
    fault: Mapping[str, Any]


@dataclass(frozen=True)
class Drill:
    """What is done."""

    mode: str
    operations: int = 1500
    processes: int = 9
    counters: int = 2
    registers: int = 2
    deletable: int = 0
    """Registers that are deleted, too."""
    pairs: int = 0
    """Pairs of items that are written and read in transactions (MREC)."""
    idempotent: int = 0
    """Counters that are incremented under request tokens, again and again until that is answered (MREC)."""
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
    windows: tuple[Window, ...] = ()
    """More faults, which may overlap."""
    restart_ms: int | None = None
    """The emulator is killed and started again (with what it has recorded) every so often."""
    hidden_retries: bool = False
    """The client sends an increment again that nobody answered, and its recorder hears of the last attempt alone."""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Process:
    number: int
    region: str
    next_ns: int
    call: Call | None = None
    row: dict[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    attempts: int = 0
    since_ns: int = 0


def perform(drill: Drill, seed: int, bugs: dict[str, int] | None = None) -> tuple[History, Context]:
    """The history of a drill with what a check needs to know besides."""
    return Performance(drill, seed, bugs or {}).record()


def verdicts(drill: Drill, history: History, context: Context) -> dict[str, str]:
    """Of the contract's checks, and of those that hold under MREC as long as no two Regions write one item."""
    return {
        row.name: row.check(history, context).verdict
        for row in CHECKS
        if drill.mode in row.role and (row.role[drill.mode] == "contract" or (drill.own and row.name in _ONE_WRITER))  # type: ignore[index]
    }


class Performance:
    """A drill under way, on a world of its own."""

    def __init__(self, drill: Drill, seed: int, bugs: dict[str, int]) -> None:
        self.drill = drill
        self.rng = random.Random(seed)
        self.bugs = bugs
        self.settings = {"mrsc_timeout": "400ms", "client_latency": "1ms", "seed": seed, **drill.settings}
        self.log: list[list[Any]] = []  # records of the lives before
        self.records: list[list[Any]] | None = None if drill.restart_ms is None else []
        self.w = World(drill.mode, bugs=bugs, records=self.records, **self.settings)
        self.written = len(self.records or ())  # records of this life that a kill would leave
        self.written_ns = 0
        self.processes = [_Process(n, REGIONS[n % 3], self.rng.randrange(20 * MS)) for n in range(drill.processes)]
        self.ops: list[Op] = []
        self.faults: list[FaultRecord] = []
        self.active: dict[int, tuple[str, Mapping[str, Any]]] = {}  # place in faults → id, fields
        self.agenda = sorted(_agenda(drill), key=lambda one: one[0])
        self.sent = 0

    def record(self) -> tuple[History, Context]:
        """Do it all."""
        agenda = _merged(self.drill, self.agenda)
        at_ns, act = next(agenda)
        while self.sent < self.drill.operations or any(process.call for process in self.processes):
            more = self.sent < self.drill.operations
            idle = [process for process in self.processes if process.call is None] if more else []
            moments = [process.next_ns for process in idle] + [at_ns]
            if self.w.core.next_ns is not None:
                moments.append(self.w.core.next_ns)
            if any(process.call is not None and process.call.end_ns is not None for process in self.processes):
                moments.append(self.w.now_ns)
            self.w.to(max(self.w.now_ns, min(moments)))
            self._write_down()  # before anybody is told
            while self.w.now_ns >= at_ns:
                self._act(act)
                self._write_down()  # healing answers, and a kill may come in the same moment
                at_ns, act = next(agenda)
            for process in self.processes:
                if process.call is not None and process.call.end_ns is not None:
                    self._answered(process)
            for process in idle:
                if process.call is None and process.next_ns <= self.w.now_ns and self.sent < self.drill.operations:
                    self.sent += 1
                    self._send(process, self.sent)
            self._write_down()
        for place in list(self.active):
            self._heal(place)
        self.w.settle()
        self.w.wait(S)
        self.w.core.use(Settings.parse({**self.settings, "mrsc_timeout": "1min"}))
        keys = sorted({op.key for op in self.ops})
        return build(
            sorted(self.ops, key=lambda op: op.start),
            mode=self.drill.mode,  # type: ignore[arg-type]
            final={region: self._final(region, keys) for region in REGIONS},
            initial={region: {} for region in REGIONS},
            faults=tuple(self.faults),
            run=run_info(self.drill.mode, queues_empty=True, settled=True),  # type: ignore[arg-type]
        )

    # -- faults and restarts

    def _act(self, act: tuple[str, Any]) -> None:
        what, given = act
        if what == "kill":
            self._restart()
        elif what == "set":
            self.active[len(self.faults)] = self.w.book.set(FaultSpec(**given)), given
            self.faults.append(_record(self.w, given, len(self.faults)))
        else:
            for place, (_, fields) in list(self.active.items()):
                if fields is given:
                    self._heal(place)

    def _heal(self, place: int) -> None:
        self.w.heal(self.active.pop(place)[0])
        now_ns = self.w.now_ns
        self.faults[place] = self.faults[place].model_copy(update={"healed_ns": now_ns, "clear_asked_ns": now_ns})

    def _write_down(self) -> None:
        """What the shell does at the end of a tick."""
        if self.records is not None and (
            "restart-forgets" not in self.bugs or self.w.now_ns - self.written_ns >= FORGETS_NS
        ):
            self.written, self.written_ns = len(self.records), self.w.now_ns

    def _restart(self) -> None:
        """Kill -9; another core of what had been written down takes its place."""
        assert self.records is not None
        w = self.w
        for process in self.processes:
            if process.call is not None and process.call.end_ns is None:
                process.call.end_ns, process.call.status, process.call.body = w.now_ns, -1, {}
        self.log += orjson.loads(orjson.dumps(self.records[: self.written]))
        self.records = []
        self.w = World(None, bugs=self.bugs, records=self.records, now_ns=w.now_ns, **self.settings)
        restoring = Restoring(self.w.core, w.now_ns / 1e9)
        restoring.take(self.log, w.now_ns, w.now_ns / 1e9)
        restoring.finish()
        restoring.start()
        self.written = len(self.records)
        for place, (_, fields) in self.active.items():
            self.active[place] = self.w.book.set(FaultSpec(**fields)), fields

    # -- operations

    def _send(self, process: _Process, op: int) -> None:
        """The next operation of a process, under way."""
        drill, rng = self.drill, self.rng
        kinds = ["k"] * (drill.counters + drill.registers)
        kinds += ["d"] * drill.deletable + ["t"] * drill.pairs + ["x"] * drill.idempotent
        number = rng.randrange(len(kinds))
        reads = rng.random() < drill.reads
        if drill.own and not reads:
            mine = [n for n in range(len(kinds)) if REGIONS[n % 3] == process.region]
            if mine:
                number = rng.choice(mine)
            else:
                reads = True
        key = f"{kinds[number]}{number}"
        process.row = {"op": op, "region": process.region, "process": process.number}
        process.keys, process.attempts, process.since_ns = (key,), 0, self.w.now_ns
        if kinds[number] == "t":
            process.keys = f"{key}/a", f"{key}/b"
            self._transact(process, reads, op)
        elif reads:
            process.row["kind"] = "read"
            process.call = self.w.send(process.region, "GetItem", Key={"pk": {"S": key}}, ConsistentRead=True)
        elif kinds[number] == "x":
            self._increment_once(process, op)
        elif kinds[number] == "d" and rng.random() < 0.4:
            process.row["kind"] = "delete"
            process.call = self.w.send(process.region, "DeleteItem", Key={"pk": {"S": key}}, ReturnValues="ALL_OLD")
        else:
            self._write(process, key, "add" if kinds[number] == "k" and number < drill.counters else "write", op)

    def _write(self, process: _Process, key: str, kind: str, op: int) -> None:
        if kind == "write" and self.drill.conditions and self.rng.random() < 0.5:
            kind = "create"
        value = 1 if kind == "add" else op
        process.row |= {"kind": kind, "value": value}
        request = {**_update(key, op, value, kind == "add"), "ReturnValues": "ALL_NEW"}
        if kind == "create":
            process.row["expect"] = ABSENT
            request |= {
                "ConditionExpression": "attribute_not_exists(pk)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        process.call = self.w.send(process.region, "UpdateItem", **request)

    def _transact(self, process: _Process, reads: bool, op: int) -> None:
        if reads:
            process.row["kind"] = "txn_read"
            gets = [{"Get": {"TableName": TABLE, "Key": {"pk": {"S": key}}}} for key in process.keys]
            process.call = self.w.send(process.region, "TransactGetItems", TransactItems=gets)
            return
        process.row |= {"kind": "txn_write", "value": op, "result": op}
        updates = [{"Update": {"TableName": TABLE, **_update(key, op, op, False)}} for key in process.keys]
        process.call = self.w.send(process.region, "TransactWriteItems", TransactItems=updates)

    def _increment_once(self, process: _Process, op: int) -> None:
        process.row |= {"kind": "add", "value": 1}
        update = {"Update": {"TableName": TABLE, **_update(process.keys[0], op, 1, True)}}
        process.call = self.w.send(
            process.region, "TransactWriteItems", TransactItems=[update], ClientRequestToken=f"token-{op}"
        )

    def _answered(self, process: _Process) -> None:
        call = process.call
        assert call is not None
        assert call.end_ns is not None
        assert call.body is not None
        unknown = call.status == 500 or call.status < 0
        token = "ClientRequestToken" in call.request
        hidden = self.drill.hidden_retries and process.row["kind"] == "add"
        if unknown and (token or hidden) and process.attempts < _ATTEMPTS:
            process.attempts += 1
            request = {name: value for name, value in call.request.items() if name != "TableName"}
            process.call = self.w.send(process.region, call.operation, **request)
            return
        start_ns = process.since_ns if token else call.start_ns
        rows = _rows(process, call, start_ns)
        if token and process.attempts and not call.ok:  # refused now; one of the attempts before may have taken effect
            unknown, rows = True, [replace(row, outcome="unknown") for row in rows]
        self.ops += rows
        if unknown:
            process.number += self.drill.processes
        pause_ns = int(self.rng.expovariate(1 / self.drill.think_ms) * MS)
        process.next_ns = self.w.now_ns + max(1, pause_ns)
        if self.drill.together:
            process.next_ns = (process.next_ns // MS + 1) * MS
        process.call = None

    def _final(self, region: str, keys: list[str]) -> dict[str, Item]:
        found = {}
        for key in keys:
            start_ns = self.w.now_ns
            call = self.w.get(region, key, consistent=True)
            assert call.ok
            if call.item is not None:
                found[key] = Item(
                    _number(call.item, "v"), _number(call.item, "_w"), _number(call.item, "_p"), start_ns, self.w.now_ns
                )
        return found


def row_of(asked: Mapping[str, Any], status: int, body: Mapping[str, Any], start_ns: int, end_ns: int) -> Op:
    """The row of an operation on one item (``asked``: its fields so far) that was answered so."""
    row = {**asked, "start": start_ns, "end": end_ns}
    item = body.get("Item") or body.get("Attributes")
    error = str(body.get("__type", "")).rpartition("#")[2] or None
    if status == 500 or status < 0:
        row |= {"outcome": "unknown", "error": error}
    elif status != 200:
        row |= {"outcome": "fail", "error": error}
        if item is not None:
            row["saw"], row["prev"] = _number(item, "_w"), _number(item, "_p")
    elif asked["kind"] == "delete":
        row["prev"] = ABSENT if item is None else _number(item, "_w")
    else:
        row["saw"] = ABSENT if item is None else _number(item, "_w")
        row["prev"] = None if item is None else _number(item, "_p")
        row["result"] = None if item is None else _number(item, "v")
    return Op(**row)


def _rows(process: _Process, call: Call, start_ns: int) -> list[Op]:
    """What the load generator would have recorded."""
    assert call.end_ns is not None
    assert call.body is not None
    rows = []
    for place, key in enumerate(process.keys):
        asked, body = {**process.row, "key": key}, call.body
        if call.operation == "TransactWriteItems" and call.ok:  # says nothing of the items: the write is there
            rows.append(Op(**asked, start=start_ns, end=call.end_ns, saw=asked["op"]))
            continue
        if call.operation == "TransactGetItems":
            body = call.body.get("Responses", [{}] * len(process.keys))[place] if call.ok else call.body
        rows.append(row_of(asked, call.status, body, start_ns, call.end_ns))
    return rows


def _update(key: str, op: int, value: int, adds: bool) -> dict[str, Any]:
    return {
        "Key": {"pk": {"S": key}},
        "UpdateExpression": f"{_KEPT} ADD #v :v" if adds else f"{_KEPT}, #v = :v",
        "ExpressionAttributeNames": NAMES,
        "ExpressionAttributeValues": {
            ":none": {"N": str(ABSENT)},
            ":op": {"N": str(op)},
            ":v": {"N": str(value)},
        },
    }


_Act = tuple[int, tuple[str, Any]]


def _agenda(drill: Drill) -> Iterator[_Act]:
    """Windows' beginnings and ends."""
    for window in drill.windows:
        yield window.begin_ms * MS, ("set", window.fault)
        yield window.end_ms * MS, ("heal", window.fault)


def _merged(drill: Drill, agenda: list[_Act]) -> Iterator[_Act]:
    """With what is done again and again, for ever."""
    turn = restart = 1
    while True:
        choices: list[tuple[int, int, tuple[str, Any]]] = []
        if agenda:
            choices.append((agenda[0][0], 0, agenda[0][1]))
        if drill.fault is not None:
            choices.append((turn * drill.fault_ms * MS, 1, ("set" if turn % 2 else "heal", drill.fault)))
        if drill.restart_ms is not None:
            choices.append((restart * drill.restart_ms * MS, 2, ("kill", None)))
        at_ns, which, act = min(choices, key=lambda one: one[:2], default=(1 << 62, 3, ("", None)))
        if which == 0:
            agenda = agenda[1:]
        turn += which == 1
        restart += which == 2
        yield at_ns, act


def _number(item: Mapping[str, Any], name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


def _record(w: World, fields: Mapping[str, Any], number: int) -> FaultRecord:
    links = [tuple(link) for link in fields.get("links", [])]
    return FaultRecord(
        id=f"f{number}",
        kind=fields["kind"],
        regions=list(fields.get("regions", [])),
        links=[*links, *((b, a) for a, b in links if not fields.get("one_way"))],
        parameters={name: value for name, value in fields.items() if name not in ("kind", "regions", "links")},
        asked_ns=w.now_ns,
        onset_ns=w.now_ns,
    )
