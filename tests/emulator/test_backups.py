"""Backups and point-in-time recovery, in virtual time: what is kept, and the tables that are made of it."""

from __future__ import annotations

from typing import Any

import pytest

from lastwriter.emulator.core.snapshot import snapshot
from tests.emulator.test_durable import restored as restored_core
from tests.emulator.virtual import EAST, MS, OHIO, TABLE, Call, S, World, create_request, indexed_request

START_S = 1_800_000_000
CLOSE = {"latency_scale": "0%", "replicator_delay": "0ms"}


def world(create: dict[str, Any] | None = None, **settings: Any) -> World:
    w = World(None, wall=START_S, **{**CLOSE, **settings})
    ask(w, "CreateTable", **(create or create_request()))
    return w


def ask(w: World, operation: str, region: str = EAST, **request: Any) -> dict[str, Any]:
    call = w.ask(region, operation, **request)
    assert call.ok, call.body
    assert call.body is not None
    return call.body


def refused(w: World, operation: str, region: str = EAST, **request: Any) -> tuple[str | None, str]:
    call = w.ask(region, operation, **request)
    assert call.status == 400, call.body
    assert call.body is not None
    return call.error, str(call.body.get("message") or call.body["Message"])


def back_up(w: World, name: str = "nightly", region: str = EAST) -> str:
    return str(ask(w, "CreateBackup", region, BackupName=name)["BackupDetails"]["BackupArn"])


