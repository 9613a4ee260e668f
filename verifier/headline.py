"""The first line: whether the contract was kept, and what was lost."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.account import Account
from verifier.rundir import Mode
from verifier.verdict import ContractRow, IntentLedger, Judgement

_PLURALS = {
    "add": "increments",
    "write": "writes",
    "cas": "conditional writes",
    "create": "creations",
    "delete": "deletions",
    "txn_write": "transactional writes",
    "set_add": "additions",
    "set_remove": "removals",
    "append": "ledger entries",
    "take": "takings",
}


def headline(mode: Mode, contract: Sequence[ContractRow], verdict: Judgement, account: Account) -> str:
    """``MREC kept its contract (4 of 5 promises exercised) and lost 412 of 3,000 acknowledged increments (13.7 %)``."""
    promise, joint = _contract(mode, contract, verdict)
    return f"{promise}{joint}{_losses(account)}"


def _contract(mode: Mode, rows: Sequence[ContractRow], verdict: Judgement) -> tuple[str, str]:
    exercised = sum(1 for row in rows if row.exercised)
    share = f"{exercised} of {len(rows)} promises exercised"
    if verdict == "holds":
        return f"{mode} kept its contract ({share})", " and "
    if verdict == "violated":
        broken = [row for row in rows if row.verdict == "violated"]
        breaches = sum(row.violations for row in broken)
        return (
            f"{mode} BROKE its contract ({len(broken)} of {len(rows)} promises, {_count(breaches, 'finding')}: "
            f"{'; '.join(row.promise for row in broken)})"
        ), " and "
    if verdict == "possible":
        return f"{mode} may have broken its contract (or the clocks were off by more than is known; {share})", "; it "
    if not exercised:
        return f"{mode}'s contract was not put to the test (none of {len(rows)} promises exercised)", "; the run "
    return f"whether {mode} kept its contract is inconclusive ({share})", "; the run "


def _losses(account: Account) -> str:
    ledger = account.intent
    if ledger is None or not ledger.acknowledged:
        return "acknowledged no write that carries a mark"
    if not account.judged:
        return f"acknowledged {ledger.acknowledged:,} writes; what became of them cannot be told: {account.reason}"
    at_least = "" if account.exact else "at least "
    losing = {kind: part for kind, part in ledger.by_kind.items() if part.lost}
    if losing:
        parts = [
            f"{part.lost:,} of {part.acknowledged:,} acknowledged {_PLURALS.get(kind, kind)} "
            f"({share_text(part.lost, part.acknowledged)})"
            for kind, part in losing.items()
        ]
        text = f"lost {at_least}{' and '.join(parts)}"
    else:
        text = f"lost {'none known' if _open(ledger, account) else 'none'} of {_kinds(ledger)}"
    if _open(ledger, account):
        text += f" ({ledger.unattributed:,} of them may be kept or lost: the record does not show it)"
    return text


def share_text(part: int, whole: int) -> str:
    """``13.7 %``."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.2g} %" if 0 < percent < 1 else f"{percent:.3g} %"


def _open(ledger: IntentLedger, account: Account) -> bool:
    return ledger.unattributed > 0 and account.open_lost[1] > 0


def _kinds(ledger: IntentLedger) -> str:
    parts = [f"{part.acknowledged:,} acknowledged {_PLURALS.get(kind, kind)}" for kind, part in ledger.by_kind.items()]
    return " and ".join(parts)


def _count(number: int, of: str) -> str:
    return f"{number:,} {of}{'' if number == 1 else 's'}"
