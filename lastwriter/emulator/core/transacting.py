"""Transactions at work in one Region: atomic there, on one-Region tables and MREC replicas.

Rules
-----
1. A transaction holds its items for ``transaction_time``; then it is judged and takes effect, all at once. Meanwhile
   other writes of these items are refused with TransactionConflictException, other transactions are cancelled.
2. Its items replicate like any: each by itself, with a delay of its own. Elsewhere a transaction can be seen torn.
3. A replicated change applies to an item that is held too: the transaction is judged by what is there at its end.
4. The same request token within ten minutes of success: nothing is done again, and the reply is a success. Another
   content under that token is refused. A transaction that was cancelled leaves its token free.
5. Tables with multi-Region strong consistency take no transactions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from lastwriter.emulator.core.environment import Environment, Handle
from lastwriter.emulator.core.members import Serving
from lastwriter.emulator.core.metered import metered_get, metered_write
from lastwriter.emulator.requests.errors import ApiError, table_not_found, validation
from lastwriter.emulator.requests.keys import Key
from lastwriter.emulator.requests.operations import Get
from lastwriter.emulator.requests.schema import TableSchema
from lastwriter.emulator.requests.transactions import Action, TransactGet, TransactWrite, each, refuse_conflicts
from lastwriter.emulator.requests.values import Item

TOKEN_NS: Final = 600 * 10**9
"""How long a request token is known after its transaction."""

Place = tuple[Serving, Key]


class Transactions:
    """Of one Region. ``serving``: its tables; ``wall``: seconds since 1970."""

    def __init__(
        self, environment: Environment, region: str, serving: dict[str, Serving], wall: Callable[[], float]
    ) -> None:
        self._environment = environment
        self._region = region
        self._wall = wall
        self._serving = serving
        self._done: dict[str, bytes] = {}  # token → digest of what was done under it
        self._running: dict[str, bytes] = {}
        self._expiring: deque[tuple[int, str]] = deque()

    def write(self, request: dict[str, Any], handle: Handle) -> None:
        """TransactWriteItems."""
        transaction = TransactWrite(request, self._schema)
        places = [(self._serving[action.table], action.write.key) for action in transaction.actions]
        environment = self._environment
        if self._repeats(transaction):
            environment.answer(handle, transaction.repeated(_look(places)))
            return
        refuse_conflicts(_locked(places))
        if any(table.store.meter is not None for table, _ in places):
            transaction.actions = each(self._let_in, transaction.actions)
        hold_ns = environment.transaction_ns
        if not hold_ns:
            environment.answer(handle, self._carry_out(transaction, places))
            return
        for table, key in places:
            table.store.locked.add(key)
        if transaction.token is not None:
            self._running[transaction.token] = transaction.digest
        scheduler = environment.scheduler
        scheduler.at(scheduler.now_ns + hold_ns, self._finish, transaction, places, handle)

    def get(self, request: dict[str, Any], handle: Handle) -> None:
        """TransactGetItems."""
        transaction = TransactGet(request, self._schema)
        places = [(self._serving[table], get.key) for table, get in transaction.gets]
        refuse_conflicts(_locked(places))
        if any(table.store.meter is not None for table, _ in places):
            transaction.gets = each(self._let_read, transaction.gets)
        self._environment.answer(handle, transaction.reply(_look(places)))

    def _finish(self, transaction: TransactWrite, places: list[Place], handle: Handle) -> None:
        for table, key in places:
            table.store.locked.discard(key)
        if transaction.token is not None:
            self._running.pop(transaction.token, None)
        try:
            self._environment.answer(handle, self._carry_out(transaction, places))
        except ApiError as error:
            self._environment.refuse(handle, error)

    def _carry_out(self, transaction: TransactWrite, places: list[Place]) -> dict[str, Any]:
        changes = transaction.evaluate(_look(places))
        for (table, key), (old, new), action in zip(places, changes, transaction.actions, strict=True):
            if not action.checks_only:
                self._store(table, key, old, new)
        if transaction.token is not None:
            self.remember(transaction.token, transaction.digest, self._environment.scheduler.now_ns)
            if self._environment.records is not None:
                self._environment.records.append(
                    ["k", self._region, transaction.token, transaction.digest.hex(), self._wall()]
                )
        return transaction.reply(changes)

    def _store(self, table: Serving, key: Key, old: Item | None, new: Item | None) -> None:
        table.engine.store(table.store, key, table.store.items.get(key), old, new)

    def remember(self, token: str, digest: bytes, now_ns: int) -> None:
        """A transaction was carried out under that token."""
        self._done[token] = digest
        self._expiring.append((now_ns + TOKEN_NS, token))

    def known(self) -> list[tuple[str, bytes, int]]:
        """Every token of the last ten minutes, its digest, and when it was used."""
        return [(token, self._done[token], at_ns - TOKEN_NS) for at_ns, token in self._expiring if token in self._done]

    def _let_in(self, action: Action) -> Action:
        """A transaction costs twice as much as its actions."""
        table = self._serving[action.table]
        return replace(action, write=metered_write(table, action.write, 2)) if table.store.meter is not None else action

    def _let_read(self, one: tuple[str, Get]) -> tuple[str, Get]:
        table = self._serving[one[0]]
        return (one[0], metered_get(table, one[1], 2)) if table.store.meter is not None else one

    def _repeats(self, transaction: TransactWrite) -> bool:
        now_ns = self._environment.scheduler.now_ns
        while self._expiring and self._expiring[0][0] <= now_ns:
            self._done.pop(self._expiring.popleft()[1], None)
        token = transaction.token
        if token is None:
            return False
        digest = self._done.get(token) or self._running.get(token)
        if digest is not None and digest != transaction.digest:
            raise ApiError(
                "IdempotentParameterMismatchException",
                "DynamoDB rejected the request because you retried a request with a different payload but with an "
                "idempotent token that was already used.",
            )
        if token in self._running:
            raise ApiError(
                "TransactionInProgressException",
                "The transaction with the given request token is already in progress",
            )
        return digest is not None

    def _schema(self, name: str) -> TableSchema:
        table = self._serving.get(name)
        if table is None:
            raise table_not_found()
        if table.engine.mode == "MRSC":
            raise validation(
                "Transaction operations are not supported for global tables with MultiRegionConsistency set to STRONG."
            )
        return table.schema


def _look(places: list[Place]) -> list[Item | None]:
    versions = [table.store.items.get(key) for table, key in places]
    return [version[-1] if version is not None else None for version in versions]


def _locked(places: list[Place]) -> list[bool]:
    return [key in table.store.locked for table, key in places]
