"""Streams are read shard by shard, parents first, and what was read goes to a file that the verifier reads."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lastwriter.client.credentials import credentials_at
from lastwriter.client.stream_reader import Records, StreamReader
from lastwriter.errors import UserError
from tests.verifier.builders import build, run_info, write
from verifier.errors import RecordError
from verifier.history.schema import ABSENT
from verifier.history.streams import read_streams
from verifier.rundir import RunDirectory

HERE = "http://127.0.0.1:1"
LONG_AFTER = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def record(number: int, old: int | None, new: int | None) -> dict[str, Any]:
    images = {
        name: {"pk": {"S": "k"}, "_w": {"N": str(mark)}}
        for name, mark in (("OldImage", old), ("NewImage", new))
        if mark is not None
    }
    told = {"Keys": {"pk": {"S": "k"}}, "SequenceNumber": str(number), "ApproximateCreationDateTime": LONG_AFTER}
    return {"eventID": f"e{number}", "eventName": "MODIFY", "dynamodb": {**told, **images}}


class Scripted:
    """A stream whose first shard was split: pages by shard, asked for in order."""

    def __init__(self, pages: dict[str, list[list[dict[str, Any]]]], parents: dict[str, str | None]) -> None:
        self.pages, self.parents, self.asked = pages, parents, list[tuple[str, str]]()
        self.trimmed: tuple[str, ...] = ()

    def _make_api_call(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        if operation == "DescribeTable":
            return {"Table": {"LatestStreamArn": "arn"}}
        if operation == "DescribeStream":
            shards = [
                {
                    "ShardId": shard,
                    "SequenceNumberRange": {"StartingSequenceNumber": "1"},
                    **({"ParentShardId": parent} if parent else {}),
                }
                for shard, parent in self.parents.items()
            ]
            return {"StreamDescription": {"Shards": shards}}
        if operation == "GetShardIterator" and given["ShardIteratorType"] == "AT_SEQUENCE_NUMBER":
            if given["ShardId"] in self.trimmed:
                raise ClientError({"Error": {"Code": "TrimmedDataAccessException"}}, operation)
            return {"ShardIterator": "not used"}
        if operation == "GetShardIterator":
            self.asked.append((given["ShardId"], given["ShardIteratorType"]))
            return {"ShardIterator": f"{given['ShardId']} 0"}
        shard, at = given["ShardIterator"].split()
        page = self.pages[shard][int(at)]
        more = {"NextShardIterator": f"{shard} {int(at) + 1}"} if int(at) + 1 < len(self.pages[shard]) else {}
        return {"Records": page, **more}

    def close(self) -> None: ...


def reader(scripted: Scripted, records: Records, *, from_start: bool = True) -> StreamReader:
    made = StreamReader(HERE, "us-east-1", "t", credentials_at(HERE), records, from_start=from_start)
    made.close()
    made._client = made._tables = scripted
    return made


def test_children_are_read_after_their_parents(tmp_path: Path) -> None:
    parents = {"child": "parent", "parent": None, "other": None}
    pages: dict[str, list[list[dict[str, Any]]]] = {
        "parent": [[record(1, None, 1)], [record(2, 1, 2)]],
        "child": [[record(3, 2, None)]],
        "other": [[]],
    }
    records = Records()
    scripted = Scripted(pages, parents)
    reader(scripted, records).drain()
    assert scripted.asked == [("parent", "TRIM_HORIZON"), ("other", "TRIM_HORIZON"), ("child", "TRIM_HORIZON")]
    assert records.columns["sequence"] == ["1", "2", "3"]
    assert list(zip(records.columns["old_w"], records.columns["new_w"], strict=True)) == [
        (ABSENT, 1),
        (1, 2),
        (2, ABSENT),
    ]
    directory = RunDirectory(tmp_path)
    records.write(directory.streams / "all.parquet")
    history, _ = build([write(0, 5, key="k")])
    (stream,) = read_streams(directory, run_info(regions=("us-east-1",)), history)
    assert (stream.live, stream.whole) == (False, {0})
    assert (stream.old.tolist(), stream.new.tolist(), stream.region.tolist()) == (
        [ABSENT, 1, 2],
        [1, 2, ABSENT],
        [0] * 3,
    )
    earlier, _ = build([write(0, 5, key="other")])
    assert len(read_streams(directory, run_info(), earlier)[0].key) == 0, "of keys that nobody touched nothing is said"
    (directory.streams / "bad.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(RecordError, match=r"bad\.parquet: damaged or not readable"):
        read_streams(directory, run_info(), history)


@pytest.mark.parametrize(
    ("first", "created", "whole"), [("trimmed", 2030, set()), ("orphan", 2030, set()), ("trimmed", 2020, {0})]
)
def test_a_stream_whose_first_records_are_gone_is_a_part_unless_older_ones_are_there(
    first: str, created: int, whole: set[int], tmp_path: Path
) -> None:
    parents = {"trimmed": None, "orphan": "one that is gone"}
    told = record(7, 1, 2)
    told["dynamodb"]["ApproximateCreationDateTime"] = LONG_AFTER.replace(year=created)
    scripted, records = Scripted({first: [[told]]}, {first: parents[first]}), Records()
    scripted.trimmed = ("trimmed",)
    reader(scripted, records).drain()
    assert records.trimmed == {"us-east-1"}
    directory = RunDirectory(tmp_path)
    records.write(directory.streams / "all.parquet")
    history, _ = build([write(0, 5, key="k")])
    (stream,) = read_streams(directory, run_info(regions=("us-east-1",)), history)
    assert stream.whole == whole


def test_who_begins_now_reads_new_shards_from_their_beginning() -> None:
    scripted = Scripted({"first": [[record(1, None, 1)]], "second": [[record(2, 1, 2)]]}, {"first": None})
    begun = reader(scripted, Records(), from_start=False)
    begun.poll()
    scripted.parents["second"] = "first"
    begun.drain()
    assert scripted.asked == [("first", "LATEST"), ("second", "TRIM_HORIZON")]


def test_a_table_without_a_stream_is_one_line() -> None:
    class Without(Scripted):
        def _make_api_call(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
            return {"Table": {}}

    with pytest.raises(UserError, match="table t has no stream in us-east-1"):
        reader(Without({}, {}), Records()).poll()
