"""RPO and RTO in a few words, for the terminal, the summary and the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from verifier.values import format_ms
from verifier.verdict import FaultRow, Rpo, Rto


def rpo_line(row: Rpo) -> str:
    """``us-east-1 given up at 5.01 s: 17 of 123 acknowledged writes missing elsewhere (9 destroyed); RPO 2.06s``."""
    moment = "given up" if row.decided else "lost"
    text = f"{row.region} {moment} at {row.failover_ns / 1e9:.2f} s: "
    judged = row.acknowledged - row.unread - row.unclear
    if not row.acknowledged:
        return text + "it had acknowledged no write that carries a mark"
    if not judged:
        return text + f"nobody read elsewhere what its {row.acknowledged:,} acknowledged writes became: RPO not known"
    text += f"{row.missing:,} of {row.acknowledged:,} acknowledged writes missing elsewhere"
    parts = [(row.delayed, "came later"), (row.destroyed, "destroyed")]
    parts.append((row.missing - row.delayed - row.destroyed, "open"))
    said = [f"{count:,} {what}" for count, what in parts if count]
    text += f" ({', '.join(said)})" if said else ""
    if row.superseded:
        text += f", {row.superseded:,} superseded"
    if row.unread or row.unclear:
        text += f", {row.unread + row.unclear:,} not known"
    return text + f"; RPO {rpo_text(row)}"


def rpo_text(row: Rpo) -> str:
    """``2.06s``, ``at least 2.06s``, ``not known``."""
    if row.time_ms is None:
        return "not known"
    time = format_ms(row.time_ms) if row.time_ms else "0"
    return f"at least {time}" if row.unread or row.unclear else time


def rto_text(row: Rto) -> str:
    """``4s``, ``not within 6s``, ``not known``."""
    if row.time_ms is None:
        return "not known"
    time = format_ms(row.time_ms) if row.time_ms else "0"
    return time if row.recovered else f"not within {time}"


def rto_lines(rows: Sequence[Rto]) -> list[str]:
    """``users of us-east-1 (routed): add 4s, read 3s``; those that were never without an answer in one line."""
    groups: dict[tuple[str, str], list[Rto]] = {}
    for row in rows:
        groups.setdefault((row.population, row.failover), []).append(row)
    lines, untouched = [], []
    for (region, failover), mine in groups.items():
        name = region if failover == "none" else f"{region} ({failover})"
        if all(row.recovered and not row.time_ms for row in mine):
            untouched.append(name)
        else:
            lines.append(f"users of {name}: RTO {', '.join(f'{row.kind} {rto_text(row)}' for row in mine)}")
    if untouched:
        lines.append(f"users of {', '.join(untouched)}: RTO 0")
    return lines


def fault_lines(faults: Iterable[FaultRow]) -> list[str]:
    """What is known of all faults, a line each."""
    lines = []
    for fault in faults:
        lines += [f"{fault.what}: {line}" for line in (*map(rpo_line, fault.rpo), *rto_lines(fault.rto))]
    return lines
