"""From a run directory to what the checks take: operations, and everything they may know besides."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from verifier.checks.types import Context
from verifier.clocks import clocks_of, worst_epsilon_ns
from verifier.errors import RecordError
from verifier.history.columns import History
from verifier.history.lag import read_slow_seconds
from verifier.history.reader import read_history, read_replicas, replica_keys
from verifier.rundir import FaultRecord, RunDirectory, RunInfo


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
        raise RecordError(f"{path}: {_first(error)}; a run that cannot be described cannot be judged") from None


def read_faults(directory: RunDirectory) -> tuple[FaultRecord, ...]:
    """``faults.jsonl``; the last line of a fault stands, as a fault is written again when it heals."""
    path = directory.faults
    try:
        text = path.read_text()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read ({error})") from None
    faults: dict[str, FaultRecord] = {}
    whole, _, torn = text.rpartition("\n")
    for number, line in enumerate([*whole.split("\n"), torn], 1):
        if not line.strip():
            continue
        try:
            fault = FaultRecord.model_validate_json(line)
        except ValidationError as error:
            if line is torn:  # a run that was killed while it wrote its last line
                break
            raise RecordError(f"{path}:{number}: {_first(error)}; the fault windows cannot be trusted") from None
        faults[fault.id] = fault
    return tuple(faults.values())


def read_context(path: Path) -> tuple[History, Context]:
    """Everything that a run left, ready to be checked. Raises :class:`RecordError`."""
    directory = RunDirectory(path)
    run = read_run(directory)
    faults = read_faults(directory)
    history = read_history(directory, replica_keys(directory))
    clocks = clocks_of(run)
    if clocks is not None:
        history = clocks.corrected(history)
    history, initial = read_replicas(directory, "initial", history)
    history, final = read_replicas(directory, "final", history)
    slow = {} if run.start_ns is None else read_slow_seconds(directory.history, run.start_ns)
    context = Context(
        mode=run.mode,
        regions=tuple(run.regions),
        run=run,
        faults=faults,
        initial=initial,
        final={region: final[region] for region in (*run.regions, *final) if region in final},
        epsilon_ns=worst_epsilon_ns(clocks, history),
        clocks=clocks,
        first_scheduled_ns=int(history.scheduled_ns.min()) if len(history) else None,
        slow_seconds=slow,
    )
    return history, context


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])
