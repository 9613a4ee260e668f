"""What the core has to remember across its own death: engines that say of every change what it was.

Theory of operation
-------------------
1. A *record* is a change of state, not a request: replaying it judges nothing, draws nothing, and knows no time.
   Records stand in the order of the changes, so any prefix of them is a state in which the emulator has been.
2. The core adds records to ``Environment.records``; whoever runs it writes them down before any reply leaves
   (:mod:`lastwriter.emulator.shell.datadir`). Without a list there nobody records: the engines are used as they are,
   for what is here is mixed into them, like a planted bug, only if it is asked for.
3. MREC: a local write is one record; that it is now on its way to every other replica goes without saying. Its arrival
   at each is another, which names the write, and says whether it won. So what is under way is what was written and
   has not arrived.
4. MRSC: an entry is recorded when it is appended (from then on it is in doubt), when it takes its place, and when it
   is delivered to each Region. Heartbeats and reads change nothing.
5. Tables, their members and settings are recorded whole whenever an operation has changed them (:class:`Tables`).
6. Streams and indexes are made of changes, and made again of them.

=====  ===================================================  ========================================================
``w``  engine, Region, key, time, item                       a local write (item null: deletion)
``x``                                                        the next ``w`` is a deletion by time to live
``a``  engine, source, target, key, time, whether it won     a change arrived
``i``  engine, Region, key, time, origin, item               a version in place that no replicator brought
``p``  engine, source, target, key, time, origin, item       a change under way that is no local write of the source
``e``  engine, number, origin, key, base, item               an entry was appended
``c``  engine, number, second holder, place                  it was committed (place 0: and lost a conflict)
``d``  engine, number, Region                                it was delivered
``k``  Region, token, digest, seconds since 1970             a transaction was carried out under a request token
``t``  number, description                                   a table is now like this (null: it is gone)
``b``  Region, the end of its ARN, backup                   a backup was made (null: deleted)
``r``  Region, table, days                                  its past is remembered from now on (null: no more)
=====  ===================================================  ========================================================
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import orjson

from lastwriter.emulator.core.mrsc import Operation
from lastwriter.emulator.requests.values import number

if TYPE_CHECKING:
    from lastwriter.emulator.core.environment import Environment, Records
    from lastwriter.emulator.core.journal import Entry, Site
    from lastwriter.emulator.core.journal import Journal as _Journal
    from lastwriter.emulator.core.members import Member, Table
    from lastwriter.emulator.core.mrec import MrecReplica as _Replica
    from lastwriter.emulator.core.mrec import MrecTable as _MrecTable
    from lastwriter.emulator.core.mrec import Replicator as _Replicator
    from lastwriter.emulator.core.mrec import Version
    from lastwriter.emulator.core.mrsc import MrscTable as _MrscTable
    from lastwriter.emulator.requests.operations import Item, Key
else:
    _Journal = _Replica = _MrecTable = _Replicator = _MrscTable = object

_SHARED: Final = frozenset({"schema", "settings", "engine", "members", "indexes", "sources"})
"""Attributes of a table that :func:`described` does not take over as they are."""
_OWN: Final = frozenset({"table", "store", "stream", "arranged", "expiry", "arn", "region", "stream_label"})
"""Attributes of a member that it does not take over as they are."""


def packed(key: Key) -> Any:
    """A primary key as JSON."""
    if type(key) is str:
        return key
    if type(key) is tuple:
        return [packed(part) for part in key]
    if type(key) is bytes:
        return {"B": b64encode(key).decode()}
    return {"N": str(key)}


def unpacked(value: Any) -> Key:
    """A primary key from JSON."""
    if type(value) is str:
        return value
    if type(value) is list:
        return tuple(unpacked(part) for part in value)
    return b64decode(value["B"]) if "B" in value else number(value["N"])


# -- MREC


class DurableReplica(_Replica):
    """Records what changes by other ways than a local write."""

    table: DurableMrec | None = None
    arriving: str | None = None
    """The Region from which a replicator is bringing something just now."""

    def merge(self, key: Key, version: Version) -> None:
        """Apply what came from elsewhere, if it wins."""
        table = self.table
        if table is None:  # it is being made: of what the others have
            super().merge(key, version)
            return
        records = table.records
        if self.arriving is not None:
            record = ["a", table.number, self.arriving, self.region, packed(key), version[0], False]
            records.append(record)
            super().merge(key, version)
            record[6] = self.items.get(key) is version
            return
        super().merge(key, version)
        if self.items.get(key) is version:
            records.append(["i", table.number, self.region, packed(key), *version])


class DurableReplicator(_Replicator):
    """Says of each arrival where it came from."""

    source: DurableReplica

    def send(self, key: Key, version: Version) -> None:
        """Take a local write. (One that is passed on breaks the rules, and is recorded for itself.)"""
        target: Any = self.target
        source = self.link.source
        if version[1] != source:
            table = target.table
            table.records.append(["p", table.number, source, target.region, packed(key), *version])
        before, target.arriving = target.arriving, source
        try:
            super().send(key, version)
        finally:
            target.arriving = before

    def _merge(self, key: Key) -> None:
        target: Any = self.target
        before, target.arriving = target.arriving, self.link.source
        try:
            super()._merge(key)
        finally:
            target.arriving = before

    def under_way(self) -> Iterator[tuple[Key, Version]]:
        """What has not arrived, for each item in order."""
        for key, (_, *versions) in self._pending.items():
            for version in versions:
                yield key, version  # type: ignore[misc]

    def adopt(self, key: Key, versions: list[Version]) -> None:
        """Changes that were under way, in order; :meth:`start` sends them."""
        self._pending[key] = [0, *versions]
        self.backlog += len(versions)

    def start(self) -> None:
        """What was adopted leaves now."""
        scheduler = self._environment.scheduler
        for key, pending in self._pending.items():
            pending[0] = due_ns = scheduler.now_ns + self.link.latency_ns + self._delay.draw()
            for _ in range(len(pending) - 1):
                scheduler.at(due_ns, self._arrive, key)


class DurableMrec(_MrecTable):
    """Records local writes."""

    number = 0
    records: Records

    def __init__(self, environment: Environment, *more: Any) -> None:
        super().__init__(environment, *more)
        self.records = recording(environment)

    def add(self, region: str) -> Any:
        """A new copy."""
        replica: Any = super().add(region)
        replica.table = self
        return replica

    def store(self, replica: Any, key: Key, version: Version | None, old: Item | None, new: Item | None) -> None:
        """A local change."""
        if new is None and old is None:
            super().store(replica, key, version, old, new)
            return
        record = ["w", self.number, replica.region, packed(key), 0, new]
        self.records.append(record)  # before what it brings about
        super().store(replica, key, version, old, new)
        kept = replica.items.get(key)  # a bug may have dropped it
        record[4] = self._environment.scheduler.now_ns if kept is None else kept[0]


# -- MRSC


class DurableJournal(_Journal):
    """Records what becomes of entries."""

    number = 0
    records: Records

    def __init__(self, environment: Environment, sites: Any) -> None:
        self.records = recording(environment)
        self.entries: dict[Entry, list[int]] = {}  # in doubt or not yet everywhere → number, Regions still without it
        self.numbers = count(1)
        super().__init__(environment, sites)

    def site(self, region: str) -> Site:
        """Of a Region, the witness included."""
        return self._by_region[region]

    def others(self, origin: Site) -> list[Site]:
        """Every site but one."""
        return [site for site in self._sites if site is not origin]

    def awaited(self, site: Site) -> list[Entry]:
        """Committed entries that have still to be delivered to a Region, in order."""
        return [*(delivery.entry for delivery in site.channel), *site.backlog]

    def append(self, entry: Entry) -> None:
        """A new entry at its origin."""
        if entry.writes:
            number_ = next(self.numbers)
            self.entries[entry] = [number_, len(self._readers)]
            key = packed(entry.key)
            self.records.append(["e", self.number, number_, entry.origin.region, key, entry.base, entry.item])
        super().append(entry)

    def _commit(self, entry: Entry, second: Site) -> None:
        known = self.entries.get(entry)
        if known is None:
            super()._commit(entry, second)
            return
        record = ["c", self.number, known[0], second.region, 0]
        self.records.append(record)
        super()._commit(entry, second)
        record[4] = entry.place

    def _apply(self, site: Site, entry: Entry) -> None:
        known = self.entries.get(entry)
        if known is not None:
            self.records.append(["d", self.number, known[0], site.region])
            known[1] -= 1
            if not known[1] or not entry.place:
                del self.entries[entry]
        super()._apply(site, entry)

    def adopt(self, doubtful: list[Entry], waiting: dict[str, list[Entry]]) -> None:
        """Entries in doubt, and those that Regions have not applied (by Region, in order); :meth:`start` sends them."""
        for site in self._readers:
            site.backlog.extend(waiting.get(site.region, ()))
        placed = [(entry.key, entry.place) for entries in waiting.values() for entry in entries if entry.place]
        placed += [(key, version[0]) for site in self._readers for key, version in site.items.items()]
        for key, place in placed:
            self._heads[key] = max(place, self._heads.get(key, 0))
            self._place = max(place, self._place)
        for entry in doubtful:
            entry.origin.uncommitted[entry] = None

    def start(self) -> None:
        """What was adopted goes on its way now."""
        for site in self._readers:
            for entry in list(site.uncommitted):
                if entry in site.uncommitted:
                    self._send(entry)
        for site in self._readers:
            self._pump(site)


class DurableMrsc(_MrscTable):
    """Has a name in the records."""

    number = 0

    def hold(self, entry: Entry) -> None:
        """Until its entry is delivered to it, the Region of origin lets no other writer of the item begin."""
        replica: Any = entry.origin
        operation = Operation(_Gone(entry.key), None, 0)
        operation.answered, operation.entry = True, entry
        entry.then, entry.arguments = self._written, (replica, operation)
        replica.busy.setdefault(entry.key, None)


class _Gone:
    """The request of a caller who is gone."""

    def __init__(self, key: Key) -> None:
        self.key = key

    def reply(self, old: Item | None, new: Item | None) -> dict[str, Any]:
        return {}


# -- tables


class Tables:
    """Records what the control plane has made of its tables."""

    def __init__(self, environment: Environment, epoch_s: float) -> None:
        self._records = recording(environment)
        self._epoch_s = epoch_s
        self.numbers = count(1)
        self.known: dict[int, bytes] = {}
        """As they were recorded last."""

    def name(self, engine: Any) -> Any:
        """Give an engine its number."""
        engine.number = next(self.numbers)
        if isinstance(engine, DurableMrsc):
            engine.journal.number = engine.number  # type: ignore[attr-defined]
        return engine

    def note(self, tables: Iterable[Table]) -> None:
        """Record what is different from last time."""
        present = set()
        for table in tables:
            number_ = self.number_of(table)
            text = orjson.dumps(described(table, self._epoch_s))
            present.add(number_)
            if self.known.get(number_) != text:
                self.known[number_] = text
                self._records.append(["t", number_, orjson.Fragment(text)])
        for number_ in self.known.keys() - present:
            del self.known[number_]
            self._records.append(["t", number_, None])

    def number_of(self, table: Table) -> int:
        """Of a table: it stays the same when the table gets another engine."""
        if not table.number:
            table.number = next(self.numbers)
        return table.number


def described(table: Table, epoch_s: float) -> dict[str, Any]:
    """A table as a record has it: enough to make it again, data apart. ``epoch_s``: when the core's clock was 0."""
    engine: Any = table.engine
    return {
        **_plain(table, _SHARED),
        "request": request_of(table),
        "engine": engine.number,
        "mode": engine.mode,
        "sources": {
            replica: [source, round(epoch_s + since_ns / 1e9, 3)]
            for replica, (source, since_ns) in table.sources.items()
        },
        "indexes": {
            name: [
                index.read_units,
                index.write_units,
                index.status,
                index.backfilling,
                index.most_read_units,
                index.most_write_units,
            ]
            for name, index in table.indexes.items()
        },
        "unread": sorted(table.schema.backfilling),
        "members": {region: _member(member) for region, member in table.members.items()},
    }


