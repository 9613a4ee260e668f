"""Failover: what the master decides from its canaries, and how a worker's users follow."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from lastwriter.client.answer import Answer
from lastwriter.client.failover import CANARY, HOME, Failover
from lastwriter.client.heirs import RouteSender
from lastwriter.client.key_codes import KeyCodes
from lastwriter.client.keys import Key, KeyChooser
from lastwriter.client.plan import Health, Keys, Load, LoadPlan
from lastwriter.client.protocol import Reply
from lastwriter.client.recorder import Recorder
from lastwriter.client.retry import BREAKER_FAILURES, Attempts, Breaker
from lastwriter.client.routes import SWEEP, Routes, Routing, WaitingClient
from lastwriter.client.table import Table
from verifier.history.schema import Outcome
from verifier.history.stream import WorkerStream
from verifier.rundir import RouteEvent

A, B, C = REGIONS = ("us-east-1", "us-east-2", "us-west-2")
QUICK = {"interval": "2ms", "timeout": "1s", "threshold": 3, "ttl": "20ms", "drained_within": "1ms"}
OK = Reply(Outcome.OK, 200, {}, None, 1, 2)
DOWN = Reply(Outcome.FAIL, 0, {}, "ConnectError", 1, 2)


class World:
    """A table in several Regions, each up or down; what one writes the others see while ``replicates``."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.replicates = True
        self.items: dict[str, dict[str, dict[str, Any]]] = {region: {} for region in REGIONS}

    def client(self, region: str, deadline_s: float) -> Any:
        return _Client(self, region)


class _Client:
    def __init__(self, world: World, region: str) -> None:
        self.world, self.region = world, region

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        gevent.sleep(0)
        world, key = self.world, body["Key"]["pk"]["S"]
        if self.region in world.down:
            return DOWN
        if operation == "GetItem":
            return Reply(Outcome.OK, 200, {"Item": world.items[self.region].get(key, {})}, None, 1, 2)
        values = body["ExpressionAttributeValues"]
        names = {":epoch": "write_epoch"}
        item = {names.get(name, name.lstrip(":")): value for name, value in values.items()}
        for region in REGIONS if world.replicates else (self.region,):
            world.items[region][key] = item
        return OK

    def close(self) -> None: ...


class Watched:
    """A failover under way over a world."""

    def __init__(self, folder: Path, pattern: str = "fenced", world: World | None = None, **health: Any) -> None:
        self.world, self.sent = world or World(), []  # type: ignore[var-annotated]
        self.record = folder / "routes.jsonl"
        load = Load(workload="w", rate="1/s", failover="routed", pattern=pattern, keys=Keys(count=3))  # type: ignore[arg-type]
        plan = LoadPlan(
            run="r", run_directory=str(folder), seed=1, mode="MREC", table="t",
            endpoints=dict.fromkeys(REGIONS, "http://127.0.0.1:1"), loads=[load], phases=[],
            health=Health(**{**QUICK, **health}),
        )  # fmt: skip
        self.failover = Failover(plan, self.record, self.sent.append, self.world.client)
        self.failover.start()

    def events(self) -> list[RouteEvent]:
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [RouteEvent.model_validate_json(line) for line in lines]

    def until(self, condition: Callable[[], Any]) -> Any:
        with gevent.Timeout(20):
            while not (found := condition()):
                gevent.sleep(0.001)
        return found

    def routed(self, to: dict[str, str]) -> Routing:
        """The first decision that has led there."""
        found: Routing = self.until(lambda: next((one for one in self.sent if dict(one.to) == to), None))
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(**given: Any) -> Watched:
        made.append(Watched(tmp_path, **given))
        return made[-1]

    yield make
    for one in made:
        one.failover.close()


def test_users_of_a_silent_region_go_to_the_next_one_and_return_when_the_backlog_has_drained(watched: Any) -> None:
    run = watched()
    run.world.down.add(A)
    routing = run.routed({A: B})
    assert (routing.number, dict(routing.lost), dict(routing.homes)) == (1, {A: B}, {A: (B, 2)})
    assert run.world.items[B][HOME + A] == {"home": {"S": B}, "write_epoch": {"N": "2"}}
    names = [event.event for event in run.events()]
    assert names == ["unhealthy", "decided", "flipped"]

    run.world.replicates = False
    run.world.down.clear()
    run.until(lambda: "healthy" in [event.event for event in run.events()])
    beats = len(run.failover._regions[B].beats)
    run.until(lambda: len(run.failover._regions[B].beats) > beats + 20)
    assert len(run.sent) == 1, "what was written elsewhere has not arrived yet"
    run.world.replicates = True
    back = run.routed({})
    assert (dict(back.lost), dict(back.homes)) == ({}, {A: (A, 3)})
    assert [event.event for event in run.events()][3:] == ["healthy", "drained", "decided", "flipped"]
    assert run.world.items[A][HOME + A]["home"] == {"S": A}
    assert int(run.world.items[A][CANARY + B]["beat"]["N"]) > 0


