"""``--data``: an emulator killed under load has all that it had acknowledged; damage is said, not served."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lastwriter.emulator.process import EmulatorProcess, start_emulator
from lastwriter.errors import UserError
from tests.emulator.recorded import Load, final
from tests.emulator.running import FAST, ask, client, clients, until
from tests.emulator.virtual import EAST, REGIONS, TABLE
from tests.verifier.builders import build, run_info
from verifier.checks.registry import CHECKS
from verifier.rundir import Mode

SETTINGS = {"replicator_delay": "100ms", "latency_scale": "20%", "mrsc_timeout": "1s"}
ONE_WRITER = {"lost", "store"}


@contextmanager
def emulator(data: Path, **more: Any) -> Iterator[EmulatorProcess]:
    """An emulator on that directory, for the block."""
    with start_emulator(REGIONS, data=data, **{"table": TABLE, "settings": FAST, **more}) as running:
        yield running


def quiet(running: EmulatorProcess) -> bool:
    """Nothing is on its way."""
    return bool(ask(running.control, "GET", "/_lastwriter/state")[1]["quiet"])


@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_killed_under_load_it_has_everything_that_it_acknowledged(mode: Mode, tmp_path: Path) -> None:
    with emulator(tmp_path, mode=mode, settings=SETTINGS) as running:
        load = Load(running.endpoints, seed=1, own=mode == "MREC")
        try:
            until(lambda: load.acknowledged > 150)
            running.kill()
            running.restart()
            before = load.acknowledged
            until(lambda: load.acknowledged > before + 150)
            load.stop()
            until(lambda: quiet(running))
            history, context = build(
                sorted(load.ops, key=lambda op: op.start),
                mode=mode,
                initial={region: {} for region in REGIONS},
                final=final(running.endpoints, sorted({op.key for op in load.ops})),
                run=run_info(mode, queues_empty=True, settled=True),
            )
        finally:
            load.stop()
    verdicts = {
        row.name: row.check(history, context).verdict
        for row in CHECKS
        if row.role.get(mode) == "contract" or (mode == "MREC" and row.name in ONE_WRITER)
    }
    assert "violated" not in verdicts.values(), verdicts
    assert verdicts["store"] == "holds"  # `lost` may not see through a write that took effect without an answer


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_on_a_full_disk_nothing_is_acknowledged_and_nothing_is_lost(tmp_path: Path) -> None:
    data, said = tmp_path / "data", tmp_path / "said"
    with emulator(data, log=said) as running:
        table = clients(running)[0]
        table.put_item(TableName=TABLE, Item={"pk": {"S": "before"}})
        pid, none = running.process.pid, resource.RLIM_INFINITY
        resource.prlimit(pid, resource.RLIMIT_FSIZE, ((data / "log-0").stat().st_size + 10, none))
        for _ in range(3):
            with pytest.raises(ClientError, match="InternalServerError"):
                table.put_item(TableName=TABLE, Item={"pk": {"S": "full"}})
        with pytest.raises(ClientError, match="InternalServerError"):
            table.get_item(TableName=TABLE, Key={"pk": {"S": "before"}})
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (none, none))
        until(lambda: "there is room again" in said.read_text())
        table.put_item(TableName=TABLE, Item={"pk": {"S": "after"}})
        running.kill()
        running.restart()
        kept = {item["pk"]["S"] for item in clients(running)[0].scan(TableName=TABLE)["Items"]}
        assert {"before", "after"} <= kept <= {"before", "after", "full"}
    assert said.read_text().count("answered with 500 until there is room") == 1


def test_an_emulator_that_forgets_is_found_out(tmp_path: Path) -> None:
    with emulator(tmp_path, bugs=["restart-forgets"]) as running:
        table = clients(running)[0]
        for number in range(40):
            table.put_item(TableName=TABLE, Item={"pk": {"S": f"k{number}"}})
        running.kill()
        running.restart()
        assert clients(running)[0].scan(TableName=TABLE)["Count"] < 40


def test_everything_else_is_there_again_too(tmp_path: Path) -> None:
    with emulator(tmp_path, table=None, mode="MREC") as running:
        table = clients(running)[0]
        keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        table.create_table(
            TableName="things",
            KeySchema=keys,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "N"} for name in ("pk", "sk", "g")],
            GlobalSecondaryIndexes=[
                {"IndexName": "by-g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                 "Projection": {"ProjectionType": "KEYS_ONLY"}}
            ],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": "a", "Value": "b"}],
        )  # fmt: skip
        table.update_table(TableName="things", ReplicaUpdates=[{"Create": {"RegionName": REGIONS[1]}}])
        table.update_time_to_live(
            TableName="things", TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
        )
        item = {"pk": {"N": "1.5"}, "sk": {"N": "12345678901234567890123"}, "g": {"N": "7"}, "b": {"B": b"\x00\xff"}}
        put = {"Put": {"TableName": "things", "Item": item}}
        table.transact_write_items(TransactItems=[put], ClientRequestToken="once")
        backup = table.create_backup(TableName="things", BackupName="first")["BackupDetails"]["BackupArn"]
        table.put_item(TableName="things", Item={"pk": {"N": "2"}, "sk": {"N": "1"}})
        table.delete_item(TableName="things", Key={"pk": {"N": "2"}, "sk": {"N": "1"}})
        described = table.describe_table(TableName="things")["Table"]
        running.kill()
        running.restart()
        table, other, _ = clients(running)
        assert table.describe_table(TableName="things")["Table"] == described
        assert table.list_tags_of_resource(ResourceArn=described["TableArn"])["Tags"] == [{"Key": "a", "Value": "b"}]
        ttl = table.describe_time_to_live(TableName="things")["TimeToLiveDescription"]
        assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}
        for one in (table, other):
            until(lambda one=one: one.scan(TableName="things")["Items"] == [item])
        found = table.query(
            TableName="things", IndexName="by-g", KeyConditionExpression="g = :g",
            ExpressionAttributeValues={":g": {"N": "7"}},
        )  # fmt: skip
        assert found["Count"] == 1
        table.restore_table_from_backup(TargetTableName="restored", BackupArn=backup)
        until(lambda: table.describe_table(TableName="restored")["Table"]["TableStatus"] == "ACTIVE")
        assert table.scan(TableName="restored")["Items"] == [item]
        table.delete_item(TableName="things", Key={"pk": item["pk"], "sk": item["sk"]})
        table.transact_write_items(TransactItems=[put], ClientRequestToken="once")
        assert table.scan(TableName="things")["Count"] == 0, "a request token was forgotten"
        streams = client(running.endpoints[EAST], EAST, service="dynamodbstreams")
        assert _events(streams, described["LatestStreamArn"]) == ["INSERT", "INSERT", "REMOVE", "REMOVE"]


def _events(streams: Any, arn: str) -> list[str]:
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    return [record["eventName"] for record in records]


def test_a_directory_has_one_emulator(tmp_path: Path) -> None:
    with emulator(tmp_path), pytest.raises(UserError, match="another emulator is using it"), emulator(tmp_path):
        pass


def test_damage_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with emulator(tmp_path):
        pass
    log = tmp_path / "log-0"
    log.write_bytes(log.read_bytes().replace(b"us-east-2", b"us-east-3", 1))
    command = [
        sys.executable,
        "-m",
        "lastwriter",
        "emulator",
        "--regions",
        EAST,
        "--port",
        "0",
        "--data",
        str(tmp_path),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "log-0 is damaged at byte" in ended.stderr


def test_a_directory_with_another_table_or_fewer_regions_is_refused(tmp_path: Path) -> None:
    with emulator(tmp_path):
        pass
    with pytest.raises(UserError, match="has one already, MREC in us-east-1"), emulator(tmp_path, mode="MRSC"):
        pass
    with pytest.raises(UserError, match="us-west-2, which is not among the Regions given"):
        start_emulator(REGIONS[:2], data=tmp_path).stop()
