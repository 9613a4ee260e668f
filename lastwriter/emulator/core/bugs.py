"""Planted bugs: ways for a store to break its promises, so that whoever checks it can be checked.

Each bug is a few overridden methods of the engines. Without bugs the engines are used as they are; with some, classes
are put together from them (:func:`engines`). So a bug costs nothing when it is off, and no engine knows of any.

:data:`BUGS` says of each what it does, in which mode, what has to happen for it to show, and which check finds it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lastwriter.emulator.core.arranged import Arranged
from lastwriter.emulator.core.durable import (
    DurableJournal,
    DurableMrec,
    DurableMrsc,
    DurableReplica,
    DurableReplicator,
)
from lastwriter.emulator.core.environment import Handle
from lastwriter.emulator.core.journal import Entry, Journal, Site
from lastwriter.emulator.core.mrec import MrecReplica, MrecTable, Replicator, Version
from lastwriter.emulator.core.mrsc import MrscReplica, MrscTable, Operation
from lastwriter.emulator.core.streams import Stream
from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.requests.operations import Item, Key, Write
from lastwriter.errors import UserError

ONE_IN: Final = 100
"""How many writes there are to one that goes wrong, where a bug does not hit them all (``--bug lost-write=20``)."""
_TIE_NS: Final = 1_000_000
FORGETS_NS: Final = 500_000_000
"""How long ``restart-forgets`` waits before it writes anything down."""

if TYPE_CHECKING:  # what the parts below are mixed into
    from lastwriter.emulator.core.journal import Journal as _Journal
    from lastwriter.emulator.core.mrec import MrecReplica as _Replica
    from lastwriter.emulator.core.mrec import MrecTable as _MrecTable
    from lastwriter.emulator.core.mrec import Replicator as _Replicator
    from lastwriter.emulator.core.mrsc import MrscTable as _MrscTable
    from lastwriter.emulator.core.streams import Stream as _Stream
else:
    _MrecTable = _MrscTable = _Journal = _Replica = _Replicator = _Stream = object


@dataclass(frozen=True)
class Engines:
    """What tables run on."""

    mrec: type[MrecTable] = MrecTable
    mrsc: type[MrscTable] = MrscTable
    stream: type[Stream] = Stream


@dataclass(frozen=True)
class Bug:
    """One planted bug."""

    name: str
    mode: str
    """MREC, MRSC, or both."""
    does: str
    shows: str
    """What has to happen for it to be seen."""
    check: str
    """Name of the check that finds it."""
    mrec: tuple[type, ...] = ()
    mrsc: tuple[type, ...] = ()
    journal: tuple[type, ...] = ()
    replica: tuple[type, ...] = ()
    replicator: tuple[type, ...] = ()
    stream: tuple[type, ...] = ()
    rare: bool = False
    """It hits one write in :data:`ONE_IN`."""


def parse_bugs(texts: Iterable[str]) -> dict[str, int]:
    """``name`` or ``name=N`` → name → one in how many; UserError with the nearest right name."""
    found = {}
    for text in texts:
        name, equals, number = text.partition("=")
        bug = BUG.get(name)
        if bug is None:
            near = difflib.get_close_matches(name, BUG, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(BUG)}"
            raise UserError(f"--bug {text}: no such bug: {hint}")
        if equals and not (bug.rare and number.isdecimal() and int(number)):
            what = "write it as in =100, one in so many writes" if bug.rare else "it takes no number"
            raise UserError(f"--bug {text}: {what}")
        found[name] = int(number) if equals else ONE_IN
    return found


def engines(bugs: Mapping[str, int], durable: bool = False) -> Engines:
    """Engines with these bugs, and, if they are to be ``durable``, with the recording of what they do."""
    if not bugs and not durable:
        return Engines()
    planted = [BUG[name] for name in bugs]
    if durable:  # outermost: what a bug does is recorded as it happened
        planted.insert(0, _RECORDING)

    def mixed(parts: Callable[[Bug], tuple[type, ...]], base: type, **more: Any) -> Any:
        return type("Planted" + base.__name__, (*(part for bug in planted for part in parts(bug)), base), more)

    one_in = {"one_in": bugs}
    return Engines(
        mrec=mixed(
            lambda bug: bug.mrec,
            MrecTable,
            replica_class=mixed(lambda bug: bug.replica, MrecReplica),
            replicator_class=mixed(lambda bug: bug.replicator, Replicator),
            **one_in,
        ),
        mrsc=mixed(lambda bug: bug.mrsc, MrscTable, journal_class=mixed(lambda bug: bug.journal, Journal), **one_in),
        stream=mixed(lambda bug: bug.stream, Stream, **one_in),
    )


# -- MRSC


class _EarlyAck(_MrscTable):
    def _judge(self, replica: MrscReplica, operation: Operation, current: bool) -> None:
        super()._judge(replica, operation, current)
        entry = operation.entry
        if entry is not None and entry.writes and not operation.answered:
            operation.answered = True
            reply = operation.request.reply(operation.old, operation.new)
            self._environment.answer(operation.handle, reply)


class _ReadAtOnce(_MrscTable):
    def read(self, replica: MrscReplica, look: Callable[[], dict[str, Any]], strong: bool, handle: Handle) -> None:
        super().read(replica, look, False, handle)


class _ReadWhereCutOff(_MrscTable):
    def read(self, replica: MrscReplica, look: Callable[[], dict[str, Any]], strong: bool, handle: Handle) -> None:
        super().read(replica, look, strong and self.caught_up(replica.region), handle)


class _JudgeOnce(_MrscTable):
    def _judge(self, replica: MrscReplica, operation: Operation, current: bool) -> None:
        super()._judge(replica, operation, True)


class _HeartbeatOvertakes(_Journal):
    def _offer(self, site: Site, entry: Entry) -> None:
        path = None if entry.writes else self._path_home(entry, site)
        if path is None:
            super()._offer(site, entry)
        else:
            self._scheduler.at(self._scheduler.now_ns + path[0], self._apply, site, entry)


class _NoBaseTest(_Journal):
    def _commit(self, entry: Entry, second: Site) -> None:
        if entry.writes:
            entry.base = self._heads.get(entry.key, 0)
        super()._commit(entry, second)


class _ConflictTakesEffect(_Journal):
    def _commit(self, entry: Entry, second: Site) -> None:
        if entry.writes and self._heads.get(entry.key, 0) != entry.base:
            entry.base = self._heads.get(entry.key, 0)
            entry.conflict = True
        super()._commit(entry, second)


# -- MREC


class _Relay(_Replica):
    def merge(self, key: Key, version: Version) -> None:
        before = self.items.get(key)
        super().merge(key, version)
        if before is not version and self.items[key] is version:
            for replicator in self.outgoing:
                if replicator.target.region != version[1]:
                    replicator.send(key, version)


class _LastToArriveWins(_Replica):
    def merge(self, key: Key, version: Version) -> None:
        if key in self.items:
            old = self.items[key]
            self.items[key] = (-1, "", old[2])  # older than anything
        super().merge(key, version)


class _AnyOrder(_Replicator):
    def _arrive(self, key: Key) -> None:
        pending = self._pending[key]
        if not self.link.breaks and len(pending) > 2:
            chosen = 1 + int(self._environment.rng.random() * (len(pending) - 1))
            pending[1], pending[chosen] = pending[chosen], pending[1]
        super()._arrive(key)


class _OwnTiesWin(_Replica):
    def merge(self, key: Key, version: Version) -> None:
        current = self.items.get(key)
        tie = current is not None and current[0] // _TIE_NS == version[0] // _TIE_NS
        if current is None or not tie or current[1] != self.region:
            super().merge(key, version)


class _DeafToOneItem(_Replica):
    deaf = False
    deaf_to: Key = None

    def merge(self, key: Key, version: Version) -> None:
        if self.deaf and self.deaf_to is None:
            self.deaf_to = key
        if not self.deaf or key != self.deaf_to:
            super().merge(key, version)


class _SecondReplicaIsDeaf(_MrecTable):
    def add(self, region: str) -> MrecReplica:
        replica = super().add(region)
        if len(self.replicas) == 2:
            replica.deaf = True  # type: ignore[attr-defined]
        return replica


# -- both


class _Unlike:
    """A write whose effect is not what its reply says."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.key = write.key
        self.has_condition = write.has_condition

    def evaluate(self, current: Item | None) -> Item | None:
        raise NotImplementedError

    def reply(self, old: Item | None, new: Item | None) -> dict[str, Any]:
        return self._write.reply(old, self._write.evaluate(old))


