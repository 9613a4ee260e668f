"""Findings as columns: a check may find a million, and only the worst of them become objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.checks.types import AllFindings, Result, Violation
from verifier.history.columns import NULL, Float64, Int64
from verifier.verdict import Judgement, merge

WORST: Final = 200
"""Violations that become objects."""

ENDLESS: Final = int(np.iinfo(np.int64).max)
"""Γ of what no clock error would explain away."""


@dataclass(frozen=True, slots=True)
class Found:
    """Findings of one rule. Arrays of length ``n``; null is :data:`NULL`."""

    rule: str
    key: Int64
    at_ns: Int64
    witness: Mapping[str, Int64]
    """Rows of the history by what they are in the story; −1 where there is none. The last is who is blamed."""
    gamma_ns: Int64 | None = None
    """Null: no clock error would explain any of them away."""
    stale_ns: Int64 | None = None
    stale_versions: Int64 | None = None
    replica: Int64 | None = None
    """Index of the Region whose final replica shows it, −1 where an operation does."""

    def __len__(self) -> int:
        return len(self.key)


def result(found: Sequence[Found], exercised: int, regions: Sequence[str], slack_ns: int, note: str | None) -> Result:
    """What a check concludes from all that it found. What clocks may explain away is only ``possible``."""
    found = [one for one in found if len(one)]
    count = sum(len(one) for one in found)
    if not count:
        return Result("holds" if exercised else "unknown", exercised, note=note)
    width = max(len(one.witness) for one in found)
    key = np.concatenate([one.key for one in found])
    at = np.concatenate([one.at_ns for one in found])
    gamma = np.concatenate([_or(one.gamma_ns, ENDLESS, one) for one in found])
    stale = np.concatenate([_or(one.stale_ns, NULL, one) for one in found])
    versions = np.concatenate([_or(one.stale_versions, NULL, one) for one in found])
    replica = np.concatenate([_or(one.replica, -1, one) for one in found])
    rule = np.repeat(np.arange(len(found)), [len(one) for one in found])
    # The worst first: what no clock explains, then what would need the greatest error; ties by time. The others as
    # they were found, which costs no sort of a million.
    worst_of_each = np.concatenate([_worst(np.flatnonzero(rule == one), gamma, at) for one in range(len(found))])
    ranked = worst_of_each[np.lexsort((worst_of_each, at[worst_of_each], -gamma[worst_of_each]))]
    listed = ranked[_some_of_each(rule[ranked], WORST)]
    others = np.ones(count, np.bool_)
    others[listed] = False
    order = np.concatenate((listed, np.flatnonzero(others)))
    roles = np.concatenate([_columns(one.witness, width) for one in found])
    witness = roles[order]
    present = witness >= 0
    for right in range(width):
        for left in range(right):
            present[:, left] &= witness[:, right] != witness[:, left]
    stale_ms: Float64 = np.where(stale == NULL, np.nan, stale / 1e6)
    worst = []
    for place, i in enumerate(listed.tolist()):
        one = found[rule[i]]
        facts: dict[str, object] = {
            "rule": one.rule,
            "rows": dict(zip(one.witness, roles[i].tolist(), strict=False)),
        }
        if replica[i] >= 0:
            facts["final"] = regions[replica[i]]
        worst.append(
            Violation(
                key=int(key[i]),
                rows=tuple(witness[place, present[place]].tolist()),
                at_ns=int(at[i]),
                gamma_ns=None if gamma[i] == ENDLESS else int(gamma[i]),
                stale_ms=None if stale[i] == NULL else float(stale_ms[i]),
                stale_versions=None if versions[i] == NULL else int(versions[i]),
                facts=facts,
            )
        )
    gamma = gamma[order]
    everything = AllFindings(
        key=key[order],
        at_ns=at[order],
        offsets=np.concatenate(([0], np.cumsum(np.count_nonzero(present, axis=1)))).astype(np.int64),
        rows=witness[present],
        gamma_ns=np.where(gamma == ENDLESS, NULL, gamma),
        stale_ms=stale_ms[order],
        stale_versions=versions[order],
    )
    verdict: Judgement = "violated" if bool((gamma > slack_ns).any()) else "possible"
    return Result(verdict, exercised, tuple(worst), count=count, note=note, everything=everything)


def _worst(places: Int64, gamma: Int64, at: Int64) -> Int64:
    """Of these findings the :data:`WORST`, as if all were sorted (greatest Γ, then earliest, then first); unsorted."""
    chosen = []
    most = WORST
    for values in (-gamma, at):
        if len(places) <= most:
            break
        mine = values[places]
        limit = np.partition(mine, most - 1)[most - 1]
        chosen.append(places[mine < limit])
        places, most = places[mine == limit], most - len(chosen[-1])
    return np.concatenate([*chosen, places[:most]])


def _some_of_each(rule: Int64, most: int) -> Int64:
    """Places of the worst, in order: one rule with a million findings does not hide the few of another."""
    rules = np.unique(rule)
    shares = [np.flatnonzero(rule == one)[: max(1, most // len(rules))] for one in rules]
    chosen = np.zeros(len(rule), np.bool_)
    chosen[np.concatenate(shares)] = True
    rest = np.flatnonzero(~chosen)[: max(0, most - int(chosen.sum()))]
    chosen[rest] = True
    return np.flatnonzero(chosen)


def merge_results(results: Sequence[Result]) -> Result:
    """One result for several that judged different operations (key chunks, Regions)."""
    parts = [one for one in results if one.exercised or one.violations]
    if not parts:
        return results[0] if results else Result("unknown", 0)
    count = sum(len(one.violations) if one.count is None else one.count for one in parts)
    columns = [one.everything for one in parts if one.everything is not None]
    worst = sorted((violation for one in parts for violation in one.violations), key=_severity)[:WORST]
    notes = list(dict.fromkeys(one.note for one in results if one.note))
    return Result(
        merge(one.verdict for one in parts),
        sum(one.exercised for one in parts),
        tuple(worst),
        count=count,
        note="; ".join(notes) or None,
        everything=_joined(columns) if columns else None,
    )


def _severity(violation: Violation) -> tuple[float, float, int]:
    gamma = ENDLESS if violation.gamma_ns is None else violation.gamma_ns
    return -gamma, -(violation.stale_ms or 0.0), violation.at_ns


def _joined(columns: Sequence[AllFindings]) -> AllFindings:
    if len(columns) == 1:
        return columns[0]
    counts = np.concatenate([np.diff(one.offsets) for one in columns])

    def column(name: str) -> Int64:
        return np.concatenate([getattr(one, name) for one in columns])

    return AllFindings(
        key=column("key"),
        at_ns=column("at_ns"),
        offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        rows=column("rows"),
        gamma_ns=column("gamma_ns"),
        stale_ms=np.concatenate([one.stale_ms for one in columns if one.stale_ms is not None]),
        stale_versions=column("stale_versions"),
    )


def _or(values: Int64 | None, default: int, found: Found) -> Int64:
    return np.full(len(found), default, np.int64) if values is None else values


def _columns(witness: Mapping[str, Int64], width: int) -> Int64:
    rows = next(iter(witness.values()))
    columns = np.full((len(rows), width), -1, np.int64)
    for place, role in enumerate(witness.values()):
        columns[:, place] = role
    return columns
