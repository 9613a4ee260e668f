"""Set-up, removal, backups and throttling through boto3 as an application or an operator has it, in both modes."""

from __future__ import annotations

import datetime
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lastwriter.emulator.process import EmulatorProcess
from tests.emulator.running import ask, client, emulator, until
from tests.emulator.virtual import create_request

EAST, OHIO, OREGON, IRELAND, CALIFORNIA = REGIONS = (
    "us-east-1",
    "us-east-2",
    "us-west-2",
    "eu-west-1",
    "us-west-1",
)


@pytest.fixture(scope="module")
def running() -> Iterator[EmulatorProcess]:
    with emulator(REGIONS) as process:
        yield process


@pytest.fixture(scope="module")
def at(running: EmulatorProcess) -> dict[str, Any]:
    """A client a Region."""
    return {region: client(url, region) for region, url in running.endpoints.items()}


def create(*regions: str) -> dict[str, Any]:
    return {"ReplicaUpdates": [{"Create": {"RegionName": region}} for region in regions]}


def delete(*regions: str) -> dict[str, Any]:
    return {"ReplicaUpdates": [{"Delete": {"RegionName": region}} for region in regions]}


def witness(region: str, action: str = "Create") -> dict[str, Any]:
    return {"GlobalTableWitnessUpdates": [{action: {"RegionName": region}}]}


STRONG = {"MultiRegionConsistency": "STRONG"}


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def described(at: dict[str, Any], region: str, name: str) -> dict[str, Any]:
    table: dict[str, Any] = at[region].describe_table(TableName=name)["Table"]
    return table


def test_mrec_from_a_table_to_a_group_and_back(at: dict[str, Any]) -> None:
    name = "eventual"
    at[EAST].create_table(**create_request(name))
    at[EAST].put_item(TableName=name, Item={"pk": {"S": "k"}})
    plain = described(at, EAST, name)
    assert not {"Replicas", "GlobalTableVersion", "MultiRegionConsistency", "GlobalTableWitnesses"} & set(plain)
    both = refusal(at[EAST].update_table, TableName=name, **create(OHIO, OREGON))
    assert "more than one create or delete replica actions not allowed" in both[1]
    at[EAST].update_table(TableName=name, **create(OHIO))
    at[OHIO].update_table(TableName=name, **create(OREGON))  # any member will do
    for region in (EAST, OHIO, OREGON):
        table = described(at, region, name)
        assert {one["RegionName"] for one in table["Replicas"]} == {EAST, OHIO, OREGON} - {region}
        assert (table["GlobalTableVersion"], "MultiRegionConsistency" in table) == ("2019.11.21", False)
        assert table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        assert "Item" in until(lambda r=region: at[r].get_item(TableName=name, Key={"pk": {"S": "k"}}))
    disable = {"StreamSpecification": {"StreamEnabled": False}}
    assert "Disabling Stream is not allowed" in refusal(at[OREGON].update_table, TableName=name, **disable)[1]
    for change in ({**create(IRELAND, CALIFORNIA), **STRONG}, {**create(IRELAND), **STRONG, **witness(CALIFORNIA)}):
        assert refusal(at[EAST].update_table, TableName=name, **change)[0] == "ValidationException"
    for region, source in ((OHIO, OHIO), (EAST, EAST)):  # each has been a source today
        assert "acted as a source region" in refusal(at[source].delete_table, TableName=name)[1], region
    assert "acted as a source region" in refusal(at[OREGON].update_table, TableName=name, **delete(OHIO))[1]
    at[OREGON].update_table(TableName=name, DeletionProtectionEnabled=True)
    assert not described(at, EAST, name)["DeletionProtectionEnabled"]
    assert "deletion protection" in refusal(at[EAST].update_table, TableName=name, **delete(OREGON))[1]
    at[OREGON].update_table(TableName=name, DeletionProtectionEnabled=False)
    at[EAST].update_table(TableName=name, **delete(OREGON))
    assert refusal(at[OREGON].describe_table, TableName=name)[0] == "ResourceNotFoundException"
    at[OHIO].delete_table(TableName=name)  # leaves, alone
    assert not {"Replicas", "GlobalTableVersion"} & set(described(at, EAST, name))
    at[EAST].update_table(TableName=name, **disable)
    at[EAST].update_table(TableName=name, **create(OHIO))
    assert "Item" in at[OHIO].get_item(TableName=name, Key={"pk": {"S": "k"}})