def recover(w: World, enabled: bool = True, region: str = EAST, **more: Any) -> dict[str, Any]:
    specification = {"PointInTimeRecoveryEnabled": enabled, **more}
    body = ask(w, "UpdateContinuousBackups", region, PointInTimeRecoverySpecification=specification)
    found: dict[str, Any] = body["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    return found


def values(w: World, table: str, region: str = EAST) -> dict[str, str]:
    items = ask(w, "Scan", region, TableName=table)["Items"]
    return {item["pk"]["S"]: item["v"]["S"] for item in items}


def now_s(w: World) -> float:
    return START_S + w.now_ns / S


def restored(w: World, table: str, region: str = EAST) -> dict[str, Any]:
    found: dict[str, Any] = ask(w, "DescribeTable", region, TableName=table)["Table"]
    return found


# -- backups


def test_a_backup_is_creating_for_a_moment_and_says_what_its_table_was() -> None:
    w = world()
    w.put(EAST, "a", "1")
    details = ask(w, "CreateBackup", BackupName="nightly")["BackupDetails"]
    assert details["BackupStatus"] == "CREATING"
    described = ask(w, "DescribeBackup", BackupArn=details["BackupArn"])["BackupDescription"]
    assert described["BackupDetails"] == {**details, "BackupStatus": "AVAILABLE"}
    assert (details["BackupName"], details["BackupType"], details["BackupSizeBytes"]) == ("nightly", "USER", 5)
    assert "BackupExpiryDateTime" not in details
    table = ask(w, "DescribeTable")["Table"]
    assert described["SourceTableDetails"] == {
        "TableName": TABLE,
        "TableId": table["TableId"],
        "TableArn": table["TableArn"],
        "TableSizeBytes": 5,
        "KeySchema": create_request()["KeySchema"],
        "TableCreationDateTime": table["CreationDateTime"],
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
        "ItemCount": 1,
        "BillingMode": "PAY_PER_REQUEST",
    }
    assert described["SourceTableFeatureDetails"] == {}


def test_a_name_is_nothing_and_backups_outlive_their_table() -> None:
    w = world()
    arns = [back_up(w, "same") for _ in range(3)]
    w.wait(S)
    assert len(set(arns)) == 3
    ask(w, "DeleteTable")
    ask(w, "CreateTable", **create_request())
    arns.append(back_up(w, "same"))
    listed = ask(w, "ListBackups")["BackupSummaries"]
    assert {one["BackupArn"] for one in listed} == set(arns)
    assert len({one["TableArn"] for one in listed}) == 1
    assert len({one["TableId"] for one in listed}) == 2
    gone = ask(w, "DeleteBackup", BackupArn=arns[0])["BackupDescription"]
    assert gone["BackupDetails"]["BackupStatus"] == "DELETED"
    not_found = ("BackupNotFoundException", f"Backup not found: {arns[0]}")
    assert refused(w, "DescribeBackup", BackupArn=arns[0]) == not_found
    assert refused(w, "DeleteBackup", BackupArn=arns[0]) == not_found


def test_backups_are_listed_a_page_at_a_time_by_table_time_and_type() -> None:
    w = world()
    arns = []
    for number in range(5):
        arns.append(back_up(w, f"no-{number}"))
        w.wait(S)
    first = ask(w, "ListBackups", Limit=2)
    assert [one["BackupName"] for one in first["BackupSummaries"]] == ["no-0", "no-1"]
    second = ask(w, "ListBackups", Limit=3, ExclusiveStartBackupArn=first["LastEvaluatedBackupArn"])
    assert [one["BackupName"] for one in second["BackupSummaries"]] == ["no-2", "no-3", "no-4"]
    assert "LastEvaluatedBackupArn" not in second
    bounds = {"TimeRangeLowerBound": START_S + 1, "TimeRangeUpperBound": START_S + 3}
    assert [one["BackupName"] for one in ask(w, "ListBackups", **bounds)["BackupSummaries"]] == ["no-1", "no-2"]
    assert ask(w, "ListBackups", TableName="another")["BackupSummaries"] == []
    assert ask(w, "ListBackups", BackupType="SYSTEM")["BackupSummaries"] == []
    assert ask(w, "ListBackups", OHIO)["BackupSummaries"] == []
    for request in ({"Limit": 101}, {"BackupType": "user"}, {"TimeRangeLowerBound": 2, "TimeRangeUpperBound": 1}):
        assert refused(w, "ListBackups", **request)[0] == "ValidationException"


def test_whose_backup_it_is() -> None:
    w = world(table_creation="1s")
    assert refused(w, "CreateBackup", BackupName="abc") == ("TableNotFoundException", f"Table not found: {TABLE}")
    w.wait(S)
    arn = back_up(w)
    assert refused(w, "DescribeBackup", OHIO, BackupArn=arn)[0] == "BackupNotFoundException"
    other = arn.replace(":000000000000:", ":111111111111:")
    assert refused(w, "DescribeBackup", BackupArn=other)[0] == "AccessDeniedException"
    of_table = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
    assert refused(w, "DescribeBackup", BackupArn=of_table) == ("ValidationException", "Invalid Backup ARN")
    for name in ("ab", "no spaces"):
        assert refused(w, "CreateBackup", BackupName=name)[0] == "ValidationException"


# -- restoring a backup


def test_a_table_is_made_of_a_backup_as_it_was() -> None:
    create = indexed_request(local=True, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    w = world(create, fill_rate=10)
    for number in range(20):
        item = {"pk": {"S": "p"}, "sk": {"N": str(number)}, "g": {"S": "x"}}
        ask(w, "PutItem", Item=item)
    ask(w, "TagResource", ResourceArn=restored(w, TABLE)["TableArn"], Tags=[{"Key": "a", "Value": "b"}])
    arn = back_up(w)
    ask(w, "DeleteItem", Key={"pk": {"S": "p"}, "sk": {"N": "1"}})
    reply = ask(w, "RestoreTableFromBackup", TargetTableName="again", BackupArn=arn)["TableDescription"]
    assert (reply["TableStatus"], reply["RestoreSummary"]["SourceBackupArn"]) == ("CREATING", arn)
    assert reply["RestoreSummary"]["RestoreInProgress"] is True
    w.wait(S)
    assert restored(w, "again")["TableStatus"] == "CREATING"
    assert refused(w, "DescribeTimeToLive", TableName="again")[0] == "ResourceNotFoundException"
    assert refused(w, "DescribeContinuousBackups", TableName="again")[0] == "TableNotFoundException"
    assert refused(w, "CreateTable", **create_request("again")) == (
        "ResourceInUseException",
        "Table is being used: again",
    )
    assert refused(w, "DeleteTable", TableName="again")[0] == "ResourceInUseException"
    assert refused(w, "RestoreTableFromBackup", TargetTableName="again", BackupArn=arn)[0] == "TableInUseException"
    assert refused(w, "RestoreTableFromBackup", TargetTableName="other", BackupArn=arn)[0] == "BackupInUseException"
    assert refused(w, "DeleteBackup", BackupArn=arn)[0] == "BackupInUseException"
    w.wait(S)
    found = restored(w, "again")
    assert (found["TableStatus"], found["ItemCount"]) == ("ACTIVE", 20)
    assert not {"RestoreSummary", "StreamSpecification", "LatestStreamArn"} & set(found)
    assert [one["IndexName"] for one in found["GlobalSecondaryIndexes"] + found["LocalSecondaryIndexes"]] == [
        "by-g",
        "by-l",
    ]
    query = {
        "KeyConditionExpression": "g = :g",
        "ExpressionAttributeValues": {":g": {"S": "x"}},
        "TableName": "again",
    }
    assert ask(w, "Query", IndexName="by-g", **query)["Count"] == 20
    assert ask(w, "ListTagsOfResource", ResourceArn=found["TableArn"])["Tags"] == []
    ask(w, "DeleteBackup", BackupArn=arn)


def test_what_comes_back_can_be_told_otherwise() -> None:
    units = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}
    create = indexed_request(BillingMode="PROVISIONED", ProvisionedThroughput=units)
    create["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"] = units
    w = world(create)
    arn = back_up(w)

    def restore(table: str, **more: Any) -> dict[str, Any]:
        ask(w, "RestoreTableFromBackup", TargetTableName=table, BackupArn=arn, **more)
        return restored(w, table)

    plain = restore("plain")
    assert plain["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    assert plain["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    demanded = restore("demanded", BillingModeOverride="PAY_PER_REQUEST")
    assert demanded["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert demanded["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]["WriteCapacityUnits"] == 0
    bare = restore("bare", GlobalSecondaryIndexOverride=[])
    assert "GlobalSecondaryIndexes" not in bare
    assert [one["AttributeName"] for one in bare["AttributeDefinitions"]] == ["pk", "sk"]
    larger = restore("larger", ProvisionedThroughputOverride={"ReadCapacityUnits": 7, "WriteCapacityUnits": 8})
    assert larger["ProvisionedThroughput"]["WriteCapacityUnits"] == 8


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"TargetTableName": "no spaces"}, "ValidationException", "targetTableName"),
        ({"TargetTableName": TABLE}, "TableAlreadyExistsException", f"Table already exists: {TABLE}"),
        (
            {"ProvisionedThroughputOverride": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}},
            "ValidationException",
            "Cannot override ProvisionedThroughput unless",
        ),
        ({"BillingModeOverride": "PROVISIONED"}, "ValidationException", "Must override ProvisionedThroughput"),
        ({"BillingModeOverride": "BOGUS"}, "ValidationException", "enum value set"),
        (
            {
                "GlobalSecondaryIndexOverride": [
                    {
                        "IndexName": "new",
                        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "ALL"},
                    }
                ]
            },
            "ValidationException",
            "does not match a secondary index that existed",
        ),
    ],
)
def test_what_cannot_be_restored(more: dict[str, Any], error: str, words: str) -> None:
    w = world()
    arn = back_up(w)
    found = refused(w, "RestoreTableFromBackup", **{"TargetTableName": "again", "BackupArn": arn, **more})
    assert found[0] == error
    assert words in found[1]
    assert refused(w, "DescribeTable", TableName="again")[0] == "ResourceNotFoundException"
    ask(w, "RestoreTableFromBackup", TargetTableName="again", BackupArn=arn)