def test_a_table_whose_homes_were_moved_before_goes_on_from_its_epochs(watched: Any) -> None:
    world = World()
    for region in REGIONS:
        world.items[region][HOME + A] = {"home": {"S": C}, "write_epoch": {"N": "7"}}
    run = watched(world=world)
    (routing,) = run.until(lambda: run.sent)
    assert (dict(routing.to), dict(routing.homes), dict(routing.lost)) == ({}, {A: (A, 8)}, {})
    assert world.items[A][HOME + A] == {"home": {"S": A}, "write_epoch": {"N": "8"}}


def test_a_few_failures_are_no_reason(watched: Any) -> None:
    run = watched(threshold=50)
    run.world.down.add(A)
    run.until(lambda: run.failover._regions[A].streak > 3)
    run.world.down.clear()
    run.until(lambda: run.failover._regions[A].streak == 0)
    assert not run.sent
    assert not run.events()


def test_at_once_does_not_wait_for_the_backlog(watched: Any) -> None:
    run = watched(failback="at-once", pattern="naive")
    run.world.down.add(A)
    assert dict(run.routed({A: B}).homes) == {}, "nobody's keys have a home"
    run.world.replicates = False
    run.world.down.clear()
    run.routed({})


def test_never_does_not_return_on_its_own(watched: Any) -> None:
    run = watched(failback="never")
    run.world.down.add(A)
    run.routed({A: B})
    run.world.down.clear()
    run.until(lambda: "healthy" in [event.event for event in run.events()])
    run.world.down.add(B)
    assert dict(run.routed({B: C}).lost) == {B: C}, "but from a Region that is ill it does"


def test_with_no_healthy_region_left_users_stay_until_there_is_one(watched: Any) -> None:
    run = watched()
    run.world.down.update(REGIONS)
    run.until(lambda: sum(event.event == "unhealthy" for event in run.events()) == 3)
    run.world.down.remove(C)
    run.routed({A: C, B: C})


class Follower:
    """A user as far as routes know it."""

    def __init__(self, number: int, lives_in: str, routed: bool = True) -> None:
        self.number, self.lives_in, self.is_routed = number, lives_in, routed
        self.region = lives_in
        self.moves: list[int] = []

    def follow_routes(self, routing: Routing) -> None:
        self.region = routing.to.get(self.lives_in, self.lives_in)
        self.moves.append(routing.number)


def test_users_follow_one_by_one_and_what_the_lost_region_acknowledged_is_read_elsewhere(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "worker-0.arrow", 0)
    numbers = itertools.count()
    noted: list[Any] = []

    class Instant:
        def __init__(self, region: str) -> None:
            self.region = region

        def request(self, operation: str, body: dict[str, Any]) -> Reply:
            gevent.sleep(0)
            failed = body["Key"]["pk"]["S"] == "refused" or (self.region == B and body["Key"]["pk"]["S"] == "k-1")
            return Reply(Outcome.FAIL, 400, {}, "ThrottlingException", 1, 2) if failed else OK

        def close(self) -> None: ...

    def table_in(region: str, workload: str = SWEEP) -> Table:
        return Table(recorder, Instant(region), "t", region, workload, numbers, KeyCodes(recorder, []))

    users = [Follower(number, REGIONS[number % 3]) for number in range(9)] + [Follower(9, A, routed=False)]
    told: list[dict[str, Any]] = []

    def catch_up() -> None:
        recorder.flush()
        routes.note(noted[-1])

    recorder._on_rows = lambda rows: noted.append(rows.copy())
    routes = Routes(recorder, lambda: users, told.append, table_in, catch_up, 1)
    writer, other = table_in(A, "w"), table_in(C, "w")
    for number in range(20):
        writer.add(f"k-{number}")
        other.add(f"elsewhere-{number}")
    writer.add("refused")
    writer.get("read only")
    dead = Recorder(tmp_path / "worker-1.arrow", 1)
    gone = Table(dead, Instant(A), "t", A, "w", numbers, KeyCodes(dead, []))
    for key in ("k-3", "left behind"):
        gone.add(key)
    dead.flush()  # and nothing after it: no end mark, either
    routes.take(Routing(1, {A: B}, {A: (B, 2)}, {A: B}, ttl_s=0.02), [dead.path])
    with gevent.Timeout(20):
        while sum(one["event"] == "switched" for one in told) < 3 or not any(one["event"] == "swept" for one in told):
            gevent.sleep(0.002)
    routes.close()
    assert [user.region for user in users] == [B, B, C, B, B, C, B, B, C, A]
    assert {one["region"]: (one["to"], one["users"]) for one in told if one["event"] == "switched"} == {
        A: (B, 3), B: (B, 3), C: (C, 3),
    }  # fmt: skip
    (swept,) = [one for one in told if one["event"] == "swept"]
    assert (swept["region"], swept["to"], swept["keys"], swept["unread"]) == (A, B, 21, 1)
    recorder.close()
    rows = [row for batch in WorkerStream(recorder.path) for row in batch.to_pylist() if row["workload"] == SWEEP]
    assert {(row["kind"], row["region"]) for row in rows} == {("read", B)}
    assert sorted(row["key"] for row in rows) == sorted([*(f"k-{number}" for number in range(20)), "left behind"])


