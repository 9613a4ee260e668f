"""What a drill's YAML may say: target, load, phases with their faults, expectations.

The types are the file's schema (docs/schemas/profile.schema.json). Reading a file, overriding single values and naming
the line of a mistake is :mod:`lastwriter.drill.profile_file`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lastwriter.client.course import Burst, Course, RateCourse
from lastwriter.client.plan import OWNED, Health, Load, PlannedPhase
from lastwriter.emulator.faults import OF_THE_PROCESS, ON_LINKS, FaultParameters, FaultSpec
from lastwriter.resources import modes_of, nearest, tasks_of
from lastwriter.units import Duration
from verifier.expectations import Expectation
from verifier.history.schema import Kind
from verifier.rto import Terms
from verifier.rundir import Mode

SHORT_PHASE_S: Final = 4.0
"""With ``--short`` a phase lasts this long at most, unless it says otherwise."""

MRSC_REGIONS: Final = 3
"""Regions of a table with strong consistency, the witness counted."""

FAULT_WINDOWS: Final = ("before", "during", "after")
"""What an expectation may name besides a phase: the stretches before, during and after the faults."""

Where = tuple[str | int, ...]
"""Path of a value in the profile: ``("load", 0, "rate")``."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class Target(_Strict):
    """Which global table the drill is run against."""

    kind: Literal["emulator"] = Field("emulator", description="the embedded emulator, started and ended by the run")
    mode: Mode = Field("MREC", description="MREC: eventual, last writer wins. MRSC: strong")
    regions: list[str] = Field(
        ["us-east-1", "us-east-2", "us-west-2"], min_length=2, description="Regions with a replica, in order"
    )
    witness: str | None = Field(None, description="MRSC with two replicas: the Region of the witness")
    table: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")] = "lastwriter"
    settings: dict[str, str | int | float | bool] = Field(
        default={}, description="settings of the emulator, for example replicator_delay: 2s"
    )
    data: bool = Field(False, description="the emulator writes down what it acknowledges, and survives emulator-killed")
    bugs: list[str] = Field(
        [], description="planted in the emulator, to see this drill fail: names, or name=N for one write in N"
    )


class Fault(FaultParameters):
    """One thing that breaks during a phase."""

    at: Duration = Field(0.0, description="from the start of its phase")
    duration: Duration | None = Field(None, gt=0, description="default: to the end of its phase")

    def spec(self, lease: float | None = None) -> FaultSpec:
        """What the control port is asked for."""
        return FaultSpec.of(self, lease)


class Phase(_Strict):
    """A stretch of the drill."""

    name: str = Field(min_length=1)
    duration: Duration = Field(gt=0)
    rate: RateCourse = Field(
        Course(),
        description="share of each load's own rate (50%), or what all of them send together (100/s); a ramp "
        "(50%..200%); a list: steps of equal length",
    )
    burst: Burst | None = Field(None, description="interrupts the rate again and again")
    short: Duration | None = Field(None, gt=0, description="duration with --short; default: at most 4s")
    faults: list[Fault] = []


class Profile(_Strict):
    """One drill: what is true before, what is done to it, and what is expected to come of it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    hypothesis: str = Field(min_length=1, description="what the drill is expected to show, in a sentence or two")
    target: Target = Target()
    load: list[Load] = Field(min_length=1)
    health: Health = Field(default=Health(), description="of loads with `failover: routed`")
    phases: list[Phase] = Field(min_length=1)
    rto: Terms = Field(default=Terms(), description="when users count as served again after a fault")
    expect: list[Expectation] = []

    @field_validator("phases")
    @classmethod
    def _names_differ(cls, phases: list[Phase]) -> list[Phase]:
        names = [phase.name for phase in phases]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two phases are named {name!r}; expectations could not tell them apart")
        return phases

    @property
    def all_regions(self) -> list[str]:
        """Regions with a replica, and the witness's."""
        return self.target.regions + ([self.target.witness] if self.target.witness else [])

    def planned_phases(self) -> list[PlannedPhase]:
        """The phases as the load sees them."""
        total = sum(load.rate or 0.0 for load in self.load)

        def burst_of(phase: Phase) -> Burst | None:
            burst = phase.burst
            return burst and burst.model_copy(update={"rate": burst.rate.as_share_of(total)})

        return [
            PlannedPhase.model_construct(
                name=phase.name, duration=phase.duration, rate=phase.rate.as_share_of(total), burst=burst_of(phase)
            )
            for phase in self.phases
        ]

    def of_its_mode(self) -> Profile:
        """The same drill without loads of another mode than its target's."""
        return self.model_copy(update={"load": [one for one in self.load if one.mode in (None, self.target.mode)]})

    def shortened(self) -> Profile:
        """The same drill with shorter phases, every fault kept at its share of its phase."""
        return self.model_copy(update={"phases": [_shortened(phase) for phase in self.phases]})


