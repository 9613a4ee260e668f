"""A run's record from opening to closing: its directory, its table, the replicas before and after, ``run.json``.

The drill's supervisor uses it, and so does a locustfile that somebody started by hand. Nothing here drives load: the
caller says when load began and ended. Works with and without gevent (every wait is a plain call).
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lastwriter.client import clock
from lastwriter.client.refusals import HopelessError
from lastwriter.errors import UserError
from verifier.errors import RecordError
from verifier.history.schema import GROUP_ATTRIBUTE, INDEX_NAME
from verifier.history.streams import WHOLE
from verifier.rundir import (
    ClockAnchor,
    Mode,
    PhaseWindow,
    RunDirectory,
    RunInfo,
    Versions,
    WorkerInfo,
    write_atomically,
)

Ended = Literal["finished", "stopped", "interrupted", "aborted"]
Target = Literal["emulator", "endpoints", "aws"]

INDEX_DEADLINE_S: Final = 10.0
"""How long to wait for indexes to hold what their tables do."""

SETTLE_DEADLINE_S: Final = 60.0
"""How long to wait for the replicas to agree before the final state is read as it is."""

_POLL_S: Final = 0.1
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


class RunSession:
    """One run under way. Open it, then ``prepare``, drive load, ``loaded``, ``settle``, ``finish``: in that order.

    Every step that fails leaves ``run.json`` saying how far the run came; ``ended`` stays null until :meth:`finish`.
    """

    def __init__(self, directory: RunDirectory, info: RunInfo) -> None:
        self.directory = directory
        self.info = info
        self._needs: frozenset[str] = frozenset()

    @classmethod
    def open(
        cls,
        results: Path,
        name: str,
        profile: dict[str, Any],
        mode: Mode,
        regions: Iterable[str],
        witness: str | None,
        table: str,
        target: Target,
        client: Literal["wire", "boto3"],
        seed: int,
        *,
        arguments: Iterable[str] = (),
    ) -> RunSession:
        """Make ``results/<UTC time>-<name>-<mode>`` and its ``run.json``; UserError if it cannot be written.

        ``arguments`` are those of the ``lastwriter`` command that makes this run again.
        """
        now = datetime.now(UTC)
        created_ns = time.monotonic_ns()
        stem = f"{now:%Y%m%dT%H%M%SZ}-{_NOT_A_NAME.sub('-', name).strip('-.') or 'run'}-{mode.lower()}"
        directory = _make_directory(results, stem)
        info = RunInfo(
            run=directory.name,
            profile=profile,
            mode=mode,
            regions=list(regions),
            witness=witness,
            table=table,
            target=target,
            client=client,
            seed=seed,
            arguments=list(arguments),
            versions=_versions(),
            host=clock.host(),
            created=now.isoformat(timespec="milliseconds"),
            created_ns=created_ns,
        )
        session = cls(directory, info)
        session._write_info()
        return session

    def prepare(self, endpoints: Mapping[str, str], needs: Collection[str] = ()) -> None:
        """Make the table where it is missing, with what its workloads need, and read every replica into ``initial/``.

        UserError if the table is there and its replicas differ: nothing could be concluded from such a start.
        """
        from lastwriter.client import tables
        from lastwriter.client.credentials import credentials_for

        replicas_at = {region: endpoints[region] for region in self.info.regions}
        tables.create_global_table(
            replicas_at,
            self.info.table,
            self.info.mode,
            self.info.witness,
            credentials=credentials_for(self.info.target),
            needs=needs,
        )
        self._needs = frozenset(needs)
        replicas = self._read_replicas(endpoints)
        if not _equal(replicas.values()):
            raise UserError(
                f"table {self.info.table}: the replicas differ before the run has begun; "
                "wait until they agree, or name another table with --set target.table=NAME"
            )
        self._write_replicas("initial", replicas)

    def begun(self, start_ns: int, workers: Iterable[WorkerInfo], anchors: Iterable[ClockAnchor] = ()) -> None:
        """Note when load begins (t0), and who drives it: of a run that is killed this is known then."""
        self.loaded(start_ns, None, (), workers, anchors)

    def loaded(
        self,
        start_ns: int | None,
        end_ns: int | None,
        phases: Iterable[PhaseWindow] = (),
        workers: Iterable[WorkerInfo] = (),
        anchors: Iterable[ClockAnchor] = (),
    ) -> None:
        """Note when load began (t0) and ended, in which phases, who drove it, and how their clocks stood."""
        self.info.start_ns = start_ns
        self.info.end_ns = end_ns
        self.info.phases = list(phases)
        self.info.workers = list(workers)
        self.info.clock = list(anchors)
        self._write_info()

    def warn(self, sentence: str) -> None:
        """Keep a warning with the run."""
        if sentence not in self.info.warnings:
            self.info.warnings.append(sentence)

    def settle(
        self,
        endpoints: Mapping[str, str],
        control: str | None = None,
        deadline_s: float = SETTLE_DEADLINE_S,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Wait until replication is done, then read every replica into ``final/``; whether it was done.

        With an emulator (``control`` is its control URL) done means that nothing is queued anywhere; otherwise, that
        the replicas are equal: no message still under way can change them then, because whoever sent it already shows
        a newer state. At the deadline, or as soon as ``stop`` says so, the replicas are read as they are.
        """
        began = time.monotonic()
        deadline = began + deadline_s

        def over() -> bool:
            return stop() or time.monotonic() >= deadline

        if control is not None:
            self.info.queues_empty = _wait_quiet(control, over)
        replicas: dict[str, pa.Table] = {}
        failures: dict[str, UserError] = {}
        while True:
            try:
                failures.clear()
                replicas = self._read_replicas(endpoints, failures)
            except UserError as error:
                failures[""] = error
            equal = not failures and _equal(replicas.values())
            hopeless = any(isinstance(failure, HopelessError) for failure in failures.values())
            quiet = self.info.queues_empty and "ttl" not in self._needs  # where time is over, items go on going
            gone = control is not None and self.info.queues_empty is None and not replicas  # the whole emulator is
            if equal or over() or hopeless or gone or (quiet and not failures):
                break
            time.sleep(_POLL_S * 5)
        self.info.settled = equal or (bool(self.info.queues_empty) and not failures)
        self._write_replicas("final", replicas)
        self._read_more(endpoints)
        for region, reason in failures.items():
            self.warn(f"the final state of {region or 'the replicas'} could not be read: {reason}")
        if not self.info.settled and not hopeless and not gone:
            self.warn(f"the replicas had not settled {time.monotonic() - began:.0f} s after the end of the load")
        self._write_info()
        return self.info.settled

    def finish(self, ended: Ended, reason: str | None = None) -> None:
        """Compact the histories and write the last ``run.json``. The run can be verified from here on."""
        from verifier.history.compact import compact

        try:
            if self.directory.history.is_dir():
                compact(self.directory)
        except (RecordError, OSError) as error:
            self.warn(f"the histories stay as the workers wrote them: {error}")
        self.info.ended = ended
        self.info.reason = reason
        self._write_info()

    def _read_replicas(
        self, endpoints: Mapping[str, str], failures: dict[str, UserError] | None = None
    ) -> dict[str, pa.Table]:
        """Every replica that has an endpoint. With ``failures``, what cannot be read is noted there and left out."""
        from lastwriter.client import tables
        from lastwriter.client.credentials import credentials_for

        found: dict[str, pa.Table] = {}
        for region in self.info.regions:
            if region not in endpoints:
                continue
            try:
                found[region] = tables.read_replica(
                    endpoints[region], region, self.info.table, credentials=credentials_for(self.info.target)
                )
            except UserError as error:
                if failures is None:
                    raise
                failures[region] = error
        return found

    def _read_more(self, endpoints: Mapping[str, str]) -> None:
        """What the workloads need besides the items: every Region's index, and its stream from its beginning."""
        from lastwriter.client import stream_reader, tables
        from lastwriter.client.credentials import credentials_for

        credentials, regions = credentials_for(self.info.target), self.info.regions
        try:
            if "index" in self._needs:
                table, patience = self.info.table, time.monotonic() + INDEX_DEADLINE_S
                found: dict[str, pa.Table] = {}
                for region in regions:
                    items = pq.read_table(self.directory.replica("final", region))["item"].to_pylist()
                    indexed = sorted(item for item in items if f'"{GROUP_ATTRIBUTE}":' in item)
                    while True:
                        found[region] = tables.read_replica(
                            endpoints[region], region, table, credentials=credentials, index=INDEX_NAME
                        )
                        if sorted(found[region]["item"].to_pylist()) == indexed or time.monotonic() > patience:
                            break
                        time.sleep(_POLL_S)
                self._write_replicas("index", found)
            if "streams" in self._needs:
                everything = stream_reader.read_all(endpoints, self.info.table, credentials, regions)
                everything.write(self.directory.streams / f"{WHOLE}.parquet")
        except (UserError, OSError) as error:
            self.warn(f"indexes and streams could not be read to their ends: {error}")

    def _write_replicas(self, when: Literal["initial", "final", "index"], replicas: Mapping[str, pa.Table]) -> None:
        for region, items in replicas.items():
            path = self.directory.replica(when, region)
            path.parent.mkdir(exist_ok=True)
            sink = pa.BufferOutputStream()
            pq.write_table(items, sink, compression="zstd", write_page_checksum=True)
            write_atomically(path, sink.getvalue().to_pybytes())

    def _write_info(self) -> None:
        write_atomically(self.directory.run_json, self.info.model_dump_json(by_alias=True, indent=2) + "\n")


