"""A core's whole state as records: what all records until now come to, for a log that is not to grow for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lastwriter.emulator.core.core import Core
from lastwriter.emulator.core.durable import described, packed
from lastwriter.emulator.core.members import Table
from lastwriter.emulator.core.mrec import MrecTable
from lastwriter.emulator.core.streams import Stream


def snapshot(core: Core, wall: float) -> Iterator[list[Any]]:
    """The records that :class:`~lastwriter.emulator.core.restoring.Restoring` makes the same core of. ``wall``: now."""
    epoch_s = wall - core.scheduler.now_ns / 1e9
    for table in core.control.tables:
        yield ["t", table.number, described(table, epoch_s)]
        yield from _of_mrec(table) if isinstance(table.engine, MrecTable) else _of_mrsc(table)
    for region, transactions in core.transactions.items():
        for token, digest, at_ns in transactions.known():
            yield ["k", region, token, digest.hex(), epoch_s + at_ns / 1e9]
    yield from core.control.backups.records()
    for stream in core.control.streams.all():  # last: what was put in place above are no changes
        yield ["s", stream.region, _stream(stream, epoch_s)]


def _of_mrec(table: Table) -> Iterator[list[Any]]:
    engine: Any = table.engine
    for region, replica in engine.replicas.items():
        for key, version in replica.items.items():
            yield ["i", engine.number, region, packed(key), *version]
        for replicator in replica.outgoing:
            for key, version in replicator.under_way():
                yield ["p", engine.number, region, replicator.target.region, packed(key), *version]


def _of_mrsc(table: Table) -> Iterator[list[Any]]:
    engine: Any = table.engine
    journal = engine.journal
    awaited = {region: set(journal.awaited(replica)) for region, replica in engine.replicas.items()}
    for entry, (number, _) in sorted(journal.entries.items(), key=lambda one: one[0].place):
        yield ["e", engine.number, number, entry.origin.region, packed(entry.key), entry.base, entry.item]
        if not entry.place and not entry.conflict:
            continue  # in doubt
        second = next((site for site in journal.others(entry.origin) if site.bit & entry.holders), entry.origin)
        yield ["c", engine.number, number, second.region, entry.place]
        for region in engine.replicas:
            if entry.place and entry not in awaited[region]:
                yield ["d", engine.number, number, region]
    for region, replica in engine.replicas.items():
        for key, (place, item) in replica.items.items():
            yield ["m", engine.number, region, packed(key), place, item]


def _stream(stream: Stream, epoch_s: float) -> dict[str, Any]:
    return {
        "arn": stream.arn,
        "label": stream.label,
        "created": stream.created,
        "closed": stream.closed_s,
        "view": stream.view_type,
        "table": stream.schema.name,
        "keys": [[key.name, key.type] for key in stream.schema.keys],
        "next": stream.next,
        "records": [[epoch_s + at_ns / 1e9, expired, old, new] for at_ns, expired, old, new in stream.kept()],
    }