def test_into_another_region_only_with_encryption_said() -> None:
    w = world()
    w.put(EAST, "a", "1")
    arn = back_up(w)
    request = {"TargetTableName": "again", "BackupArn": arn}
    error, message = refused(w, "RestoreTableFromBackup", OHIO, **request)
    assert (error, "sseSpecificationOverride must be provided" in message) == ("ValidationException", True)
    ask(w, "RestoreTableFromBackup", OHIO, **request, SSESpecificationOverride={"Enabled": True, "SSEType": "KMS"})
    assert values(w, "again", OHIO) == {"a": "1"}
    assert refused(w, "DescribeTable", TableName="again")[0] == "ResourceNotFoundException"


# -- point-in-time recovery


def test_recovery_is_off_until_it_is_switched_on_and_begins_anew() -> None:
    w = world(pitr_delay="300s")
    described = ask(w, "DescribeContinuousBackups")["ContinuousBackupsDescription"]
    assert described == {
        "ContinuousBackupsStatus": "ENABLED",
        "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
    }
    on = recover(w)
    assert (on["PointInTimeRecoveryStatus"], on["RecoveryPeriodInDays"]) == ("ENABLED", 35)
    assert on["EarliestRestorableDateTime"] == on["LatestRestorableDateTime"] == now_s(w)
    w.wait(1000 * S)
    later = recover(w, RecoveryPeriodInDays=7)
    assert (later["EarliestRestorableDateTime"], later["RecoveryPeriodInDays"]) == (START_S, 7)
    assert later["LatestRestorableDateTime"] == START_S + 700
    recover(w, enabled=False)
    assert recover(w)["EarliestRestorableDateTime"] == START_S + 1000
    off = {"PointInTimeRecoveryEnabled": False, "RecoveryPeriodInDays": 7}
    assert refused(w, "UpdateContinuousBackups", PointInTimeRecoverySpecification=off)[0] == "ValidationException"
    w.wait(40 * 86400 * S)
    described = ask(w, "DescribeContinuousBackups")["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert described["EarliestRestorableDateTime"] == now_s(w) - 35 * 86400


def test_a_table_can_be_made_of_any_moment_since() -> None:
    w = world()
    w.put(EAST, "before", "0")
    recover(w)
    w.wait(500 * MS)
    history = {}
    for number in range(20):
        w.put(EAST, f"k{number % 3}", str(number))
        if number % 7 == 6:
            w.send(EAST, "DeleteItem", Key={"pk": {"S": f"k{number % 2}"}})
        history[now_s(w)] = values(w, TABLE)
        w.wait(S)
    for number, (at_s, expected) in enumerate(history.items()):
        name = f"then{number}"
        request = {"SourceTableName": TABLE, "TargetTableName": name, "RestoreDateTime": at_s}
        reply = ask(w, "RestoreTableToPointInTime", **request)["TableDescription"]
        assert reply["RestoreSummary"]["RestoreDateTime"] == at_s
        assert values(w, name) == expected
    request = {"SourceTableName": TABLE, "TargetTableName": "latest", "UseLatestRestorableTime": True}
    ask(w, "RestoreTableToPointInTime", **request)
    assert values(w, "latest") == values(w, TABLE)


def test_a_bad_write_that_replicated_everywhere_is_undone_from_before_it() -> None:
    w = World("MREC", wall=START_S, **CLOSE)
    recover(w, region=OHIO)
    w.put(EAST, "k", "good")
    w.wait(S)
    then_s = now_s(w)
    w.wait(S)
    w.put(EAST, "k", "bad")
    w.settle()
    assert values(w, TABLE, OHIO) == {"k": "bad"}
    request = {"SourceTableName": TABLE, "TargetTableName": "undone", "RestoreDateTime": then_s}
    ask(w, "RestoreTableToPointInTime", OHIO, **request)
    assert values(w, "undone", OHIO) == {"k": "good"}


def test_only_so_many_changes_are_kept() -> None:
    w = world(pitr_records=10)
    recover(w)
    for number in range(30):
        w.wait(S)
        w.put(EAST, "k", str(number))
    described = ask(w, "DescribeContinuousBackups")["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert described["EarliestRestorableDateTime"] == START_S + 20
    request = {"SourceTableName": TABLE, "TargetTableName": "then", "RestoreDateTime": START_S + 20}
    ask(w, "RestoreTableToPointInTime", **request)
    assert values(w, "then") == {"k": "19"}


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({}, "ValidationException", "Either one of RestoreDateTime or UseLatestRestorableTime"),
        ({"UseLatestRestorableTime": True, "RestoreDateTime": START_S}, "ValidationException", "cannot be set"),
        ({"UseLatestRestorableTime": True, "SourceTableName": None}, "ValidationException", "'TableName' is required"),
        ({"UseLatestRestorableTime": True, "SourceTableArn": "arn"}, "ValidationException", "exactly one of"),
        ({"UseLatestRestorableTime": True, "SourceTableName": "missing"}, "TableNotFoundException", "missing"),
        ({"UseLatestRestorableTime": True, "TargetTableName": TABLE}, "TableAlreadyExistsException", TABLE),
        ({"RestoreDateTime": START_S - 10, "TargetTableName": TABLE}, "InvalidRestoreTimeException", "must be within"),
        ({"RestoreDateTime": START_S + 10}, "InvalidRestoreTimeException", "2027-01-15T08:00:10Z"),
    ],
)
def test_what_no_moment_can_be_made_of(more: dict[str, Any], error: str, words: str) -> None:
    w = world()
    request = {"SourceTableName": TABLE, "TargetTableName": "again", **more}
    if error not in ("ValidationException", "TableNotFoundException"):
        off = refused(w, "RestoreTableToPointInTime", **request)
        assert off == (
            "PointInTimeRecoveryUnavailableException",
            f"Point in time recovery is not enabled for table '{TABLE}'",
        )
    recover(w)
    found = refused(w, "RestoreTableToPointInTime", **request)
    assert found[0] == error
    assert words in found[1]