def contradictions(
    profile: Profile, workloads: Mapping[str, Path], known_regions: Iterable[str]
) -> Iterator[tuple[Where, str]]:
    """Where parts of a profile that are right each on its own do not fit together, and why."""
    target, known = profile.target, list(known_regions)
    for index, region in enumerate(target.regions):
        if region not in known:
            yield ("target", "regions", index), f"unknown Region {region!r}{nearest(region, known)}"
        if region in target.regions[:index]:
            yield ("target", "regions", index), f"Region {region} is listed twice"
    if target.witness is not None and target.witness not in known:
        yield ("target", "witness"), f"unknown Region {target.witness!r}{nearest(target.witness, known)}"
    yield from _mode_problems(target)
    if not any(load.mode in (None, target.mode) for load in profile.load):
        yield ("load",), f"every load is for another mode than the target's {target.mode}"
    for index, load in enumerate(profile.load):
        if load.mode not in (None, target.mode):
            continue
        where: Where = ("load", index)
        if load.workload not in workloads:
            yield (*where, "workload"), f"unknown workload {load.workload!r}{nearest(load.workload, workloads)}"
        elif tasks := tasks_of(workloads[load.workload]):
            for name in load.mix:
                if name not in tasks:
                    yield (*where, "mix", name), f"{load.workload} has no such task{nearest(name, tasks)}"
        modes = modes_of(workloads[load.workload]) if load.workload in workloads else ()
        if modes and target.mode not in modes:
            yield (
                (*where, "workload"),
                f"{load.workload} needs what {target.mode} tables refuse; it runs with {' or '.join(modes)}",
            )
        if load.pattern in OWNED and load.keys.count < len(target.regions):
            least = len(target.regions)
            yield (*where, "keys"), f"with {load.keys.count} keys not every Region owns one; give {least} or more"
        if load.rate is None and load.users is None:
            yield where, "how much? give `rate` (open loop, like 50/s) or `users` (closed loop)"
        if load.failover == "sdk-retry" and load.retry == "none":
            yield (*where, "failover"), "sdk-retry is about further attempts; give `retry` (eager or jittered)"
        for region in load.regions:
            yield from _replica_problem((*where, "regions", region), region, target)
        for field in ("regions", "mix"):
            shares: dict[str, float] = getattr(load, field)
            if shares and abs(sum(shares.values()) - 1) > 0.005:
                yield (*where, field), f"the shares add up to {sum(shares.values()) * 100:.4g}%, not 100%"
    open_loop = any(load.rate for load in profile.load)
    for number, phase in enumerate(profile.phases):
        courses = {"rate": phase.rate} | ({} if phase.burst is None else {"burst": phase.burst.rate})
        for name, course in courses.items():
            if course.absolute and not open_loop:
                yield ("phases", number, name), "no load has a rate, so there is nothing to share this one out to"
        for index, fault in enumerate(phase.faults):
            where = ("phases", number, "faults", index)
            if fault.at >= phase.duration:
                yield (*where, "at"), "the fault would begin after its phase has ended"
            if fault.kind == OF_THE_PROCESS and not target.data:
                yield where, "an emulator that is killed comes back with nothing: give `data: true` under target"
            places = [r for link in fault.links for r in link] if fault.kind in ON_LINKS else fault.regions
            for region in places:
                if region not in profile.all_regions:
                    yield where, f"Region {region!r} is not in target.regions{nearest(region, profile.all_regions)}"
            for first, second in fault.links:
                if first == second:
                    yield (*where, "links"), f"a link joins two Regions, not {first} with itself"
    phases = [*(phase.name for phase in profile.phases), *FAULT_WINDOWS]
    for index, expectation in enumerate(profile.expect):
        where = ("expect", index)
        if expectation.kind is not None and expectation.kind not in list(Kind):
            yield (*where, "kind"), f"unknown kind {expectation.kind!r}{nearest(expectation.kind, list(Kind))}"
        if expectation.phase is not None and expectation.phase not in phases:
            yield (*where, "phase"), f"no phase {expectation.phase!r}{nearest(expectation.phase, phases)}"
        if expectation.region is not None:
            yield from _replica_problem((*where, "region"), expectation.region, target)


def _mode_problems(target: Target) -> Iterator[tuple[Where, str]]:
    count = len(target.regions) + (target.witness is not None)
    if target.witness in target.regions:
        yield ("target", "witness"), f"{target.witness} has a replica already; a witness stands in another Region"
    elif target.mode == "MREC" and target.witness is not None:
        yield ("target", "witness"), "only MRSC has a witness; list the Region under target.regions or take mode MRSC"
    elif target.mode == "MRSC" and count != MRSC_REGIONS:
        have = f"{len(target.regions)} Regions" + (" and a witness" if target.witness else " and no witness")
        yield (
            ("target", "regions"),
            f"MRSC takes exactly three Regions, or two and a witness; here are {have}"
            + ("; add a Region, or target.witness" if count < MRSC_REGIONS else ""),
        )


def _replica_problem(where: Where, region: str, target: Target) -> Iterator[tuple[Where, str]]:
    if region == target.witness:
        yield where, f"{region} is the witness: it has no table to send requests to"
    elif region not in target.regions:
        yield where, f"Region {region!r} is not in target.regions{nearest(region, target.regions)}"


def _shortened(phase: Phase) -> Phase:
    duration = min(phase.duration, phase.short if phase.short is not None else SHORT_PHASE_S)
    scale = duration / phase.duration
    faults = [
        fault.model_copy(
            update={
                "at": fault.at * scale,
                "duration": None if fault.duration is None else fault.duration * scale,
            }
        )
        for fault in phase.faults
    ]
    burst = phase.burst and phase.burst.model_copy(
        update={"every": phase.burst.every * scale, "length": phase.burst.length * scale}
    )
    return phase.model_copy(update={"duration": duration, "faults": faults, "burst": burst})