class _Nothing(_Unlike):
    def evaluate(self, current: Item | None) -> Item | None:
        self._write.evaluate(current)  # what is refused is refused
        return current


class _Twice(_Unlike):
    def evaluate(self, current: Item | None) -> Item | None:
        once = self._write.evaluate(current)
        try:
            return self._write.evaluate(once)
        except ApiError:
            return once


class _Rarely(_MrecTable):
    one_in: Mapping[str, int]

    def _hits(self, name: str) -> bool:
        return self._environment.rng.random() * self.one_in[name] < 1


class _LosesWrites(_Rarely):
    def write(self, replica: Any, write: Write, handle: Handle) -> None:
        super().write(replica, _Nothing(write) if self._hits("lost-write") else write, handle)


class _WritesTwice(_Rarely):
    def write(self, replica: Any, write: Write, handle: Handle) -> None:
        super().write(replica, _Twice(write) if self._hits("applied-twice") else write, handle)


# -- streams


class _RarelyStreams(_Stream):
    one_in: Mapping[str, int]

    def _hits(self, name: str) -> bool:
        return self._environment.rng.random() * self.one_in[name] < 1


class _DropsRecords(_RarelyStreams):
    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        if not self._hits("stream-drops"):
            super().changed(key, old, new)


class _RepeatsRecords(_RarelyStreams):
    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        super().changed(key, old, new)
        if self._hits("stream-repeats"):
            super().changed(key, old, new)