def _member(member: Member) -> dict[str, Any]:
    stream = member.stream
    started = None if stream is None else [stream.label, stream.created]
    return {**_plain(member, _OWN), "label": member.stream_label, "stream": started}


def request_of(table: Table) -> dict[str, Any]:
    """The CreateTable request that would make the table as it is now."""
    original = table.settings.request
    demanded = table.billing_mode == "PAY_PER_REQUEST"
    request = {name: value for name, value in original.items() if name not in ("ProvisionedThroughput", "Tags")}
    request |= {
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in table.definitions.items()
        ],
        "BillingMode": table.billing_mode,
        "OnDemandThroughput": _most(table.most_read_units, table.most_write_units),
        "LocalSecondaryIndexes": [],
        "GlobalSecondaryIndexes": [],
    }
    if not demanded:
        request["ProvisionedThroughput"] = _units(table.read_units, table.write_units)
    for index in table.indexes.values():
        schema = index.schema
        one = {
            "IndexName": schema.name,
            "KeySchema": [
                {"AttributeName": key.name, "KeyType": "RANGE" if key is schema.sort else "HASH"} for key in schema.keys
            ],
            "Projection": schema.projection,
        }
        if schema.is_global and not demanded:
            one["ProvisionedThroughput"] = _units(index.read_units, index.write_units)
        if schema.is_global:
            one["OnDemandThroughput"] = _most(index.most_read_units, index.most_write_units)
        request["GlobalSecondaryIndexes" if schema.is_global else "LocalSecondaryIndexes"].append(_without_nothing(one))
    return _without_nothing(request)


def _units(read: int, write: int) -> dict[str, int]:
    return {"ReadCapacityUnits": read, "WriteCapacityUnits": write}


def _most(read: int | None, write: int | None) -> dict[str, int]:
    most = {"MaxReadRequestUnits": read, "MaxWriteRequestUnits": write}
    return {name: units for name, units in most.items() if units is not None}


def _without_nothing(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if value not in ([], {})}


def _plain(thing: Any, but: frozenset[str]) -> dict[str, Any]:
    """Every attribute of a table or member that JSON can hold."""
    found = {}
    for name in thing.__slots__:
        if name in but:
            continue
        value = getattr(thing, name)
        try:
            orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATACLASS)
        except TypeError:
            continue
        found[name] = value
    return found


def recording(environment: Environment) -> Records:
    """Where records go; only called where somebody records."""
    records = environment.records
    assert records is not None
    return records
