"""The parts of a history judged by a Dask cluster (extra ``lastwriter[cluster]``), with the same verdict to the byte.

The workers read the record themselves, from a URL or from a path that all of them see. A worker's file is looked
through and cut up where Dask likes; the pieces stay on the cluster and go to whoever judges their part. Everything is
made again from the record if the worker that had it is lost: that costs time and not the verdict.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from verifier.checks.types import Context
from verifier.engine import Cut, Limits, judge_pieces, with_clocks_of
from verifier.errors import RecordError
from verifier.history.parts import split
from verifier.history.survey import PartKeys, Plan, Survey, plan_of, survey
from verifier.part import Asked, Part, Say, laid_down
from verifier.processes import scratch
from verifier.remote import Place
from verifier.rundir import RunDirectory

_CONNECT_S = 20
_ITEMS = ("initial/", "final/", "index/", "streams/")
"""Folders of a run that whoever judges a part reads."""


@contextlib.contextmanager
def judged_on_cluster(
    scheduler: str,
    place: Place,
    directory: RunDirectory,
    context: Context,
    asked: Sequence[Asked],
    limits: Limits,
    say: Say,
) -> Iterator[Cut]:
    """Judge a record part by part on the cluster of this scheduler. Raises :class:`RecordError`.

    ``directory`` holds the record without its history, which only the workers read.
    """
    distributed = _distributed()
    names = history_files(place)
    say("looking for the cluster", 0.0)
    try:
        client = distributed.Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise RecordError(f"--scheduler {scheduler}: no cluster answers there ({error})") from None
    with client, scratch(directory.path) as folder:
        say("looking through the record", 0.05)
        t0 = context.run.start_ns or 0
        surveys = client.gather([client.submit(_survey, place, name, t0, context, pure=False) for name in names])
        threads = max(1, sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()))
        rows = max(1, limits.memory_bytes // limits.bytes_an_operation)
        plan = plan_of(directory, surveys, rows, threads)
        context = with_clocks_of(context, surveys)
        # The plan is the result of a task, and not sent to a worker: so it outlives any of them.
        shared = client.submit(_itself, plan, pure=False)
        pieces = [
            client.submit(_cut_up, place, names[source], shared, source, first, last, pure=False)
            for source, first, last in plan.pieces(rows)
        ]
        futures = {}
        for number in range(plan.parts):
            mine = [client.submit(_of_part, piece, number, pure=False) for piece in pieces]
            part = client.submit(_judge, plan.keys_of(number), place, context, tuple(asked), mine, pure=False)
            futures[part] = number
        del pieces, mine
        parts: list[Part | None] = [None] * plan.parts
        for behind, (future, result) in enumerate(
            distributed.as_completed(futures, loop=client.loop, with_results=True)
        ):
            number = futures[future]
            parts[number] = laid_down(result, folder, number)
            future.release()
            say(f"judged {behind + 1:,} of {plan.parts:,} parts", 0.1 + 0.75 * (behind + 1) / plan.parts)
        late = frozenset(second for one in surveys for second in one.late)
        yield Cut(context, plan, [part for part in parts if part is not None], late)


def history_files(place: Place) -> list[str]:
    """The workers' files of a run, relative to it, in order; of a worker with both kinds the compacted one."""
    found: dict[int, str] = {}
    for name in sorted(place.files()):  # .arrow before .parquet
        path = Path(name)
        number = path.stem.removeprefix("worker-")
        if str(path.parent) == "history" and path.suffix in (".arrow", ".parquet") and number.isdecimal():
            found[int(number)] = name
    if not found:
        raise RecordError(f"{place.name}/history: there is no history (no worker-N.arrow or worker-N.parquet)")
    return [found[number] for number in sorted(found)]


def is_history(name: str) -> bool:
    """Whether a file of a run holds operations."""
    return name.startswith("history/") and name.endswith((".arrow", ".parquet"))


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise RecordError("--scheduler needs Dask: pip install 'lastwriter[cluster]'") from None
    return distributed


# What the workers do.


def _survey(place: Place, name: str, t0_ns: int, context: Context) -> Survey:
    with place.at_hand(lambda file: file == name) as directory:
        worker = int(Path(name).stem.removeprefix("worker-"))
        return survey(directory.path / name, t0_ns, context.clocks, worker in context.slow_seconds)


def _itself(plan: Plan) -> Plan:
    return plan


def _cut_up(place: Place, name: str, plan: Plan, source: int, first: int, last: int) -> dict[int, pa.Table]:
    with place.at_hand(lambda file: file == name) as directory:
        return split(plan, source, first, last, directory.path / name)


def _of_part(piece: dict[int, pa.Table], number: int) -> pa.Table | None:
    return piece.get(number)


def _judge(
    keys: PartKeys, place: Place, context: Context, asked: Sequence[Asked], pieces: Sequence[pa.Table | None]
) -> Part:
    with place.at_hand(lambda file: file.startswith(_ITEMS)) as directory:
        return judge_pieces(keys, directory, context, asked, [piece for piece in pieces if piece is not None])
