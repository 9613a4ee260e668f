"""From a run directory to what the checks take: operations, and everything they may know besides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from verifier.checks.types import Context
from verifier.clocks import clocks_of, worst_epsilon_ns
from verifier.errors import RecordError
from verifier.history.columns import History
from verifier.history.lag import read_slow_seconds
from verifier.history.reader import read_history
from verifier.history.replicas import read_replicas, replica_keys
from verifier.history.streams import read_streams
from verifier.rundir import FaultRecord, RouteEvent, RunDirectory, RunInfo

_Line = TypeVar("_Line", bound=BaseModel)


def read_run(directory: RunDirectory) -> RunInfo:
    """``run.json``. Raises :class:`RecordError`."""
    path = directory.run_json
    try:
        return RunInfo.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{directory.path}: there is no run.json: this is not a run directory") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValidationError as error:
        raise RecordError(f"{path}: {_first(error)}") from None


def read_faults(directory: RunDirectory) -> tuple[FaultRecord, ...]:
    """``faults.jsonl``; the last line of a fault stands, as a fault is written again when it heals."""
    faults = _lines(directory.faults, FaultRecord, "the fault windows cannot be trusted")
    return tuple({fault.id: fault for fault in faults}.values())


def read_routes(directory: RunDirectory) -> tuple[RouteEvent, ...]:
    """``routes.jsonl``: what the application's failover decided and did; empty where no load follows routes."""
    return tuple(_lines(directory.routes, RouteEvent, "what the failover cost cannot be told"))


def _lines(path: Path, model: type[_Line], consequence: str) -> Iterator[_Line]:
    """The lines of a file, if it is there; the last may be torn by a run that was killed while it wrote it."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error})") from None
    whole, _, torn = text.rpartition("\n")
    for number, line in enumerate([*whole.split("\n"), torn], 1):
        if not line.strip():
            continue
        try:
            yield model.model_validate_json(line)
        except ValidationError as error:
            if line is torn:
                return
            raise RecordError(f"{path}:{number}: {_first(error)}; {consequence}") from None


def unread_faults(directory: RunDirectory, context: Context) -> list[str]:
    """Whether a run that ended as planned tells of none of its faults, and what that means; a line."""
    phases, loads = (context.run.profile.get(name) or [] for name in ("phases", "load"))
    planned = sum(len(phase.get("faults") or []) for phase in phases if isinstance(phase, dict))
    early = bool(loads) and all(
        isinstance(load, dict) and load.get("intents") is not None for load in loads
    )  # it may have ended before them
    if context.faults or not planned or early or context.run.ended != "finished":
        return []
    return [f"{directory.faults.name} tells of no fault, and {planned} were planned: what they cost is not told apart"]


def context_of_run(directory: RunDirectory) -> Context:
    """What is known of a run without its operations and items. Raises :class:`RecordError`."""
    run = read_run(directory)
    clocks = clocks_of(run)
    return Context(
        mode=run.mode,
        regions=tuple(run.regions),
        run=run,
        faults=read_faults(directory),
        routes=read_routes(directory),
        clocks=clocks,
        slow_seconds={} if run.start_ns is None else read_slow_seconds(directory.history, run.start_ns, clocks),
    )


def read_context(path: Path, context: Context | None = None) -> tuple[History, Context]:
    """Everything that a run left, ready to be checked; ``context`` where the run's is known. Raises RecordError."""
    directory = RunDirectory(path)
    context = context or context_of_run(directory)
    history = read_history(directory, replica_keys(directory))
    if context.clocks is not None:
        history = context.clocks.corrected(history)
    first = int(history.scheduled_ns.min()) if len(history) else None
    epsilon = worst_epsilon_ns(context.clocks, history)
    return _with_replicas(directory, history, replace(context, epsilon_ns=epsilon, first_scheduled_ns=first))


def context_of_part(directory: RunDirectory, context: Context, history: History) -> tuple[History, Context]:
    """The context of a run for some of its keys, those of the history; and the history. Raises :class:`RecordError`."""
    return _with_replicas(directory, history, replace(context, shared={}), part=True)


def _with_replicas(
    directory: RunDirectory, history: History, context: Context, *, part: bool = False
) -> tuple[History, Context]:
    history, initial = read_replicas(directory, "initial", history, part=part)
    history, final = read_replicas(directory, "final", history, part=part)
    regions = [region for region in dict.fromkeys([*context.run.regions, *final]) if region in final]
    history, index = read_replicas(directory, "index", history, part=part)
    streams = read_streams(directory, context.run, history)
    return history, replace(
        context,
        initial=initial,
        final={region: final[region] for region in regions},
        index=index,
        streams=streams,
    )


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    said = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
