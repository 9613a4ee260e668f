"""Planted bugs: ways for a store to break its promises, so that whoever checks it can be checked.

Each bug is a few overridden methods of the engines (:mod:`lastwriter.emulator.core.planted`). Without bugs the engines
are used as they are; with some, classes are put together from them (:func:`engines`). So a bug costs nothing when it is
off, and no engine knows of any.

:data:`BUGS` says of each what it does, in which mode, what has to happen for it to show, and which check finds it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastwriter.emulator.core import planted
from lastwriter.emulator.core.durable import (
    DurableJournal,
    DurableMrec,
    DurableMrsc,
    DurableReplica,
    DurableReplicator,
)
from lastwriter.emulator.core.journal import Journal
from lastwriter.emulator.core.mrec import MrecReplica, MrecTable, Replicator
from lastwriter.emulator.core.mrsc import MrscTable
from lastwriter.emulator.core.streams import Stream
from lastwriter.emulator.core.transacting import Transactions
from lastwriter.errors import UserError

ONE_IN: Final = 100
"""How many writes there are to one that goes wrong, where a bug does not hit them all (``--bug lost-write=20``)."""
FORGETS_NS: Final = 500_000_000
"""How long ``restart-forgets`` waits before it writes anything down."""


@dataclass(frozen=True)
class Engines:
    """What tables run on."""

    mrec: type[MrecTable] = MrecTable
    mrsc: type[MrscTable] = MrscTable
    stream: type[Stream] = Stream
    transactions: type[Transactions] = Transactions


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
    transactions: tuple[type, ...] = ()
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
    found = [BUG[name] for name in bugs]
    if durable:  # outermost: what a bug does is recorded as it happened
        found.insert(0, _RECORDING)

    def mixed(parts: Callable[[Bug], tuple[type, ...]], base: type, **more: Any) -> Any:
        return type("Planted" + base.__name__, (*(part for bug in found for part in parts(bug)), base), more)

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
        transactions=mixed(lambda bug: bug.transactions, Transactions, **one_in),
    )


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
        mrsc=(planted.EarlyAck,),
    ),
    Bug(
        "read-without-heartbeat",
        "MRSC",
        "a strong read is answered from the local copy",
        "an item is read in one Region soon after it was written in another",
        "register",
        mrsc=(planted.ReadAtOnce,),
    ),
    Bug(
        "isolated-read",
        "MRSC",
        "a Region that reaches no other answers strong reads, until it has caught up",
        "a Region is isolated while the others write",
        "register",
        mrsc=(planted.ReadWhereCutOff,),
    ),
    Bug(
        "early-recovery",
        "MRSC",
        "a Region that reaches another again answers strong reads before it has caught up",
        "a Region is isolated while the others write, and read as soon as it is back",
        "register",
        mrsc=(planted.ReadWhileCatchingUp,),
    ),
    Bug(
        "stale-condition",
        "MRSC",
        "a condition that fails on the local copy is answered at once, with the item there",
        "conditions on an item that is being written in other Regions, and that hand the item back",
        "register",
        mrsc=(planted.JudgeOnce,),
    ),
    Bug(
        "early-heartbeat",
        "MRSC",
        "a heartbeat is served before what precedes it is applied",
        "entries are late on their way: links with jitter",
        "register",
        journal=(planted.HeartbeatOvertakes,),
    ),
    Bug(
        "two-winners",
        "MRSC",
        "an entry is applied without the test whether its base is still in place",
        "two Regions write one item at once",
        "forks",
        journal=(planted.NoBaseTest,),
    ),
    Bug(
        "conflict-applied",
        "MRSC",
        "a write that is answered with ReplicatedWriteConflictException took effect",
        "two Regions write one item at once",
        "refused",
        journal=(planted.ConflictTakesEffect,),
    ),
    Bug(
        "relay",
        "MREC",
        "a Region passes on what it got from another",
        "a link is cut while both its ends are used",
        "relay",
        replica=(planted.Relay,),
    ),
    Bug(
        "reordered",
        "MREC",
        "changes of an item arrive in any order and apply without the test of their times",
        "one Region writes an item several times within a replicator's delay, another reads it",
        "region_order",
        replicator=(planted.AnyOrder,),
        replica=(planted.LastToArriveWins,),
    ),
    Bug(
        "late-wins",
        "MREC",
        "what arrives from elsewhere overwrites what is newer",
        "two Regions write an item within a replicator's delay",
        "convergence",
        replica=(planted.LastToArriveWins,),
    ),
    Bug(
        "own-ties-win",
        "MREC",
        "of two writes within a millisecond, each Region keeps its own",
        "two Regions write an item within a millisecond, and nobody after them",
        "convergence",
        replica=(planted.OwnTiesWin,),
    ),
    Bug(
        "stuck-item",
        "MREC",
        "the second replica never takes changes of the first item that is replicated to it",
        "any load",
        "convergence",
        mrec=(planted.SecondReplicaIsDeaf,),
        replica=(planted.DeafToOneItem,),
    ),
    Bug(
        "tombstone-forgotten",
        "MREC",
        "a deletion leaves nothing that an older write could lose to",
        "items are deleted in one Region while another writes them",
        "convergence",
        mrec=(planted.DeletesWithoutTombstone,),
        replica=(planted.KeepsNoTombstone,),
    ),
    Bug(
        "torn-transaction",
        "MREC",
        "the items of a transaction change one after the other",
        "items that are written in transactions are read in transactions, in the same Region",
        "torn",
        transactions=(planted.StoresOneByOne,),
    ),
    Bug(
        "token-forgotten",
        "MREC",
        "a transaction under a request token is carried out each time that it arrives",
        "replies are lost, and what got none is sent again under its token",
        "store",
        transactions=(planted.ForgetsTokens,),
    ),
    Bug(
        "refused-applied",
        "both",
        "a write is throttled, a transaction cancelled, although it took effect",
        "any load of writes",
        "refused",
        mrec=(planted.WritesAndRefuses,),
        mrsc=(planted.WritesAndRefuses,),
        transactions=(planted.CarriesOutAndCancels,),
        rare=True,
    ),
    Bug(
        "restart-forgets",
        "both",
        "with --data: what is acknowledged is written down up to half a second later",
        "the emulator is killed under load and started again",
        "store",
    ),
    Bug(
        "lost-write",
        "both",
        "a write is answered and has no effect",
        "any load of increments; under MREC from one Region an item",
        "store",
        mrec=(planted.LosesWrites,),
        mrsc=(planted.LosesWrites,),
        rare=True,
    ),
    Bug(
        "applied-twice",
        "both",
        "an update is applied twice, its reply shows it once",
        "any load of increments; under MREC from one Region an item",
        "store",
        mrec=(planted.WritesTwice,),
        mrsc=(planted.WritesTwice,),
        rare=True,
    ),
    Bug(
        "stream-drops",
        "both",
        "a change leaves no record in its Region's stream",
        "streams are read",
        "streams",
        stream=(planted.DropsRecords,),
        rare=True,
    ),
    Bug(
        "stream-repeats",
        "both",
        "a change is in its Region's stream twice",
        "streams are read",
        "streams",
        stream=(planted.RepeatsRecords,),
        rare=True,
    ),
    Bug(
        "stream-reorders",
        "both",
        "two changes of an item are in the stream the wrong way round",
        "streams are read of items that change more than once",
        "streams",
        stream=(planted.SwapsRecords,),
        rare=True,
    ),
    Bug(
        "stream-losers",
        "MREC",
        "a replicated write that is dropped leaves a record in the stream",
        "two Regions write an item within a replicator's delay, and streams are read",
        "streams",
        replica=(planted.RecordsLosers,),
    ),
)
"""In the order in which they are documented."""

BUG: Final = {bug.name: bug for bug in BUGS}
"""By name."""
