"""Throttling from real use: what a Region's table may spend, what it has spent, and who has to wait.

Rules
-----
1. A table and each global index have a *lane* for reads and one for writes, in every Region. A lane has a bucket of
   units for the whole and one for each of its partitions, which are ranges of hashes of the partition key. A request
   is let in while there is anything in its buckets, and takes out what it turns out to have cost: a bucket can be in
   debt, and nobody is let in until time has paid it.
2. A partition gives ``partition_writes`` and ``partition_reads`` units a second (AWS: 1,000 and 3,000), and keeps what
   it does not spend for ``partition_burst``. A provisioned table or index gives its units, and keeps them for
   ``table_burst`` (AWS: 300 s). On demand the whole gives what ``OnDemandThroughput`` says, else AWS's quota for a
   table. Buckets begin with one second's worth.
3. A write that changes entries of a global index spends the index's units, and is refused while that index has none:
   the back pressure of an index that is too small.
4. A replicated write spends the units of the Region that receives it. Under MREC it waits for them, in its partition's
   queue, so that replication lags behind and loses nothing. Under MRSC the journal waits for nobody: the units are
   spent all the same, and that Region's clients feel it.
5. What is refused has had no effect; the reply says which limits of which table or index refused it.

Known warts: partitions neither split nor merge; the units of a page of a Scan are its first item's partition's; a write
that lost to another Region's under MRSC, and a cancelled transaction's other actions, spend nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from lastwriter.emulator.core.environment import Environment
from lastwriter.emulator.requests.capacity import index_units
from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.requests.keys import Key
from lastwriter.emulator.requests.order import hash_of, range_of
from lastwriter.emulator.requests.schema import IndexSchema
from lastwriter.emulator.requests.sizes import item_bytes, write_units
from lastwriter.emulator.requests.values import Item, sortable
from lastwriter.emulator.requests.views import View

if TYPE_CHECKING:
    from lastwriter.emulator.core.members import Member, Table

Peek = Callable[[Key], Item | None]
"""The item that the next change of that key makes."""
ACCOUNT_UNITS: Final = 40_000
"""Units a second of one table on demand, reads or writes (AWS's default quota for a table, developer guide 2026)."""

_LEVEL: Final = "The level of configured provisioned throughput for "
MESSAGES: Final = {
    ("Table", "ProvisionedThroughputExceeded"): f"{_LEVEL}the table was exceeded. Consider increasing your "
    "provisioning level with the UpdateTable API.",
    ("Index", "ProvisionedThroughputExceeded"): f"{_LEVEL}one or more global secondary indexes of the table was "
    "exceeded. Consider increasing your provisioning level for the under-provisioned global secondary indexes with the "
    "UpdateTable API.",
    ("Table", "KeyRangeThroughputExceeded"): "Throughput exceeds the current capacity of your table or index. DynamoDB "
    "is automatically scaling your table or index so please try again shortly. If exceptions persist, check if you "
    "have a hot key: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html",
    ("Index", "KeyRangeThroughputExceeded"): "Throughput exceeds the current capacity for one or more global secondary "
    "indexes. DynamoDB is automatically scaling your index so please try again shortly.",
    "MaxOnDemandThroughputExceeded": "Throughput exceeds the maximum OnDemandThroughput configured on table or index",
    "AccountLimitExceeded": "Throughput exceeds the current throughput limit for your account. Please contact AWS "
    "Support at https://aws.amazon.com/support request a limit increase",
}
"""By what was exceeded, where it matters of a table or of an index: AWS's words."""


class Bucket:
    """Units that come evenly and are kept up to a limit; less than none: spent in advance."""

    __slots__ = ("_at_ns", "_units")

    def __init__(self, units: float, now_ns: int) -> None:
        self._units = units
        self._at_ns = now_ns

    def left(self, now_ns: int, rate: float, most: float) -> float:
        """Units there are now, of ``rate`` a second and ``most`` kept."""
        self._units = min(most, self._units + rate * (now_ns - self._at_ns) / 1e9)
        self._at_ns = now_ns
        return self._units

    def take(self, units: float) -> None:
        """Spend."""
        self._units -= units


class Lane:
    """Reads or writes of a table or a global index in one Region."""

    def __init__(self, environment: Environment, member: Member, way: str, index: IndexSchema | None) -> None:
        self._environment = environment
        self._member = member
        self._way = way
        self._index = index
        settings, now_ns = environment.settings, environment.scheduler.now_ns
        self._table_burst_s = max(1.0, settings.table_burst)
        self._whole = Bucket(self._limit()[0], now_ns)
        self._rate: float = settings.partition_reads if way == "Read" else settings.partition_writes
        self._most = self._rate * max(1.0, settings.partition_burst)
        self._partitions = [Bucket(self._rate, now_ns) for _ in range(settings.partitions)]

    def exceeded(self, place: int) -> list[str]:
        """The limits that a request for that hash exceeds: none lets it in."""
        now_ns = self._environment.scheduler.now_ns
        rate, most, name = self._limit()
        found = [] if self._whole.left(now_ns, rate, most) > 0 else [name]
        if self._partition(place).left(now_ns, self._rate, self._most) <= 0:
            found.append("KeyRangeThroughputExceeded")
        return found

    def wait_ns(self, place: int) -> int:
        """Until there is something in all buckets; 0: there is."""
        now_ns = self._environment.scheduler.now_ns
        rate, most, _ = self._limit()
        levels = (
            (self._whole.left(now_ns, rate, most), rate),
            (self._partition(place).left(now_ns, self._rate, self._most), self._rate),
        )
        waits_s = [-units / rate for units, rate in levels if units <= 0]
        return int(max(waits_s) * 1e9) + 1 if waits_s else 0

    def take(self, place: int, units: float) -> None:
        """Spend."""
        self._whole.take(units)
        self._partition(place).take(units)

    def refusal(self, limits: list[str]) -> tuple[str, list[dict[str, str]]]:
        """Of limits that were exceeded: the first, with Table or Index, and the ThrottlingReasons."""
        kind = "Table" if self._index is None else "Index"
        arn = self._member.arn if self._index is None else f"{self._member.arn}/index/{self._index.name}"
        return kind, [{"reason": f"{kind}{self._way}{limit}", "resource": arn} for limit in limits]

    def _partition(self, place: int) -> Bucket:
        return self._partitions[range_of(place, len(self._partitions))]

    def _limit(self) -> tuple[float, float, str]:
        """Of the whole: units a second, the most that are kept, name."""
        table = self._member.table
        source: Any = table if self._index is None else table.indexes[self._index.name]
        reads = self._way == "Read"
        own = self._member if reads and self._index is None else None
        if table.billing_mode == "PROVISIONED":
            units = source.read_units if reads else source.write_units
            if own is not None and own.read_units is not None:
                units = own.read_units
            return units, units * self._table_burst_s, "ProvisionedThroughputExceeded"
        most = source.most_read_units if reads else source.most_write_units
        if own is not None and own.most_read_units is not None:
            most = own.most_read_units
        if most is not None:
            return most, most, "MaxOnDemandThroughputExceeded"
        return ACCOUNT_UNITS, ACCOUNT_UNITS, "AccountLimitExceeded"


class Meter:
    """The lanes of one Region's table."""

    def __init__(self, environment: Environment, member: Member) -> None:
        self.throttled: Counter[str] = Counter()
        """Requests refused, by reason."""
        self.limits = _limits(environment)
        self._environment = environment
        self._scheduler = environment.scheduler
        self._partitions = environment.settings.partitions
        self._member = member
        self._lanes: dict[tuple[str | None, str], Lane] = {}
        self._waiting: dict[int, deque[tuple[Key, Peek, Callable[[Key], None]]]] = {}
        for index in (None, *member.table.schema.indexes):  # units are saved from the beginning
            for way in ("Read", "Write"):
                self._lane(index, way)
        self._writes, self._reads = self._lane(None, "Write"), self._lane(None, "Read")

    # -- requests

    def admit_write(self, key: Key) -> None:
        """ApiError if there is nothing left for writing items of that partition."""
        place = self._hash(key)
        if self._writes.exceeded(place):
            self._admit([(self._writes, place)])

    def admit_entries(self, old: Item | None, new: Item | None) -> None:
        """ApiError if the change touches a global index that has nothing left."""
        if self._member.table.schema.indexes:
            self._admit([(lane, place) for lane, place, _ in self._entries(old, new)])

    def admit_read(self, index: IndexSchema | None, place: int) -> None:
        """ApiError if there is nothing left for reading there; ``place`` is the hash of the partition key."""
        lane = self._reads if index is None else self._lane(index, "Read")
        if lane.exceeded(place):
            self._admit([(lane, place)])

    def spend_write(self, key: Key, old: Item | None, new: Item | None, times: int = 1) -> None:
        """A write turned ``old`` into ``new``, or was refused by its condition (both the same)."""
        schema = self._member.table.schema
        units: float = write_units(item_bytes(old) if old else 0, item_bytes(new) if new else 0)
        if not schema.indexes:
            self._writes.take(self._hash(key), units * times)
            return
        units += sum(index_units(schema, index, old, new) for index in schema.indexes if not index.is_global)
        self._writes.take(self._hash(key), units * times)
        for lane, place, entry_units in self._entries(old, new):
            lane.take(place, entry_units * times)

    def spend_read(self, index: IndexSchema | None, place: int, units: float) -> None:
        """Something was read there."""
        (self._reads if index is None else self._lane(index, "Read")).take(place, units)

    def place(self, key: Key) -> int:
        """Hash of the partition key."""
        return self._hash(key)

    # -- replication

    @property
    def waiting(self) -> int:
        """Replicated changes that wait for units."""
        return sum(map(len, self._waiting.values()))

    def arrive(self, key: Key, peek: Peek, apply: Callable[[Key], None]) -> None:
        """A replicated change is here, which ``peek(key)`` shows when it is its turn: spend its units and
        ``apply(key)``, at once or when there are some."""
        partition = range_of(self._hash(key), self._partitions)
        queue = self._waiting.get(partition)
        if queue is None:
            wait_ns = self._wait_ns(key, peek(key))
            if not wait_ns:
                self._let_in(key, peek(key), apply)
                return
            queue = self._waiting[partition] = deque()
            self._scheduler.at(self._scheduler.now_ns + wait_ns, self._drain, partition)
        queue.append((key, peek, apply))

    def release(self) -> None:
        """Nobody has to wait any more."""
        waiting, self._waiting = self._waiting, {}
        for queue in waiting.values():
            for key, _, apply in queue:
                apply(key)

    def _drain(self, partition: int) -> None:
        queue = self._waiting.get(partition)
        while queue:
            key, peek, apply = queue[0]
            item = peek(key)
            wait_ns = self._wait_ns(key, item)
            if wait_ns:
                self._scheduler.at(self._scheduler.now_ns + wait_ns, self._drain, partition)
                return
            queue.popleft()
            self._let_in(key, item, apply)
        self._waiting.pop(partition, None)

    def _let_in(self, key: Key, item: Item | None, apply: Callable[[Key], None]) -> None:
        self.spend_write(key, self._present(key), item)
        apply(key)

    def _wait_ns(self, key: Key, item: Item | None) -> int:
        wait_ns = self._writes.wait_ns(self._hash(key))
        if not self._member.table.schema.indexes:
            return wait_ns
        entries = self._entries(self._present(key), item)
        return max([wait_ns, *(lane.wait_ns(place) for lane, place, _ in entries)])

    def _present(self, key: Key) -> Item | None:
        version = self._member.store.items.get(key)
        return version[-1] if version is not None else None

    # -- lanes

    def _admit(self, places: list[tuple[Lane, int]]) -> None:
        refusals = [(lane, limits) for lane, place in places if (limits := lane.exceeded(place))]
        if not refusals:
            return
        reasons: list[dict[str, str]] = []
        for lane, limits in refusals:
            reasons += lane.refusal(limits)[1]
        self.throttled.update(reason["reason"] for reason in reasons)
        kind = refusals[0][0].refusal([])[0]
        raise _throttled(kind, refusals[0][1][0], self._member.table.billing_mode == "PROVISIONED", reasons)

    def _entries(self, old: Item | None, new: Item | None) -> Iterator[tuple[Lane, int, float]]:
        """Global indexes that the change touches: lane, hash, units."""
        schema = self._member.table.schema
        for index in schema.indexes:
            if index.is_global and (units := index_units(schema, index, old, new)):
                item = new if new is not None and View(schema, index).holds(new) else old
                assert item is not None
                yield self._lane(index, "Write"), hash_of(sortable(item[index.partition.name])), units

    def _lane(self, index: IndexSchema | None, way: str) -> Lane:
        if index is not None and not index.is_global:
            index = None  # a local index spends its table's units
        name = (index.name if index is not None else None, way)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(self._environment, self._member, way, index)
        return lane

    def _hash(self, key: Key) -> int:
        return hash_of(key if self._member.table.schema.sort is None else key[0])


def _limits(environment: Environment) -> tuple[float, ...]:
    settings = environment.settings
    return (
        settings.partitions,
        settings.partition_writes,
        settings.partition_reads,
        settings.partition_burst,
        settings.table_burst,
    )


class Throttling:
    """The setting ``throttling``, for every table."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def use(self, tables: Iterable[Table]) -> None:
        """Settings have changed: members are measured or not; with other limits they begin anew."""
        for table in tables:
            for member in table.members.values():
                self.follow(member)

    def follow(self, member: Member) -> None:
        """Do with the member as the settings say."""
        before = member.store.meter
        wanted = self._environment.settings.throttling == "on"
        if wanted and before is not None and before.limits == _limits(self._environment):
            return
        member.store.meter = meter = Meter(self._environment, member) if wanted else None
        if before is not None:
            if meter is not None:
                meter.throttled = before.throttled
            before.release()


def _throttled(kind: str, limit: str, provisioned: bool, reasons: list[dict[str, str]]) -> ApiError:
    if limit == "KeyRangeThroughputExceeded" and provisioned:
        message = MESSAGES[kind, "ProvisionedThroughputExceeded"]
    else:
        message = MESSAGES.get(limit) or MESSAGES[kind, limit]
    if provisioned:
        name, field = "ProvisionedThroughputExceededException", "ThrottlingReasons"
    elif limit == "AccountLimitExceeded":
        name, field = "RequestLimitExceeded", "ThrottlingReasons"
    else:
        name, field = "ThrottlingException", "throttlingReasons"
    return ApiError(name, message, 400, {field: reasons})