class _SwapsRecords(_RarelyStreams):
    late: dict[Key, tuple[Item | None, Item | None]]

    def changed(self, key: Key, old: Item | None, new: Item | None) -> None:
        late = self.__dict__.setdefault("late", {})
        if key not in late and self._hits("stream-reorders"):
            late[key] = old, new  # it waits for the item's next change
            return
        super().changed(key, old, new)
        if key in late:
            super().changed(key, *late.pop(key))


class _RecordsLosers(_Replica):
    def merge(self, key: Key, version: Version) -> None:
        super().merge(key, version)
        current = self.items[key]
        if current is not version:
            observers = self.watcher.observers if isinstance(self.watcher, Arranged) else [self.watcher]
            for stream in observers:
                if isinstance(stream, Stream):
                    stream.changed(key, current[2], version[2])


_RECORDING: Final = Bug(
    "", "both", "", "", "",
    mrec=(DurableMrec,), mrsc=(DurableMrsc,), journal=(DurableJournal,), replica=(DurableReplica,),
    replicator=(DurableReplicator,),
)  # fmt: skip
"""No bug, but mixed in like one."""

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "early-ack",
        "MRSC",
        "a write is answered before a second Region holds it",
        "the Region is cut off while it is written to",
        "register",
        mrsc=(_EarlyAck,),
    ),
    Bug(
        "read-without-heartbeat",
        "MRSC",
        "a strong read is answered from the local copy",
        "an item is read in one Region soon after it was written in another",
        "register",
        mrsc=(_ReadAtOnce,),
    ),
    Bug(
        "isolated-read",
        "MRSC",
        "a Region that reaches no other answers strong reads, until it has caught up",
        "a Region is isolated while the others write",
        "register",
        mrsc=(_ReadWhereCutOff,),
    ),
    Bug(
        "stale-condition",
        "MRSC",
        "a condition that fails on the local copy is answered at once, with the item there",
        "conditions on an item that is being written in other Regions, and that hand the item back",
        "register",
        mrsc=(_JudgeOnce,),
    ),
    Bug(
        "early-heartbeat",
        "MRSC",
        "a heartbeat is served before what precedes it is applied",
        "entries are late on their way: links with jitter",
        "register",
        journal=(_HeartbeatOvertakes,),
    ),
    Bug(
        "two-winners",
        "MRSC",
        "an entry is applied without the test whether its base is still in place",
        "two Regions write one item at once",
        "forks",
        journal=(_NoBaseTest,),
    ),
    Bug(
        "conflict-applied",
        "MRSC",
        "a write that is answered with ReplicatedWriteConflictException took effect",
        "two Regions write one item at once",
        "refused",
        journal=(_ConflictTakesEffect,),
    ),
    Bug(
        "relay",
        "MREC",
        "a Region passes on what it got from another",
        "a link is cut while both its ends are used",
        "relay",
        replica=(_Relay,),
    ),
    Bug(
        "reordered",
        "MREC",
        "changes of an item arrive in any order and apply without the test of their times",
        "one Region writes an item several times within a replicator's delay, another reads it",
        "region_order",
        replicator=(_AnyOrder,),
        replica=(_LastToArriveWins,),
    ),
    Bug(
        "late-wins",
        "MREC",
        "what arrives from elsewhere overwrites what is newer",
        "two Regions write an item within a replicator's delay",
        "convergence",
        replica=(_LastToArriveWins,),
    ),
    Bug(
        "own-ties-win",
        "MREC",
        "of two writes within a millisecond, each Region keeps its own",
        "two Regions write an item within a millisecond, and nobody after them",
        "convergence",
        replica=(_OwnTiesWin,),
    ),
    Bug(
        "stuck-item",
        "MREC",
        "the second replica never takes changes of the first item that is replicated to it",
        "any load",
        "convergence",
        mrec=(_SecondReplicaIsDeaf,),
        replica=(_DeafToOneItem,),
    ),
    Bug(
        "lost-write",
        "both",
        "a write is answered and has no effect",
        "any load of increments; under MREC from one Region an item",
        "store",
        mrec=(_LosesWrites,),
        mrsc=(_LosesWrites,),
        rare=True,
    ),
    Bug(
        "applied-twice",
        "both",
        "an update is applied twice, its reply shows it once",
        "any load of increments; under MREC from one Region an item",
        "store",
        mrec=(_WritesTwice,),
        mrsc=(_WritesTwice,),
        rare=True,
    ),
    Bug(
        "stream-drops",
        "both",
        "a change leaves no record in its Region's stream",
        "streams are read",
        "streams",
        stream=(_DropsRecords,),
        rare=True,
    ),
    Bug(
        "stream-repeats",
        "both",
        "a change is in its Region's stream twice",
        "streams are read",
        "streams",
        stream=(_RepeatsRecords,),
        rare=True,
    ),
    Bug(
        "stream-reorders",
        "both",
        "two changes of an item are in the stream the wrong way round",
        "streams are read of items that change more than once",
        "streams",
        stream=(_SwapsRecords,),
        rare=True,
    ),
    Bug(
        "stream-losers",
        "MREC",
        "a replicated write that is dropped leaves a record in the stream",
        "two Regions write an item within a replicator's delay, and streams are read",
        "streams",
        replica=(_RecordsLosers,),
    ),
)
"""In the order in which they are documented."""

BUG: Final = {bug.name: bug for bug in BUGS}
"""By name."""
