"""What can be broken, as the control port and the profiles say it."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FaultKind = Literal["link-cut", "region-isolated", "region-down", "replication-paused"]

ON_LINKS: Final[frozenset[str]] = frozenset({"link-cut"})
"""Kinds that break links; the others break Regions."""

LEASE_SECONDS: Final = 10.0
"""A fault that was set with a lease heals by itself this long after it was last renewed."""


class FaultSpec(BaseModel):
    """Body of ``POST /_lastwriter/faults``.

    ==================  ==========================================================================================
    link-cut            nothing passes between the two Regions of each link (both ways, unless ``one_way``)
    region-isolated     every link of the Region is cut; its clients still reach it
    region-down         the Region refuses its clients' connections (or accepts and hangs), and its links are cut
    replication-paused  as the FIS action: MREC replication to and from the Region stops; MRSC writes and strong
                        reads of the Region are answered with 500 until it has caught up
    ==================  ==========================================================================================
    """

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    regions: list[str] = Field(default=[], description="Regions that the fault is in")
    links: list[tuple[str, str]] = Field(default=[], description="pairs of Regions")
    one_way: bool = Field(False, description="link-cut: only from the first of each pair to the second")
    hang: bool = Field(False, description="region-down: connections are accepted and never answered")
    lease: float | None = Field(
        None, gt=0, description="seconds until the fault heals unless renewed; null: until deleted"
    )

    @model_validator(mode="after")
    def _place(self) -> FaultSpec:
        if self.kind in ON_LINKS:
            if not self.links or self.regions:
                raise ValueError(f"{self.kind} takes `links` (pairs of Regions), not `regions`")
        elif not self.regions or self.links:
            raise ValueError(f"{self.kind} takes `regions`, not `links`")
        return self


class FaultState(BaseModel):
    """One fault in ``GET /_lastwriter/state``. Monotonic nanoseconds of the emulator's host."""

    id: str
    spec: FaultSpec
    onset_ns: int = Field(description="when it took hold")
    healed_ns: int | None = Field(None, description="when it was healed; null: in effect")


class PairState(BaseModel):
    """Replication from one Region to another."""

    source: str
    target: str
    connected: bool
    backlog: int = Field(description="changes of the source that the target has not applied")


class EmulatorState(BaseModel):
    """Body of ``GET /_lastwriter/state``."""

    now_ns: int = Field(description="the emulator's monotonic clock")
    regions: dict[str, str] = Field(description="Region → endpoint URL")
    tables: dict[str, str] = Field(description="table → MREC | MRSC | one-Region")
    faults: list[FaultState] = Field(description="in effect, then the last thousand healed")
    pairs: list[PairState]
    quiet: bool = Field(description="nothing is waiting to be replicated or committed anywhere")
    caught_up: dict[str, bool] = Field(description="Region → serves strong reads (MRSC: caught up)")
