"""Streams: what changed in a Region's table, in the order in which the Region applied it.

Rules
-----
1. A stream is one Region's and has one shard. A record is what the replica had and what it has instead. What a replica
   drops (a replicated write that loses) is no change and leaves no record; nor does a write that changes nothing.
2. Under MREC every Region has an order of its own, the same for each item. Under MRSC all Regions apply the same
   entries in the same order, so their streams have the same changes in the same order.
3. At most ``stream_records`` are kept, for at most 24 hours; what an iterator points at may be gone
   (TrimmedDataAccessException). Iterators are good for 15 minutes.
4. A stream that was switched off, or whose table is gone, can be read to its end for 24 hours.
"""

from __future__ import annotations

import datetime
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.core.members import Member
from lastwriter.emulator.requests.errors import ApiError, validation
from lastwriter.emulator.requests.keys import Key
from lastwriter.emulator.requests.schema import TableSchema
from lastwriter.emulator.requests.sizes import item_bytes
from lastwriter.emulator.requests.validators import detected, failed
from lastwriter.emulator.requests.values import Item, check_integer

_FIRST: Final = 10**20
"""Sequence numbers have 21 digits."""
_DAY_S: Final = 24 * 3600
_ITERATOR_S: Final = 15 * 60
_PAGE_RECORDS: Final = 1000
_PAGE_BYTES: Final = 1024 * 1024
_EXPIRY: Final = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
_KINDS: Final = ("TRIM_HORIZON", "LATEST", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")

Record = tuple[int, bool, Item | None, Item | None]
"""When (nanoseconds), whether an item's time to live was over, item before and after."""


class Stream:
    """One Region's stream of one table."""

    def __init__(
        self,
        environment: Environment,
        region: str,
        schema: TableSchema,
        arn: str,
        view: str,
        label: str,
        created: float,
    ) -> None:
        self.label = label
        self.arn = arn
        self.shard = f"shardId-{int(created * 1000):020}-{blake2b(self.arn.encode(), digest_size=4).hexdigest()}"
        self.created = created
        self.closed_s: float | None = None
        self.expiring = False
        """Deletions from now on are those of items whose time to live is over."""
        self.region = region
        self.schema = schema
        self.view_type = view
        self.next = 0
        self._environment = environment
        self._scheduler = environment.scheduler
        self._records: deque[Record] = deque(maxlen=environment.settings.stream_records)

    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        """Record a change; one that changes nothing is left out when the stream is read."""
        self.next += 1
        self._records.append((self._scheduler.now_ns, self.expiring, old, new))

    @property
    def first(self) -> int:
        """Place of the oldest record that is kept."""
        return self.next - len(self._records)

    def kept(self) -> tuple[Record, ...]:
        """Every record that can be read."""
        return tuple(self._records)

    def restore(self, following: int, records: Iterable[Record]) -> None:
        """The stream has these records; ``following``: the place after the last."""
        self.next = following
        self._records.clear()
        self._records.extend(records)

    def trim(self) -> None:
        """Drop what is too old."""
        horizon_ns = self._scheduler.now_ns - _DAY_S * 10**9
        while self._records and self._records[0][0] < horizon_ns:
            self._records.popleft()

    def records(self, place: int, wall: float) -> Iterator[tuple[int, dict[str, Any]]]:
        """Records from ``place`` on, with the place after each."""
        now_ns = self._scheduler.now_ns
        for at, record in enumerate(islice(self._records, place - self.first, None), place):
            if record[2] != record[3]:
                yield at + 1, self._shown(at, record, wall - (now_ns - record[0]) / 1e9)

    def _shown(self, place: int, record: Record, at_s: float) -> dict[str, Any]:
        _, expired, old, new = record
        item = new if new is not None else old
        assert item is not None
        images: dict[str, Any] = {"Keys": {name: item[name] for name in self.schema.key_names}}
        if new is not None and self.view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
            images["NewImage"] = new
        if old is not None and self.view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
            images["OldImage"] = old
        number = str(_FIRST + place)
        shown: dict[str, Any] = {
            "eventID": blake2b(f"{self.arn} {number}".encode(), digest_size=16).hexdigest(),
            "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self.region,
            "dynamodb": {
                "ApproximateCreationDateTime": int(at_s),
                **images,
                "SequenceNumber": number,
                "SizeBytes": sum(map(item_bytes, images.values())),
                "StreamViewType": self.view_type,
            },
        }
        if expired and new is None:
            shown["userIdentity"] = _EXPIRY
        return shown

    def describe(self) -> dict[str, Any]:
        """A StreamDescription."""
        numbers = {"StartingSequenceNumber": str(_FIRST)}
        if self.closed_s is not None:
            numbers["EndingSequenceNumber"] = str(_FIRST + max(0, self.next - 1))
        keys = self.schema.keys
        return {
            "StreamArn": self.arn,
            "StreamLabel": self.label,
            "StreamStatus": "ENABLED" if self.closed_s is None else "DISABLED",
            "StreamViewType": self.view_type,
            "CreationRequestDateTime": self.created,
            "TableName": self.schema.name,
            "KeySchema": [
                {"AttributeName": key.name, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            "Shards": [{"ShardId": self.shard, "SequenceNumberRange": numbers}],
        }


class Streams:
    """Every stream of the emulator, and the operations of the streams' API."""

    def __init__(
        self, environment: Environment, wall: Callable[[], float], stream_class: type[Stream] = Stream
    ) -> None:
        self._environment = environment
        self._wall = wall
        self._stream_class = stream_class
        self._streams: dict[str, dict[str, Stream]] = {}  # Region → ARN → stream
        self.operations: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "ListStreams": self.list,
            "DescribeStream": self.describe,
            "GetShardIterator": self.iterator,
            "GetRecords": self.records,
        }

    # -- beginning and end

    def start(self, member: Member) -> None:
        """Record the member's changes from now on."""
        streams = self._streams.setdefault(member.region, {})
        now_ms = round(self._wall() * 1000)
        while f"{member.arn}/stream/{_label(now_ms)}" in streams:  # switched off and on within a millisecond
            now_ms += 1
        self.restore(member, _label(now_ms), now_ms / 1000)
        assert member.stream is not None
        member.arranged.observe(member.stream)

    def restore(self, member: Member, label: str, created: float) -> None:
        """The member has a stream of that label; it is told of changes by whoever restores it."""
        view = member.table.stream_view_type or "NEW_AND_OLD_IMAGES"
        arn = f"{member.arn}/stream/{label}"
        stream = self._stream_class(self._environment, member.region, member.table.schema, arn, view, label, created)
        self.keep(stream)
        member.stream_label = label
        member.stream = stream

    def keep(self, stream: Stream) -> None:
        """A stream that can be read from now on."""
        self._streams.setdefault(stream.region, {})[stream.arn] = stream

    def find(self, region: str, arn: str) -> Stream | None:
        """The stream of that ARN."""
        return self._streams.get(region, {}).get(arn)

    def all(self) -> list[Stream]:
        """Every stream that can be read."""
        return [stream for streams in self._streams.values() for stream in streams.values()]

    def stop(self, member: Member) -> None:
        """No more records; those that there are can be read."""
        stream = member.stream
        if stream is not None:
            stream.closed_s = self._wall()
            member.arranged.ignore(stream)
            member.stream = None

    # -- operations

    def list(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """ListStreams."""
        limit = _limit(request, 100)
        table, after = request.get("TableName"), request.get("ExclusiveStartStreamArn")
        self._forget_old(region)
        streams = [
            stream
            for arn, stream in sorted(self._streams.get(region, {}).items())
            if (table is None or stream.schema.name == table) and (after is None or arn > str(after))
        ]
        shown = [
            {"StreamArn": stream.arn, "TableName": stream.schema.name, "StreamLabel": stream.label}
            for stream in streams[:limit]
        ]
        more = {"LastEvaluatedStreamArn": shown[-1]["StreamArn"]} if len(streams) > limit else {}
        return {"Streams": shown, **more}

    def describe(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """DescribeStream."""
        stream = self._find(region, request.get("StreamArn"))
        description = stream.describe()
        if request.get("ExclusiveStartShardId") is not None:
            description["Shards"] = []
        return {"StreamDescription": description}

    def iterator(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """GetShardIterator."""
        kind = request.get("ShardIteratorType")
        if kind not in _KINDS:
            raise detected(
                [
                    "Value null at 'shardIteratorType' failed to satisfy constraint: Member must not be null"
                    if kind is None
                    else failed(
                        "shardIteratorType", str(kind), f"Member must satisfy enum value set: [{', '.join(_KINDS)}]"
                    )
                ]
            )
        stream = self._find(region, request.get("StreamArn"))
        if request.get("ShardId") != stream.shard:
            raise ApiError(
                "ResourceNotFoundException",
                "Requested resource not found: Shard does not exist",
            )
        stream.trim()
        number = request.get("SequenceNumber")
        if kind in ("TRIM_HORIZON", "LATEST"):
            place = stream.first if kind == "TRIM_HORIZON" else stream.next
        else:
            if not isinstance(number, str) or not number.isdecimal():
                raise validation("Invalid SequenceNumber")
            place = int(number) - _FIRST + (kind == "AFTER_SEQUENCE_NUMBER")
            if place > stream.next or place < 0:
                raise validation("Invalid SequenceNumber")
            if place < stream.first:
                raise _trimmed()
        return {"ShardIterator": self._token(stream, place)}

    def records(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """GetRecords."""
        limit = _limit(request, _PAGE_RECORDS)
        stream, place = self._read_token(region, request.get("ShardIterator"))
        stream.trim()
        if place < stream.first:
            raise _trimmed()
        found: list[dict[str, Any]] = []
        size = 0
        end = stream.next
        for after, record in stream.records(place, self._wall()):
            size += record["dynamodb"]["SizeBytes"]
            if found and size > _PAGE_BYTES:
                end = place
                break
            found.append(record)
            place = after
            if len(found) == limit:
                end = place
                break
        body: dict[str, Any] = {"Records": found}
        if stream.closed_s is None or end < stream.next:
            body["NextShardIterator"] = self._token(stream, end)
        return body

    # -- helpers

    def _find(self, region: str, arn: Any) -> Stream:
        if arn is None:
            raise detected(["Value null at 'streamArn' failed to satisfy constraint: Member must not be null"])
        stream = self._streams.get(region, {}).get(str(arn))
        if stream is None:
            raise ApiError("ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found")
        return stream

    def _token(self, stream: Stream, place: int) -> str:
        return b64encode(f"{stream.arn} {place} {self._wall():.3f}".encode()).decode()

    def _read_token(self, region: str, token: Any) -> tuple[Stream, int]:
        if token is None:
            raise detected(["Value null at 'shardIterator' failed to satisfy constraint: Member must not be null"])
        try:
            arn, place, issued_s = b64decode(str(token), validate=True).decode().split(" ")
            number, age_s = int(place), self._wall() - float(issued_s)
        except ValueError:
            raise validation("Invalid ShardIterator") from None
        if age_s > _ITERATOR_S:
            raise ApiError("ExpiredIteratorException", "The shard iterator has expired")
        stream = self._find(region, arn)
        if not 0 <= number <= stream.next:
            raise validation("Invalid ShardIterator")
        return stream, number

    def _forget_old(self, region: str) -> None:
        streams = self._streams.get(region, {})
        horizon_s = self._wall() - _DAY_S
        for arn in [arn for arn, one in streams.items() if one.closed_s is not None and one.closed_s < horizon_s]:
            del streams[arn]


def _label(now_ms: int) -> str:
    now = datetime.datetime.fromtimestamp(now_ms // 1000, datetime.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now_ms % 1000:03d}"


def _limit(request: dict[str, Any], most: int) -> int:
    limit = request.get("Limit")
    if limit is None:
        return most
    check_integer(limit)
    if not 1 <= limit <= most:
        bound = "greater than or equal to 1" if limit < 1 else f"less than or equal to {most}"
        raise detected([failed("limit", str(limit), f"Member must have value {bound}")])
    return int(limit)


def _trimmed() -> ApiError:
    return ApiError(
        "TrimmedDataAccessException",
        "The data you are trying to access has been trimmed: the record that the iterator points at is gone",
    )