def task_error(error: str) -> str:
    """What a run says of a task that raised."""
    return f"a task of the locustfile raised {error}: what it had left to do is missing from the load"


def control_state(control: str, timeout_s: float = 5.0) -> dict[str, Any]:
    """The emulator's ``GET /_lastwriter/state`` (see :class:`lastwriter.emulator.faults.EmulatorState`)."""
    with urllib.request.urlopen(f"{control}/_lastwriter/state", timeout=timeout_s) as reply:  # noqa: S310 - our own URL
        state: dict[str, Any] = json.load(reply)
    return state


def _make_directory(results: Path, stem: str) -> RunDirectory:
    """A new directory in ``results``; two runs of one second get names that differ."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            path = results / (stem if attempt == 1 else f"{stem}-{attempt}")
            try:
                path.mkdir()
            except FileExistsError:
                if path.is_dir():
                    continue
                raise
            break
        else:
            raise UserError(f"results folder {results}: a thousand runs named {stem} already; name another folder")
        for folder in ("history", "logs"):
            (path / folder).mkdir()
        return RunDirectory(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"results folder {results} cannot be written ({reason}); name another with --results DIR"
        ) from error


def _versions() -> Versions:
    def of(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "unknown"

    return Versions(
        lastwriter=of("lastwriter"), python=platform.python_version(), locust=of("locust"), botocore=of("botocore")
    )


def _wait_quiet(control: str, over: Callable[[], bool]) -> bool | None:
    """Whether the emulator came to rest with no fault in effect; None if it did not answer."""
    while True:
        try:
            state = control_state(control)
        except (OSError, urllib.error.URLError, ValueError):
            return None
        if state["quiet"] and all(fault["healed_ns"] is not None for fault in state["faults"]):
            return True
        if over():
            return False
        time.sleep(_POLL_S)


def _equal(replicas: Iterable[pa.Table]) -> bool:
    """Whether all replicas hold the same items."""
    first: pa.Table | None = None
    for items in replicas:
        current = items.select(["key", "item"]).sort_by([("key", "ascending"), ("item", "ascending")])
        if first is None:
            first = current
        elif not first.equals(current):
            return False
    return True
