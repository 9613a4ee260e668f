"""Throttling from real use, in virtual time: who is refused, with which reasons, and who waits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.test_durable import restored
from tests.emulator.virtual import (
    EAST,
    MS,
    OHIO,
    OREGON,
    REGIONS,
    TABLE,
    Call,
    S,
    World,
    create_request,
    indexed_request,
)

ON = {"throttling": "on", "replicator_delay": "0ms", "latency_scale": "0%"}
ARN = f"arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}"


def provisioned(reads: int, writes: int, **more: Any) -> dict[str, Any]:
    units = {"ReadCapacityUnits": reads, "WriteCapacityUnits": writes}
    return create_request() | {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units, **more}


def world(create: dict[str, Any], mode: str = "MREC", **settings: Any) -> World:
    return World(mode, create=create, regions=REGIONS, **{**ON, **settings})


def alone(create: dict[str, Any], **settings: Any) -> World:
    w = World(None, **{**ON, **settings})
    assert w.send(EAST, "CreateTable", **create).ok
    return w


def let_in(w: World, region: str, key: str, count: int, gap_ns: int = 0) -> list[Call]:
    """So many puts; those that went through."""
    calls = []
    for number in range(count):
        calls.append(w.put(region, key, str(number)))
        w.wait(gap_ns)
    return [call for call in calls if call.ok]


def reasons(call: Call) -> list[tuple[str, str]]:
    assert call.body is not None
    listed = call.body.get("ThrottlingReasons") or call.body.get("throttlingReasons")
    return [(one["reason"], one["resource"]) for one in listed]


def test_nothing_is_throttled_unless_asked_for() -> None:
    w = alone(provisioned(1, 1), throttling="off")
    assert len(let_in(w, EAST, "k", 3000)) == 3000


def test_a_hot_key_gets_a_partitions_units_and_no_more() -> None:
    w = alone(create_request())
    assert len(let_in(w, EAST, "hot", 3000, MS // 2)) == pytest.approx(1000 + 1500, abs=3)  # a second's burst, 1.5 s
    refused = w.put(EAST, "hot", "x")
    while refused.ok:
        refused = w.put(EAST, "hot", "x")
    assert (refused.status, refused.error) == (400, "ThrottlingException")
    assert reasons(refused) == [("TableWriteKeyRangeThroughputExceeded", ARN)]
    assert "hot key" in str(refused.body)


def test_a_hot_key_takes_its_partition_with_it_and_no_other() -> None:
    w = alone(create_request())
    let_in(w, EAST, "hot", 1100)
    answers = {w.put(EAST, f"k{number}", "x").ok for number in range(30)}
    assert answers == {True, False}
    w.wait(S)
    assert w.put(EAST, "hot", "x").ok


def test_reads_have_lanes_of_their_own_and_strong_ones_cost_double() -> None:
    w = alone(create_request())
    w.put(EAST, "hot", "x")
    eventual = sum(w.get(EAST, "hot").ok for _ in range(7000))
    assert eventual == 6000
    w.wait(2 * S)
    strong = [w.get(EAST, "hot", consistent=True) for _ in range(3500)]
    assert sum(call.ok for call in strong) == 3000
    assert reasons(strong[-1]) == [("TableReadKeyRangeThroughputExceeded", ARN)]
    assert w.put(EAST, "hot", "y").ok


def test_a_provisioned_table_saves_five_minutes_of_units() -> None:
    w = alone(provisioned(2, 2))
    assert len(let_in(w, EAST, "k", 50)) == 2
    w.wait(1000 * S)
    assert len(let_in(w, EAST, "k", 800)) == 2 * 300
    refused = w.put(EAST, "k", "x")
    assert refused.error == "ProvisionedThroughputExceededException"
    assert reasons(refused) == [("TableWriteProvisionedThroughputExceeded", ARN)]


def test_what_a_write_costs_is_what_it_spends() -> None:
    w = alone(provisioned(5, 5))
    w.wait(1000 * S)
    item = {"pk": {"S": "k"}, "v": {"S": "x" * 10_000}}  # 10 units
    calls = [w.send(EAST, "PutItem", Item=item) for _ in range(200)]
    assert sum(call.ok for call in calls) == 100, "a partition's thousand"
    w.wait(S // 2)
    calls = [w.send(EAST, "PutItem", Item=item) for _ in range(100)]
    assert sum(call.ok for call in calls) == 50, "half a second of it"
    w.wait(10 * S)
    failed = [w.send(EAST, "PutItem", Item=item, ConditionExpression="attribute_not_exists(pk)") for _ in range(10)]
    assert [call.error for call in failed] == ["ConditionalCheckFailedException"] * 6 + [
        "ProvisionedThroughputExceededException"
    ] * 4, "a condition that fails costs what the item that is there would"


def test_units_can_be_changed_while_the_table_is_used() -> None:
    w = alone(provisioned(5, 5))
    let_in(w, EAST, "k", 50)
    units = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 100}
    assert w.send(EAST, "UpdateTable", ProvisionedThroughput=units).ok
    w.wait(S)
    assert len(let_in(w, EAST, "k", 200)) == pytest.approx(100, abs=2)


def test_the_maximum_of_a_table_on_demand() -> None:
    w = alone(create_request() | {"OnDemandThroughput": {"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 20}})
    assert len(let_in(w, EAST, "k", 50)) == 20
    refused = w.put(EAST, "k", "x")
    assert refused.error == "ThrottlingException"
    assert reasons(refused) == [("TableWriteMaxOnDemandThroughputExceeded", ARN)]


def test_an_index_that_is_too_small_holds_up_its_tables_writes_and_no_others() -> None:
    units = {"ReadCapacityUnits": 100, "WriteCapacityUnits": 100}
    create = indexed_request(BillingMode="PROVISIONED", ProvisionedThroughput=units)
    create["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}
    w = alone(create)

    def put(number: int, **more: Any) -> Call:
        return w.send(EAST, "PutItem", Item={"pk": {"S": "p"}, "sk": {"N": str(number)}, **more})

    calls = [put(number, g={"S": "x"}) for number in range(10)]
    assert sum(call.ok for call in calls) == 2
    assert calls[-1].error == "ProvisionedThroughputExceededException"
    assert reasons(calls[-1]) == [("IndexWriteProvisionedThroughputExceeded", f"{ARN}/index/by-g")]
    assert "global secondary indexes" in str(calls[-1].body)
    assert put(100).ok, "what the index does not hold is none of its business"
    items = w.ask(EAST, "Scan").body
    assert items is not None
    assert items["Count"] == 3, "what is refused has had no effect"


def test_pages_spend_what_they_read() -> None:
    w = alone(indexed_request(BillingMode="PROVISIONED", **_units(1, 300), GlobalSecondaryIndexes=[_index(1, 300)]))
    for number in range(20):
        item = {"pk": {"S": "p"}, "sk": {"N": str(number)}, "g": {"S": "x"}, "other": {"S": "x" * 4000}}
        assert w.send(EAST, "PutItem", Item=item).ok
    query = {
        "KeyConditionExpression": "pk = :p",
        "ExpressionAttributeValues": {":p": {"S": "p"}},
        "ConsistentRead": True,
    }
    assert [w.send(EAST, "Query", **query).ok for _ in range(3)] == [True, False, False], "20 units of one a second"
    w.wait(19 * S)
    assert not w.send(EAST, "Query", **query).ok
    w.wait(2 * S)
    assert w.send(EAST, "Query", **query).ok
    of_index = {
        "IndexName": "by-g",
        "KeyConditionExpression": "g = :g",
        "ExpressionAttributeValues": {":g": {"S": "x"}},
    }
    assert w.send(EAST, "Query", **of_index).ok, "an index has units of its own"
    refused = w.send(EAST, "Scan")
    assert reasons(refused) == [("TableReadProvisionedThroughputExceeded", ARN)]


def test_a_batch_leaves_what_was_throttled_to_be_asked_again() -> None:
    w = alone(provisioned(5, 3))
    puts = [{"PutRequest": {"Item": {"pk": {"S": f"k{number}"}}}} for number in range(5)]
    call = w.send(EAST, "BatchWriteItem", RequestItems={TABLE: puts})
    assert call.body is not None
    assert call.body["UnprocessedItems"] == {TABLE: puts[3:]}
    call = w.send(EAST, "BatchWriteItem", RequestItems={TABLE: puts})
    assert call.error == "ProvisionedThroughputExceededException"
    assert reasons(call) == [("TableWriteProvisionedThroughputExceeded", ARN)]
    w.wait(100 * S)
    big = {"pk": {"S": "big"}, "v": {"S": "x" * 300_000}}
    assert w.send(EAST, "PutItem", Item=big).ok
    keys = [{"pk": {"S": key}} for key in ("k0", "big", "k1")]
    call = w.send(EAST, "BatchGetItem", RequestItems={TABLE: {"Keys": keys}})
    assert call.body is not None
    assert call.body["UnprocessedKeys"] == {}
    w.send(EAST, "UpdateTable", ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 3})
    while w.get(EAST, "big").ok:
        pass
    call = w.send(EAST, "BatchGetItem", RequestItems={TABLE: {"Keys": keys}})
    assert call.error == "ProvisionedThroughputExceededException"


def test_a_transaction_is_cancelled_with_the_reason_of_each_action() -> None:
    w = alone(provisioned(1, 4))
    puts = [{"Put": {"TableName": TABLE, "Item": {"pk": {"S": key}}}} for key in "abc"]
    assert w.send(EAST, "TransactWriteItems", TransactItems=puts).ok, "let in while there is anything"
    call = w.send(EAST, "TransactWriteItems", TransactItems=puts)
    assert call.error == "TransactionCanceledException"
    assert call.body is not None
    assert [one["Code"] for one in call.body["CancellationReasons"]] == ["ProvisionedThroughputExceeded"] * 3
    assert not w.put(EAST, "d", "x").ok, "six units, of four: in debt"
    gets = [{"Get": {"TableName": TABLE, "Key": {"pk": {"S": key}}}} for key in "ab"]
    assert w.send(EAST, "TransactGetItems", TransactItems=gets).ok
    call = w.send(EAST, "TransactGetItems", TransactItems=gets)
    assert call.error == "TransactionCanceledException"


def test_a_transaction_on_demand_says_throttling_error() -> None:
    w = alone(create_request(), partitions=1, partition_writes=1)
    puts = [{"Put": {"TableName": TABLE, "Item": {"pk": {"S": key}}}} for key in "ab"]
    w.send(EAST, "TransactWriteItems", TransactItems=puts)
    call = w.send(EAST, "TransactWriteItems", TransactItems=puts)
    assert call.body is not None
    assert {one["Code"] for one in call.body["CancellationReasons"]} == {"ThrottlingError"}


@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_a_hot_key_is_throttled_in_every_region(mode: str) -> None:
    w = world(create_request(), mode)
    let_in(w, EAST, "hot", 1000)
    for region in REGIONS:
        refused = w.put(region, "hot", "x")
        assert refused.error == "ThrottlingException", region
        assert reasons(refused)[0][1].split(":")[3] == region


def test_writes_of_all_regions_share_the_units_of_each() -> None:
    w = world(create_request())
    done = dict.fromkeys(REGIONS, 0)
    for number in range(9000):  # a thousand a second in each
        region = REGIONS[number % 3]
        done[region] += w.put(region, "hot", str(number)).ok
        w.wait(MS // 3)
    w.settle()
    assert sum(done.values()) == pytest.approx(4000, rel=0.05), "3 s and a second's burst: not three times as many"
    assert len({w.value(region, "hot") for region in REGIONS}) == 1


def test_catching_up_can_be_throttled_and_loses_nothing() -> None:
    w = world(provisioned(1000, 10), table_burst="1s")
    cut = w.cut(EAST, OHIO)
    w.wait(S)
    for number in range(200):  # what Ohio's ten a second have to take as well
        assert w.put(EAST, f"k{number}", "x").ok
        w.wait(100 * MS)
    w.heal(cut)
    w.wait(S)
    east = w.core.control.members[EAST][TABLE].table.engine
    assert east.backlog(EAST, OHIO) == pytest.approx(180, abs=3)
    assert east.backlog(EAST, OREGON) == 0
    w.wait(10 * S)
    assert east.backlog(EAST, OHIO) == pytest.approx(80, abs=3)
    assert w.core.control.members[OHIO][TABLE].store.meter.waiting == east.backlog(EAST, OHIO)
    assert not w.put(OHIO, "mine", "x").ok, "its own clients feel it"
    w.settle()
    assert all(w.value(OHIO, f"k{number}") == "x" for number in range(200))
    assert w.now_ns < 60 * S


def test_changes_of_an_item_arrive_in_order_after_they_have_waited() -> None:
    w = world(provisioned(100, 5), table_burst="1s")
    seen = []
    for number in range(100):
        w.put(EAST, "k", str(number))
        w.wait(100 * MS)
        seen.append(w.value(OHIO, "k"))
    w.settle()
    numbers = [int(value) for value in seen if value is not None]
    assert numbers == sorted(numbers)
    assert w.value(OHIO, "k") == w.value(EAST, "k")


def test_switching_it_off_lets_everybody_in() -> None:
    w = world(provisioned(100, 1))
    cut = w.cut(EAST, OHIO)
    w.wait(300 * S)
    assert len(let_in(w, EAST, "k", 300)) == 300
    w.send(OHIO, "PutItem", Item={"pk": {"S": "big"}, "v": {"S": "x" * 390_000}})
    w.heal(cut)
    w.wait(S)
    assert not w.quiet
    w.core.use(w.core.environment.settings.model_copy(update={"throttling": "off"}))
    assert w.quiet
    assert w.value(OHIO, "k") == "299"


def test_a_replica_reads_with_units_of_its_own() -> None:
    w = alone(provisioned(1, 100))
    own = {"ProvisionedThroughputOverride": {"ReadCapacityUnits": 20}}
    assert w.send(EAST, "UpdateTable", ReplicaUpdates=[{"Create": {"RegionName": OHIO, **own}}]).ok
    w.put(EAST, "k", "x")
    w.wait(S)
    read = [sum(w.get(region, "k", consistent=True).ok for _ in range(100)) for region in (EAST, OHIO)]
    assert read == [2, 21], "what there was at the beginning, and a second's worth"


def test_other_settings_give_no_units_back() -> None:
    w = alone(provisioned(5, 5))
    let_in(w, EAST, "k", 50)
    w.core.use(w.core.environment.settings.model_copy(update={"ttl_delay": 3.0}))
    assert not w.put(EAST, "k", "x").ok
    w.core.use(w.core.environment.settings.model_copy(update={"partition_writes": 2000}))
    assert w.put(EAST, "k", "x").ok
    assert w.core.control.throttled(EAST) == {"TableWriteProvisionedThroughputExceeded": 46}


def test_an_index_that_is_too_small_holds_up_replication_too() -> None:
    units = {"ReadCapacityUnits": 100, "WriteCapacityUnits": 1000}
    create = indexed_request(BillingMode="PROVISIONED", ProvisionedThroughput=units)
    create["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 5}
    w = world(create, table_burst="1s")
    cut = w.cut(EAST, OHIO)
    w.wait(S)
    for number in range(100):
        item = {"pk": {"S": "p"}, "sk": {"N": str(number)}, "g": {"S": "x"}}
        assert w.send(EAST, "PutItem", Item=item).ok
        w.wait(200 * MS)
    w.heal(cut)
    w.wait(5 * S)
    backlog = w.core.control.tables[0].engine.backlog(EAST, OHIO)
    assert backlog == pytest.approx(70, abs=3)
    w.settle()
    body = w.ask(OHIO, "Scan", IndexName="by-g", Select="COUNT").body
    assert body is not None
    assert body["Count"] == 100


def test_what_was_throttled_is_counted_by_reason() -> None:
    w = alone(provisioned(5, 5))
    let_in(w, EAST, "k", 50)
    assert w.core.control.throttled(EAST) == {"TableWriteProvisionedThroughputExceeded": 45}
    assert w.core.control.throttled(OHIO) == {}


def _units(reads: int, writes: int) -> dict[str, Any]:
    return {"ProvisionedThroughput": {"ReadCapacityUnits": reads, "WriteCapacityUnits": writes}}


def _index(reads: int, writes: int) -> dict[str, Any]:
    return indexed_request()["GlobalSecondaryIndexes"][0] | _units(reads, writes)


def test_each_replicated_change_costs_what_it_is() -> None:
    w = world(provisioned(1000, 1000), table_burst="1s")
    cut = w.cut(EAST, OHIO)
    w.wait(S)
    for size in (1, 100_000, 100_000, 100_000):  # some 300 units after the first
        w.send(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "x" * size}})
    assert w.send(OHIO, "UpdateTable", ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 10}).ok
    w.heal(cut)
    took_ns = w.now_ns
    w.settle()
    assert (w.now_ns - took_ns) / S == pytest.approx(2 * 98 / 10 - 1, rel=0.1), "the last is let in when two are paid"


def test_what_waited_for_units_when_the_emulator_was_killed_arrives_after_all() -> None:
    settings: dict[str, Any] = {**ON, "table_burst": "1s"}
    records: list[list[Any]] = []
    w = World("MREC", create=provisioned(1000, 10), records=records, **settings)
    cut = w.cut(EAST, OHIO)
    for number in range(100):
        assert w.put(EAST, f"k{number}", "x").ok
        w.wait(100 * MS)
    w.heal(cut)
    w.wait(S)
    assert w.core.control.members[OHIO][TABLE].store.meter.waiting > 50
    again = restored(records, w, start=True, **settings)
    again.wait(S)
    assert again.core.control.members[OHIO][TABLE].store.meter.waiting > 0, "units are spent there too"
    again.settle()
    assert all(again.value(OHIO, f"k{number}") == "x" for number in range(100))
