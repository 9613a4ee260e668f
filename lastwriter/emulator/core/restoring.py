"""Makes a core again out of its records (:mod:`lastwriter.emulator.core.durable`): a store with a memory.

Rules
-----
1. Nothing is judged again and nothing happens meanwhile: records change the state, in order, and no event runs. What
   was waiting is started anew by :meth:`Restoring.start`: changes under way leave now, entries in doubt are sent now,
   tables that were being made are made.
2. The core's clock counts from the machine's start. What is older than the process is placed by the time of day.
   After a restart of the machine the Regions' clocks are put ahead, so that no timestamp is given twice.
3. Who had asked is gone. An entry in doubt may still take its place, as it may for anyone whose caller gave up.
4. ``i``, ``m`` and ``s`` (below) put a state in place; they are what a snapshot is made of, with ``t`` and ``k``
   (:mod:`lastwriter.emulator.core.snapshot`).

=====  ===================================================  ========================================================
``m``  engine, Region, key, place, item                      MRSC: a version in place
``s``  Region, description                                   a stream, its records in the description
=====  ===================================================  ========================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Final

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.durable import unpacked
from lastwriter.emulator.core.journal import Entry
from lastwriter.emulator.core.members import IndexState, Member, Table
from lastwriter.emulator.core.mrec import MrecTable, Version
from lastwriter.emulator.core.streams import Stream
from lastwriter.emulator.requests.operations import Item, Key
from lastwriter.emulator.requests.schema import KeyAttribute, TableSchema, parse_create_table

_MADE: Final = frozenset({"request", "engine", "mode", "sources", "indexes", "unread", "members"})
"""What a table's description has besides plain attributes."""


class RestoreError(Exception):
    """The records cannot have come from one emulator. One line."""