@pytest.mark.parametrize("with_witness", [False, True])
def test_mrsc_from_an_empty_table_to_a_group_and_back(at: dict[str, Any], with_witness: bool) -> None:
    name = f"strong-{with_witness}"
    at[EAST].create_table(**create_request(name))
    members = {**create(OHIO), **witness(OREGON)} if with_witness else create(OHIO, OREGON)
    update = at[EAST].update_table
    assert "At least one of" in refusal(update, TableName=name, **STRONG)[1]
    assert "At least one of" in refusal(update, TableName=name, **witness(OREGON))[1]
    assert "Unsupported replica count" in refusal(update, TableName=name, **create(OHIO), **STRONG)[1]
    unsupported = refusal(update, TableName=name, **create(OHIO, CALIFORNIA), **STRONG)[1]
    assert "Unsupported Region(s)" in unsupported
    at[EAST].put_item(TableName=name, Item={"pk": {"S": "k"}})
    assert "must be empty" in refusal(update, TableName=name, **members, **STRONG)[1]
    at[EAST].delete_item(TableName=name, Key={"pk": {"S": "k"}})
    update(TableName=name, **members, **STRONG)
    replicas = [EAST, OHIO] if with_witness else [EAST, OHIO, OREGON]
    for region in replicas:
        table = described(at, region, name)
        assert table["MultiRegionConsistency"] == "STRONG"
        assert ("GlobalTableWitnesses" in table) == with_witness
        assert "StreamSpecification" not in table
    if with_witness:
        assert refusal(at[OREGON].describe_table, TableName=name)[0] == "ResourceNotFoundException"
        at[OREGON].create_table(**create_request(name))  # one of its own
        at[OREGON].delete_table(TableName=name)
    at[OHIO].put_item(TableName=name, Item={"pk": {"S": "k"}})
    assert "Item" in at[EAST].get_item(TableName=name, Key={"pk": {"S": "k"}}, ConsistentRead=True)
    frozen = [create(IRELAND), delete(OHIO), {**create(IRELAND), "MultiRegionConsistency": "EVENTUAL"}]
    if with_witness:
        frozen.append({**delete(OHIO), **witness(IRELAND, "Delete")})
    for change in frozen:
        assert refusal(update, TableName=name, **change)[0] == "ValidationException", change
    assert "Deletion of only one table replica" in refusal(at[OHIO].delete_table, TableName=name)[1]
    put = {"TableName": name, "Item": {"pk": {"S": "t"}}}
    assert refusal(at[EAST].transact_write_items, TransactItems=[{"Put": put}])[0] == "ValidationException"
    ttl = {"Enabled": True, "AttributeName": "until"}
    assert (
        refusal(at[EAST].update_time_to_live, TableName=name, TimeToLiveSpecification=ttl)[0] == "ValidationException"
    )
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    update(TableName=name, StreamSpecification=stream)
    assert described(at, OHIO, name)["StreamSpecification"] == stream
    update(TableName=name, StreamSpecification={"StreamEnabled": False})
    everything = {**delete(OHIO), **witness(OREGON, "Delete")} if with_witness else delete(OHIO, OREGON)
    update(TableName=name, **everything)
    table = described(at, EAST, name)
    assert not {"Replicas", "MultiRegionConsistency", "GlobalTableWitnesses"} & set(table)
    assert refusal(at[OHIO].describe_table, TableName=name)[0] == "ResourceNotFoundException"
    assert "Item" in at[EAST].get_item(TableName=name, Key={"pk": {"S": "k"}})
    update(TableName=name, **create(OHIO))  # it may become another kind of group
    assert "MultiRegionConsistency" not in described(at, OHIO, name)


def test_backups_and_moments_come_back_as_tables(at: dict[str, Any]) -> None:
    name = "kept"
    east = at[EAST]
    east.create_table(**create_request(name))
    east.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    east.put_item(TableName=name, Item={"pk": {"S": "k"}, "v": {"S": "good"}})
    arn = east.create_backup(TableName=name, BackupName="nightly")["BackupDetails"]["BackupArn"]
    pitr = east.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    moment = pitr["PointInTimeRecoveryDescription"]["LatestRestorableDateTime"]
    assert abs(moment - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    until(lambda: _latest(east, name) > moment + datetime.timedelta(milliseconds=50))
    east.put_item(TableName=name, Item={"pk": {"S": "k"}, "v": {"S": "bad"}})
    east.restore_table_to_point_in_time(SourceTableName=name, TargetTableName="undone", RestoreDateTime=moment)
    east.restore_table_from_backup(TargetTableName="from-backup", BackupArn=arn)
    for table in ("undone", "from-backup"):
        east.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
        assert east.get_item(TableName=table, Key={"pk": {"S": "k"}})["Item"]["v"] == {"S": "good"}
    assert [one["BackupName"] for one in east.list_backups(TableName=name)["BackupSummaries"]] == ["nightly"]
    assert east.describe_backup(BackupArn=arn)["BackupDescription"]["SourceTableDetails"]["ItemCount"] == 1
    east.delete_backup(BackupArn=arn)
    with pytest.raises(east.exceptions.BackupNotFoundException):
        east.describe_backup(BackupArn=arn)


def _latest(east: Any, name: str) -> datetime.datetime:
    described = east.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    latest: datetime.datetime = described["PointInTimeRecoveryDescription"]["LatestRestorableDateTime"]
    return latest


def test_boto3_is_told_why_it_is_throttled(running: EmulatorProcess, at: dict[str, Any]) -> None:
    name = "small"
    east = at[EAST]
    units = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    east.create_table(**create_request(name) | {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units})
    settings = running.control + "/_lastwriter/settings"
    assert ask(running.control, "PUT", "/_lastwriter/settings", {"throttling": "on"})[0] == 200, settings
    try:
        big = {"pk": {"S": "big"}, "v": {"S": "x" * 100_000}}  # a hundred seconds' worth
        east.put_item(TableName=name, Item=big)
        with pytest.raises(east.exceptions.ProvisionedThroughputExceededException) as caught:
            east.put_item(TableName=name, Item=big)
        (reason,) = caught.value.response["ThrottlingReasons"]
        assert reason == {
            "reason": "TableWriteProvisionedThroughputExceeded",
            "resource": f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}",
        }
        state = ask(running.control, "GET", "/_lastwriter/state")[1]
        assert state["throttled"] == {EAST: {"TableWriteProvisionedThroughputExceeded": 1}}
        with urllib.request.urlopen(running.control + "/metrics") as reply:
            metrics = reply.read().decode()
        throttled = 'throttled_total{region="us-east-1",reason="TableWriteProvisionedThroughputExceeded"} 1'
        assert f"lastwriter_{throttled}\n" in metrics
        assert 'lastwriter_replication_throttled{region="us-east-1"} 0\n' in metrics
    finally:
        ask(running.control, "PUT", "/_lastwriter/settings", {"throttling": "off"})
