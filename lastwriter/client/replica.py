"""Reads every item of one replica, strongly, with the times of the calls that read them. Needs no gevent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import orjson
import pyarrow as pa

from lastwriter.client.boto import BotoClient
from lastwriter.client.credentials import CredentialSource, credentials_at
from lastwriter.client.outcome import BAD_CHECKSUM, NOT_SENT
from lastwriter.client.protocol import Reply
from lastwriter.client.refusals import refused, unreachable
from lastwriter.errors import UserError
from verifier.answers import THROTTLED
from verifier.history.schema import (
    KEY_ATTRIBUTE,
    PREVIOUS_ATTRIBUTE,
    REPLICA_COLUMNS,
    VALUE_ATTRIBUTE,
    WRITER_ATTRIBUTE,
)

_DEADLINE_S: Final = 20.0
_PATIENCE_S: Final = 30.0
"""How long one page is asked for again and again."""
_CONNECT_PATIENCE_S: Final = 3.0
"""The same, where nothing listens."""
_FIRST_PAUSE_S: Final = 0.02
_INT64: Final = range(-(2**63) + 1, 2**63)  # the lowest value stands for null


def read_replica(
    endpoint: str,
    region: str,
    table: str,
    *,
    credentials: CredentialSource | None = None,
    index: str | None = None,
) -> pa.Table:
    """Every item of one replica, read strongly, with :data:`~verifier.history.schema.REPLICA_COLUMNS`, sorted by key.

    ``index``: what this index of the replica holds instead; an index read is eventual.

    A read changes nothing, so a page that fails is asked for again a few times. Raises UserError.
    """
    client = BotoClient(endpoint, region, credentials or credentials_at(endpoint), deadline_s=_DEADLINE_S)
    rows: list[tuple[str, int | None, int | None, int | None, str, int, int]] = []
    start: dict[str, Any] = {}
    try:
        while True:
            reply = _page(client, endpoint, region, table, start, index)
            for item in reply.body.get("Items", ()):
                rows.append(
                    (
                        _key(item),
                        _integer(item, VALUE_ATTRIBUTE),
                        _integer(item, WRITER_ATTRIBUTE),
                        _integer(item, PREVIOUS_ATTRIBUTE),
                        orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode(),
                        reply.start_ns,
                        reply.end_ns,
                    )
                )
            last = reply.body.get("LastEvaluatedKey")
            if not last:
                break
            start = {"ExclusiveStartKey": last}
    finally:
        client.close()
    rows.sort()
    columns = list(zip(*rows, strict=True)) or [()] * len(REPLICA_COLUMNS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, REPLICA_COLUMNS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=REPLICA_COLUMNS)


def _page(
    client: BotoClient, endpoint: str, region: str, table: str, start: dict[str, Any], index: str | None
) -> Reply:
    began, pause = time.monotonic(), _FIRST_PAUSE_S
    while True:
        whence = {"ConsistentRead": True} if index is None else {"IndexName": index}
        reply = client.request("Scan", {"TableName": table, **whence, **start})
        if reply.error is None:
            return reply
        worth_again = (
            reply.status >= 500 or reply.status == 0 or reply.error in THROTTLED or reply.error == BAD_CHECKSUM
        )
        patience_s = _CONNECT_PATIENCE_S if reply.error in NOT_SENT else _PATIENCE_S
        if not worth_again or time.monotonic() - began > patience_s:
            break
        time.sleep(pause)
        pause = min(pause * 2, 1.0)
    if reply.status == 0 or reply.error in NOT_SENT:
        raise UserError(unreachable(region, endpoint, reply.error))
    message = reply.body.get("message") or reply.body.get("Message") or f"HTTP {reply.status}"
    raise refused(region, "Scan", table, reply.error, str(message))


def _key(item: Mapping[str, Any]) -> str:
    """The item's key as the history has it."""
    key = item.get(KEY_ATTRIBUTE, {}).get("S")
    if not isinstance(key, str):
        raise UserError(f"an item has no partition key {KEY_ATTRIBUTE} (S); name a table that lastwriter made")
    return key


def _integer(item: Mapping[str, Any], attribute: str) -> int | None:
    text = item.get(attribute, {}).get("N")
    try:
        value = int(text)
    except (TypeError, ValueError):
        return None
    return value if value in _INT64 else None
