"""A profile, worked out: when each fault begins and ends, what the load has to do, where phases lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal

from lastwriter.client.plan import LoadPlan
from lastwriter.drill.profile import Fault, Profile
from lastwriter.units import format_offset
from verifier.rundir import PhaseWindow


@dataclass(frozen=True, slots=True)
class ScheduledFault:
    """A fault of the profile with its times, in seconds from t0."""

    id: str
    """Unique in the run: ``link-cut-1``."""
    fault: Fault
    begin_s: float
    end_s: float

    @property
    def words(self) -> str:
        """``link us-east-1 – us-west-2 cut``."""
        places = [f"{a} {'→' if self.fault.one_way else '–'} {b}" for a, b in self.fault.links] or self.fault.regions
        where = ", ".join(places)
        return {
            "link-cut": f"link {where} cut",
            "link-latency": f"link {where} slow",
            "region-isolated": f"{where} isolated",
            "region-down": f"{where} down",
            "region-impaired": f"{where} impaired",
            "region-throttled": f"{where} throttled",
            "replication-paused": f"replication of {where} paused",
            "reply-lost": f"replies of {where} lost",
            "connection-reset": f"connections to {where} reset",
            "az-lost": f"an availability zone of {where} lost",
            "emulator-killed": "emulator killed",
            "clock-skew": f"clock of {where} off by {format_offset(self.fault.offset)}",
        }[self.fault.kind]


def load_seconds(profile: Profile) -> float:
    """How long the load runs."""
    return sum(phase.duration for phase in profile.phases)


def fault_schedule(profile: Profile) -> tuple[ScheduledFault, ...]:
    """Every fault in order of its beginning. None outlasts the load: settling begins with everything healed."""
    starts = _phase_starts(profile)
    end_of_load = load_seconds(profile)
    found: list[tuple[float, float, Fault]] = []
    for phase, start in zip(profile.phases, starts, strict=True):
        for fault in phase.faults:
            begin = start + fault.at
            end = start + phase.duration if fault.duration is None else begin + fault.duration
            found.append((begin, min(end, end_of_load), fault))
    found.sort(key=lambda item: item[:2])
    counts: dict[str, int] = {}
    schedule = []
    for begin, end, fault in found:
        counts[fault.kind] = counts.get(fault.kind, 0) + 1
        schedule.append(ScheduledFault(f"{fault.kind}-{counts[fault.kind]}", fault, begin, end))
    return tuple(schedule)


def load_plan(
    profile: Profile,
    run: str,
    run_directory: Path,
    endpoints: Mapping[str, str],
    client: Literal["wire", "boto3"],
    seed: int,
) -> LoadPlan:
    """What the Locust processes are told."""
    return LoadPlan(
        run=run,
        run_directory=str(run_directory.resolve()),
        seed=seed,
        mode=profile.target.mode,
        table=profile.target.table,
        endpoints={region: endpoints[region] for region in profile.target.regions},
        client=client,
        loads=profile.load,
        phases=profile.planned_phases(),
        health=profile.health,
    )


def phase_windows(profile: Profile, start_ns: int, end_ns: int) -> list[PhaseWindow]:
    """The phases as they ran: from the schedule, up to where the load ended."""
    windows = []
    for phase, start in zip(profile.phases, _phase_starts(profile), strict=True):
        begins = start_ns + round(start * 1e9)
        ends = min(start_ns + round((start + phase.duration) * 1e9), end_ns)
        if begins < ends:
            windows.append(PhaseWindow(name=phase.name, start_ns=begins, end_ns=ends))
    return windows


def _phase_starts(profile: Profile) -> list[float]:
    return list(accumulate((phase.duration for phase in profile.phases[:-1]), initial=0.0))
