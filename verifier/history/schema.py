"""What a recorded operation is: columns, kinds, outcomes and marks of one row of the history.

One row is one *attempt* of one request. Null means "not asked or not returned"; it differs from :data:`ABSENT` ("no
such item"), which differs from 0. All times are nanoseconds of the worker's monotonic clock.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

import pyarrow as pa

SCHEMA_VERSION: Final = 1
"""Version of the history's columns; a reader refuses any other."""

ABSENT: Final = -1
"""Reserved value of ``saw``, ``prev`` and ``expect``: the operation showed (or asked for) "no such item"."""

WORKER_SHIFT: Final = 48
"""An operation id is ``worker << WORKER_SHIFT | sequence``: unique in the run without coordination."""

MAX_WORKERS: Final = 1 << (63 - WORKER_SHIFT)

WRITER_ATTRIBUTE: Final = "_w"
"""Item attribute that names the attempt which wrote the item: its operation id."""

PREVIOUS_ATTRIBUTE: Final = "_p"
"""Item attribute with the ``_w`` that the item had before (:data:`ABSENT` where there was no item)."""

KEY_ATTRIBUTE: Final = "pk"
"""Partition key of every table that our own workloads create (a string)."""

VALUE_ATTRIBUTE: Final = "v"
"""Item attribute with the domain value (a number) in our own workloads."""

ELEMENTS_ATTRIBUTE: Final = "e"
"""Item attribute with a set (of numbers, or of texts that are numbers) in our own workloads."""

GROUP_ATTRIBUTE: Final = "g"
"""Item attribute by which the index of our own tables is partitioned (a string), sorted by :data:`VALUE_ATTRIBUTE`."""

EXPIRES_ATTRIBUTE: Final = "expires"
"""Item attribute with the time after which the store may delete the item (seconds since 1970), where that is on."""

EXPIRY: Final = "TimeToLive"
"""Error of a row of kind ``delete`` that nobody asked for: the store may carry it out once the item's time is over,
which ``value`` says (nanoseconds of the worker's monotonic clock). Its outcome is unknown."""

INDEX_NAME: Final = "by-value"
"""The index of tables whose workloads ask for one: items that have a group, by value."""


IN_FLIGHT: Final = "InFlight"
"""Error of an attempt that the worker did not wait for: its end says nothing about latency."""

ALREADY_APPLIED: Final = "AlreadyApplied"
"""``error`` of a further attempt that was refused because an earlier one of its intent stands: the condition was just
that. The intent is acknowledged by it, though no attempt of it was answered with success."""


class Outcome(IntEnum):
    """What is known of an attempt's effect."""

    OK = 0
    """It took effect and was answered."""
    FAIL = 1
    """It certainly did not take effect."""
    UNKNOWN = 2
    """It may have taken effect, at any time from its start on."""


class Kind(StrEnum):
    """What an operation does, as the checks see it."""

    READ = "read"
    READ_EVENTUAL = "read_eventual"
    WRITE = "write"
    ADD = "add"
    CAS = "cas"
    CREATE = "create"
    DELETE = "delete"
    TXN_WRITE = "txn_write"
    TXN_READ = "txn_read"
    SET_ADD = "set_add"
    SET_REMOVE = "set_remove"
    APPEND = "append"
    TAKE = "take"
    READ_INDEX = "read_index"


READS: Final = frozenset({Kind.READ, Kind.READ_EVENTUAL, Kind.TXN_READ, Kind.READ_INDEX})
UPDATES: Final = frozenset(Kind) - READS
TOGETHER: Final = frozenset({Kind.TXN_READ, Kind.TXN_WRITE, Kind.READ_INDEX})
"""Operations on several items at once, which must be judged together."""

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())

COLUMNS: Final = pa.schema(
    [
        # identity
        pa.field("op", pa.int64(), nullable=False),
        pa.field("intent", pa.int64(), nullable=False),
        pa.field("attempt", pa.int16(), nullable=False),
        pa.field("token", pa.int64()),
        pa.field("worker", pa.int16(), nullable=False),
        pa.field("process", pa.int32(), nullable=False),
        # what was asked, where
        pa.field("region", _DICTIONARY, nullable=False),
        pa.field("home_region", _DICTIONARY),
        pa.field("workload", _DICTIONARY, nullable=False),
        pa.field("kind", _DICTIONARY, nullable=False),
        pa.field("key_class", _DICTIONARY),
        pa.field("key", _DICTIONARY, nullable=False),
        pa.field("logical_key", _DICTIONARY),
        pa.field("value", pa.int64()),
        pa.field("expect", pa.int64()),
        # what came back
        pa.field("result", pa.int64()),
        pa.field("saw", pa.int64()),
        pa.field("prev", pa.int64()),
        pa.field("outcome", pa.int8(), nullable=False),
        pa.field("error", _DICTIONARY),
        pa.field("units", pa.float32()),
        # when
        pa.field("scheduled_ns", pa.int64(), nullable=False),
        pa.field("start_ns", pa.int64(), nullable=False),
        pa.field("end_ns", pa.int64(), nullable=False),
        # sets and lists
        pa.field("elements", pa.list_(pa.int64())),
        # whose
        pa.field("user_region", _DICTIONARY),
    ],
    metadata={b"lastwriter.schema": str(SCHEMA_VERSION).encode()},
)
"""Columns of the history, in order. A request on several items is several rows with one ``op``, of different keys.

==============  ======================================================================================
op              unique in the run; also the mark ``_w`` that a write leaves in its item
intent          what the user wanted: attempts of one intent share it; it is the op id of the first attempt
attempt         counts from 1 within the intent
token           ClientRequestToken, if one was sent (as int64)
worker          number of the Locust worker
process         one logical client, at most one operation in flight; unique in the run. After an unknown
                outcome the user goes on under a new process id
region          Region that was asked
home_region     Region that owns the key, where the pattern gives keys an owner
workload        name of the workload (file name of its locustfile)
kind            one of :class:`Kind`
key_class       ``hot``, ``normal`` or null
key             the item's key
logical_key     what the user counts, where a pattern spreads one counter over several items; null: the same as ``key``
value           domain value written (write, cas, create), delta (add), element (set_add, set_remove), number of the
                entry (append), how many (take); txn_write (no deletion: that is a delete): the delta where it adds,
                else the value, and then ``result`` has it too
expect          the writer (``_w``) that a condition asked for; :data:`ABSENT` = "only if there is no item"
result          domain value that came back (add: the new value; read: the value read; null if absent or not returned)
saw             writer of the state observed: ``_w`` read, or handed back by a failed condition; :data:`ABSENT` =
                no item; for a successful write that returned the item, its own op id
prev            writer of the state before ``saw``: the ``_p`` that came back with it (writes and reads)
outcome         :class:`Outcome`
error           AWS exception name (``HTTP503`` where there was none), or ``Timeout``, ``ConnectError``,
                ``CredentialsError``, ``ConnectionReset``, ``ShortReply``, ``BadReply``, ``BadChecksum``,
                :data:`IN_FLIGHT`, :data:`ALREADY_APPLIED`
units           consumed capacity units, where returned
scheduled_ns    when it should have been sent
start_ns        stamped before the first byte is queued
end_ns          stamped after the last byte is read; for ``unknown``: when the worker gave up (bounds nothing)
user_region     Region that the user lives in, where ``region`` is another one: by a route, a pattern, a retry or on
                purpose; null: the same. Files of before it existed have no such column
elements        all elements of the set that came back, in any order; files of before it existed have no such column
==============  ======================================================================================
"""

