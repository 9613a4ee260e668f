"""A run directory: where its files are, and the types of ``run.json`` and ``faults.jsonl``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

RUN_SCHEMA: Final = 1

Mode = Literal["MREC", "MRSC"]
"""Consistency mode of a global table: MREC (``MultiRegionConsistency: EVENTUAL``) or MRSC (``STRONG``)."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PhaseWindow(_File):
    """One phase of the drill as it ran."""

    name: str
    start_ns: int
    end_ns: int


class ClockAnchor(_File):
    """One reading of a host's clock against the reference host's (the Locust master's)."""

    host: str
    at_ns: int = Field(description="monotonic time of the reference host")
    offset_ns: int = Field(description="host's monotonic clock minus the reference's")
    epsilon_ns: int = Field(description="half the round trip of the reading: how wrong the offset may be")


class WorkerInfo(_File):
    """One Locust worker of the run."""

    worker: int
    host: str
    regions: list[str] = []


class Versions(_File):
    """What the run was made with."""

    lastwriter: str
    python: str
    locust: str
    botocore: str


class RunInfo(_File):
    """``run.json``: everything about a run that is not an operation, an item or a fault.

    Written when the run starts (``ended`` null) and again when it ends; replaced as a whole, never in part.
    """

    schema_version: int = Field(RUN_SCHEMA, alias="schema")
    run: str = Field(description="name of the run directory")
    profile: dict[str, Any] = Field(description="the resolved profile: every default and override filled in")
    mode: Mode
    regions: list[str] = Field(description="Regions with a replica")
    witness: str | None = None
    table: str
    target: Literal["emulator", "endpoints", "aws"]
    client: Literal["wire", "boto3"]
    seed: int
    arguments: list[str] = Field(
        default=[], description="of the `lastwriter` command that makes this run again, seed included; empty: not known"
    )
    versions: Versions
    host: str | None = Field(
        None,
        description="the reference host, whose clock ``start_ns``, the phases and the faults are in: the Locust "
        "master's; null: in runs that do not say, that of the only host",
    )
    workers: list[WorkerInfo] = []
    clock: list[ClockAnchor] = Field(default=[], description="readings of the other hosts' clocks")
    created: str = Field(description="ISO 8601, UTC, of the reference host's wall clock at ``created_ns``")
    created_ns: int = Field(description="monotonic time of the reference host")
    start_ns: int | None = Field(None, description="t0: the first schedule's origin; null if load never started")
    end_ns: int | None = None
    phases: list[PhaseWindow] = []
    ended: Literal["finished", "stopped", "interrupted", "aborted"] | None = Field(
        None,
        description="finished: by schedule; stopped: by a stop condition; interrupted: Ctrl-C; aborted: an error; "
        "null: never ended in order (killed)",
    )
    reason: str | None = Field(None, description="one sentence, where ``ended`` is not finished")
    settled: bool | None = Field(
        None,
        description="the replicas were equal, or the emulator's replication queues empty, when the final state was "
        "read; null: not looked at",
    )
    queues_empty: bool | None = Field(
        None,
        description="the emulator's replication queues were seen empty before the final state was read; null: no view",
    )
    warnings: list[str] = []

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    @field_validator("schema_version")
    @classmethod
    def _this_schema(cls, version: int) -> int:
        if version != RUN_SCHEMA:
            raise ValueError(f"schema {version} is not the one that this version reads ({RUN_SCHEMA})")
        return version


class FaultRecord(_File):
    """One line of ``faults.jsonl``: what was asked, when it took hold, when it healed. Monotonic nanoseconds."""

    id: str
    kind: str = Field(description="link-cut, region-isolated, region-down, replication-paused …")
    regions: list[str] = []
    links: list[tuple[str, str]] = Field(default=[], description="ordered pairs of Regions, from → to")
    parameters: dict[str, Any] = {}
    asked_ns: int
    clear_asked_ns: int | None = None
    onset_ns: int | None = Field(None, description="first observation of the fault in effect; null: never observed")
    healed_ns: int | None = Field(None, description="first observation of it gone; null: never observed")


