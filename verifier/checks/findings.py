"""Findings as columns: a check may find a million, and only the worst of them become objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.checks.types import AllFindings, Result, Violation, join_notes, pieces_of
from verifier.history.columns import NULL, Float64, History, Int64
from verifier.history.keys import key_order
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
    places = worst_of_each[np.lexsort((worst_of_each, at[worst_of_each], -gamma[worst_of_each]))]
    roles = np.concatenate([_columns(one.witness, width) for one in found])
    present = roles >= 0
    for right in range(width):
        for left in range(right):
            present[:, left] &= roles[:, right] != roles[:, left]
    stale_ms: Float64 = np.where(stale == NULL, np.nan, stale / 1e6)
    worst = []
    for i in places.tolist():
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
                rows=tuple(roles[i, present[i]].tolist()),
                at_ns=int(at[i]),
                gamma_ns=None if gamma[i] == ENDLESS else int(gamma[i]),
                stale_ms=None if stale[i] == NULL else float(stale_ms[i]),
                stale_versions=None if versions[i] == NULL else int(versions[i]),
                facts=facts,
            )
        )
    names = tuple(dict.fromkeys(one.rule for one in found))
    everything = AllFindings(
        key=key,
        at_ns=at,
        offsets=np.concatenate(([0], np.cumsum(np.count_nonzero(present, axis=1)))).astype(np.int64),
        rows=roles[present],
        gamma_ns=np.where(gamma == ENDLESS, NULL, gamma),
        stale_ms=stale_ms,
        stale_versions=versions,
        worst=places,
        rule=np.repeat([names.index(one.rule) for one in found], [len(one) for one in found]).astype(np.int64),
        rules=names,
        replica=replica if bool((replica >= 0).any()) else None,
    )
    verdict: Judgement = "violated" if bool((gamma > slack_ns).any()) else "possible"
    return Result(verdict, exercised, tuple(worst), count=count, note=note, everything=everything)


def candidates(violations: Sequence[Violation]) -> list[int]:
    """Places of those that may be among the worst of all: the worst of each rule, with all that equal the last."""
    by_rule: dict[object, list[int]] = {}
    for at, violation in enumerate(violations):
        by_rule.setdefault(violation.facts.get("rule"), []).append(at)
    chosen = []
    for places in by_rule.values():
        places.sort(key=lambda at: _severity(violations[at]))
        last = _severity(violations[places[min(WORST, len(places)) - 1]])
        chosen += [at for at in places if _severity(violations[at]) <= last]
    return chosen


def severity(history: History, violation: Violation) -> tuple[object, ...]:
    """What findings are ranked by, the worst first, wherever the rows may stand."""
    hashed, name = key_order(history.keys[violation.key])
    marks = tuple(int(history.op[row]) for row in violation.rows)
    return *_severity(violation), hashed, name, marks, str(violation.facts.get("final", ""))


def listed(rules: Sequence[str], most: int = WORST) -> list[int]:
    """Of findings in order (given by their rules) the places of those that are listed: some of each rule."""
    names = list(dict.fromkeys(rules))
    return _some_of_each(np.array([names.index(rule) for rule in rules], np.int64), most).tolist() if names else []


def _severity(violation: Violation) -> tuple[float, int, int]:
    gamma = ENDLESS if violation.gamma_ns is None else violation.gamma_ns
    return -gamma, -violation.size, violation.at_ns


def _worst(places: Int64, gamma: Int64, at: Int64) -> Int64:
    """Of these findings the :data:`WORST`, as if all were sorted (greatest Γ, then earliest), and all that are equal to
    the last; unsorted."""
    chosen = []
    most = WORST
    for values in (-gamma, at):
        if len(places) <= most:
            break
        mine = values[places]
        limit = np.partition(mine, most - 1)[most - 1]
        chosen.append(places[mine < limit])
        places, most = places[mine == limit], most - len(chosen[-1])
    return np.concatenate([*chosen, places])


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
    parts = [one for one in results if one.exercised or one.violations or one.failed]
    if not parts:
        return results[0] if results else Result("unknown", 0)
    count = sum(len(one.violations) if one.count is None else one.count for one in parts)
    columns = [one.everything for one in parts if one.everything is not None]
    return Result(
        merge(one.verdict for one in parts),
        sum(one.exercised for one in parts),
        tuple(violation for one in parts for violation in one.violations),
        count=count,
        note=join_notes(dict.fromkeys(piece for one in results if one.note for piece in pieces_of(one.note))),
        everything=_joined(columns) if columns else None,
        failed=any(one.failed for one in parts),
    )


def _joined(columns: Sequence[AllFindings]) -> AllFindings:
    if len(columns) == 1:
        return columns[0]
    counts = np.concatenate([np.diff(one.offsets) for one in columns])
    rules = tuple(dict.fromkeys(rule for one in columns for rule in one.rules))
    begin, worst = 0, []
    for one in columns:
        assert one.worst is not None
        worst.append(one.worst + begin)
        begin += len(one.key)

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
        worst=np.concatenate(worst),
        rule=np.concatenate([_renamed(one, rules) for one in columns]),
        rules=rules,
        replica=None
        if all(one.replica is None for one in columns)
        else np.concatenate([np.full(len(one.key), -1) if one.replica is None else one.replica for one in columns]),
    )


def _renamed(found: AllFindings, rules: Sequence[str]) -> Int64:
    """The rule of each of the findings as an index of these rules."""
    if found.rule is None:
        return np.full(len(found.key), -1, np.int64)
    return np.array([*(rules.index(rule) for rule in found.rules), -1], np.int64)[found.rule]


def _or(values: Int64 | None, default: int, found: Found) -> Int64:
    return np.full(len(found), default, np.int64) if values is None else values


def _columns(witness: Mapping[str, Int64], width: int) -> Int64:
    rows = next(iter(witness.values()))
    columns = np.full((len(rows), width), -1, np.int64)
    for place, role in enumerate(witness.values()):
        columns[:, place] = role
    return columns
