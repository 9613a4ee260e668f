"""One run of a drill: from an empty run directory to a verdict, whatever happens on the way.

The order is open → emulator → table → load with faults → settle → final state → verdict → report. What fails before the
load is wrong use or an abort; from the load on, whatever was recorded is kept, settled as far as it can be, and judged.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lastwriter.client.session import RunSession
from lastwriter.drill.interrupts import Interrupts, Now
from lastwriter.drill.profile import Profile
from lastwriter.drill.progress import Progress
from lastwriter.drill.supervisor import RunOptions, Supervisor
from lastwriter.errors import RunAborted
from lastwriter.resources import workloads
from verifier.errors import RecordError
from verifier.rundir import RunDirectory

if TYPE_CHECKING:
    from verifier.verdict import Verdict


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run."""

    directory: RunDirectory
    verdict: Verdict | None
    """Null: it ended before anything could be judged."""
    report: Path | None
    aborted: str | None
    """Why it did not run to its end; null: it did."""


def run_drill(profile: Profile, path: Path, options: RunOptions, progress: Progress) -> RunResult:
    """Run ``profile`` (read from ``path``) and judge it.

    UserError for what can be mended before the run, RunAborted if it could not go on and there is nothing to judge.
    """
    locustfiles = _locustfiles(profile, path)
    seed = options.seed if options.seed is not None else secrets.randbelow(1 << 31)
    with Interrupts() as interrupts:
        session = RunSession.open(
            options.results,
            profile.name,
            profile.model_dump(mode="json"),
            profile.target.mode,
            profile.target.regions,
            profile.target.witness,
            profile.target.table,
            profile.target.kind,
            options.client,
            seed,
            arguments=[*options.arguments, "--seed", str(seed)] if options.arguments else (),
        )
        supervisor = Supervisor(profile, options, session, seed, locustfiles, progress, interrupts)
        try:
            with progress:
                aborted = supervisor.run()
                with interrupts.next_one():
                    return _judge(session, progress, aborted)
        except Now:
            if session.info.ended is None:
                session.finish("aborted", "ended at once by a second Ctrl-C")
            raise RunAborted(
                f"ended at once; `lastwriter verify {session.directory.path}` judges what was recorded"
            ) from None
        except OSError as error:
            reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
            if session.info.ended is None:
                with contextlib.suppress(OSError):  # a full disk takes no last word, either
                    session.finish("aborted", reason)
            raise RunAborted(
                f"{reason}; once that is mended, `lastwriter verify {session.directory.path}` judges what was recorded"
            ) from error
        except Exception as error:
            if session.info.ended is None:
                session.finish("aborted", f"{type(error).__name__}: {error}")
            raise


def _judge(session: RunSession, progress: Progress, aborted: str | None) -> RunResult:
    """Verify what was recorded and write the report."""
    from verifier.report import write_report
    from verifier.verify import verify

    directory = session.directory
    if session.info.start_ns is None:
        raise RunAborted(f"{aborted or 'the load never began'}; nothing was recorded ({directory.path})")
    progress.step("verifying")
    try:
        verdict = verify(directory.path)
    except RecordError as error:
        if aborted is None:
            raise
        raise RunAborted(f"{aborted}; what was recorded cannot be judged: {error}") from error
    progress.step("writing the report")
    report: Path | None = None
    try:
        report = write_report(directory)
    except Exception as error:  # noqa: BLE001 - the verdict stands, and is said, without its picture
        progress.note(
            f"the report could not be written: {type(error).__name__}: {error} "
            f"(`lastwriter report {directory.path} --debug` shows where)"
        )
    return RunResult(directory, verdict, report, aborted)


def _locustfiles(profile: Profile, path: Path) -> list[Path]:
    known = workloads(path)
    return [known[name] for name in dict.fromkeys(load.workload for load in profile.load)]
