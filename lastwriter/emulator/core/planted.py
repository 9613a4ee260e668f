"""What planted bugs do, a few overridden methods each; which bug has which: :mod:`lastwriter.emulator.core.bugs`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from lastwriter.emulator.core.arranged import Arranged
from lastwriter.emulator.core.environment import Handle
from lastwriter.emulator.core.gathering import Outcome, Part
from lastwriter.emulator.core.journal import Entry, Site
from lastwriter.emulator.core.members import Serving
from lastwriter.emulator.core.mrec import MrecReplica, Version
from lastwriter.emulator.core.mrsc import MrscReplica, Operation
from lastwriter.emulator.core.streams import Stream
from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.requests.operations import Item, Key, Write
from lastwriter.emulator.requests.transactions import TransactWrite, refuse_conflicts

if TYPE_CHECKING:  # what the parts below are mixed into
    from lastwriter.emulator.core.journal import Journal as _Journal
    from lastwriter.emulator.core.mrec import MrecReplica as _Replica
    from lastwriter.emulator.core.mrec import MrecTable as _MrecTable
    from lastwriter.emulator.core.mrec import Replicator as _Replicator
    from lastwriter.emulator.core.mrsc import MrscTable as _MrscTable
    from lastwriter.emulator.core.streams import Stream as _Stream
    from lastwriter.emulator.core.transacting import Transactions as _Transactions
else:
    _MrecTable = _MrscTable = _Journal = _Replica = _Replicator = _Stream = _Transactions = object

_TIE_NS: Final = 1_000_000
_TORN_NS: Final = 5_000_000
"""Between a torn transaction's first item and the others."""


# -- MRSC


class EarlyAck(_MrscTable):
    def _judge(self, replica: MrscReplica, operation: Operation, current: bool) -> None:
        super()._judge(replica, operation, current)
        entry = operation.entry
        if entry is not None and entry.writes and not operation.answered:
            operation.answered = True
            reply = operation.request.reply(operation.old, operation.new)
            self._environment.answer(operation.handle, reply)


class ReadAtOnce(_MrscTable):
    def read(self, replica: MrscReplica, look: Callable[[], dict[str, Any]], strong: bool, handle: Handle) -> None:
        super().read(replica, look, False, handle)


class ReadWhereCutOff(_MrscTable):
    def read(self, replica: MrscReplica, look: Callable[[], dict[str, Any]], strong: bool, handle: Handle) -> None:
        super().read(replica, look, strong and self.caught_up(replica.region), handle)


class ReadWhileCatchingUp(_MrscTable):
    def read(self, replica: MrscReplica, look: Callable[[], dict[str, Any]], strong: bool, handle: Handle) -> None:
        super().read(replica, look, strong and not replica.recovery & 1, handle)


class JudgeOnce(_MrscTable):
    def _judge(self, replica: MrscReplica, operation: Operation, current: bool) -> None:
        super()._judge(replica, operation, True)


class HeartbeatOvertakes(_Journal):
    def _offer(self, site: Site, entry: Entry) -> None:
        path = None if entry.writes else self._path_home(entry, site)
        if path is None:
            super()._offer(site, entry)
        else:
            self._scheduler.at(self._scheduler.now_ns + path[0], self._apply, site, entry)


class NoBaseTest(_Journal):
    def _commit(self, entry: Entry, second: Site) -> None:
        if entry.writes:
            entry.base = self._heads.get(entry.key, 0)
        super()._commit(entry, second)


class ConflictTakesEffect(_Journal):
    def _commit(self, entry: Entry, second: Site) -> None:
        if entry.writes and self._heads.get(entry.key, 0) != entry.base:
            entry.base = self._heads.get(entry.key, 0)
            entry.conflict = True
        super()._commit(entry, second)


# -- MREC


class Relay(_Replica):
    def merge(self, key: Key, version: Version) -> None:
        before = self.items.get(key)
        super().merge(key, version)
        if before is not version and self.items[key] is version:
            for replicator in self.outgoing:
                if replicator.target.region != version[1]:
                    replicator.send(key, version)


class LastToArriveWins(_Replica):
    def merge(self, key: Key, version: Version) -> None:
        if key in self.items:
            old = self.items[key]
            self.items[key] = (-1, "", old[2])  # older than anything
        super().merge(key, version)


class AnyOrder(_Replicator):
    def _arrive(self, key: Key) -> None:
        pending = self._pending[key]
        if not self.link.breaks and len(pending) > 2:
            chosen = 1 + int(self._environment.rng.random() * (len(pending) - 1))
            pending[1], pending[chosen] = pending[chosen], pending[1]
        super()._arrive(key)


class OwnTiesWin(_Replica):
    def merge(self, key: Key, version: Version) -> None:
        current = self.items.get(key)
        tie = current is not None and current[0] // _TIE_NS == version[0] // _TIE_NS
        if current is None or not tie or current[1] != self.region:
            super().merge(key, version)


class DeafToOneItem(_Replica):
    deaf = False
    deaf_to: Key = None

    def merge(self, key: Key, version: Version) -> None:
        if self.deaf and self.deaf_to is None:
            self.deaf_to = key
        if not self.deaf or key != self.deaf_to:
            super().merge(key, version)


