"""The one table of checks: what each is called, what it needs, what it stands for in each mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from verifier.checks import counter_sweep, explain, explain_items, explain_order
from verifier.checks.by_host import by_host
from verifier.checks.conditions import check_lost_update, check_unique
from verifier.checks.convergence import check_convergence
from verifier.checks.expiry import check_expiry
from verifier.checks.explain import Explainer
from verifier.checks.index import check_index
from verifier.checks.ledger import check_lost, check_twice
from verifier.checks.refusals import check_forks, check_refused
from verifier.checks.region_order import check_region_order
from verifier.checks.register import check_local_register, check_register
from verifier.checks.relay import check_relay
from verifier.checks.searched import (
    check_searched,
    check_searched_locally,
    search_counters,
    search_registers,
    with_search,
)
from verifier.checks.sequence import check_gapless
from verifier.checks.sessions import check_sessions
from verifier.checks.sets import check_sets
from verifier.checks.stock import check_stock
from verifier.checks.store import check_store
from verifier.checks.streams import check_streams
from verifier.checks.transactions import check_bank, check_long_fork, check_torn
from verifier.checks.types import Check
from verifier.rundir import Mode

Role = Literal["contract", "invariant"]
"""``contract``: the mode promises it, a breach is the store's bug. ``invariant``: the application needs it, a breach is
its choice of pattern meeting the mode."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check."""

    name: str
    statement: str
    """What holds if it finds nothing, as a sentence for people."""
    check: Check
    explain: Explainer
    needs: tuple[str, ...]
    """Columns of the history, or ``final``, ``faults``, without which it can judge nothing."""
    role: Mapping[Mode, Role] = field(default_factory=dict)
    """Modes in which it is run, and as what. In a mode that is left out it does not apply or follows from another."""


CHECKS: Final[tuple[CheckRow, ...]] = (
    CheckRow(
        "register",
        "strong reads and writes are linearizable, all Regions together",
        with_search(by_host(check_register, search_registers), by_host(check_searched, search_registers)),
        explain_order.order,
        ("saw",),
        {"MREC": "invariant", "MRSC": "contract"},
    ),
    CheckRow(
        "counter",
        "counters count every increment once, all Regions together",
        by_host(counter_sweep.check_counters, search_counters),
        counter_sweep.explain,
        ("result",),
        {"MREC": "invariant", "MRSC": "contract"},
    ),
    CheckRow(
        "local_register",
        "strong reads and writes are linearizable within each Region",
        with_search(by_host(check_local_register), by_host(check_searched_locally)),
        explain_order.order,
        ("saw",),
        {"MREC": "contract"},
    ),
    CheckRow(
        "region_order",
        "no Region goes back to an older write",
        check_region_order,
        explain_order.order,
        ("saw",),
        {"MREC": "contract"},
    ),
    CheckRow(
        "sessions",
        "no process is shown something older than what it has seen or written",
        check_sessions,
        explain_order.order,
        ("saw", "prev"),
        {"MREC": "invariant", "MRSC": "contract"},
    ),
    CheckRow(
        "lost",
        "no acknowledged write is lost",
        check_lost,
        explain.lost,
        ("saw", "prev", "final"),
        {"MREC": "invariant", "MRSC": "contract"},
    ),
    CheckRow(
        "store",
        "counters end where their increments say",
        check_store,
        explain.store,
        ("value", "final"),
        {"MREC": "invariant", "MRSC": "contract"},
    ),
    CheckRow(
        "convergence",
        "replicas become equal, on a last write",
        check_convergence,
        explain.convergence,
        ("saw", "final"),
        {"MREC": "contract", "MRSC": "contract"},
    ),
    CheckRow(
        "relay",
        "what was written behind a cut does not come through it",
        check_relay,
        explain.relay,
        ("saw", "prev", "faults"),
        {"MREC": "contract"},
    ),
    CheckRow(
        "refused",
        "a refused write wrote nothing",
        check_refused,
        explain.refused,
        ("saw",),
        {"MREC": "contract", "MRSC": "contract"},
    ),
    CheckRow(
        "forks",
        "no two writes succeed from one predecessor",
        check_forks,
        explain.forks,
        ("saw", "prev"),
        {"MRSC": "contract"},
    ),
    CheckRow(
        "lost_update",
        "no two conditional updates succeed on the same state",
        check_lost_update,
        explain_order.order,
        ("expect",),
        {"MREC": "invariant", "MRSC": "contract"},
    ),
    CheckRow(
        "unique",
        "no item is created twice",
        check_unique,
        explain_order.order,
        ("expect",),
        {"MREC": "invariant", "MRSC": "contract"},
    ),
    CheckRow(
        "twice",
        "no intent is applied twice",
        check_twice,
        explain.twice,
        ("intent", "attempt", "saw", "prev", "final"),
        {"MREC": "invariant", "MRSC": "invariant"},
    ),
    CheckRow(
        "torn",
        "no transaction is seen by half in its own Region",
        check_torn,
        explain_items.items,
        ("saw",),
        {"MREC": "contract"},
    ),
    CheckRow(
        "long_fork",
        "what a Region shows of several items at once can be put in one order",
        check_long_fork,
        explain_items.items,
        ("saw",),
        {"MREC": "contract"},
    ),
    CheckRow(
        "streams",
        "streams tell every change of their Region once, in order",
        check_streams,
        explain_items.items,
        ("saw", "streams"),
        {"MREC": "contract", "MRSC": "contract"},
    ),
    CheckRow(
        "index",
        "an index holds what its table holds, once settled",
        check_index,
        explain_items.items,
        ("saw", "final", "index"),
        {"MREC": "contract", "MRSC": "contract"},
    ),
    CheckRow(
        "bank",
        "amounts that only move between items always add up to the same",
        check_bank,
        explain_items.items,
        ("result", "logical_key"),
        {"MREC": "invariant"},
    ),
    CheckRow(
        "sets",
        "what was added to a set is there until it is removed, and no longer",
        check_sets,
        explain_items.items,
        ("elements",),
        {"MREC": "invariant", "MRSC": "contract"},
    ),
    CheckRow(
        "expiry",
        "no item is gone before its time",
        check_expiry,
        explain_items.items,
        ("value", "saw"),
        {"MREC": "invariant"},
    ),
    CheckRow(
        "gapless",
        "ledgers have every number once, in order of time",
        check_gapless,
        explain_items.items,
        ("value", "logical_key", "final"),
        {"MREC": "invariant", "MRSC": "invariant"},
    ),
    CheckRow(
        "stock",
        "nothing is taken that is not there",
        check_stock,
        explain_items.items,
        ("value", "result", "final"),
        {"MREC": "invariant", "MRSC": "invariant"},
    ),
)
"""In the order in which they are run and printed."""

CHECK: Final[Mapping[str, CheckRow]] = {row.name: row for row in CHECKS}
"""By name."""
