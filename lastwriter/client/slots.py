"""Which processes a plan asks for, in which Region each lives, and which worker runs it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lastwriter.client.plan import Load, LoadPlan
from lastwriter.client.schedule import peak
from lastwriter.errors import UserError

MOST_PATIENT_S = 0.2
"""A process is assumed to need this long for an intent when the number of processes is left to us."""

FAIR_SHARE: Final = 0.01
"""A Region's part of the processes may be off its share by this much."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one process in the plan."""

    load_index: int
    load: Load
    process: int
    """p: position among the load's processes."""
    processes: int | None
    """P: how many share the load; None: as many as somebody starts."""
    region: str
    seed: str
    """Seeds everything that this process draws."""


def plan_slots(plan: LoadPlan) -> list[Slot]:
    """Every process of a plan whose number is fixed, in an order that all workers agree on."""
    highest = peak(plan.phases)
    return [
        Slot(index, load, process, count, region, _seed(plan, index, process))
        for index, load in enumerate(plan.loads)
        if not is_elastic(plan, load)
        for count in [process_count(load, list(plan.endpoints), highest)]
        for process, region in zip(range(count), region_cycle(shares_of(load, list(plan.endpoints))), strict=False)
    ]


def slots_by_worker(plan: LoadPlan, workers: int) -> list[list[Slot]]:
    """Who runs which process: the worker that has the fewest so far, of those that run processes of its Region.

    UserError if a Region has none.
    """
    mine: list[list[Slot]] = [[] for _ in range(workers)]
    for slot in plan_slots(plan):
        willing = [number for number in range(workers) if _serves(plan, number, slot.region)]
        if not willing:
            raise UserError(
                f"no worker runs the processes of {slot.region}: start one with --worker-regions {slot.region}, "
                "or one without --worker-regions"
            )
        mine[min(willing, key=lambda number: len(mine[number]))].append(slot)
    return mine


def share_words(mine: Sequence[Slot], everybody: Sequence[Slot]) -> str:
    """What some processes are of a load: ``8 of 16 users, 30/s of 60/s``."""
    words = f"{len(mine)} of {len(everybody)} users"
    rate, whole = (
        sum((slot.load.rate or 0.0) / (slot.processes or 1) for slot in slots) for slots in (mine, everybody)
    )
    return f"{words}, {rate:.3g}/s of {whole:.3g}/s" if whole else words


def worker_slots(plan: LoadPlan, worker: int, workers: int) -> dict[int, Iterator[Slot]]:
    """What a worker runs, by position of the load: its share of the slots; endless ones where Locust counts users."""
    mine: dict[int, list[Slot]] = {index: [] for index in range(len(plan.loads))}
    for slot in slots_by_worker(plan, workers)[worker]:
        mine[slot.load_index].append(slot)
    return {
        index: _endless(plan, index, worker, workers) if is_elastic(plan, load) else iter(mine[index])
        for index, load in enumerate(plan.loads)
    }


def is_elastic(plan: LoadPlan, load: Load) -> bool:
    """Whether somebody at Locust's UI or command line decides how many processes there are."""
    return not plan.phases and load.rate is None and load.users is None


def process_count(load: Load, regions: Sequence[str], highest: float = 1.0) -> int:
    """How many processes a load has; ``highest``: the most that its rate rises to, as a share of it.

    A rate is shared by enough of them, with at least one in every Region that has a share, and so many that each Region
    has its share of them: 20/s by two processes here and one in each other Region would be no thirds.
    """
    if load.users is not None:
        return load.users
    if load.processes is not None:
        return load.processes
    shares = shares_of(load, regions)
    fewest = max(len(shares), *(math.ceil(round(sum(shares.values()) / share, 6)) for share in shares.values()))
    if load.rate is None:
        return fewest
    fewest = max(fewest, math.ceil(load.rate * highest * MOST_PATIENT_S))
    counts = range(fewest, 2 * fewest + 1)
    fair = (count for count in counts if _unfairness(count, shares) <= FAIR_SHARE)
    return next(fair, min(counts, key=lambda count: _unfairness(count, shares)))


def shares_of(load: Load, regions: Sequence[str]) -> dict[str, float]:
    """Share of the processes by Region, none of them zero."""
    shares = load.regions or dict.fromkeys(regions, 1.0)
    return {region: share for region, share in shares.items() if share > 0}


def region_cycle(shares: Mapping[str, float]) -> Iterator[str]:
    """Regions for process 0, 1, 2 …: after any number of them each Region is within one of its share."""
    total = sum(shares.values())
    credit = dict.fromkeys(shares, 0.0)
    while True:
        for region, share in shares.items():
            credit[region] += share / total
        richest = max(credit, key=lambda region: round(credit[region], 9))
        credit[richest] -= 1.0
        yield richest


def _unfairness(count: int, shares: Mapping[str, float]) -> float:
    """How far a Region's part of so many processes is from its share, at most."""
    total = sum(shares.values())
    return max(abs(round(count * share / total) / count - share / total) for share in shares.values())


def _endless(plan: LoadPlan, load_index: int, worker: int, workers: int) -> Iterator[Slot]:
    load = plan.loads[load_index]
    shares = shares_of(load, list(plan.endpoints))
    mine = {region: share for region, share in shares.items() if _serves(plan, worker, region)}
    for process, region in enumerate(region_cycle(mine) if mine else ()):
        if process % workers == worker:
            yield Slot(load_index, load, process, None, region, _seed(plan, load_index, process))


def _serves(plan: LoadPlan, worker: int, region: str) -> bool:
    """Whether a worker runs the processes of a Region."""
    only = plan.worker_regions[worker] if plan.worker_regions else []
    return not only or region in only


def _seed(plan: LoadPlan, load_index: int, process: int) -> str:
    return f"{plan.seed}/{load_index}/{process}"
