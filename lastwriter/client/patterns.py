"""How an application counts: the ways to write a counter, side by side, each with its weakness.

A workload says ``self.counter.add(key)`` and ``self.counter.read(key)``; which class does it is the load's ``pattern``.
Every item has ``v`` and the marks, whatever the pattern adds, so that the same checks judge all of them: they judge
items, and a counter that is spread over several is named in the record's ``logical_key``.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from lastwriter.client.answer import Answer
from lastwriter.client.keys import NORMAL, Key
from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.plan import Load, Pattern
from lastwriter.client.retry import Attempts
from lastwriter.client.routes import FIRST_EPOCH
from lastwriter.client.table import Also, Table


class CountingUser(Protocol):
    """What a pattern needs of a user (:class:`lastwriter.client.user.GlobalTableUser`)."""

    region: str
    regions: tuple[str, ...]
    table: Table
    load: Load
    random: random.Random
    epochs: Mapping[str, int]
    """Home Region → epoch of its control record, where that was ever flipped."""

    def attempts(self, also: Collection[str] = (), *, unknown: bool = False) -> Attempts: ...

    def table_in(self, region: str) -> Table: ...

    def read_item(self, key: Key, *, strong: bool = True, region: str | None = None) -> Answer | None: ...


class Counter:
    """`naive`, and where another pattern does nothing else: ADD to the item, read the item.

    Weakness: in MREC the item of the Region that wrote last replaces the other's, increments included.
    """

    def __init__(self, user: CountingUser, session: str) -> None:
        """``session``: a name that no other user has, in this run or one before it."""
        self.user, self.session = user, session

    def add(self, key: Key, delta: int = 1) -> Answer | None:
        """Add to the counter; the answer of the last attempt, None if none was made."""
        return self._add(key, delta)

    def read(self, key: Key, *, strong: bool = True) -> int | None:
        """The counter, 0 if there is none; None: no answer."""
        return self._sum([key], strong)

    def also(self, key: Key) -> Also | None:
        """What the pattern writes or asks for besides."""
        return None

    def _add(self, key: Key, delta: int, once: Also | None = None, *, refused: Collection[str] = ()) -> Answer | None:
        """Ask the table to add, with the load's retries: of a request that is applied ``once`` only also after an
        unknown outcome, and after these refusals."""
        attempts = self.user.attempts(refused, unknown=once is not None)
        for attempt in attempts:
            self.user.table.add(key, delta, attempt, once or self.also(key))
        return attempts.answer

    def _sum(self, items: Iterable[Key], strong: bool) -> int | None:
        total = 0
        for item in items:
            answer = self.user.read_item(item, strong=strong)
            if answer is None or not answer.ok:
                return None
            total += answer.value or 0
        return total


class Conditional(Counter):
    """`conditional`: read, then write the sum if nobody wrote in between; else read again.

    Weakness: the condition is judged on one replica. In MREC two Regions pass it at once, and one sum is lost.
    """

    def add(self, key: Key, delta: int = 1) -> Answer | None:
        attempts = self.user.attempts(also=[CONDITION_FAILED])
        for attempt in attempts:
            seen = self.user.table.get(key)
            if seen.ok:
                self.user.table.cas(key, (seen.value or 0) + delta, seen.writer, attempt)
        return attempts.answer


class Fenced(Counter):
    """`fenced`: only the home Region writes, and each write carries the epoch in which that was so.

    Whoever takes a key over writes with a higher epoch; an old home that did not notice is refused from then on.
    Weakness: in MREC the fence travels with the items, so a home that is cut off goes on writing what will be lost.
    """

    def also(self, key: Key) -> Also | None:
        epoch = self.user.epochs.get(key.home_region or "", FIRST_EPOCH)
        return Also(
            put="write_epoch = :epoch",
            condition="attribute_not_exists(write_epoch) OR write_epoch <= :epoch",
            values={":epoch": {"N": str(epoch)}},
        )


class ReadAll(Counter):
    """`read-all`: write to the near Region; read every Region, and believe the item with the newest time stamp.

    Weakness: it finds the newest item, not what the newest item has overwritten: in MREC as much is lost as with
    `naive`. A read costs a call in every Region and fails when one of them does not answer; which item is newest is for
    the clients' clocks to say.
    """

    def also(self, key: Key) -> Also | None:
        return Also(put="#at = :at", names={"#at": "written_at"}, values={":at": {"N": str(time.time_ns())}})

    def read(self, key: Key, *, strong: bool = True) -> int | None:
        newest, value = -1, 0
        for region in self.user.regions:
            answer = self.user.read_item(key, strong=strong, region=region)
            if answer is None or not answer.ok or answer.reply is None:
                return None
            written_at = int(answer.reply.body.get("Item", {}).get("written_at", {}).get("N", -1))
            if written_at > newest:
                newest, value = written_at, answer.value or 0
        return value


class RegionItems(Counter):
    """`region-items`: one item a Region, which only that Region writes; readers sum them.

    Weakness: a read costs as many reads as there are Regions, and is no snapshot: in MREC the others' parts are late.
    """

    def __init__(self, user: CountingUser, session: str) -> None:
        super().__init__(user, session)
        self._parts: dict[str, dict[str, Key]] = {}

    def add(self, key: Key, delta: int = 1) -> Answer | None:
        return super().add(self._items(key)[self.user.region], delta)

    def read(self, key: Key, *, strong: bool = True) -> int | None:
        return self._sum(self._items(key).values(), strong)

    def _items(self, key: Key) -> Mapping[str, Key]:
        if key.name not in self._parts:
            self._parts[key.name] = {region: key.part(f"@{region}", region) for region in self.user.regions}
        return self._parts[key.name]


class RegionSets(RegionItems):
    """`region-sets`: one item a Region, as `region-items`, with a set of what was added and one of what was taken back.

    Each request puts names of its own into `adds_<region>` (or, of a negative amount, `removes_<region>`), and a name
    that is there already is refused: a request that arrives twice counts once, so that the user may try again after an
    unknown outcome. The count is the number of names; ``v`` is kept with it.
    Weakness: the sets only grow, every write pays for the whole item, and at 400 kB it is refused. With all sets in one
    item it would be `region-attributes`.
    """

    def __init__(self, user: CountingUser, session: str) -> None:
        super().__init__(user, session)
        self._session, self._numbers = session, itertools.count(1)

    def add(self, key: Key, delta: int = 1) -> Answer | None:
        own, number = self._items(key)[self.user.region], next(self._numbers)
        names = [f"{self._session}/{number}/{part}" for part in range(abs(delta))] or [f"{self._session}/{number}"]
        once = Also(
            add="#set :names",
            condition="NOT contains(#set, :name)",
            names={"#set": f"{'adds' if delta >= 0 else 'removes'}_{self.user.region}"},
            values={":names": {"SS": names}, ":name": {"S": names[0]}},
            once=True,
        )
        return self._add(own, delta, once)


class Compacted(RegionItems):
    """`compacted`: one item a Region, as `region-items`, and the first Region folds them into one that everybody reads.

    It folds when one of its users adds and has not done so for the load's ``fold``: reads the total, then the parts as
    its own replica has them, and writes their sum if the total is still the one that it read.
    Weakness: a read is one read again, and late by ``fold`` and twice the way between Regions; where the first Region
    is down, or cut off, the total stands still.
    """

    def __init__(self, user: CountingUser, session: str) -> None:
        super().__init__(user, session)
        self._folded_at: dict[str, float] = {}

    def add(self, key: Key, delta: int = 1) -> Answer | None:
        answer = super().add(key, delta)
        if self.user.region == self.user.regions[0]:
            now = time.monotonic()
            if now - self._folded_at.setdefault(key.name, -math.inf) >= self.user.load.fold:
                self._folded_at[key.name] = now
                self.fold(key)
        return answer

    def read(self, key: Key, *, strong: bool = True) -> int | None:
        return self._sum([key], strong)

    def fold(self, key: Key) -> None:
        """Bring the total up to date. Whoever folds at the same time is refused, or refuses us: either will do."""
        seen = self.user.table.get(key)
        parts = self._sum(self._items(key).values(), strong=True) if seen.ok else None
        if parts is not None and parts != (seen.value or 0):
            self.user.table.cas(key, parts, seen.writer)


class RegionAttributes(Counter):
    """`region-attributes`: one attribute a Region in one item; ``v`` is kept as their sum.

    Weakness: it looks like `region-items` and is not. MREC replicates items, so the last writer's item brings its old
    copy of the other Regions' attributes along.
    """

    def also(self, key: Key) -> Also | None:
        return Also(add="#own :v", names={"#own": f"count_{self.user.region}"})


class Sharded(Counter):
    """`sharded`: a hot key (every key, without a hot set) is several items; writers draw one, readers sum all.

    Weakness: it spreads heat, not Regions. In MREC two Regions meet on each shard as they did on the key; reads cost
    as many reads as there are shards.
    """

    def __init__(self, user: CountingUser, session: str) -> None:
        super().__init__(user, session)
        self._parts: dict[str, Sequence[Key]] = {}

    def add(self, key: Key, delta: int = 1) -> Answer | None:
        return super().add(self.user.random.choice(self._items(key)), delta)

    def read(self, key: Key, *, strong: bool = True) -> int | None:
        return self._sum(self._items(key), strong)

    def _items(self, key: Key) -> Sequence[Key]:
        if key.name not in self._parts:
            shards = 1 if key.key_class == NORMAL else self.user.load.shards
            self._parts[key.name] = [key.part(f"#{number}") for number in range(shards)]
        return self._parts[key.name]


class Idempotent(Counter):
    """`idempotent`: each user numbers its requests, and the item remembers the last number of each user.

    So a request that arrives twice is applied once, and the user may try again after an unknown outcome. A refusal then
    says that an earlier attempt stands. Numbers only rise: an attempt that arrives late is refused, too.
    Weakness: the item grows with the number of users; in MREC what it remembers is lost with the increment.
    """

    def __init__(self, user: CountingUser, session: str) -> None:
        super().__init__(user, session)
        self._names = {"#session": f"_t_{session}"}
        self._numbers = itertools.count(1)

    def add(self, key: Key, delta: int = 1) -> Answer | None:
        once = Also(
            put="#session = :number",
            condition="attribute_not_exists(#session) OR #session < :number",
            names=self._names,
            values={":number": {"N": str(next(self._numbers))}},
            once=True,
        )
        return self._add(key, delta, once)


class LastRequestId(Counter):
    """`last-request-id`: the item remembers the last request's id, and refuses a request that it has just had.

    A recipe that is often published, for it needs one attribute only.
    Weakness: it forgets. A request that arrives twice is applied twice as soon as anybody else's came between, which on
    a busy item is always.
    """

    def __init__(self, user: CountingUser, session: str) -> None:
        super().__init__(user, session)
        self._session, self._numbers = session, itertools.count(1)

    def add(self, key: Key, delta: int = 1) -> Answer | None:
        once = Also(
            put="last_request = :request",
            condition="attribute_not_exists(last_request) OR last_request <> :request",
            values={":request": {"S": f"{self._session}/{next(self._numbers)}"}},
            once=True,
        )
        return self._add(key, delta, once)


class ClientTimestamp(Counter):
    """`client-timestamp`: write only if the item's time stamp is older than this client's clock.

    Known to be bad: it refuses writes that overtook one another, one clock that is ahead locks everybody else out, and
    in MREC it does not even help, for the condition is judged on one replica.
    """

    def __init__(self, user: CountingUser, session: str) -> None:
        super().__init__(user, session)
        error = user.load.clock_error
        self._off_by_ns = int(user.random.uniform(-error, error) * 1e9) if error else 0

    def also(self, key: Key) -> Also | None:
        return Also(
            put="#at = :at",
            condition="attribute_not_exists(#at) OR #at < :at",
            names={"#at": "written_at"},
            values={":at": {"N": str(time.time_ns() + self._off_by_ns)}},
        )

    def add(self, key: Key, delta: int = 1) -> Answer | None:
        return self._add(key, delta, refused=[CONDITION_FAILED])


COUNTERS: Final[Mapping[Pattern, type[Counter]]] = {
    "naive": Counter,
    "conditional": Conditional,
    "home-region": Counter,  # `self.keys.mine()` draws only keys that the Region owns
    "fenced": Fenced,  # the same, and the fence
    "leader": Counter,  # `self.table` is the first Region's, wherever the user lives
    "read-all": ReadAll,
    "region-items": RegionItems,
    "region-sets": RegionSets,
    "compacted": Compacted,
    "region-attributes": RegionAttributes,
    "sharded": Sharded,
    "idempotent": Idempotent,
    "last-request-id": LastRequestId,
    "client-timestamp": ClientTimestamp,
}


def counter_of(user: CountingUser, session: str) -> Counter:
    """A user's counter, as its load's pattern has it."""
    return COUNTERS[user.load.pattern](user, session)