class Restoring:
    """Takes records and changes ``core``, which is new and has nothing."""

    def __init__(self, core: Core, wall: float) -> None:
        self._core = core
        self._control = core.control
        self._environment = core.environment
        self._now_ns = core.scheduler.now_ns
        self._wall = wall
        self._tables: dict[int, Table] = {}
        self._engines: dict[int, Any] = {}
        self._pending: dict[tuple[int, str, str], dict[Key, list[Version]]] = defaultdict(dict)
        self._entries: dict[int, dict[int, Entry]] = defaultdict(dict)  # engine → number → entry
        self._waiting: dict[int, dict[str, dict[Entry, None]]] = defaultdict(lambda: defaultdict(dict))
        self._numbers: dict[int, int] = {}  # engine → highest number of an entry
        self._expiring = False
        self._latest_ns = 0
        self._take: dict[str, Callable[..., None]] = {
            "w": self._write, "x": self._expiry, "a": self._arrival, "i": self._version, "p": self._under_way,
            "e": self._entry, "c": self._commit, "d": self._delivery, "m": self._place,
            "t": self._table, "k": self._token, "s": self._stream, "b": core.control.backups.restore,
            "r": core.control.backups.resume,
        }  # fmt: skip

    def take(self, records: Iterable[list[Any]], now_ns: int, wall: float) -> None:
        """Records that were made at ``now_ns`` of the clock of then, ``wall`` seconds since 1970. RestoreError."""
        self._latest_ns = max(self._latest_ns, now_ns)
        self._core.scheduler.now_ns = self._then_ns(wall)
        take = self._take
        try:
            for record in records:
                take[record[0]](*record[1:])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise RestoreError(f"a record does not fit what was there before it ({type(error).__name__})") from error

    def finish(self) -> None:
        """All records have been taken: what was waiting is in its place. Nothing moves yet."""
        self._core.scheduler.now_ns = self._now_ns
        for (number, source, target), pending in self._pending.items():
            for replicator in self._engines[number].replicas[source].outgoing:
                if replicator.target.region == target:
                    for key, versions in pending.items():
                        replicator.adopt(key, versions)
        for number, engine in self._now():
            if not isinstance(engine, MrecTable):
                self._adopt(number, engine)

    def start(self) -> None:
        """Go on with what was waiting."""
        core, control = self._core, self._control
        if self._latest_ns > self._now_ns:  # the machine has been restarted
            for region in core.regions:
                core.environment.clock(region).ahead_ns += self._latest_ns - self._now_ns
        for table in self._tables.values():
            for member in table.members.values():
                member.use(member.store, control.index_later)
                control.take_up(member)
            control.properties.take_up(table)
        if control.durable is not None:
            highest = max((*self._tables, *self._engines), default=0)
            control.durable.numbers = count(highest + 1)
        for _, engine in self._now():
            if isinstance(engine, MrecTable):
                for replica in engine.replicas.values():
                    for replicator in replica.outgoing:
                        replicator.start()  # type: ignore[attr-defined]
            else:
                engine.journal.start()
        core.scheduler.settle()
        control.note()

    def _now(self) -> Iterator[tuple[int, Any]]:
        """Engines that a table has, with their numbers."""
        for table in self._tables.values():
            yield table.engine.number, table.engine  # type: ignore[union-attr]

    # -- MREC

    def _write(self, number: int, region: str, key: Any, at_ns: int, item: Item | None) -> None:
        replica = self._engines[number].replicas[region]
        key = unpacked(key)
        version = (at_ns, region, item)
        stream = replica.watcher
        if stream is not None:
            stream.expiring, self._expiring = self._expiring, False
        self._put(replica, key, version)
        if stream is not None:
            stream.expiring = False
        for replicator in replica.outgoing:
            self._pending[number, region, replicator.target.region].setdefault(key, []).append(version)

    def _expiry(self) -> None:
        self._expiring = True

    def _arrival(self, number: int, source: str, target: str, key: Any, at_ns: int, won: bool) -> None:
        replica = self._engines[number].replicas[target]
        key = unpacked(key)
        pending = self._pending[number, source, target]
        versions = pending[key]
        at = 0 if versions[0][0] == at_ns else [version[0] for version in versions].index(at_ns)
        version = versions.pop(at)
        if not versions:
            del pending[key]
        if won:
            self._put(replica, key, version)

    def _version(self, number: int, region: str, key: Any, at_ns: int, origin: str, item: Item | None) -> None:
        self._put(self._engines[number].replicas[region], unpacked(key), (at_ns, origin, item))

    def _under_way(
        self, number: int, source: str, target: str, key: Any, at_ns: int, origin: str, item: Item | None
    ) -> None:
        self._pending[number, source, target].setdefault(unpacked(key), []).append((at_ns, origin, item))

    def _put(self, store: Any, key: Key, version: tuple[Any, ...]) -> None:
        old = store.items.get(key)
        store.items[key] = version
        if store.watcher is not None:
            store.watcher.changed(key, old[-1] if old is not None else None, version[-1])

    # -- MRSC

    def _entry(self, number: int, name: int, origin: str, key: Any, base: int, item: Item | None) -> None:
        engine = self._engines[number]
        entry = Entry(engine.replicas[origin], self._now_ns, _nobody, ())
        entry.writes = True
        entry.key, entry.base, entry.item = unpacked(key), base, item
        entry.holders = entry.origin.bit
        self._entries[number][name] = entry
        self._numbers[number] = max(name, self._numbers.get(number, 0))

    def _commit(self, number: int, name: int, second: str, place: int) -> None:
        engine = self._engines[number]
        entry = self._entries[number][name]
        entry.place, entry.conflict = place, not place
        entry.holders |= engine.journal.site(second).bit
        for region in engine.replicas if place else (entry.origin.region,):
            self._waiting[number][region][entry] = None

    def _delivery(self, number: int, name: int, region: str) -> None:
        entry = self._entries[number][name]
        replica = self._engines[number].replicas[region]
        del self._waiting[number][region][entry]
        entry.holders |= replica.bit
        if entry.place:
            self._put(replica, entry.key, (entry.place, entry.item))
        if not any(entry in waiting for waiting in self._waiting[number].values()):
            del self._entries[number][name]

    def _place(self, number: int, region: str, key: Any, place: int, item: Item | None) -> None:
        self._put(self._engines[number].replicas[region], unpacked(key), (place, item))

    def _adopt(self, number: int, engine: Any) -> None:
        names = self._entries[number]
        waiting = self._waiting[number]
        journal = engine.journal
        journal.numbers = count(self._numbers.get(number, 0) + 1)
        doubtful = []
        for name, entry in names.items():
            left = sum(entry in entries for entries in waiting.values())
            journal.entries[entry] = [name, left or len(engine.replicas)]
            if not left:
                doubtful.append(entry)
            if not left or entry in waiting[entry.origin.region]:
                engine.hold(entry)
        journal.adopt(doubtful, {region: list(entries) for region, entries in waiting.items()})

    # -- tables, tokens, streams

    def _table(self, number: int, description: dict[str, Any] | None) -> None:
        control = self._control
        table = self._tables.get(number)
        if description is None:
            assert table is not None
            self._drop(table)
            del self._tables[number]
            return
        schema, settings = parse_create_table(description["request"])
        for region in description["members"]:
            if region not in self._control.members:
                raise RestoreError(f"table {schema.name} is in {region}, which is not among the Regions given")
        if table is None:
            table = Table(schema, settings, self._engine(description))
            self._tables[number] = table
            control.tables.append(table)
        else:
            table.settings = settings
            table.schema.indexes = schema.indexes
        for name, value in description.items():
            if name not in _MADE:
                setattr(table, name, value)
        table.schema.backfilling = set(description["unread"])
        table.indexes = {
            index.name: IndexState(index, *description["indexes"][index.name]) for index in table.schema.indexes
        }
        table.sources = {
            replica: (source, self._then_ns(since)) for replica, (source, since) in description["sources"].items()
        }
        before, engine = table.engine, table.engine
        if engine.number != description["engine"]:  # type: ignore[union-attr]
            table.engine = engine = self._engine(description)
        for region, member in list(table.members.items()):
            if region not in description["members"]:
                self._leave(member, before)
            elif engine is not before:
                self._move(member, engine)
        if engine is not before:
            before.close()
        for region, told in description["members"].items():
            self._member(table, region, told)

    def _engine(self, description: dict[str, Any]) -> Any:
        control, environment = self._control, self._environment
        number = description["engine"]
        if description["mode"] == "MRSC":
            witness = description["witness"]
            if witness is not None:
                environment.network.add(witness)
            engine: Any = control.engines.mrsc(environment, tuple(description["members"]), witness)
            engine.journal.number = number
        else:
            engine = control.engines.mrec(environment, control.delay)
        engine.number = number
        self._engines[number] = engine
        return engine

    def _member(self, table: Table, region: str, told: dict[str, Any]) -> None:
        member = table.members.get(region)
        if member is None:
            engine: Any = table.engine
            store = engine.add(region) if isinstance(engine, MrecTable) else engine.replicas[region]
            member = Member(table, region, store, self._control.index_later, 0.0, "")
            table.members[region] = member
            self._control.members[region][table.schema.name] = member
        for name, value in told.items():
            if name not in ("label", "stream"):
                setattr(member, name, value)
        stream = told["stream"]
        if member.stream is not None and (stream is None or member.stream.label != stream[0]):
            self._control.streams.stop(member)
        if stream is not None and member.stream is None:
            self._control.streams.restore(member, *stream)
            member.arranged.observe(member.stream)  # type: ignore[arg-type]
        member.stream_label = told["label"]
        member.store.watcher = member.stream  # until all is there, nobody else wants to know

    def _move(self, member: Member, engine: Any) -> None:
        """A table has become one of strong consistency, or ceased to be: the member's data is in another store."""
        if isinstance(engine, MrecTable):
            replica = engine.add(member.region)
            for key, item in member.store.visible():
                replica.items[key] = (self._core.scheduler.now_ns, member.region, item)
        else:
            replica = engine.replicas[member.region]
        member.store = replica

    def _leave(self, member: Member, engine: Any) -> None:
        if isinstance(engine, MrecTable):
            engine.remove(member.region)
            for place in [place for place in self._pending if place[0] == engine.number and member.region in place[1:]]:  # type: ignore[attr-defined]
                del self._pending[place]
        self._control.forget(member)

    def _drop(self, table: Table) -> None:
        for member in list(table.members.values()):
            self._leave(member, table.engine)
        table.engine.close()
        self._control.tables.remove(table)

    def _token(self, region: str, token: str, digest: str, at_s: float) -> None:
        self._core.transactions[region].remember(token, bytes.fromhex(digest), self._then_ns(at_s))

    def _stream(self, region: str, told: dict[str, Any]) -> None:
        streams = self._control.streams
        stream = streams.find(region, told["arn"])
        if stream is None:  # its table has gone on without it
            keys = [KeyAttribute(*key) for key in told["keys"]]
            schema = TableSchema(told["table"], keys[0], keys[1] if len(keys) > 1 else None)
            stream = Stream(
                self._environment, region, schema, told["arn"], told["view"], told["label"], told["created"]
            )
            streams.keep(stream)
        stream.closed_s = told["closed"]
        stream.restore(
            told["next"],
            [(self._then_ns(at_s), expired, old, new) for at_s, expired, old, new in told["records"]],
        )

    def _then_ns(self, wall: float) -> int:
        return self._now_ns - round((self._wall - wall) * 1e9)


def _nobody(entry: Entry) -> None:
    """Nobody waits for the entry."""
