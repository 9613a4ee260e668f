"""The faults of a run: what was broken when, what that lost, and how long users went without answers."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.checks.types import Context
from verifier.rpo import Losses, rpo_rows
from verifier.rto import rto_rows
from verifier.rundir import FaultRecord
from verifier.tally import Tally, added
from verifier.verdict import FaultRow, Rpo, Rto
from verifier.windows import t0_of


def fault_rows(context: Context, windows: Tally, losses: Sequence[Losses]) -> list[FaultRow]:
    """One row a fault; ``windows`` and ``losses`` are what the parts counted (:mod:`verifier.rto`, ``rpo``)."""
    rto = rto_rows(windows, context)
    rpo = rpo_rows(added(one.tally for one in losses), losses, context)
    t0 = t0_of(context)
    return [_row(fault, t0, rpo.get(fault.id, []), rto.get(fault.id, [])) for fault in context.faults]


def _row(fault: FaultRecord, t0: int, rpo: list[Rpo], rto: list[Rto]) -> FaultRow:
    def since(at_ns: int | None) -> int | None:
        return None if at_ns is None else at_ns - t0

    regions = list(dict.fromkeys([*fault.regions, *(region for link in fault.links for region in link)]))
    return FaultRow(
        id=fault.id,
        kind=fault.kind,
        what=_what(fault),
        regions=regions,
        asked_ns=fault.asked_ns - t0,
        onset_ns=since(fault.onset_ns),
        healed_ns=since(fault.healed_ns),
        rpo=rpo,
        rto=rto,
    )


def _what(fault: FaultRecord) -> str:
    """``link us-east-1 - us-west-2 cut``."""
    regions = ", ".join(fault.regions)
    if fault.kind == "link-cut":
        if fault.parameters.get("one_way"):
            return "one way cut: " + ", ".join(f"{source} → {target}" for source, target in fault.links)
        pairs = list(dict.fromkeys(tuple(sorted(link)) for link in fault.links))
        return f"link{'s' if len(pairs) > 1 else ''} " + ", ".join(f"{a} – {b}" for a, b in pairs) + " cut"
    words = {
        "region-isolated": f"{regions} isolated from the other Regions",
        "region-down": f"{regions} down",
        "replication-paused": f"replication of {regions} paused",
        "az-lost": f"an availability zone of {regions} lost",
        "emulator-killed": "emulator killed",
    }
    return words.get(fault.kind, f"{fault.kind} {regions}".strip())