def test_the_keys_of_a_dead_worker_go_to_the_first_one_left_on_its_machine() -> None:
    sent: list[tuple[int, int, list[int]]] = []
    there, places = {0, 1, 2, 3}, {0: "here", 1: "there", 2: "there", 3: "there"}
    sender = RouteSender(
        lambda worker, message: sent.append((worker, message["routing"]["number"], message["orphans"])),
        lambda: sorted(there),
        places.__getitem__,
    )

    def dies(worker: int) -> None:
        there.remove(worker)
        sender.lost(worker)

    dies(1)
    assert sent == [], "there is nothing to read yet"
    sender.decided(Routing(1, {A: B}, lost={A: B}))
    assert sent == [(0, 1, []), (2, 1, [1]), (3, 1, [])]
    sender.swept(1, 3, A)
    dies(3)
    assert len(sent) == 3, "it had read its keys"
    sender.decided(Routing(2, {B: C}, lost={B: C}))
    assert sent[3:] == [(0, 2, []), (2, 2, [1, 3])]
    dies(0)
    assert len(sent) == 5, "nobody is left where its record is"
    there.add(1)
    dies(2)
    assert sent[5:] == [(1, 2, [2])], "it died in the middle of its sweep"


def test_an_older_decision_that_arrives_late_moves_nobody(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "worker-0.arrow", 0)
    user = Follower(0, A)
    routes = Routes(recorder, lambda: [user], lambda facts: None, lambda region: None, lambda: None, 1)  # type: ignore[arg-type, return-value]
    for number in (2, 1):
        routes.take(Routing(number, {A: REGIONS[number]}))
    gevent.sleep(0.01)
    assert (user.region, user.moves) == (C, [2])
    routes.close()
    recorder.close()


def test_users_that_return_wait_until_nobody_is_left_elsewhere(watched: Any, tmp_path: Path) -> None:
    run = watched(handover="30ms", failback="at-once")
    run.world.down.add(A)
    assert run.routed({A: B}).handover_s == 0, "nobody waits on the way there"
    run.world.down.clear()
    back = run.routed({})
    assert back.handover_s == pytest.approx(0.03)
    recorder = Recorder(tmp_path / "worker-0.arrow", 0)
    routes = Routes(recorder, list, lambda facts: None, lambda region: None, lambda: None, 1)  # type: ignore[arg-type, return-value]
    taken_ns = time.monotonic_ns()
    routes.take(back)
    assert routes.now.waits_until_ns >= taken_ns + 50_000_000, "the ttl of the route, and the handover"
    until_ns = routes.now.waits_until_ns
    sent_ns = []

    class Stamped:
        def request(self, operation: str, body: dict[str, Any]) -> Reply:
            sent_ns.append(time.monotonic_ns())
            return OK

        def close(self) -> None: ...

    client = WaitingClient(Stamped(), until_ns)
    for _ in range(3):
        client.request("GetItem", {})
    assert min(sent_ns) >= until_ns
    routes.close()
    recorder.close()


def test_keys_move_with_their_home() -> None:
    keys = [Key(f"k-{number}", number, None, REGIONS[number % 3]) for number in range(9)]
    drawn = KeyChooser(keys, Keys(count=9), B, random.Random(1), {A: B})
    assert {drawn.mine().home_region for _ in range(200)} == {A, B}
    assert {drawn.anything().home_region for _ in range(200)} == set(REGIONS)


def answer(outcome: Outcome, error: str | None) -> Answer:
    return Answer(1, outcome, error, None, None, None, None)


def made(breaker: Breaker, error: str | None, outcome: Outcome = Outcome.FAIL) -> int:
    """Attempts of one intent that always ends like this."""
    load = Load(workload="w", retry="jittered", attempts=4)
    attempts = Attempts(load, random.Random(1), sleep=lambda pause_s: None, breaker=breaker)
    for attempt in attempts:
        attempt.sending(1)
        attempt.answer = answer(outcome, error)
    return attempts.sent


def test_while_its_breaker_is_open_a_region_is_asked_once_per_intent() -> None:
    breaker = Breaker()
    assert [made(breaker, "ConnectError") for _ in range(8)] == [4] * (BREAKER_FAILURES // 4) + [1] * (
        8 - BREAKER_FAILURES // 4
    )
    assert breaker.is_open
    assert made(breaker, None, Outcome.OK) == 1
    assert not breaker.is_open
    assert made(breaker, "ReplicatedWriteConflictException") == 4
    assert breaker.failures == 0, "a conflict is an answer"
    assert made(breaker, "ThrottlingException") == 4
    assert breaker.failures == 4, "a throttle is none"