class RouteEvent(_File):
    """One line of ``routes.jsonl``: what the application's failover saw, decided and did.

    ==========  ================================================================================================
    unhealthy   so many canary probes of the Region failed in a row, the first of them begun at ``since_ns``: detected
    healthy     so many were answered in a row, after the Region was unhealthy
    drained     after ``healthy``: what was written elsewhere has arrived in the Region; its users may return
    decided     the Region's users are to go ``to`` another one (or home again) from now on
    flipped     the control record that says who is home to the Region's keys has been written
    switched    users of one worker have followed, the first at ``since_ns``, the last at ``at_ns``
    swept       one worker has read in ``to`` every key of which its users, or those of a dead worker whose record it
                has, had a write acknowledged by the Region that was given up; the reads are rows of the history,
                workload ``failover-sweep``
    ==========  ================================================================================================
    """

    event: Literal["unhealthy", "healthy", "drained", "decided", "flipped", "switched", "swept"]
    region: str = Field(description="whose users it is about")
    at_ns: int = Field(description="monotonic time of the reference host")
    since_ns: int | None = None
    to: str | None = Field(None, description="where its users go; swept: the Region that was read")
    number: int | None = Field(None, description="of the decision, from 1; what follows from it has the same")
    epoch: int | None = Field(None, description="decided, flipped: write epoch of the Region's keys from now on")
    worker: int | None = None
    users: int | None = Field(None, description="switched: how many")
    keys: int | None = Field(None, description="swept: how many keys")
    unread: int | None = Field(None, description="swept: of them without an answer")


class RunDirectory:
    """Paths inside ``results/<run>``; makes nothing by itself."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.resolve().name

    @property
    def run_json(self) -> Path:
        """:class:`RunInfo`."""
        return self.path / "run.json"

    @property
    def faults(self) -> Path:
        """:class:`FaultRecord` a line."""
        return self.path / "faults.jsonl"

    @property
    def routes(self) -> Path:
        """:class:`RouteEvent` a line, in order of writing; missing where no load follows routes."""
        return self.path / "routes.jsonl"

    @property
    def history(self) -> Path:
        """Folder of the workers' streams (``worker-N.arrow``) and their compacted form (``worker-N.parquet``)."""
        return self.path / "history"

    def replica(self, when: Literal["initial", "final", "index"], region: str) -> Path:
        """Every item of one replica before t0 or after settling, or what its index then held."""
        return self.path / when / f"{region}.parquet"

    @property
    def streams(self) -> Path:
        """Folder of what was read of the Regions' streams, where somebody did."""
        return self.path / "streams"

    @property
    def live(self) -> Path:
        """Progress of a run under way, one JSON object a second; deleted with the run only."""
        return self.path / "live.jsonl"

    @property
    def logs(self) -> Path:
        """Folder with what the processes of the run printed."""
        return self.path / "logs"

    @property
    def emulator(self) -> Path:
        """What an emulator with a disk has written down; it stays only where the run was killed."""
        return self.path / "emulator"

    @property
    def latency(self) -> Path:
        """HdrHistogram interval log."""
        return self.path / "latency.hlog"

    @property
    def verdict(self) -> Path:
        """:class:`verifier.verdict.Verdict`."""
        return self.path / "verdict.json"

    @property
    def findings(self) -> Path:
        """All findings, one row each."""
        return self.path / "findings.parquet"

    @property
    def lost(self) -> Path:
        """Every acknowledged write that is gone, one JSON object a line."""
        return self.path / "lost.jsonl"

    @property
    def junit(self) -> Path:
        """JUnit XML: one case an expectation."""
        return self.path / "junit.xml"

    @property
    def summary(self) -> Path:
        """Markdown."""
        return self.path / "summary.md"

    @property
    def report(self) -> Path:
        """One HTML file that opens offline."""
        return self.path / "report.html"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace ``path`` by ``content`` as a whole: a reader sees the old file or the new one, never a part.

    An OSError names the path, as those of writing (a full disk) do not by themselves.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # a read-only file system refuses that, too
            temporary.unlink(missing_ok=True)