def test_a_table_with_recovery_that_is_deleted_leaves_a_system_backup() -> None:
    w = world()
    w.put(EAST, "a", "1")
    recover(w)
    ask(w, "DeleteTable")
    assert ask(w, "ListBackups")["BackupSummaries"] == []
    (backup,) = ask(w, "ListBackups", BackupType="SYSTEM")["BackupSummaries"]
    assert backup["BackupName"] == f"{TABLE}$DeletedTableBackup"
    assert backup["BackupArn"].endswith("-00000000")
    assert backup["BackupExpiryDateTime"] == backup["BackupCreationDateTime"] + 35 * 86400
    error, message = refused(w, "DeleteBackup", BackupArn=backup["BackupArn"])
    assert (error, "not allowed to delete the system backup" in message) == ("ValidationException", True)
    ask(w, "RestoreTableFromBackup", TargetTableName=TABLE, BackupArn=backup["BackupArn"])
    assert values(w, TABLE) == {"a": "1"}
    w.wait(36 * 86400 * S)
    assert ask(w, "ListBackups", BackupType="ALL")["BackupSummaries"] == []


def test_a_table_without_recovery_leaves_nothing() -> None:
    w = world()
    recover(w)
    recover(w, enabled=False)
    ask(w, "DeleteTable")
    assert ask(w, "ListBackups", BackupType="ALL")["BackupSummaries"] == []