class SecondReplicaIsDeaf(_MrecTable):
    def add(self, region: str) -> MrecReplica:
        replica = super().add(region)
        if len(self.replicas) == 2:
            replica.deaf = True  # type: ignore[attr-defined]
        return replica


class DeletesWithoutTombstone(_MrecTable):
    def store(
        self, replica: MrecReplica, key: Key, version: Version | None, old: Item | None, new: Item | None
    ) -> None:
        super().store(replica, key, version, old, new)
        if new is None:
            replica.items.pop(key, None)


class KeepsNoTombstone(_Replica):
    def merge(self, key: Key, version: Version) -> None:
        super().merge(key, version)
        if version[2] is None and self.items.get(key) is version:
            del self.items[key]


class StoresOneByOne(_Transactions):
    _due_ns = 0

    def _carry_out(self, transaction: TransactWrite, places: list[tuple[Serving, Key]]) -> dict[str, Any]:
        self._due_ns = self._environment.scheduler.now_ns
        return super()._carry_out(transaction, places)

    def _store(self, table: Serving, key: Key, old: Item | None, new: Item | None) -> None:
        scheduler = self._environment.scheduler
        if self._due_ns <= scheduler.now_ns:
            super()._store(table, key, old, new)
        else:
            scheduler.at(self._due_ns, self._store_late, table, key, new)
        self._due_ns += _TORN_NS

    def _store_late(self, table: Serving, key: Key, new: Item | None) -> None:
        version = table.store.items.get(key)
        super()._store(table, key, version[-1] if version is not None else None, new)


class ForgetsTokens(_Transactions):
    def remember(self, token: str, digest: bytes, now_ns: int) -> None:
        pass


# -- both


class Unlike:
    """A write whose effect is not what its reply says."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.key = write.key
        self.has_condition = write.has_condition

    def evaluate(self, current: Item | None) -> Item | None:
        raise NotImplementedError

    def reply(self, old: Item | None, new: Item | None) -> dict[str, Any]:
        return self._write.reply(old, self._write.evaluate(old))


class Nothing(Unlike):
    def evaluate(self, current: Item | None) -> Item | None:
        self._write.evaluate(current)  # what is refused is refused
        return current


class Twice(Unlike):
    def evaluate(self, current: Item | None) -> Item | None:
        once = self._write.evaluate(current)
        try:
            return self._write.evaluate(once)
        except ApiError:
            return once


class Rarely(_MrecTable):
    one_in: Mapping[str, int]

    def _hits(self, name: str) -> bool:
        return self._environment.rng.random() * self.one_in[name] < 1


class LosesWrites(Rarely):
    def write(self, replica: Any, write: Write, handle: Handle) -> None:
        super().write(replica, Nothing(write) if self._hits("lost-write") else write, handle)


class WritesTwice(Rarely):
    def write(self, replica: Any, write: Write, handle: Handle) -> None:
        super().write(replica, Twice(write) if self._hits("applied-twice") else write, handle)


class Nobody:
    def take(self, number: int, outcome: Outcome) -> None:
        pass


class WritesAndRefuses(Rarely):
    def write(self, replica: Any, write: Write, handle: Handle) -> None:
        if not self._hits("refused-applied"):
            super().write(replica, write, handle)
            return
        super().write(replica, write, Part(Nobody(), 0))
        self._environment.refuse(handle, ApiError("ThrottlingException", "Rate exceeded", 400))


class CarriesOutAndCancels(_Transactions):
    one_in: Mapping[str, int]

    def _carry_out(self, transaction: TransactWrite, places: list[tuple[Serving, Key]]) -> dict[str, Any]:
        reply = super()._carry_out(transaction, places)
        if self._environment.rng.random() * self.one_in["refused-applied"] < 1:
            refuse_conflicts([True] * len(places))
        return reply


# -- streams


class RarelyStreams(_Stream):
    one_in: Mapping[str, int]

    def _hits(self, name: str) -> bool:
        return self._environment.rng.random() * self.one_in[name] < 1


class DropsRecords(RarelyStreams):
    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        if not self._hits("stream-drops"):
            super().changed(key, old, new)


class RepeatsRecords(RarelyStreams):
    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        super().changed(key, old, new)
        if self._hits("stream-repeats"):
            super().changed(key, old, new)


class SwapsRecords(RarelyStreams):
    late: dict[Key, tuple[Item | None, Item | None]]

    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        late = self.__dict__.setdefault("late", {})
        if key not in late and self._hits("stream-reorders"):
            late[key] = old, new  # it waits for the item's next change
            return
        super().changed(key, old, new)
        if key in late:
            super().changed(key, *late.pop(key))


class RecordsLosers(_Replica):
    def merge(self, key: Key, version: Version) -> None:
        super().merge(key, version)
        current = self.items[key]
        if current is not version:
            observers = self.watcher.observers if isinstance(self.watcher, Arranged) else [self.watcher]
            for stream in observers:
                if isinstance(stream, Stream):
                    stream.changed(key, current[2], version[2])
