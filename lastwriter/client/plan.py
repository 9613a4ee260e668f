"""What the Locust processes of a run have to do: a resolved load, without faults or expectations.

The drill makes a :class:`LoadPlan` from a profile, a locustfile started by hand makes one from its command line; the
master reads it and sends it to its workers. :class:`Load` is also what a profile's ``load`` list holds.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lastwriter.client.course import Burst, Course, RateCourse
from lastwriter.units import Duration, Rate, Share
from verifier.rundir import Mode

Pattern = Literal[
    "naive",
    "conditional",
    "home-region",
    "fenced",
    "leader",
    "read-all",
    "region-items",
    "region-sets",
    "compacted",
    "region-attributes",
    "sharded",
    "idempotent",
    "last-request-id",
    "client-timestamp",
]
"""How an application writes a counter or a register; see docs/patterns.md for the weakness of each."""

OWNED: Final = frozenset({"home-region", "fenced"})
"""Patterns that give each key a home Region, the only one that writes it."""

Failover = Literal["none", "routed", "sdk-retry"]
"""What the application does about a Region that does not answer; see docs/patterns.md."""

Retry = Literal["none", "eager", "jittered"]
"""What the application does after a retryable failure. Every attempt is recorded."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class HotKeys(_Strict):
    """A set of hot keys and the share of the operations that goes to them."""

    count: int = Field(1, ge=1)
    share: Share = Field(0.5, description="share of the operations that goes to the hot keys")


class Keys(_Strict):
    """Which keys a load uses."""

    prefix: str | None = Field(
        None, description="keys are prefix-0, prefix-1 …; default: workload and position in the list"
    )
    count: int = Field(10, ge=1)
    hot: HotKeys | None = None
    zipf: float | None = Field(None, gt=0, description="exponent of a Zipf distribution over the keys")

    @model_validator(mode="after")
    def _one_distribution(self) -> Keys:
        if self.hot is not None and self.zipf is not None:
            raise ValueError("keys take `hot` or `zipf`, not both")
        if self.hot is not None and self.hot.count > self.count:
            raise ValueError(f"hot.count is {self.hot.count}, but there are {self.count} keys")
        return self


class Load(_Strict):
    """One kind of traffic: a workload, how much of it, from where, on which keys."""

    workload: str = Field(description="name of a locustfile, without .py")
    mode: Mode | None = Field(None, description="only in runs of this mode")
    pattern: Pattern = "naive"
    rate: Rate | None = Field(None, description="intents a second, all Regions together (open loop); none: closed loop")
    users: int | None = Field(None, ge=1, description="processes of a closed loop")
    arrival: Literal["uniform", "poisson"] = "uniform"
    processes: int | None = Field(
        None, ge=1, description="processes that share the rate; default: enough for 200 ms each"
    )
    regions: dict[str, Share] = Field(default={}, description="share of the processes by Region; default: equal")
    keys: Keys = Keys()
    mix: dict[str, Share] = Field(
        default={}, description="share of the intents by task name; default: the workload's own"
    )
    intents: int | None = Field(
        None, ge=1, description="each process stops after this many; default: when the phases end"
    )
    think: Duration = Field(0.0, description="pause of a closed-loop process between intents")
    item_bytes: int = Field(0, ge=0, le=400_000, description="padding of every item written")
    retry: Retry = "none"
    failover: Failover = Field(
        "none",
        description="routed: users follow the health of their Region (see `health`); sdk-retry: each further attempt "
        "goes to another Region",
    )
    degraded_reads: bool = Field(False, description="a strong read that fails is tried once more as an eventual one")
    shards: int = Field(
        8, ge=2, description="pattern sharded: items that a key (a hot key, if there is a hot set) becomes"
    )
    fold: Duration = Field(
        1.0, description="pattern compacted: a user in the first Region folds what it adds to at most this often"
    )
    clock_error: Duration = Field(
        0.0, description="pattern client-timestamp: each process's clock is off by up to this, either way"
    )
    attempts: int = Field(5, ge=1, description="most attempts of an intent, where there are retries")
    deadline: Duration = Field(5.0, gt=0, description="an attempt without an answer by then is unknown")
    connect_deadline: Duration = Field(
        2.0,
        gt=0,
        description="an attempt without a connection by then has failed: nothing was sent; at most `deadline`",
    )

    @model_validator(mode="after")
    def _one_loop(self) -> Load:
        if self.rate is not None and self.users is not None:
            raise ValueError(
                "`rate` (open loop) and `users` (closed loop) exclude each other; `processes` share a rate"
            )
        return self


class Health(_Strict):
    """What decides on failover and failback, for loads with `failover: routed`."""

    interval: Duration = Field(1.0, gt=0, description="between two probes of a Region by its canary")
    timeout: Duration = Field(1.0, gt=0, description="a probe without an answer by then has failed")
    threshold: int = Field(
        3, ge=1, description="failed probes in a row that make a Region unhealthy; answered: healthy"
    )
    ttl: Duration = Field(5.0, description="time to live of a route: users follow a new one within this")
    failback: Literal["at-once", "drained", "never"] = Field(
        "drained",
        description="when users return to a Region that is healthy again; drained: when what was written elsewhere "
        "arrives there in time",
    )
    handover: Duration = Field(
        0.0,
        description="failback: users send nothing until the route's ttl and this have passed, so that nobody writes "
        "elsewhere any more and what was written there has arrived; 0: they go on at once",
    )
    drained_within: Duration = Field(
        2.0, gt=0, description="failback drained: a canary's beat is seen in the Region that returns no later than this"
    )


class PlannedPhase(_Strict):
    """A stretch of the schedule."""

    name: str
    duration: Duration
    rate: RateCourse = Field(Course(), description="of each load's own rate")
    burst: Burst | None = None


class LoadPlan(_Strict):
    """Everything that a Locust worker needs to know."""

    run: str
    run_directory: str = Field(description="where this host's workers leave their rows")
    seed: int
    mode: Mode
    table: str
    endpoints: dict[str, str] = Field(description="Region → URL of its DynamoDB endpoint, replicas only, in order")
    target: Literal["emulator", "endpoints", "aws"] = Field(
        "emulator", description="an emulator is never shown the user's own credentials"
    )
    client: Literal["wire", "boto3"] = "wire"
    loads: list[Load]
    phases: list[PlannedPhase] = Field(description="empty: until stopped")
    health: Health = Health()
    t0_ns: int | None = Field(None, description="origin of every schedule; set by the master when all users are there")
    workers: int | None = Field(None, description="how many share the processes; set by the master")
    worker_regions: list[list[str]] = Field(
        default=[],
        description="by worker: the Regions whose processes it runs, none meaning any; empty: every worker runs any",
    )