def test_recovery_of_an_mrsc_region_sees_what_all_regions_write() -> None:
    w = World("MRSC", wall=START_S, **CLOSE)
    recover(w, region=OHIO)
    calls: list[Call] = [w.put(region, region, "x") for region in (EAST, OHIO)]
    w.settle()
    assert all(call.ok for call in calls)
    request = {"SourceTableName": TABLE, "TargetTableName": "copy", "UseLatestRestorableTime": True}
    ask(w, "RestoreTableToPointInTime", OHIO, **request)
    assert values(w, "copy", OHIO) == {EAST: "x", OHIO: "x"}


# -- across the emulator's own death


def test_backups_and_recovery_outlive_the_emulator() -> None:
    records: list[list[Any]] = []
    w = World(None, records=records, **CLOSE)
    ask(w, "CreateTable", **create_request())
    w.put(EAST, "k", "1")
    arn, gone = back_up(w), back_up(w, "another")
    ask(w, "DeleteBackup", BackupArn=gone)
    recover(w, RecoveryPeriodInDays=7)
    w.put(EAST, "k", "2")
    w.wait(S)
    for kept in (records, list(snapshot(w.core, w.now_ns / S))):
        again = restored_core(kept, w, start=True, **CLOSE)
        listed = ask(again, "ListBackups")["BackupSummaries"]
        assert [one["BackupArn"] for one in listed] == [arn]
        described = ask(again, "DescribeContinuousBackups")["ContinuousBackupsDescription"]
        assert described["PointInTimeRecoveryDescription"]["RecoveryPeriodInDays"] == 7
        ask(again, "RestoreTableFromBackup", TargetTableName="again", BackupArn=arn)
        assert values(again, "again") == {"k": "1"}
        latest = {"TargetTableName": "now", "SourceTableName": TABLE, "UseLatestRestorableTime": True}
        ask(again, "RestoreTableToPointInTime", **latest)
        assert values(again, "now") == {"k": "2"}


def test_a_replica_that_was_being_filled_is_filled_after_all() -> None:
    records: list[list[Any]] = []
    w = World(None, records=records, fill_rate=10, **CLOSE)
    ask(w, "CreateTable", **create_request())
    for number in range(30):
        w.put(EAST, f"k{number}", "1")
    ask(w, "UpdateTable", ReplicaUpdates=[{"Create": {"RegionName": OHIO}}])
    w.wait(S)
    again = restored_core(records, w, start=True, fill_rate=10, **CLOSE)
    assert restored(again, TABLE, OHIO)["TableStatus"] == "CREATING"
    again.wait(4 * S)
    assert restored(again, TABLE, OHIO)["TableStatus"] == restored(again, TABLE)["TableStatus"] == "ACTIVE"
    assert len(values(again, TABLE, OHIO)) == 30
    again.put(OHIO, "k0", "2")
    again.settle()
    assert values(again, TABLE)["k0"] == "2"
