"""Reads a Region's stream as a consumer does: every shard in order, parents before their children, page by page.

Through boto3: a stream is read a few times a second, and needs no fast client. What was read goes to a file of the run
(``streams/NAME.parquet``), with the marks of the images and the time of reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import botocore.exceptions
import pyarrow as pa
import pyarrow.parquet as pq

from lastwriter.client.boto import dynamodb
from lastwriter.client.clock import monotonic_ns
from lastwriter.client.credentials import CredentialSource
from lastwriter.client.refusals import refused, unreachable
from lastwriter.errors import UserError
from verifier.history.schema import ABSENT, KEY_ATTRIBUTE, META_TRIMMED, STREAM_COLUMNS, WRITER_ATTRIBUTE
from verifier.rundir import write_atomically

_DEADLINE_S: Final = 10.0
_ATTEMPTS: Final = 3
_EMPTY_ROUNDS: Final = 5


@dataclass(slots=True)
class Records:
    """Rows of :data:`~verifier.history.schema.STREAM_COLUMNS`, column by column."""

    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in STREAM_COLUMNS.names})
    trimmed: set[str] = field(default_factory=set)
    """Regions whose oldest records were gone when somebody asked for them."""

    def __len__(self) -> int:
        return len(self.columns["key"])

    def add(self, **row: Any) -> None:
        """One record."""
        for name, value in row.items():
            self.columns[name].append(value)

    def write(self, path: Path) -> None:
        """As a Parquet file; OSError if it cannot be written."""
        arrays = [pa.array(self.columns[one.name], one.type) for one in STREAM_COLUMNS]
        told = {**(STREAM_COLUMNS.metadata or {}), META_TRIMMED: ",".join(sorted(self.trimmed)).encode()}
        table = pa.Table.from_arrays(arrays, schema=STREAM_COLUMNS.with_metadata(told))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, sink.getvalue().to_pybytes())


class StreamReader:
    """One reader of one Region's stream of a table. Raises UserError where there is no stream, or no way to it."""

    def __init__(
        self,
        endpoint: str,
        region: str,
        table: str,
        credentials: CredentialSource,
        records: Records,
        *,
        from_start: bool,
    ) -> None:
        """``from_start``: from the oldest record on; else from now on. What is read goes to ``records``."""
        self.endpoint, self.region, self.table, self.records = endpoint, region, table, records
        self._tables = dynamodb(endpoint, region, credentials, deadline_s=_DEADLINE_S, attempts=_ATTEMPTS)
        self._client = dynamodb(
            endpoint, region, credentials, deadline_s=_DEADLINE_S, attempts=_ATTEMPTS, service="dynamodbstreams"
        )
        self._from_start, self._begun = from_start, False
        self._arn = ""
        self._iterators: dict[str, str | None] = {}
        """By shard; None: read to its end."""
        self._began_at: dict[str, str] = {}
        """Sequence number at which each shard began."""

    def poll(self) -> int:
        """Read what there is by now, up to a page a shard; how many records there were."""
        shards = self._shards()
        found = 0
        for shard, parent in shards.items():
            if shard not in self._iterators:
                if parent is not None and parent in shards and self._iterators.get(parent, "") is not None:
                    continue  # its parent is not read to the end
                # A shard that came up later is read from its beginning: its parent was read to the end.
                kind = "TRIM_HORIZON" if self._from_start or self._begun else "LATEST"
                if self._from_start and not self._begun and parent not in shards and self._trimmed(shard, parent):
                    self.records.trimmed.add(self.region)
                self._iterators[shard] = self._call(
                    "GetShardIterator", StreamArn=self._arn, ShardId=shard, ShardIteratorType=kind
                )["ShardIterator"]
            iterator = self._iterators[shard]
            if iterator is None:
                continue
            page = self._call("GetRecords", ShardIterator=iterator)
            read_ns = monotonic_ns()
            self._iterators[shard] = page.get("NextShardIterator")
            for record in page["Records"]:
                self._take(shard, record, read_ns)
            found += len(page["Records"])
        self._begun = True
        return found

    def drain(self) -> None:
        """Read until nothing more comes: what there is when nobody writes any longer.

        A page may be empty although there are records behind it, so one without any does not end it.
        """
        empty = 0
        while empty < _EMPTY_ROUNDS:
            empty = 0 if self.poll() else empty + 1

    def close(self) -> None:
        """Close every connection."""
        self._tables.close()
        self._client.close()

    def _shards(self) -> Mapping[str, str | None]:
        """Every shard with its parent, parents first."""
        if not self._arn:
            described = self._call("DescribeTable", TableName=self.table)["Table"]
            self._arn = described.get("LatestStreamArn", "")
            if not self._arn:
                raise UserError(
                    f"table {self.table} has no stream in {self.region}; let the run make the table, or switch one on"
                )
        shards: dict[str, str | None] = {}
        start: dict[str, str] = {}
        while True:
            described = self._call("DescribeStream", StreamArn=self._arn, **start)["StreamDescription"]
            for shard in described["Shards"]:
                shards[shard["ShardId"]] = shard.get("ParentShardId")
                self._began_at[shard["ShardId"]] = shard["SequenceNumberRange"]["StartingSequenceNumber"]
            last = described.get("LastEvaluatedShardId")
            if not last:
                return _parents_first(shards)
            start = {"ExclusiveStartShardId": last}

    def _trimmed(self, shard: str, parent: str | None) -> bool:
        """Whether records of a first shard are gone: its parent is, or it cannot be read from where it began."""
        if parent is not None:
            return True
        try:
            self._client._make_api_call(
                "GetShardIterator",
                {
                    "StreamArn": self._arn,
                    "ShardId": shard,
                    "ShardIteratorType": "AT_SEQUENCE_NUMBER",
                    "SequenceNumber": self._began_at[shard],
                },
            )
        except botocore.exceptions.ClientError as error:
            return bool(error.response.get("Error", {}).get("Code") == "TrimmedDataAccessException")
        return False

    def _take(self, shard: str, record: Mapping[str, Any], read_ns: int) -> None:
        told = record["dynamodb"]
        created = told["ApproximateCreationDateTime"]
        self.records.add(
            region=self.region,
            shard=shard,
            sequence=told["SequenceNumber"],
            event=record["eventID"],
            type=record["eventName"],
            key=str(told["Keys"].get(KEY_ATTRIBUTE, {}).get("S", "")),
            old_w=_mark(told.get("OldImage")),
            new_w=_mark(told.get("NewImage")),
            created_ns=int(getattr(created, "timestamp", lambda: created)() * 1e9),
            read_ns=read_ns,
        )

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        client = self._tables if operation == "DescribeTable" else self._client
        try:
            answer: dict[str, Any] = client._make_api_call(operation, parameters)
        except botocore.exceptions.ClientError as error:
            told = error.response.get("Error", {})
            code, message = str(told.get("Code", "")), str(told.get("Message", ""))
            raise UserError(refused(self.region, operation, self.table, code, message)) from None
        except botocore.exceptions.BotoCoreError as error:
            raise UserError(unreachable(self.region, self.endpoint, " ".join(str(error).split()))) from None
        return answer


def _parents_first(shards: Mapping[str, str | None]) -> dict[str, str | None]:
    ordered: dict[str, str | None] = {}

    def put(shard: str) -> None:
        parent = shards[shard]
        if parent in shards and parent not in ordered and parent is not None:
            put(parent)
        ordered[shard] = parent

    for shard in shards:
        if shard not in ordered:
            put(shard)
    return ordered


def _mark(image: Mapping[str, Any] | None) -> int | None:
    """The writer's mark of an image; ABSENT without one, None for an item without a mark."""
    if image is None:
        return ABSENT
    try:
        return int(image[WRITER_ATTRIBUTE]["N"])
    except (KeyError, ValueError):
        return None


def read_all(
    endpoints: Mapping[str, str], table: str, credentials: CredentialSource, regions: Iterable[str]
) -> Records:
    """Every record that the Regions' streams still have. Raises UserError."""
    records = Records()
    for region in regions:
        reader = StreamReader(endpoints[region], region, table, credentials, records, from_start=True)
        try:
            reader.drain()
        finally:
            reader.close()
    return records
