"""The control plane: what AWS allows, and what it says to the rest."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, MS, OHIO, OREGON, REGIONS, TABLE, S, World, create_request

IRELAND = "eu-west-1"
CALIFORNIA = "us-west-1"
FIVE = (*REGIONS, IRELAND, CALIFORNIA)


def create(*regions: str) -> dict[str, Any]:
    return {"ReplicaUpdates": [{"Create": {"RegionName": region}} for region in regions]}


def delete(*regions: str) -> dict[str, Any]:
    return {"ReplicaUpdates": [{"Delete": {"RegionName": region}} for region in regions]}


def witness(region: str, action: str = "Create") -> dict[str, Any]:
    return {"GlobalTableWitnessUpdates": [{action: {"RegionName": region}}]}


STRONG = {"MultiRegionConsistency": "STRONG"}
EVENTUAL = {"MultiRegionConsistency": "EVENTUAL"}


def world(*updates: dict[str, Any], regions: tuple[str, ...] = FIVE, **settings: Any) -> World:
    w = World(None, regions=regions, **settings)
    assert w.send(EAST, "CreateTable", **create_request()).ok
    for update in updates:
        assert w.send(EAST, "UpdateTable", **update).ok
    return w


def table(w: World, region: str) -> dict[str, Any]:
    reply = w.ask(region, "DescribeTable").body
    assert reply
    described: dict[str, Any] = reply["Table"]
    return described


def refusal(w: World, region: str, **update: Any) -> str:
    call = w.send(region, "UpdateTable", **update)
    assert (call.status, call.error) == (400, "ValidationException"), call.body
    assert call.body
    return str(call.body["message"])


def test_a_one_region_table_says_nothing_of_replicas() -> None:
    w = world()
    described = table(w, EAST)
    assert described["TableStatus"] == "ACTIVE"
    assert described["TableArn"] == "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
    keys = {"GlobalTableVersion", "Replicas", "MultiRegionConsistency", "GlobalTableWitnesses"}
    assert not keys & set(described)
    assert w.ask(OHIO, "DescribeTable").error == "ResourceNotFoundException"


def test_an_mrec_table_lists_the_other_regions_and_no_mode() -> None:
    w = world(create(OHIO), create(OREGON))
    for region in REGIONS:
        described = table(w, region)
        assert {replica["RegionName"] for replica in described["Replicas"]} == set(REGIONS) - {region}
        assert described["GlobalTableVersion"] == "2019.11.21"
        assert "MultiRegionConsistency" not in described
        assert described["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert len({table(w, region)["TableId"] for region in REGIONS}) == 3


def test_an_mrsc_table_says_strong_and_names_its_witness() -> None:
    w = world({**create(OHIO), **STRONG, **witness(OREGON)})
    for region in (EAST, OHIO):
        described = table(w, region)
        assert described["MultiRegionConsistency"] == "STRONG"
        assert described["GlobalTableWitnesses"] == [{"RegionName": OREGON, "WitnessStatus": "ACTIVE"}]
    assert w.ask(OREGON, "DescribeTable").error == "ResourceNotFoundException"
    assert w.ask(OREGON, "CreateTable", **create_request()).ok  # an unrelated table may stand where the witness is


def test_a_witness_may_be_where_this_emulator_has_no_endpoint() -> None:
    w = world({**create(OHIO), **STRONG, **witness("ap-northeast-1")}, regions=(EAST, OHIO))
    assert w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}}).ok


def test_everything_disappears_with_the_last_replica() -> None:
    w = world(create(OHIO), delete(OHIO))
    assert "Replicas" not in table(w, EAST)
    assert w.ask(OHIO, "DescribeTable").error == "ResourceNotFoundException"
    assert w.send(EAST, "UpdateTable", **create(OHIO)).ok


def test_a_replica_that_is_added_has_what_all_the_others_have() -> None:
    w = world(create(OHIO), replicator_delay="10s", replicator_delay_spread="0%")
    w.put(EAST, "k", "of the source")
    w.put(OHIO, "l", "not yet in the source")
    assert w.send(EAST, "UpdateTable", **create(OREGON)).ok
    assert (w.value(OREGON, "k"), w.value(OREGON, "l")) == ("of the source", "not yet in the source")
    w.settle()
    assert (w.value(OHIO, "k"), w.value(EAST, "l")) == ("of the source", "not yet in the source")


def test_a_create_may_be_asked_of_any_member() -> None:
    w = world(create(OHIO))
    assert w.send(OHIO, "UpdateTable", **create(OREGON)).ok
    assert table(w, OREGON)["TableStatus"] == "ACTIVE"


def test_dissolving_an_mrsc_table_leaves_a_one_region_table_with_its_items() -> None:
    w = world({**create(OHIO), **STRONG, **witness(OREGON)})
    w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}})
    assert w.send(EAST, "UpdateTable", **delete(OHIO), **witness(OREGON, "Delete")).ok
    assert "MultiRegionConsistency" not in table(w, EAST)
    assert w.ask(OHIO, "DescribeTable").error == "ResourceNotFoundException"
    assert w.value(EAST, "k") == "a"
    assert w.send(EAST, "UpdateTable", **create(OHIO)).ok
    assert w.value(OHIO, "k") == "a"


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({}, "At least one of ProvisionedThroughput"),
        ({"ReplicaUpdates": []}, "At least one of ProvisionedThroughput"),
        (STRONG, "At least one of ProvisionedThroughput"),
        (witness(OREGON), "At least one of ProvisionedThroughput"),
        ({**STRONG, **witness(OREGON)}, "At least one of ProvisionedThroughput"),
        (create(OHIO, OREGON), "more than one create or delete replica actions not allowed"),
        (create(EAST), "Cannot add or delete the local region through ReplicaUpdates"),
        (delete(EAST), "Cannot add or delete the local region through ReplicaUpdates"),
        (create("us-fake-1"), "Region us-fake-1 is not supported. The latest version of global tables"),
        (create("US-EAST-2"), "Region US-EAST-2 is not supported"),
        (
            delete(OHIO),
            "were not part of the global table. Please retry the request without these replicas: [us-east-2]",
        ),
        ({"ReplicaUpdates": [{}]}, "There are no actions specified in the Replica Update Action"),
        ({"ReplicaUpdates": [{"Update": {"RegionName": OHIO}}]}, "There are no actions specified"),
        (
            {"ReplicaUpdates": [{"Create": {"RegionName": OHIO}, "Delete": {"RegionName": OREGON}}]},
            "more than one type of replica actions not allowed",
        ),
        ({**create(OHIO), "DeletionProtectionEnabled": True}, "Replica modification must be the only operation"),
        (
            {**create(OHIO, OREGON), **STRONG, "DeletionProtectionEnabled": True},
            "Requests that modify replicas or witnesses must not also modify other fields",
        ),
        ({**create(OHIO), **STRONG}, "Unsupported replica count for global tables with MultiRegionConsistency"),
        ({**create(*REGIONS[1:], IRELAND), **STRONG}, "Unsupported replica count"),
        ({**create(OHIO), **witness(OREGON)}, "MultiRegionConsistency must be set as STRONG when GlobalTableWitness"),
        ({**create(OHIO), **witness(OREGON), **EVENTUAL}, "MultiRegionConsistency must be set as STRONG"),
        ({**create(OHIO), **STRONG, **witness(OHIO)}, "Cannot target multiple regions with the same action"),
        ({**create(OHIO), **STRONG, **witness(EAST)}, "Cannot add a witness in the same region as an existing replica"),
        ({**create(OHIO), **STRONG, **witness(CALIFORNIA)}, "STRONG: [us-west-1]."),
        ({**create(OHIO, CALIFORNIA), **STRONG}, "Unsupported Region(s) specified for global tables"),
        (
            {**create(OHIO), **STRONG, "GlobalTableWitnessUpdates": [{"Create": {"RegionName": OREGON}}] * 2},
            "Member must have length less than or equal to 1",
        ),
        ({**create(OHIO), "MultiRegionConsistency": "SOMETIMES"}, "Member must satisfy enum value set"),
        ({"GlobalSecondaryIndexUpdates": [{}]}, "GlobalSecondaryIndexUpdate.Delete must not be null"),
        (
            {"SSESpecification": {"Enabled": True}},
            "UpdateTable with SSESpecification is not supported by this emulator",
        ),
    ],
)
def test_what_a_one_region_table_refuses(update: dict[str, Any], words: str) -> None:
    w = world()
    assert words in refusal(w, EAST, **update)
    assert "Replicas" not in table(w, EAST)


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (create(OHIO), "because one or more replicas already existed as tables"),
        ({**create(OREGON), **STRONG}, "Unsupported replica count"),
        ({**create(OREGON, IRELAND), **STRONG}, "MultiRegionConsistency parameter is unsupported on existing"),
        (delete(IRELAND), "not part of the global table"),
        (STRONG, "At least one of"),
    ],
)
def test_what_an_mrec_table_refuses(update: dict[str, Any], words: str) -> None:
    assert words in refusal(world(create(OHIO)), EAST, **update)


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (create(IRELAND), "Cannot add replicas to a global table with strong MultiRegionConsistency"),
        ({**create(IRELAND), **STRONG}, "Unsupported replica count"),
        ({**create(IRELAND), **EVENTUAL}, "MultiRegionConsistency parameter is unsupported on existing global table"),
        (delete(OHIO), "Update table delete operation does not include all witnesses."),
        ({**delete(OHIO), **STRONG}, "Only Replica Create actions are supported when MultiRegionConsistency"),
        ({**delete(OHIO), **witness(IRELAND, "Delete")}, "without these witnesses: [eu-west-1]."),
        (witness(OREGON, "Delete"), "At least one of"),
    ],
)
def test_what_an_mrsc_table_refuses(update: dict[str, Any], words: str) -> None:
    assert words in refusal(world({**create(OHIO), **STRONG, **witness(OREGON)}), EAST, **update)


def test_one_replica_of_three_cannot_leave_an_mrsc_table() -> None:
    w = world({**create(OHIO, OREGON), **STRONG})
    assert "Deletion of only one table replica is not supported" in refusal(w, EAST, **delete(OHIO))
    call = w.send(OREGON, "DeleteTable")
    assert call.body
    assert "Deletion of only one table replica is not supported" in call.body["message"]


def test_a_table_with_items_does_not_become_mrsc() -> None:
    w = world()
    w.put(EAST, "k", "a")
    assert "empty" in refusal(w, EAST, **create(OHIO, OREGON), **STRONG)


def test_a_table_of_that_name_elsewhere_is_never_adopted() -> None:
    w = world()
    assert w.send(OHIO, "CreateTable", **create_request()).ok
    assert "already existed as tables" in refusal(w, EAST, **create(OHIO))


def test_the_source_of_a_replica_goes_last() -> None:
    w = world(create(OHIO))
    call = w.send(EAST, "DeleteTable")
    assert call.body
    assert "acted as a source region" in call.body["message"]
    assert "acted as a source region" in refusal(w, OHIO, **delete(EAST))
    assert w.send(OHIO, "DeleteTable").ok
    assert w.send(EAST, "DeleteTable").ok
    assert w.core.control.tables == []
    assert w.core.network.observers == []


def test_after_a_day_the_source_may_go_first() -> None:
    w = world(create(OHIO))
    w.wait(25 * 3600 * S)
    assert w.send(EAST, "DeleteTable").ok
    assert table(w, OHIO)["TableStatus"] == "ACTIVE"


def test_creation_takes_the_time_that_is_set() -> None:
    w = World(None, table_creation="10s")
    reply = w.send(EAST, "CreateTable", **create_request()).body
    assert reply
    assert reply["TableDescription"]["TableStatus"] == "CREATING"
    assert w.put(EAST, "k", "a").error == "ResourceNotFoundException"
    assert w.send(EAST, "UpdateTable", **create(OHIO)).error == "ResourceInUseException"
    assert w.send(EAST, "DeleteTable").error == "ResourceInUseException"
    w.wait(10 * S)
    assert w.put(EAST, "k", "a").ok
    assert w.send(EAST, "UpdateTable", **create(OHIO)).ok
    assert table(w, EAST)["TableStatus"] == "UPDATING"
    assert table(w, EAST)["Replicas"][0]["ReplicaStatus"] == "CREATING"
    assert w.put(EAST, "k", "b").ok  # the base goes on serving
    assert w.send(OHIO, "GetItem", Key={"pk": {"S": "k"}}).error == "ResourceNotFoundException"
    assert w.send(EAST, "UpdateTable", **create(OREGON)).error == "ResourceInUseException"
    w.wait(10 * S)
    assert table(w, EAST)["Replicas"][0]["ReplicaStatus"] == "ACTIVE"
    w.settle()
    assert w.value(OHIO, "k") == "b"
    assert w.send(EAST, "UpdateTable", **delete(OHIO)).ok
    assert table(w, OHIO)["TableStatus"] == "DELETING"
    w.wait(10 * S)
    assert w.send(OHIO, "DescribeTable").error == "ResourceNotFoundException"


def test_a_protected_table_is_not_deleted() -> None:
    w = world({"DeletionProtectionEnabled": True})
    assert table(w, EAST)["DeletionProtectionEnabled"] is True
    assert w.send(EAST, "DeleteTable").error == "ValidationException"
    assert w.send(EAST, "UpdateTable", DeletionProtectionEnabled=False).ok
    assert w.send(EAST, "DeleteTable").ok


def test_tables_are_listed_by_region_a_page_at_a_time() -> None:
    w = World(None)
    for number in range(7):
        w.send(EAST, "CreateTable", **create_request(f"table-{number}"))
    first = w.send(EAST, "ListTables", Limit=5).body
    assert first
    assert first["LastEvaluatedTableName"] == "table-4"
    rest = w.send(EAST, "ListTables", ExclusiveStartTableName="table-4").body
    assert rest == {"TableNames": ["table-5", "table-6"]}
    assert w.send(OHIO, "ListTables").body == {"TableNames": []}


@pytest.mark.parametrize("limit", [0, 101, "5", True])
def test_a_list_limit_out_of_range_is_refused(limit: object) -> None:
    w = World(None)
    call = w.send(EAST, "ListTables", Limit=limit)
    assert call.status == 400


def test_a_table_is_made_once() -> None:
    w = world()
    call = w.send(EAST, "CreateTable", **create_request())
    assert (call.error, call.body and call.body["message"]) == (
        "ResourceInUseException",
        f"Table already exists: {TABLE}",
    )


def test_writes_under_way_when_a_replica_leaves_are_answered() -> None:
    w = world(create(OHIO), create(OREGON), replicator_delay="1s")
    for number in range(10):
        w.put(OREGON, str(number), "a")
    assert w.send(EAST, "UpdateTable", **delete(OREGON)).ok
    w.settle()
    assert w.value(OHIO, "9") == w.value(EAST, "9")
    w.wait(100 * MS)


@pytest.mark.parametrize(
    ("operation", "request_", "error", "words"),
    [
        (
            "CreateGlobalTable",
            {"ReplicationGroup": [{"RegionName": EAST}]},
            "ValidationException",
            "version 2017.11.29",
        ),
        ("UpdateGlobalTable", {"ReplicaUpdates": []}, "ValidationException", "values were invalid"),
        (
            "UpdateGlobalTable",
            {"ReplicaUpdates": [{"Create": {"RegionName": OHIO}}]},
            "ValidationException",
            "2019.11.21",
        ),
        (
            "UpdateGlobalTable",
            {"ReplicaUpdates": [{"Delete": {"RegionName": OHIO}}]},
            "GlobalTableNotFoundException",
            TABLE,
        ),
        ("DescribeGlobalTable", {}, "GlobalTableNotFoundException", "Global table not found: Global table with name"),
        ("DescribeGlobalTableSettings", {}, "GlobalTableNotFoundException", "does not exist"),
        ("UpdateGlobalTableSettings", {}, "GlobalTableNotFoundException", "does not exist"),
    ],
)
def test_the_api_of_2017_is_dead(operation: str, request_: dict[str, Any], error: str, words: str) -> None:
    w = world(create(OHIO))
    call = w.send(EAST, operation, GlobalTableName=TABLE, **request_)
    assert (call.status, call.error) == (400, error)
    assert words in str(call.body)
    assert w.send(EAST, "ListGlobalTables").body == {"GlobalTables": []}


def test_while_replication_is_paused_settings_of_an_mrsc_group_stay() -> None:
    w = world({**create(OHIO, OREGON), **STRONG})
    fault = w.fault("replication-paused", OHIO)
    for region in (EAST, OHIO):
        call = w.send(region, "UpdateTable", StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
        assert call.error == "ResourceInUseException"
        assert w.send(region, "UpdateTable", **delete(*(set(REGIONS) - {region}))).error == "ResourceInUseException"
    w.heal(fault)
    w.settle()
    assert w.send(OHIO, "UpdateTable", StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}).ok


def test_a_witness_takes_its_time_too() -> None:
    w = world(table_creation="10s")
    w.wait(10 * S)
    assert w.send(EAST, "UpdateTable", **create(OHIO), **STRONG, **witness(OREGON)).ok
    assert table(w, EAST)["GlobalTableWitnesses"] == [{"RegionName": OREGON, "WitnessStatus": "CREATING"}]
    w.wait(10 * S)
    assert table(w, EAST)["GlobalTableWitnesses"] == [{"RegionName": OREGON, "WitnessStatus": "ACTIVE"}]


def test_a_replica_may_have_units_or_a_maximum_of_its_own_for_reads() -> None:
    w = World(None)
    units = {"ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}}
    assert w.send(EAST, "CreateTable", **create_request() | {"BillingMode": "PROVISIONED"} | units).ok
    own = {"ProvisionedThroughputOverride": {"ReadCapacityUnits": 9}}
    made = {"ReplicaUpdates": [{"Create": {"RegionName": OHIO, **own}}]}
    assert w.send(EAST, "UpdateTable", **made).ok
    assert table(w, EAST)["Replicas"][0]["ProvisionedThroughputOverride"] == {"ReadCapacityUnits": 9}
    assert "ProvisionedThroughputOverride" not in table(w, OHIO)["Replicas"][0]
    for region, reads in ((EAST, 5), (OHIO, 9)):
        shown = table(w, region)["ProvisionedThroughput"]
        assert (shown["ReadCapacityUnits"], shown["WriteCapacityUnits"]) == (reads, 6)
    back = {"ProvisionedThroughputOverride": {"ReadCapacityUnits": 5}}  # the table's
    assert w.send(EAST, "UpdateTable", ReplicaUpdates=[{"Update": {"RegionName": OHIO, **back}}]).ok
    assert "ProvisionedThroughputOverride" not in table(w, EAST)["Replicas"][0]
    most = {
        "ReplicaUpdates": [{"Update": {"RegionName": OHIO, "OnDemandThroughputOverride": {"MaxReadRequestUnits": 3}}}]
    }
    assert "cannot be specified for a PROVISIONED table" in refusal(w, EAST, **most)
    assert w.send(EAST, "UpdateTable", BillingMode="PAY_PER_REQUEST").ok
    assert w.send(EAST, "UpdateTable", **most).ok
    assert table(w, OHIO)["OnDemandThroughput"] == {"MaxReadRequestUnits": 3}
    assert table(w, EAST)["Replicas"][0]["OnDemandThroughputOverride"] == {"MaxReadRequestUnits": 3}
    other = {"ReplicaUpdates": [{"Update": {"RegionName": OHIO, "TableClassOverride": "STANDARD"}}]}
    assert "TableClassOverride is not supported by this emulator" in refusal(w, EAST, **other)
