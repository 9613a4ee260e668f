"""What is known of a whole run once every part of its keys has been judged: what verdicts and metrics are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from verifier.account import Account
from verifier.checks.types import Context, Result
from verifier.history.columns import LostRange
from verifier.verdict import ContractRow


@dataclass(frozen=True, slots=True)
class Whole:
    """All parts together."""

    context: Context
    """Of the run; replicas only where everything was judged in one part."""
    results: Mapping[str, Result]
    """By check: verdict, operations judged, number of findings and what was left out; no findings."""
    contract: tuple[ContractRow, ...]
    account: Account
    lost: tuple[LostRange, ...]
    """Operations that may be missing from the record."""
    marked_seconds: list[int]
    """Seconds from t0 in which a client itself was slow."""
