"""The core in virtual time: calls at chosen moments, replies with theirs. No sockets, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.environment import Records
from lastwriter.emulator.core.network import RoundTrip
from lastwriter.emulator.core.roundtrips import round_trip_ns
from lastwriter.emulator.faults import FaultSpec
from lastwriter.emulator.settings import Settings
from lastwriter.emulator.shell.faultbook import FaultBook

MS = 1_000_000
S = 1_000_000_000
EAST, OHIO, OREGON = REGIONS = ("us-east-1", "us-east-2", "us-west-2")
TABLE = "orders"


@dataclass(eq=False)
class Call:
    """A request and, once there is one, its reply."""

    region: str
    operation: str
    request: dict[str, Any]
    start_ns: int
    end_ns: int | None = None
    status: int = 0
    body: dict[str, Any] | None = None

    @property
    def error(self) -> str | None:
        """Exception name of the reply."""
        kind = (self.body or {}).get("__type")
        return None if kind is None else str(kind).rpartition("#")[2]

    @property
    def ok(self) -> bool:
        """Answered with success."""
        return self.status == 200

    @property
    def item(self) -> dict[str, Any] | None:
        """The item of a GetItem's reply."""
        assert self.body is not None, f"{self.operation} in {self.region} has not been answered"
        item: dict[str, Any] | None = self.body.get("Item")
        return item

    @property
    def took_ns(self) -> int:
        """Nanoseconds until the reply."""
        assert self.end_ns is not None
        return self.end_ns - self.start_ns


class World:
    """A core with its clock in our hands."""

    def __init__(
        self,
        mode: str | None = "MREC",
        *,
        regions: tuple[str, ...] = REGIONS,
        witness: str | None = None,
        round_trip: RoundTrip = round_trip_ns,
        bugs: dict[str, int] | None = None,
        create: dict[str, Any] | None = None,
        wall: float = 0.0,
        records: Records | None = None,
        now_ns: int = 0,
        **settings: Any,
    ) -> None:
        parsed = Settings.parse({"client_latency": "0ms", **settings})
        cores: list[Core] = []
        self.core = Core(
            regions,
            parsed,
            now_ns=now_ns,
            round_trip=round_trip,
            wall=lambda: wall + (cores[0].scheduler.now_ns if cores else now_ns) / 1e9,
            bugs=bugs,
            records=records,
        )
        cores.append(self.core)
        self.book = FaultBook(self.core)
        self.now_ns = now_ns
        self.calls: list[Call] = []
        if mode is not None:
            replicas = tuple(region for region in regions if region != witness)
            self.core.control.make_global(create or create_request(), replicas, mode, witness)

    # -- time

    def to(self, now_ns: int) -> None:
        """Let time pass until then; each reply is stamped with the time it left."""
        while (due_ns := self.core.next_ns) is not None and due_ns <= now_ns:
            self._take(self.core.on_timer(max(due_ns, self.now_ns)), max(due_ns, self.now_ns))
        self.now_ns = max(self.now_ns, now_ns)
        self._take(self.core.on_timer(self.now_ns), self.now_ns)

    def wait(self, ns: int) -> None:
        """Let time pass."""
        self.to(self.now_ns + ns)

    # -- requests

    def send(self, region: str, operation: str, **request: Any) -> Call:
        """A request now; its reply may come later."""
        call = Call(region, operation, {"TableName": TABLE, **request}, self.now_ns)
        self.calls.append(call)
        self._take(self.core.handle(region, operation, call.request, call, self.now_ns), self.now_ns)
        return call

    def ask(self, region: str, operation: str, **request: Any) -> Call:
        """A request and time until its reply."""
        call = self.send(region, operation, **request)
        while call.end_ns is None:
            due_ns = self.core.next_ns
            assert due_ns is not None, f"{operation} in {region} will never be answered"
            self.to(due_ns)
        return call

    def put(self, region: str, key: str, value: str, **more: Any) -> Call:
        """PutItem, not waited for."""
        return self.send(region, "PutItem", Item={"pk": {"S": key}, "v": {"S": value}}, **more)

    def get(self, region: str, key: str, consistent: bool = False) -> Call:
        """GetItem, waited for."""
        return self.ask(region, "GetItem", Key={"pk": {"S": key}}, ConsistentRead=consistent)

    def value(self, region: str, key: str, consistent: bool = False) -> str | None:
        """What a read in ``region`` shows."""
        item = self.get(region, key, consistent).item
        return None if item is None else str(next(iter(item["v"].values())))

    # -- faults

    def fault(self, kind: str, *regions: str, **more: Any) -> str:
        """Set a fault now."""
        return self.book.set(FaultSpec(kind=kind, regions=list(regions), **more))

    def cut(self, source: str, target: str, one_way: bool = False) -> str:
        """Cut a link."""
        return self.fault("link-cut", links=[(source, target)], one_way=one_way)

    def heal(self, fault: str) -> None:
        """Take a fault back."""
        self.book.heal(fault)
        self._take(self.core.environment.take_replies(), self.now_ns)

    @property
    def quiet(self) -> bool:
        """Nothing is on its way."""
        return all(table.engine.quiet() for table in self.core.control.tables)

    def settle(self, deadline_ns: int = 3600 * S) -> None:
        """Let time pass until nothing is on its way."""
        end_ns = self.now_ns + deadline_ns
        while (due_ns := self.core.next_ns) is not None and due_ns <= end_ns:
            self.to(due_ns)
        assert self.quiet

    def _take(self, replies: list[Any], now_ns: int) -> None:
        for call, status, body in replies:
            assert call.end_ns is None, "answered twice"
            call.end_ns, call.status, call.body = now_ns, status, body


def create_request(name: str = TABLE) -> dict[str, Any]:
    """CreateTable with a string key ``pk``."""
    return {
        "TableName": name,
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }


def indexed_request(name: str = TABLE, *, local: bool = False, **more: Any) -> dict[str, Any]:
    """CreateTable with keys ``pk`` (S) and ``sk`` (N) and a global index ``by-g`` on ``g`` (S); ``local``: also one
    ``by-l`` on ``l`` (S)."""
    kinds = {"pk": "S", "sk": "N", "g": "S"} | ({"l": "S"} if local else {})
    locals_ = {
        "LocalSecondaryIndexes": [
            {"IndexName": "by-l", "KeySchema": keys("pk", "l"), "Projection": {"ProjectionType": "KEYS_ONLY"}}
        ]
    }
    return {
        "TableName": name,
        "KeySchema": keys("pk", "sk"),
        "AttributeDefinitions": [{"AttributeName": one, "AttributeType": kind} for one, kind in kinds.items()],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-g",
                "KeySchema": keys("g"),
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"]},
            }
        ],
        **(locals_ if local else {}),
        **more,
    }


def keys(partition: str, sort: str | None = None) -> list[dict[str, str]]:
    """A KeySchema."""
    schema = [{"AttributeName": partition, "KeyType": "HASH"}]
    return schema + ([{"AttributeName": sort, "KeyType": "RANGE"}] if sort else [])
