"""The two ledgers as sums: what the parts of a history say of kept and lost writes adds up to what the run says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from verifier.checks.ledger import WORST_KEYS, Balance
from verifier.history.keys import key_order
from verifier.verdict import IntentLedger, KindLedger, Ledger, StoreLedger

_NO_WRITES = "no marked write in the run"


@dataclass(frozen=True, slots=True)
class Account:
    """Both ledgers of some keys; the fields are those of :class:`Balance`."""

    store: StoreLedger | None
    intent: IntentLedger | None
    judged: bool
    reason: str | None
    exact: bool
    open_lost: tuple[int, int]
    failed: bool = False
    """The ledger itself failed."""

    @classmethod
    def of(cls, balance: Balance) -> Account:
        """The sums of a balance."""
        return cls(
            balance.store,
            balance.intent,
            balance.judged,
            balance.reason,
            balance.exact,
            balance.open_lost,
            failed=balance.failed,
        )

    def ledger(self) -> Ledger:
        """Both ledgers as verdict.json has them."""
        return Ledger(store=self.store, intent=self.intent, exact=self.exact)


def account_of(parts: Sequence[Account], kinds: Sequence[str]) -> Account:
    """One account for several of different keys; ``kinds`` of update are listed in this order."""
    broken = next((part for part in parts if part.failed), None)
    if broken is not None:
        return replace(broken, store=None, intent=None, judged=False, exact=False, open_lost=(0, 0))
    writing = [part for part in parts if part.intent is not None]
    chosen = writing or list(parts)
    return Account(
        store=_store([part.store for part in parts if part.store is not None]),
        intent=_intent([part.intent for part in writing if part.intent is not None], kinds),
        judged=any(part.judged for part in chosen),
        reason=next((part.reason for part in chosen if part.reason), None),
        exact=all(part.exact for part in parts),
        open_lost=(sum(part.open_lost[0] for part in parts), sum(part.open_lost[1] for part in parts)),
    )


def _store(parts: Sequence[StoreLedger]) -> StoreLedger | None:
    if not parts:
        return None
    return StoreLedger(**{name: sum(getattr(part, name) for part in parts) for name in StoreLedger.model_fields})


def _intent(parts: Sequence[IntentLedger], kinds: Sequence[str]) -> IntentLedger | None:
    if not parts:
        return None

    def total(name: str) -> int:
        return sum(getattr(part, name) for part in parts)

    winners: dict[str, dict[str, int]] = {}
    by_kind: dict[str, list[KindLedger]] = {}
    by_key: dict[str, int] = {}
    for part in parts:
        for region, by in part.lost_by_winner.items():
            into = winners.setdefault(region, {})
            for winner, count in by.items():
                into[winner] = into.get(winner, 0) + count
        for kind, ledger in part.by_kind.items():
            by_kind.setdefault(kind, []).append(ledger)
        by_key |= part.lost_by_key
    worst = sorted(by_key, key=lambda key: (-by_key[key], key_order(key)))[:WORST_KEYS]
    return IntentLedger(
        acknowledged=total("acknowledged"),
        kept=total("kept"),
        lost=total("lost"),
        twice=total("twice"),
        unattributed=total("unattributed"),
        refused=total("refused"),
        unknown=total("unknown"),
        lost_by_region={region: sum(by.values()) for region, by in sorted(winners.items())},
        lost_by_winner={region: dict(sorted(by.items())) for region, by in sorted(winners.items())},
        lost_by_key={key: by_key[key] for key in worst},
        by_kind={kind: _kind(by_kind[kind]) for kind in sorted(by_kind, key=kinds.index)},
    )


def _kind(parts: Iterable[KindLedger]) -> KindLedger:
    listed = list(parts)
    return KindLedger(**{name: sum(getattr(part, name) for part in listed) for name in KindLedger.model_fields})
