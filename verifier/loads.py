"""The loads of a run, as its profile has them, and which of them an operation belongs to.

A load's keys begin with its prefix, so an operation belongs to the load with its workload and the longest prefix of its
key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from verifier.checks.types import Context
from verifier.history.columns import History, Int64

SWEEP: Final = "failover-sweep"
"""Workload of the reads of a failover's sweep: no load of the profile, and nobody waits for them."""


@dataclass(frozen=True, slots=True)
class RunLoad:
    """One load of the profile: a workload under a pattern, on keys of its own."""

    workload: str
    pattern: str | None
    prefix: str
    failover: str = "none"
    """What its users do when their Region does not answer."""


def loads_of(profile: dict[str, Any]) -> list[RunLoad]:
    """The loads of a run's profile; none where it does not say."""
    loads = []
    listed = profile.get("load")
    for place, load in enumerate(listed if isinstance(listed, list) else [], 1):
        if isinstance(load, dict) and isinstance(load.get("workload"), str):
            keys = load.get("keys")
            prefix = keys.get("prefix") if isinstance(keys, dict) else None
            workload = load["workload"]
            loads.append(
                RunLoad(
                    workload,
                    load.get("pattern"),
                    str(prefix or f"{workload}-{place}"),
                    str(load.get("failover") or "none"),
                )
            )
    return loads


def load_of_rows(history: History, context: Context) -> Int64:
    """Place of each row's load in the profile; −1: none. Worked out once."""
    made = context.shared.get("loads")
    if not isinstance(made, np.ndarray):
        made = context.shared["loads"] = _load_of_rows(history, context)
    return made


def failover_policies(profile: dict[str, Any]) -> tuple[str, ...]:
    """Every policy of the profile's loads, ``none`` first."""
    return tuple(dict.fromkeys(("none", *(load.failover for load in loads_of(profile)))))


def policy_of_rows(history: History, context: Context) -> Int64:
    """Place of each row's policy in :func:`failover_policies`."""
    policies = failover_policies(context.run.profile)
    places = np.array([*(policies.index(load.failover) for load in loads_of(context.run.profile)), 0], np.int64)
    return np.asarray(places[load_of_rows(history, context)], np.int64)


def _load_of_rows(history: History, context: Context) -> Int64:
    loads = loads_of(context.run.profile)
    longest_first = sorted(range(len(loads)), key=lambda at: -len(loads[at].prefix))
    of_row = np.full(len(history), -1, np.int64)
    for code, workload in enumerate(history.workloads):
        candidates = [at for at in longest_first if loads[at].workload == workload]
        if not candidates:
            continue
        mine = history.workload == code
        if len(candidates) == 1:
            of_row[mine] = candidates[0]
            continue
        of_key = np.array([_load_of_key(key, candidates, loads) for key in history.keys], np.int64)
        of_row[mine] = of_key[history.key[mine]]
    return of_row


def _load_of_key(key: str, candidates: Iterable[int], loads: list[RunLoad]) -> int:
    return next((at for at in candidates if key.startswith(f"{loads[at].prefix}-")), -1)