OPTIONAL: Final = frozenset({"elements", "user_region"})
"""Columns that files of this schema version may lack: they came later, and where they are missing they are null."""

# Custom metadata of the record batches of a worker's stream (history/*.arrow), and of the schema of a compacted file.
META_OP_LIMIT: Final = b"lastwriter.op_limit"
"""Highest operation id that the worker may have used so far; written before any id of that range is used."""
META_SINCE: Final = b"lastwriter.since_ns"
"""No attempt that has no row in this batch or an earlier one began before this time: the start of the oldest attempt in
flight when the batch was written, or the time of writing. After a crash the lost attempts began after the last one."""
META_CRC: Final = b"lastwriter.crc"
"""CRC-32 over the rows of a batch (see :func:`verifier.history.stream.batch_crc`)."""
META_LISTS_CRC: Final = b"lastwriter.lists_crc"
"""Of a compacted file that has lists: CRC-32 of them (see :class:`verifier.history.stream.ListsCrc`). A page's checksum
does not cover the page's header, from which a list's length follows."""
META_NULL: Final = b"lastwriter.null"
"""Of a compacted file: the columns that are null in every row, with commas between; nobody needs to decode them."""
META_END: Final = b"lastwriter.end"
"""End mark: the worker ended in order and every id it used has its row. The value is the number of rows written."""

REPLICA_COLUMNS: Final = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("value", pa.int64()),
        pa.field("w", pa.int64()),
        pa.field("p", pa.int64()),
        pa.field("item", pa.string(), nullable=False),
        pa.field("start_ns", pa.int64(), nullable=False),
        pa.field("end_ns", pa.int64(), nullable=False),
    ],
    metadata={b"lastwriter.schema": str(SCHEMA_VERSION).encode()},
)
"""Columns of ``initial/<region>.parquet`` and ``final/<region>.parquet``: every item of one replica, read strongly.

``value``, ``w`` and ``p`` are the attributes ``v``, ``_w`` and ``_p`` where the item has them as integers; ``item`` is
the whole item as DynamoDB JSON with sorted keys; ``start_ns``/``end_ns`` bracket the call that read it.
"""


STREAM_COLUMNS: Final = pa.schema(
    [
        pa.field("region", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("sequence", pa.string(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("old_w", pa.int64()),
        pa.field("new_w", pa.int64()),
        pa.field("created_ns", pa.int64(), nullable=False),
        pa.field("read_ns", pa.int64(), nullable=False),
    ],
    metadata={b"lastwriter.schema": str(SCHEMA_VERSION).encode()},
)
"""Columns of ``streams/*.parquet``: the records that one reader got of the Regions' streams, in the order in which it
got them. A file whose name begins with ``all`` was read after the load had settled, from the oldest record on; its
metadata (:data:`META_TRIMMED`) name the Regions whose streams no longer had their first records by then.

``event`` and ``sequence`` are the record's own; ``type`` is INSERT, MODIFY or REMOVE; ``old_w`` and ``new_w`` the marks
of its images (:data:`ABSENT`: no such image; null: an item without a mark); ``created_ns`` the wall clock's time since
1970 that the record says (whole seconds); ``read_ns`` the reader's monotonic clock.
"""

META_TRIMMED: Final = b"lastwriter.trimmed"
"""Metadata of ``streams/*.parquet``: the Regions, with commas between, whose oldest records were gone when it was read
(a stream keeps them for a day; the emulator so many of them)."""


def op_id(worker: int, sequence: int) -> int:
    """Operation id of a worker's ``sequence``-th operation."""
    return worker << WORKER_SHIFT | sequence


def worker_of(op: int) -> int:
    """Number of the worker that made an operation id."""
    return op >> WORKER_SHIFT


def short(op: int) -> str:
    """An operation id as people can read it: worker, colon, number."""
    return f"{worker_of(op)}:{op & ((1 << WORKER_SHIFT) - 1)}"
