"""Patterns on a real table: which items they write, what they refuse, what a request that arrives twice does."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from lastwriter.client.clients import make_client
from lastwriter.client.credentials import EMULATOR_CREDENTIALS
from lastwriter.client.key_codes import KeyCodes
from lastwriter.client.keys import HOT, NORMAL, Key
from lastwriter.client.patterns import COUNTERS, Counter, counter_of
from lastwriter.client.plan import Load, Pattern
from lastwriter.client.protocol import DynamoClient, Reply
from lastwriter.client.recorder import Recorder
from lastwriter.client.retry import Attempts
from lastwriter.client.table import Table
from lastwriter.client.user import GlobalTableUser
from lastwriter.emulator.process import EmulatorProcess, start_emulator
from verifier.history.schema import ALREADY_APPLIED, Outcome
from verifier.history.stream import WorkerStream

REGIONS = ("us-east-1", "us-east-2", "us-west-2")
TABLE = "patterns"
DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    quick = {"latency_scale": "0%"}
    with start_emulator(REGIONS, table=TABLE, mode="MRSC", settings=quick) as running:
        yield running


class Deaf:
    """Passes requests on; what is in ``loses`` arrives, and its answer does not."""

    def __init__(self, client: DynamoClient) -> None:
        self._client = client
        self.loses = 0
        self.refuses: Callable[[dict[str, Any]], Any] = lambda body: False
        self.between: Callable[[], Any] = lambda: None
        """What others do when an answer was lost."""
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def request(self, operation: str, body: dict[str, Any]) -> Reply:
        self.asked.append((operation, body))
        if self.refuses(body):
            return Reply(Outcome.FAIL, 500, {}, "InternalServerError", 1, 2)
        reply = self._client.request(operation, body)
        if self.loses:
            self.loses -= 1
            self.between()
            return Reply(Outcome.UNKNOWN, 0, {}, "Timeout", reply.start_ns, reply.end_ns)
        return reply

    def close(self) -> None:
        self._client.close()


class User:
    """As much of a user as a pattern needs."""

    def __init__(self, folder: Path, number: int, emulator: EmulatorProcess, region: str, **load: Any) -> None:
        self.region, self.regions = region, REGIONS
        self.load = Load(workload="w", **load)
        self.epochs: dict[str, int] = {}
        self._endpoints = emulator.endpoints
        self._clients: list[DynamoClient] = []
        self.random = random.Random(1)
        self.client = Deaf(make_client("wire", emulator.endpoints[region], region, EMULATOR_CREDENTIALS, 5.0))
        self.path = folder / f"worker-{number}.arrow"
        self.recorder = Recorder(self.path, number)
        codes = KeyCodes(self.recorder, [])
        self.table = Table(self.recorder, self.client, TABLE, region, "w", itertools.count(), codes)
        self.counter: Counter = counter_of(self, f"session_{uuid.uuid4().hex[:8]}")

    def attempts(self, also: Collection[str] = (), *, unknown: bool = False) -> Attempts:
        return Attempts(self.load, self.random, also, lambda pause_s: None, unknown)

    read_item = GlobalTableUser.read_item

    def table_in(self, region: str) -> Table:
        self._clients.append(make_client("wire", self._endpoints[region], region, EMULATOR_CREDENTIALS, 5.0))
        return self.table.in_region(region, self._clients[-1])

    def close(self) -> None:
        self.recorder.close()
        for client in (self.client, *self._clients):
            client.close()

    def item(self, key: str) -> dict[str, Any]:
        item: dict[str, Any] = self.table.get(key).reply.body.get("Item", {})  # type: ignore[union-attr]
        return item

    def rows(self) -> list[dict[str, Any]]:
        self.recorder.close()
        return [row for batch in WorkerStream(self.path) for row in batch.to_pylist()]


@pytest.fixture
def key() -> Key:
    return Key(f"k-{uuid.uuid4().hex[:8]}", 0, None, None)


@pytest.fixture
def user(tmp_path: Path, emulator: EmulatorProcess) -> Iterator[Any]:
    made: list[User] = []

    def make(pattern: Pattern, region: str = REGIONS[0], **load: Any) -> User:
        made.append(User(tmp_path, len(made), emulator, region, pattern=pattern, retry="jittered", **load))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("pattern", get_args(Pattern))
def test_every_pattern_counts_what_several_regions_add(pattern: Pattern, user: Any, key: Key) -> None:
    users = [user(pattern, region, shards=3) for region in REGIONS]
    assert users[0].counter.read(key) == 0
    for one in users * 2:
        assert one.counter.add(key, 2).ok
    if pattern == "compacted":
        users[0].counter.fold(key)
    assert {one.counter.read(key) for one in users} == {12}
    adds = [row for one in users for row in one.rows() if row["kind"] in ("add", "cas")]
    assert all(row["outcome"] == Outcome.OK and row["saw"] == row["op"] for row in adds)


def test_every_pattern_is_told_with_its_weakness() -> None:
    assert set(COUNTERS) == set(get_args(Pattern))
    told = (DOCS / "patterns.md").read_text()
    for pattern in get_args(Pattern):
        assert f"\n| `{pattern}` |" in told, f"docs/patterns.md has no row for {pattern}"


def test_region_items_write_their_own_and_say_which_counter_it_is(user: Any, key: Key) -> None:
    east, west = user("region-items", REGIONS[0]), user("region-items", REGIONS[2])
    east.counter.add(key)
    west.counter.add(key, 4)
    assert east.counter.read(key) == 5
    assert east.item(key.name) == {}
    rows = east.rows()
    assert [(row["kind"], row["key"], row["home_region"], row["logical_key"]) for row in rows[:4]] == [
        ("add", f"{key.name}@us-east-1", "us-east-1", key.name),
        *(("read", f"{key.name}@{region}", region, key.name) for region in REGIONS),
    ]


def test_only_hot_keys_are_sharded(user: Any, key: Key) -> None:
    hot, normal = (Key(f"{key.name}-{name}", 0, name, None) for name in (HOT, NORMAL))
    one = user("sharded", shards=4)
    for _ in range(40):
        one.counter.add(hot)
        one.counter.add(normal)
    assert one.counter.read(hot) == one.counter.read(normal) == 40
    written = {(row["key"], row["key_class"]) for row in one.rows() if row["kind"] == "add"}
    assert written == {(f"{normal.name}#0", "normal"), *((f"{hot.name}#{n}", "hot") for n in range(4))}


def test_a_newer_epoch_fences_the_old_home_out(user: Any, key: Key) -> None:
    old = user("fenced")
    assert old.counter.add(key).ok
    take_over = {
        "Key": {"pk": {"S": key.name}},
        "UpdateExpression": "SET write_epoch = :e",
        "ExpressionAttributeValues": {":e": {"N": "2"}},
    }
    assert old.table.call("UpdateItem", take_over).ok
    refused = old.counter.add(key)
    assert (refused.outcome, refused.error) == (Outcome.FAIL, "ConditionalCheckFailedException")
    assert old.counter.read(key) == 1
    assert len([row for row in old.rows() if row["kind"] == "add"]) == 2, "it does not try again"


def test_one_attribute_a_region_and_their_sum(user: Any, key: Key) -> None:
    user("region-attributes", REGIONS[0]).counter.add(key, 3)
    other = user("region-attributes", REGIONS[1])
    other.counter.add(key, 4)
    item = other.item(key.name)
    assert [item[name]["N"] for name in ("count_us-east-1", "count_us-east-2", "v")] == ["3", "4", "7"]


def test_a_request_that_arrives_twice_is_applied_once(user: Any, key: Key) -> None:
    one = user("idempotent")
    one.counter.add(key)
    one.client.loses = 1
    again = one.counter.add(key)
    assert again.error == ALREADY_APPLIED, "the first attempt stands, and the user knows"
    assert one.counter.read(key) == 2
    assert user("idempotent").counter.add(key).value == 3, "another user's numbers are its own"
    rows = [row for row in one.rows() if row["kind"] == "add"]
    assert [(row["attempt"], row["outcome"]) for row in rows] == [
        (1, Outcome.OK), (1, Outcome.UNKNOWN), (2, Outcome.FAIL),
    ]  # fmt: skip
    assert rows[1]["intent"] == rows[2]["intent"]


def test_a_strong_read_that_fails_is_tried_as_an_eventual_one_where_the_load_says_so(user: Any, key: Key) -> None:
    plain, degraded = user("naive", attempts=2), user("naive", attempts=2, degraded_reads=True)
    degraded.counter.add(key, 3)
    for one in (plain, degraded):
        one.client.refuses = lambda body: body.get("ConsistentRead")
    assert plain.counter.read(key) is None
    assert degraded.counter.read(key) == 3
    reads = [row for row in degraded.rows() if row["kind"].startswith("read")]
    assert [(row["kind"], row["attempt"], row["outcome"]) for row in reads] == [
        ("read", 1, Outcome.FAIL), ("read", 2, Outcome.FAIL), ("read_eventual", 3, Outcome.OK),
    ]  # fmt: skip
    assert len({row["intent"] for row in reads}) == 1


def test_names_in_a_set_count_once_however_often_they_arrive(user: Any, key: Key) -> None:
    one, other = user("region-sets", REGIONS[0]), user("region-sets", REGIONS[1])
    one.client.loses = 1
    assert one.counter.add(key, 2).error == ALREADY_APPLIED
    assert other.counter.add(key, 3).ok
    assert one.counter.add(key, -1).ok
    assert other.counter.read(key) == 4
    item = one.item(f"{key.name}@us-east-1")
    assert [len(item[f"{name}_us-east-1"]["SS"]) for name in ("adds", "removes")] == [2, 1]
    assert item["v"]["N"] == "1"


def test_one_region_folds_the_parts_and_all_read_the_total(user: Any, key: Key) -> None:
    east, west = user("compacted", REGIONS[0], fold="1h"), user("compacted", REGIONS[2])
    west.counter.add(key, 2)
    east.counter.add(key, 3)
    assert west.counter.read(key) == 5
    west.counter.add(key, 4)
    east.counter.add(key, 4)
    assert west.counter.read(key) == 5, "not before the next fold"
    east.counter.fold(key)
    east.counter.fold(key)
    assert west.counter.read(key) == 13
    folds = [row for row in east.rows() if row["kind"] == "cas"]
    assert [(row["key"], row["value"]) for row in folds] == [(key.name, 5), (key.name, 13)], "nothing to fold: no write"
    assert not [row for row in west.rows() if row["kind"] == "cas"]


def test_reading_all_believes_the_newest(user: Any, key: Key) -> None:
    one = user("read-all")
    one.counter.add(key, 2)
    assert one.counter.read(key) == 2
    assert [row["region"] for row in one.rows() if row["kind"] == "read"] == list(REGIONS)


def test_the_last_requests_id_is_soon_forgotten(user: Any, key: Key) -> None:
    one, other = user("last-request-id"), user("last-request-id")
    one.client.loses = 1
    assert one.counter.add(key).error == ALREADY_APPLIED
    one.client.loses = 1
    one.client.between = lambda: other.counter.add(key)
    assert one.counter.add(key).ok
    assert one.counter.read(key) == 4, "three requests, one of them applied twice"


def test_an_attempt_that_arrives_late_is_refused(user: Any, key: Key) -> None:
    one = user("idempotent")
    one.counter.add(key)
    late = one.client.asked[-1]
    one.counter.add(key)
    assert one.client.request(*late).outcome is Outcome.FAIL
    assert one.counter.read(key) == 2


def test_other_patterns_do_not_try_again_what_may_stand(user: Any, key: Key) -> None:
    one = user("naive")
    one.client.loses = 1
    assert one.counter.add(key).outcome is Outcome.UNKNOWN
    assert one.counter.read(key) == 1


def test_a_clock_that_is_ahead_locks_the_others_out(user: Any, key: Key) -> None:
    ahead, exact = user("client-timestamp"), user("client-timestamp", attempts=3)
    ahead.counter._off_by_ns = 3600 * 10**9
    assert ahead.counter.add(key).ok
    refused = exact.counter.add(key)
    assert refused.error == "ConditionalCheckFailedException"
    assert len([row for row in exact.rows() if row["kind"] == "add"]) == 3, "with a new time stamp each"
    assert ahead.counter.read(key) == 1


def test_clock_errors_are_drawn_within_bounds(user: Any) -> None:
    assert 0 < abs(user("client-timestamp", clock_error="20ms").counter._off_by_ns) <= 20_000_000
    assert user("client-timestamp").counter._off_by_ns == 0


def test_one_user_is_one_process_in_all_regions(user: Any, emulator: EmulatorProcess, key: Key) -> None:
    one = user("naive")
    client = Deaf(make_client("wire", emulator.endpoints[REGIONS[1]], REGIONS[1], EMULATOR_CREDENTIALS, 5.0))
    other = one.table.in_region(REGIONS[1], client)
    one.table.scheduled_ns = 5
    other.get(key)
    one.table.get(key)
    client.loses = 1
    other.add(key)
    one.table.get(key)
    client.close()
    rows = one.rows()
    assert [(row["region"], row["process"]) for row in rows] == [
        (REGIONS[1], 0), (REGIONS[0], 0), (REGIONS[1], 0), (REGIONS[0], 1),
    ]  # fmt: skip
    assert rows[0]["scheduled_ns"] == 5, "the schedule is the user's, whichever Region it asks first"
