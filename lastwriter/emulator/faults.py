"""What can be broken, as the control port and the profiles say it."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lastwriter.units import Duration, Offset, Share

FaultKind = Literal[
    "link-cut",
    "link-latency",
    "region-isolated",
    "region-down",
    "region-impaired",
    "region-throttled",
    "replication-paused",
    "reply-lost",
    "connection-reset",
    "clock-skew",
    "az-lost",
    "emulator-killed",
]

ON_LINKS: Final[frozenset[str]] = frozenset({"link-cut", "link-latency"})
"""Kinds that break links; the others break Regions."""

OF_THE_PROCESS: Final = "emulator-killed"
"""The kind that takes no place: a drill does it to the emulator, which cannot do it to itself."""

_KINDS_OF: Final[dict[str, frozenset[str]]] = {
    "latency": frozenset({"link-latency"}),
    "jitter": frozenset({"link-latency"}),
    "errors": frozenset({"region-impaired"}),
    "errors_after": frozenset({"region-impaired"}),
    "slow": frozenset({"region-impaired"}),
    "slow_by": frozenset({"region-impaired"}),
    "keys": frozenset({"region-throttled"}),
    "tables": frozenset({"replication-paused"}),
    "share": frozenset({"region-throttled", "reply-lost", "connection-reset"}),
    "offset": frozenset({"clock-skew"}),
    "election": frozenset({"az-lost"}),
}
"""Which kinds take a parameter."""
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "link-latency": ("latency", "jitter"),
    "region-impaired": ("errors", "errors_after", "slow"),
    "clock-skew": ("offset",),
}
"""Parameters without any of which a fault would do nothing."""

LEASE_SECONDS: Final = 10.0
"""A fault that was set with a lease heals by itself this long after it was last renewed."""


class FaultParameters(BaseModel):
    """What breaks, where and how. Faults of requests are in the data plane: items, never tables.

    ==================  ==========================================================================================
    link-cut            nothing passes between the two Regions of each link (both ways, unless ``one_way``)
    link-latency        every message on each link takes ``latency`` longer, and up to ``jitter`` more, drawn for each
    region-isolated     every link of the Region is cut; its clients still reach it
    region-down         the Region refuses its clients' connections (or accepts and hangs), and its links are cut
    region-impaired     some requests are answered with 500, without taking effect (``errors``) or although they have
                        (``errors_after``); some (``slow``) are answered ``slow_by`` later
    region-throttled    a ``share`` of requests, or of those for items of the partition keys ``keys``, is throttled
    replication-paused  as the FIS action: MREC replication to and from the Region stops; MRSC writes and strong
                        reads of the Region are answered with 500 until it has caught up; of all tables, or ``tables``
    reply-lost          a ``share`` of requests takes effect and, instead of the reply, has its connection reset
                        (``hang``: is never answered)
    connection-reset    a ``share`` of requests has its connection reset and no effect
    clock-skew          the Region's clock is off by ``offset``: under MREC its writes bear wrong times
    az-lost             the Region loses one of three availability zones: a third of its partitions lose their leader,
                        and until they have elected another (within ``election``) writes and strong reads of their items
                        are slow, or answered with 500 without effect. Nothing is lost
    emulator-killed     the emulator's process is killed, and started again when the fault is healed. In profiles only,
                        with ``target.data``; it takes neither Regions nor links
    ==================  ==========================================================================================
    """

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    regions: list[str] = Field(default=[], description="Regions that the fault is in")
    links: list[tuple[str, str]] = Field(default=[], description="pairs of Regions")
    one_way: bool = Field(False, description="link-cut: only from the first of each pair to the second")
    hang: bool = Field(
        False, description="region-down, reply-lost: the client waits, where its connection would be refused or reset"
    )
    latency: Duration = Field(0.0, description="link-latency: added to every message, each way")
    jitter: Duration = Field(0.0, description="link-latency: added besides, drawn evenly from 0 up to this")
    errors: Share = Field(0.0, le=1, description="region-impaired: requests answered with 500, without effect")
    errors_after: Share = Field(
        0.0, le=1, description="region-impaired: requests answered with 500 after they have taken effect"
    )
    slow: Share = Field(0.0, le=1, description="region-impaired: requests that are slow")
    slow_by: Duration = Field(1.0, description="region-impaired: how much later a slow request is answered")
    share: Share = Field(1.0, gt=0, le=1, description="region-throttled, reply-lost, connection-reset: of the requests")
    keys: list[str] = Field(
        default=[], description="region-throttled: only items with these partition keys; none: every request"
    )
    tables: list[str] = Field(default=[], description="replication-paused: only of these global tables; none: of all")
    offset: Offset = Field(0.0, description="clock-skew: how far ahead (-: behind) the Region's clock is")

    election: Duration = Field(2.0, gt=0, description="az-lost: the longest time that a partition has no leader")

    @model_validator(mode="after")
    def _place(self) -> Self:
        if self.kind == OF_THE_PROCESS:
            if self.links or self.regions:
                raise ValueError(f"{self.kind} takes neither `regions` nor `links`: it is the whole emulator")
        elif self.kind in ON_LINKS:
            if not self.links or self.regions:
                raise ValueError(f"{self.kind} takes `links` (pairs of Regions), not `regions`")
        elif not self.regions or self.links:
            raise ValueError(f"{self.kind} takes `regions`, not `links`")
        for name in self.parameters:
            if name in _KINDS_OF and self.kind not in _KINDS_OF[name]:
                raise ValueError(f"`{name}` is of {', '.join(sorted(_KINDS_OF[name]))}, not of {self.kind}")
        needed = _NEEDED.get(self.kind, ())
        if needed and not any(getattr(self, name) for name in needed):
            raise ValueError(f"{self.kind} does nothing without {' or '.join(f'`{name}`' for name in needed)}")
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """What it says besides kind and place, as JSON: only what differs from the default."""
        placed = {"kind", "regions", "links"}
        return self.model_dump(mode="json", include=set(FaultParameters.model_fields) - placed, exclude_defaults=True)


class FaultSpec(FaultParameters):
    """Body of ``POST /_lastwriter/faults``."""

    lease: float | None = Field(
        None, gt=0, description="seconds until the fault heals unless renewed; null: until deleted"
    )

    @classmethod
    def of(cls, fault: FaultParameters, lease: float | None = None) -> FaultSpec:
        """What has to be asked for, to have ``fault``."""
        fields = {name: getattr(fault, name) for name in FaultParameters.model_fields}
        return cls.model_construct(**fields, lease=lease)


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
    throttled: dict[str, dict[str, int]] = Field(
        {}, description="Region → reason → requests throttled, where the setting `throttling` is on"
    )
    caught_up: dict[str, bool] = Field(description="Region → serves strong reads (MRSC: caught up)")
