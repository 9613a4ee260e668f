"""UpdateTable on units, maximum and class, in virtual time: what AWS allows how often, and what it says to the rest."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, OHIO, TABLE, Call, S, World, create_request, indexed_request

START_S = 1_800_000_000 // 86400 * 86400  # midnight
DEMANDED = {"BillingMode": "PAY_PER_REQUEST"}


def units(reads: int, writes: int) -> dict[str, Any]:
    return {"ProvisionedThroughput": {"ReadCapacityUnits": reads, "WriteCapacityUnits": writes}}


def most(**given: int) -> dict[str, Any]:
    return {"OnDemandThroughput": {f"Max{name.capitalize()}RequestUnits": value for name, value in given.items()}}


def provisioned(reads: int = 10, writes: int = 10) -> World:
    w = World(None, wall=START_S)
    assert w.send(EAST, "CreateTable", **create_request() | {"BillingMode": "PROVISIONED"} | units(reads, writes)).ok
    return w


def demanded(**more: Any) -> World:
    w = World(None, wall=START_S, **more)
    assert w.send(EAST, "CreateTable", **indexed_request()).ok
    return w


def update(w: World, **request: Any) -> Call:
    return w.send(EAST, "UpdateTable", **request)


def table(w: World, region: str = EAST) -> dict[str, Any]:
    body = w.ask(region, "DescribeTable").body
    assert body
    described: dict[str, Any] = body["Table"]
    return described


def refused(call: Call) -> tuple[str | None, str]:
    assert call.status == 400, call.body
    assert call.body
    return call.error, call.body["message"]


def test_units_go_down_four_times_a_day_and_then_once_an_hour() -> None:
    w = provisioned()
    for writes in (9, 8, 7, 6):
        assert update(w, **units(10, writes)).ok
    shown = table(w)["ProvisionedThroughput"]
    assert (shown["NumberOfDecreasesToday"], shown["LastDecreaseDateTime"]) == (4, START_S)
    error, message = refused(update(w, **units(11, 5)))
    assert error == "LimitExceededException"
    assert "Number of decreases today: 4. Last decrease at Friday, January 15, 2027 at 12:00:00 AM" in message
    assert "Next decrease can be made at Friday, January 15, 2027 at 1:00:00 AM Coordinated Universal Time." in message
    assert update(w, **units(20, 20)).ok, "up at any time"
    assert table(w)["ProvisionedThroughput"]["LastIncreaseDateTime"] == START_S
    w.wait(3600 * S)
    assert update(w, **units(19, 19)).ok
    assert refused(update(w, **units(18, 18)))[0] == "LimitExceededException"
    w.wait(22 * 3600 * S + 1800 * S)
    assert update(w, **units(18, 18)).ok
    assert refused(update(w, **units(17, 17)))[0] == "LimitExceededException"
    w.wait(1800 * S)  # midnight
    assert update(w, **units(17, 17)).ok
    assert table(w)["ProvisionedThroughput"]["NumberOfDecreasesToday"] == 1


def test_the_maximum_changes_member_by_member_at_once() -> None:
    w = demanded(table_creation="1s")
    w.wait(S)
    reply = update(w, **most(read=1000, write=500)).body
    assert reply
    assert reply["TableDescription"]["TableStatus"] == "ACTIVE"
    assert table(w)["OnDemandThroughput"] == {"MaxReadRequestUnits": 1000, "MaxWriteRequestUnits": 500}
    update(w, **most(read=2000))
    assert table(w)["OnDemandThroughput"] == {"MaxReadRequestUnits": 2000, "MaxWriteRequestUnits": 500}
    update(w, **most(read=-1))
    assert table(w)["OnDemandThroughput"] == {"MaxWriteRequestUnits": 500}
    update(w, **most(write=-1))
    assert "OnDemandThroughput" not in table(w)
    for wrong in (0, -2):
        error, message = refused(update(w, **most(read=wrong)))
        assert error == "ValidationException"
        assert "Requested MaxReadRequestUnits for OnDemandThroughput is outside of valid range" in message


def test_another_billing_mode_takes_the_maximum_away() -> None:
    w = demanded()
    update(w, **most(read=10, write=10))
    of_index = [{"Update": {"IndexName": "by-g", **most(write=5)}}]
    assert update(w, GlobalSecondaryIndexUpdates=of_index).ok
    assert table(w)["GlobalSecondaryIndexes"][0]["OnDemandThroughput"] == {"MaxWriteRequestUnits": 5}
    of_index = [{"Update": {"IndexName": "by-g", **units(3, 3)}}]
    assert update(w, BillingMode="PROVISIONED", **units(5, 5), GlobalSecondaryIndexUpdates=of_index).ok
    described = table(w)
    assert "OnDemandThroughput" not in described
    assert "OnDemandThroughput" not in described["GlobalSecondaryIndexes"][0]
    assert refused(update(w, **most(read=5)))[0] == "ValidationException"
    assert update(w, **DEMANDED, **most(read=5)).ok
    assert table(w)["OnDemandThroughput"] == {"MaxReadRequestUnits": 5}


def test_an_index_is_updated_by_itself_and_one_change_at_a_time() -> None:
    w = demanded(table_creation="10s")
    w.wait(10 * S)
    change = {"GlobalSecondaryIndexUpdates": [{"Update": {"IndexName": "by-g", **most(write=5)}}]}
    assert update(w, **change).ok
    described = table(w)
    assert (described["TableStatus"], described["GlobalSecondaryIndexes"][0]["IndexStatus"]) == ("ACTIVE", "UPDATING")
    assert refused(update(w, **change)) == (
        "ResourceInUseException",
        f"Attempt to change a resource which is still in use: Index is being updated. Table: {TABLE} Index: by-g",
    )
    assert refused(w.send(EAST, "DeleteTable"))[0] == "ResourceInUseException"
    w.wait(10 * S)
    assert table(w)["GlobalSecondaryIndexes"][0]["IndexStatus"] == "ACTIVE"


def test_while_an_index_is_made_units_and_stream_stay_as_they_are() -> None:
    w = World(None, wall=START_S, table_creation="10s", fill_rate=1)
    w.send(EAST, "CreateTable", **create_request() | {"BillingMode": "PROVISIONED"} | units(5, 5))
    w.wait(10 * S)
    for number in range(100):
        w.put(EAST, f"k{number}", "x")
    create = {
        "IndexName": "by-v",
        "KeySchema": [{"AttributeName": "v", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        **units(5, 5),
    }
    defined = [{"AttributeName": "v", "AttributeType": "S"}]
    assert update(w, AttributeDefinitions=defined, GlobalSecondaryIndexUpdates=[{"Create": create}]).ok
    during = f"when an index is being created. Table: {TABLE} Indexes: [by-v]"
    assert during in refused(update(w, **units(6, 6)))[1]
    stream = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}}
    assert f"Can't change stream status {during}" in refused(update(w, **stream))[1]
    change = [{"Update": {"IndexName": "by-v", **units(6, 6)}}]
    w.wait(10 * S)
    described = table(w)
    assert (described["TableStatus"], described["GlobalSecondaryIndexes"][0]["Backfilling"]) == ("ACTIVE", True)
    assert update(w, GlobalSecondaryIndexUpdates=change).ok
    assert update(w, **units(6, 6)).ok
    w.wait(10 * S)
    assert refused(update(w, GlobalSecondaryIndexUpdates=[{"Create": create | {"IndexName": "another"}}]))[0] == (
        "LimitExceededException"
    )
    assert "while indexes are being created" in refused(w.send(EAST, "DeleteTable"))[1]
    w.wait(200 * S)
    assert update(w, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-v"}}]).ok
    assert "when an index is being deleted" in refused(update(w, **units(7, 7)))[1]


def test_a_class_changes_twice_a_month_in_every_region() -> None:
    w = demanded()
    assert "TableClassSummary" not in table(w)
    assert update(w, TableClass="STANDARD").ok
    assert "TableClassSummary" not in table(w)
    update(w, ReplicaUpdates=[{"Create": {"RegionName": OHIO}}])
    rare = {"TableClass": "STANDARD_INFREQUENT_ACCESS"}
    assert update(w, **rare).ok
    assert table(w, OHIO)["TableClassSummary"] == {**rare, "LastUpdateDateTime": START_S}
    w.wait(86400 * S)
    assert update(w, TableClass="STANDARD").ok
    assert refused(update(w, **rare))[0] == "LimitExceededException"
    w.wait(29 * 86400 * S)
    assert update(w, **rare).ok


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"TableClass": "STANDARD", "DeletionProtectionEnabled": True}, "TableClass modification must be the only"),
        ({"DeletionProtectionEnabled": True, **DEMANDED}, "DeletionProtection modification must be the only"),
        (
            {**most(read=5), "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}},
            "OnDemandThroughput can only be combined with BillingMode in an UpdateTable request",
        ),
        (
            {
                "BillingMode": "PROVISIONED",
                **units(1, 1),
                "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
            },
            "You cannot modify stream status while updating table IOPS",
        ),
        ({"TableClass": "BOGUS"}, "enum value set"),
    ],
)
def test_one_call_changes_one_thing(request_: dict[str, Any], words: str) -> None:
    w = demanded()
    before = table(w)
    error, message = refused(update(w, **request_))
    assert error == "ValidationException"
    assert words in message
    assert table(w) == before
    with_stream = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}}
    assert update(w, **DEMANDED, **with_stream).ok, "these two go together"
