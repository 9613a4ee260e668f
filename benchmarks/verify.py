"""How fast a run is verified: from the files on disk to verdict.json, in process CPU seconds.

The record is made up here, in a temporary directory: a correct MRSC store, or MREC with one writing Region and readers
elsewhere who lag half a second behind (so that two thirds of the reads are findings). Keys share the operations evenly;
the default is the hardest case, one hot key.

    .venv/bin/python benchmarks/verify.py
    .venv/bin/python benchmarks/verify.py --operations 10_000_000 --keys 1000 --workload counter
    .venv/bin/python benchmarks/verify.py --operations 100_000_000 --keys 10000 --workload counter --mode MRSC \
        --jobs 2 --rounds 1
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from verifier.engine import DEFAULT_MEMORY_BYTES, Limits
from verifier.history.columns import Int64
from verifier.history.compact import ROWS_A_GROUP, write_options
from verifier.history.schema import (
    ABSENT,
    COLUMNS,
    META_END,
    META_NULL,
    REPLICA_COLUMNS,
    WORKER_SHIFT,
    WRITER_ATTRIBUTE,
)
from verifier.rundir import RunDirectory, RunInfo, Versions, WorkerInfo

REGIONS = ("us-east-1", "us-east-2", "us-west-2")
WORKLOADS = ("register", "counter", "blind-counter")
"""The increments of a blind counter answer without the new value."""
STRETCH = 5_000_000
T0 = 10**12
SPACING_NS = 20_000
LAG_NS = 500_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--workload", choices=[*WORKLOADS, "all"], default="all")
    parser.add_argument("--mode", choices=["MRSC", "MREC", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, default=2, help="files that each five million operations are spread over"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes that judge")
    parser.add_argument("--memory", type=float, default=DEFAULT_MEMORY_BYTES / 1e9, help="GB, of all of them")
    parser.add_argument("--folder", type=Path, help="where the record is made up (some 25 bytes an operation)")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--report", action="store_true", help="write the report as well")
    parser.add_argument("--verify", metavar="DIR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.verify and options.report:
        report_once(Path(options.verify))
        return
    if options.verify:
        verify_once(Path(options.verify), options)
        return
    workloads = WORKLOADS if options.workload == "all" else (options.workload,)
    modes = ["MRSC", "MREC"] if options.mode == "both" else [options.mode]
    print(f"{options.operations:,} operations, {options.keys:,} keys, {options.jobs} at once, {options.memory:g} GB: "
          f"CPU and wall seconds of verify(), best of {options.rounds}; each in a process of its own")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="verify-", dir=options.folder) as folder:
        for workload in workloads:
            for mode in modes:
                path = Path(folder) / f"{workload}-{mode}"
                make_run(path, workload, mode, options.operations, options.keys, options.workers)
                size = sum(file.stat().st_size for file in path.rglob("*.parquet"))
                runs = [measured(path, options) for _ in range(options.rounds)]
                best = min(runs, key=lambda run: run["cpu_s"])
                print(
                    f"{workload:13} {mode}  CPU {best['cpu_s']:6.2f} s  wall {best['wall_s']:6.2f} s  "
                    f"{best['cpu_s'] / options.operations * 1e6:.2f} µs/op  "
                    f"peak {best['peak_mb']:,.0f} MB  {size / options.operations:.1f} B/op on disk  "
                    f"{best['violations']:,} violations  contract {best['contract']}",
                    flush=True,
                )
                if options.report:
                    once = measured(path, options, "--report")
                    print(f"{'its report':18}  CPU {once['cpu_s']:6.2f} s  wall {once['wall_s']:6.2f} s  "
                          f"{once['cpu_s'] / options.operations * 1e6:.2f} µs/op  peak {once['peak_mb']:,.0f} MB",
                          flush=True)  # fmt: skip
                shutil.rmtree(path)


def measured(path: Path, options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """One verification in a process of its own, its imports not counted; memory is that of all its processes."""
    command = [sys.executable, __file__, "--verify", str(path), *(["--profile"] if options.profile else [])]
    command += ["--jobs", str(options.jobs), "--memory", str(options.memory), *more]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        me = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                peak = max(peak, sum(one.memory_info().rss for one in [me, *me.children(recursive=True)]))
            time.sleep(0.05)
        assert process.stdout is not None
        *said, last = process.stdout.read().decode().strip().splitlines()
    if process.returncode:
        raise SystemExit(process.returncode)
    if said:
        print("\n".join(said))
    measurement: dict[str, Any] = json.loads(last)
    return {**measurement, "peak_mb": max(peak / 1e6, measurement["peak_mb"])}


def report_once(path: Path) -> None:
    from verifier.report import write_report

    wall, cpu = time.perf_counter(), cpu_s()
    write_report(RunDirectory(path))
    wall, cpu = time.perf_counter() - wall, cpu_s() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "peak_mb": peak_mb}))


def verify_once(path: Path, options: argparse.Namespace) -> None:
    from verifier.verify import verify

    steps: list[tuple[str, float]] = []
    wall, cpu = time.perf_counter(), cpu_s()
    verdict = verify(
        path,
        progress=lambda what, _: steps.append((what, time.process_time())),
        limits=Limits(int(options.memory * 1e9), options.jobs),
    )
    wall, cpu = time.perf_counter() - wall, cpu_s() - cpu
    if options.profile:
        for (what, begun), (_, ended) in itertools.pairwise(steps):
            print(f"  {ended - begun:6.3f} s  {what}")
    print(
        json.dumps(
            {
                "cpu_s": cpu,
                "wall_s": wall,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
                "violations": sum(check.violations for check in verdict.checks),
                "contract": verdict.contract_verdict,
            }
        )
    )


def cpu_s() -> float:
    """Of this process and of those that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def make_run(path: Path, workload: str, mode: str, operations: int, keys: int, workers: int) -> None:
    """A run directory, made up five million operations at a time, each on keys and by workers of their own."""
    directory = RunDirectory(path)
    directory.history.mkdir(parents=True)
    stretches = -(-operations // STRETCH)
    last, items = 0, []
    for number in range(stretches):
        ended, made = make_stretch(
            directory, workload, mode, operations // stretches, max(1, keys // stretches), workers, number
        )
        last, items = max(last, ended), items + made
    for item in items:
        item |= {"start_ns": last, "end_ns": last + 10**6}
    for name in REGIONS:
        for when, content in (("initial", []), ("final", items)):
            file = directory.replica(when, name)  # type: ignore[arg-type]
            file.parent.mkdir(exist_ok=True)
            pq.write_table(pa.Table.from_pylist(content, REPLICA_COLUMNS), file)
    directory.faults.write_text("")
    run = RunInfo(
        schema=1,
        run=path.name,
        profile={"name": "benchmark"},
        mode=mode,
        regions=list(REGIONS),
        table="benchmark",
        target="emulator",
        client="wire",
        seed=1,
        versions=Versions(lastwriter="0", python="0", locust="0", botocore="0"),
        workers=[WorkerInfo(worker=number, host="localhost") for number in range(stretches * workers)],
        created="2026-01-01T00:00:00Z",
        created_ns=0,
        start_ns=T0,
        end_ns=last,
        ended="finished",
        settled=True,
        queues_empty=True,
    )
    directory.run_json.write_text(run.model_dump_json(by_alias=True))


def make_stretch(
    directory: RunDirectory, workload: str, mode: str, operations: int, keys: int, workers: int, number: int
) -> tuple[int, list[dict[str, Any]]]:
    """Half reads, half updates, 64 processes a Region and worker, every operation in flight for a while; when the last
    ended, and the final items."""
    rng = np.random.default_rng(number)
    base = number * workers
    moment = T0 + np.arange(operations, dtype=np.int64) * SPACING_NS
    key = rng.integers(0, keys, operations)
    updating = rng.random(operations) < 0.5
    region = rng.integers(0, 3, operations)
    if mode == "MREC":
        region[updating] = 0
    worker = base + np.arange(operations) % workers
    op = (worker << WORKER_SHIFT) | (np.arange(operations) // workers)
    latency = 60 * SPACING_NS
    start = moment - rng.integers(1, latency // 2, operations)
    end = moment + rng.integers(1, latency // 2, operations)

    state, count = after(key, updating, op, moment, moment)
    if mode == "MREC":
        lagging = moment - LAG_NS
        behind_state, behind_count = after(key, updating, op, moment, lagging)
        remote = ~updating & (region != 0)
        state, count = np.where(remote, behind_state, state), np.where(remote, behind_count, count)
    before, _ = after(key, updating, op, moment, moment - 1)

    def text(values: list[str], codes: Int64) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(values, pa.string()))

    one = np.zeros(operations, np.int64)
    nothing = pa.nulls(operations, pa.dictionary(pa.int32(), pa.string()))
    counting, blind = workload != "register", workload == "blind-counter"
    prefix = f"{workload}-{number}"
    columns: dict[str, Any] = {
        "op": op,
        "intent": op,
        "attempt": one + 1,
        "token": pa.nulls(operations, pa.int64()),
        "worker": worker,
        "process": (np.arange(operations) % (64 * workers) + 64 * base) * 3 + region,  # a process lives in one Region
        "region": text(list(REGIONS), region),
        "home_region": nothing,
        "workload": text([workload + "s"], one),
        "kind": text(["read", "add" if counting else "write"], updating.astype(np.int64)),
        "key_class": nothing,
        "key": text([f"{prefix}-{place}" for place in range(keys)], key),
        "logical_key": nothing,
        "value": pa.array(one + 1 if counting else op, mask=~updating),
        "expect": pa.nulls(operations, pa.int64()),
        "result": pa.array(count, mask=updating if blind else None) if counting else pa.nulls(operations, pa.int64()),
        "saw": pa.array(np.where(updating, op, state), mask=updating if blind else None),
        "prev": pa.array(before, mask=np.ones(operations, np.bool_) if blind else ~updating),
        "outcome": one,
        "error": nothing,
        "units": pa.array(np.ones(operations, np.float32)),
        "scheduled_ns": start - 1000,
        "start_ns": start,
        "end_ns": end,
    }
    columns |= {one.name: pa.nulls(operations, one.type) for one in COLUMNS if one.name not in columns}
    table = pa.table({name: pa.array(column) if isinstance(column, np.ndarray) else column
                      for name, column in columns.items()}).select(COLUMNS.names).cast(COLUMNS)  # fmt: skip
    for mine_only in range(base, base + workers):
        mine = table.filter(pa.array(worker == mine_only))
        null = ",".join(name for name in COLUMNS.names if mine.column(name).null_count == mine.num_rows)
        marks = {META_END: str(mine.num_rows), META_NULL: null}
        mine = mine.replace_schema_metadata({**(COLUMNS.metadata or {}), **marks})
        file = directory.history / f"worker-{mine_only}.parquet"
        pq.write_table(mine, file, row_group_size=ROWS_A_GROUP, **write_options())

    last = int(end.max()) + 10**9
    present = np.unique(key[updating])
    final_state, final_count = after(key, updating, op, moment, np.full(keys, last), np.arange(keys))
    return last, [
        {
            "key": f"{prefix}-{place}",
            "value": int(final_count[place]) if counting else int(final_state[place]),
            "w": int(final_state[place]),
            "p": None,
            "item": json.dumps({WRITER_ATTRIBUTE: {"N": str(final_state[place])}}),
        }
        for place in present.tolist()
    ]


def after(
    key: Int64, updating: Int64, op: Int64, moment: Int64, at: Int64, keys_at: Int64 | None = None
) -> tuple[Int64, Int64]:
    """Writer of the state, and number of updates, of each key at (and including) a moment."""
    rows = np.flatnonzero(updating)
    order = rows[np.lexsort((moment[rows], key[rows]))]
    span = int(max(moment.max(), at.max())) + 1
    placed = key[order] * span + moment[order]
    of = key if keys_at is None else keys_at
    last = np.searchsorted(placed, of * span + at, side="right")
    base = np.searchsorted(key[order], of)
    count = last - base
    writers = np.append(op[order], ABSENT)
    return np.where(count > 0, writers[last - 1], ABSENT), count


if __name__ == "__main__":
    main()
