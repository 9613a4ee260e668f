"""The ``lastwriter`` command: reads options, calls the rooms below, says what came of it, sets the exit code.

Imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from lastwriter.errors import RunAborted, UserError
from lastwriter.unread import be_patient
from verifier.errors import RecordError

if TYPE_CHECKING:
    from verifier.verdict import Verdict

WRONG_USE: Final = 2
INCONCLUSIVE: Final = 3
ABORTED: Final = 4

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_MODE: Final = click.Choice(["MREC", "MRSC"], case_sensitive=False)
_EXIT_CODES: Final = "Exit code: 0 expectations met, 1 not met, 2 wrong use, 3 inconclusive, 4 aborted."


def main() -> None:
    """Entry point: one line for what a user can mend, a traceback only with ``--debug``."""
    debug = "--debug" in sys.argv[1:]
    be_patient()
    for number in (signal.SIGTERM, signal.SIGHUP):  # like Ctrl-C, so that nothing is left behind
        if signal.getsignal(number) == signal.SIG_DFL:  # and not if `nohup` says to go on
            signal.signal(number, _interrupt)
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Abort:
        _fail("interrupted", ABORTED)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "lastwriter"
        _fail(f"{error.format_message()} (see `{where} --help`)", WRONG_USE)
    except click.ClickException as error:
        _fail(error.format_message(), WRONG_USE)
    except (UserError, RecordError, RunAborted) as error:
        if debug:
            raise
        codes: dict[type[Exception], int] = {UserError: WRONG_USE, RecordError: INCONCLUSIVE, RunAborted: ABORTED}
        _fail(str(error), codes[type(error)])
    except MemoryError:
        if debug:
            raise
        _fail("memory ran out (`verify` takes less with --memory 500MB --jobs 1)", ABORTED)
    except OSError as error:
        if debug:
            raise
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error), ABORTED)
    except Exception as error:
        if debug:
            raise
        _fail(f"this is a bug in lastwriter: {type(error).__name__}: {error} (--debug shows where)", ABORTED)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _fail(line: str, code: int) -> None:
    click.echo(f"lastwriter: {' '.join(line.split())}", err=True)
    sys.exit(code)


class _InOrder(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First time: `lastwriter run quickstart`. " + _EXIT_CODES,
)
@click.version_option(package_name="lastwriter", message="%(package)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks instead of one line.")
def cli(debug: bool) -> None:
    """Drive load at DynamoDB global tables in several Regions at once, break things meanwhile, and prove from the
    record what was kept and what was lost."""


def _debug_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks instead of one line.")(
        command
    )


def _results_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--results",
        type=click.Path(file_okay=True, path_type=Path),
        default=Path("results"),
        show_default=True,
        envvar="LASTWRITER_RESULTS",
        help="Folder of the runs, one directory each.",
    )(command)


@cli.command(short_help="Run a drill, judge it, write the report.")
@click.argument("profile")
@click.option(
    "--mode", type=click.Choice(["MREC", "MRSC"], case_sensitive=False), help="Instead of the profile's mode."
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Locust workers.")
@click.option("--seed", type=click.IntRange(0), help="Of every random draw; default: drawn, and kept in run.json.")
@click.option(
    "--client",
    type=click.Choice(["wire", "boto3"]),
    default="wire",
    show_default=True,
    help="The wire client, or boto3 with its retries off.",
)
@_results_option
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a value; may be repeated.")
@click.option("--short", is_flag=True, help="Shorter phases, all faults.")
@_debug_option
def run(
    profile: str,
    mode: str | None,
    workers: int,
    seed: int | None,
    client: str,
    results: Path,
    overrides: tuple[str, ...],
    short: bool,
) -> int:
    """Run the drill PROFILE (a file, or the name of a packaged one), judge it, write the report.

    \b
    Examples:
      lastwriter run quickstart
      lastwriter run quickstart --mode MRSC --short
      lastwriter run drill.yaml --set load.0.rate=200/s --set phases.fault.duration=5s
      lastwriter run quickstart --set 'target.regions=[eu-west-1, eu-central-1, us-east-1]'

    Exit code: 0 expectations met, 1 not met, 2 wrong use, 3 inconclusive, 4 aborted or interrupted.
    """
    from lastwriter.drill.profile_file import Override, parse_override, read_profile
    from lastwriter.drill.progress import progress_for
    from lastwriter.drill.run import run_drill
    from lastwriter.drill.supervisor import RunOptions
    from lastwriter.resources import find_profile

    path = find_profile(profile)
    changes = [parse_override(text) for text in overrides]
    if mode is not None:
        changes.append(Override("target.mode", mode, f"--mode {mode}"))
    drill = read_profile(path, changes)
    if short:
        drill = drill.shortened()
    given = ["run", profile, "--mode", drill.target.mode, "--workers", str(workers), "--client", client]
    given += [part for text in overrides for part in ("--set", text)] + (["--short"] if short else [])
    options = RunOptions(results, workers, seed, "boto3" if client == "boto3" else "wire", tuple(given))
    click.echo(f"drill {drill.name}, {drill.target.mode}: {' '.join(drill.hypothesis.split())}", err=True)
    result = run_drill(drill, path, options, progress_for(drill))
    if result.verdict is not None:
        _say(result.verdict)
    click.echo(f"\nrun:    {result.directory.path}")
    if result.report is not None:
        click.echo(f"report: {result.report}")
    if result.aborted is not None:
        raise RunAborted(f"{result.aborted}; the above is what was recorded until then")
    return _code(result.verdict)


@cli.command(short_help="Judge a run again, or a history from elsewhere.")
@click.argument("run_name", metavar="RUN|FILE")
@_results_option
@click.option("--model", metavar="NAME|FILE.py:NAME", help="Judge a history from elsewhere, by this model.")
@click.option("--deadline", metavar="TIME", help="Give up the general search after so long [30s; with --model 60s].")
@click.option("--memory", metavar="SIZE", help="Use no more: of all processes [2GB]; with --model, give up [1GiB].")
@click.option("--search-memory", metavar="SIZE", help="Give up the general search of a RUN at so much [1GiB].")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes that judge a large run [one a core].")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Judge on this Dask cluster (lastwriter[cluster]).")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write the verdict there."
)
@click.option(
    "--refusals",
    type=click.Choice(["judge", "drop"]),
    default="judge",
    show_default=True,
    help="A refused cas says that the value was another, or nothing (with --model).",
)
@click.option("--initial", metavar="EDN", help='What the object is at first, if not nothing: 0, "x" (with --model).')
@click.option(
    "--export", type=click.Path(dir_okay=False, path_type=Path), help="Write the operations: .edn (Jepsen's) or .jsonl."
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw how far the general search got: .html or .svg.",
)
@_debug_option
def verify(
    run_name: str,
    results: Path,
    model: str | None,
    deadline: str | None,
    memory: str | None,
    search_memory: str | None,
    jobs: int | None,
    scheduler: str | None,
    output: Path | None,
    refusals: str,
    initial: str | None,
    export: Path | None,
    picture: Path | None,
) -> int:
    """Judge RUN again from its record: a path, a name under the results folder, `latest`, or a URL like
    s3://bucket/run. A run larger than memory is cut into parts on disk; the verdict is the same to the byte. With
    --model, judge FILE, a history from elsewhere: Jepsen's logs and EDN, key-value logs, JSON lines.

    \b
    Examples:
      lastwriter verify latest
      lastwriter verify results/20261012T101530Z-quickstart-mrec
      lastwriter verify s3://drills/20261012T101530Z-quickstart-mrec --scheduler tcp://10.0.0.5:8786
      lastwriter verify etcd.log --model cas-register --picture how-far.html
      lastwriter verify latest --export run.edn

    Models: register, cas-register, counter, set, queue, key-value, or your own (docs/models.md).

    Exit code: 0 expectations met (FILE: holds), 1 not met (violated), 2 wrong use, 3 inconclusive.
    """
    if model is not None:
        from lastwriter.verify_file import FileOptions, verify_file

        options = FileOptions(
            model, deadline or "60s", memory, "drop" if refusals == "drop" else "judge", export, picture, initial
        )
        return verify_file(Path(run_name), options, click.echo)
    if Path(run_name).is_file():
        raise UserError(f"{run_name} is a file: say by which --model to judge it, for example --model cas-register")
    from lastwriter.verify_run import RunOptions, verify_run

    verdict, made = verify_run(
        run_name, results, RunOptions(memory, jobs, scheduler, output, deadline, search_memory, picture, export)
    )
    _say(verdict)
    click.echo()
    for what, where in made.items():
        click.echo(f"{what}: {where}")
    return _code(verdict)


@cli.command(short_help="Write the report of a run, open it.")
@click.argument("run_name", metavar="RUN")
@click.option("--open", "open_it", is_flag=True, help="Open it in a browser.")
@_results_option
@_debug_option
def report(run_name: str, open_it: bool, results: Path) -> None:
    """Write report.html of RUN (judging it first, where that has not been done) and say where it is. RUN may be a URL,
    as it may be for `verify`.

    \b
    Examples:
      lastwriter report latest --open
    """
    from lastwriter.verify_run import report_run
    from verifier.remote import is_url

    path = report_run(run_name, results)
    click.echo(path)
    if open_it:
        click.launch(path if is_url(path) else Path(path).resolve().as_uri())


@cli.command()
@_results_option
@_debug_option
def runs(results: Path) -> None:
    """List the runs, newest first, with their verdicts."""
    from lastwriter.drill.runs import list_runs

    found = list_runs(results)
    if not found:
        click.echo(f"no run in {results} yet; make one with `lastwriter run quickstart`", err=True)
    for listed in found:
        state = listed.verdict if listed.ended == "finished" else f"{listed.verdict}, {listed.ended}"
        click.echo(f"{listed.directory.name}  {state}" + (f"\n    {listed.headline}" if listed.headline else ""))


@cli.command(short_help="Global tables on loopback.")
@click.option("--regions", required=True, metavar="A,B,C", help="Regions to listen for, in the order of their ports.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Of the first Region; 0: any."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--table", help="Make this global table over all Regions, ready for use (key: pk, a string).")
@click.option("--mode", type=_MODE, metavar="MREC|MRSC", default="MREC", show_default=True, help="Of that table.")
@click.option("--witness", metavar="REGION", help="MRSC with two Regions: where the witness is.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting, like replicator_delay=2s.")
@click.option(
    "--bug",
    "bugs",
    multiple=True,
    metavar="NAME",
    help="Break the store on purpose, to test what tests it: see the docs.",
)
@click.option("--auth", type=_FILE, metavar="FILE", help="Check signatures: access keys and what they may not do.")
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="Speak HTTPS at the Regions' ports: certificate (PEM).")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Its key (PEM), if it is not in the same file.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep everything there: an emulator started on it again has it, whatever ended the last one.",
)
@click.option("--ports", metavar="PORT,…", help="One for each Region, then the control port; in place of --port.")
@click.option("--json", "as_json", is_flag=True, help="Print the endpoints as one line of JSON.")
@click.option("--parent", type=int, metavar="PID", help="End when this process is no longer the parent.")
@_debug_option
def emulator(
    regions: str,
    port: int,
    host: str,
    table: str | None,
    mode: str,
    witness: str | None,
    settings: tuple[str, ...],
    bugs: tuple[str, ...],
    auth: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    data: Path | None,
    ports: str | None,
    as_json: bool,
    parent: int | None,
) -> int:
    """Global tables on loopback: one port a Region, consecutive from --port, then the control port.

    \b
    Examples:
      lastwriter emulator --regions us-east-1,us-east-2,us-west-2
      lastwriter emulator --regions us-east-1,us-east-2,us-west-2 --table orders --mode MRSC
      lastwriter emulator --regions eu-west-1,eu-central-1 --port 0 --json --set replicator_delay=2s
    """
    from lastwriter.emulator.core.bugs import parse_bugs
    from lastwriter.emulator.settings import Settings
    from lastwriter.emulator.shell.server import EmulatorConfig
    from lastwriter.emulator.shell.server import run as serve

    values: dict[str, str] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: write it as name=value, for example --set replicator_delay=2s")
        values[name.strip()] = value.strip()
    return serve(
        EmulatorConfig(
            regions=tuple(region.strip() for region in regions.split(",") if region.strip()),
            port=port,
            host=host,
            table=table,
            mode="MRSC" if mode == "MRSC" else "MREC",
            witness=witness,
            settings=Settings.parse(values),
            json=as_json,
            parent=parent,
            bugs=parse_bugs(bugs),
            auth=auth,
            tls_certificate=tls_cert,
            tls_key=tls_key,
            data=data,
            ports=_ports(ports),
        )
    )


def _ports(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    numbers = [number.strip() for number in text.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise UserError(f"--ports {text}: write it as 8000,8001,8002,8003: one for each Region, then one for control")
    return tuple(map(int, numbers))


@cli.command()
@click.option("--schema", is_flag=True, help="Print the JSON Schema of profiles, for editors.")
@_debug_option
def profiles(schema: bool) -> None:
    """List the packaged profiles, and what each is expected to show."""
    from lastwriter import resources

    if schema:
        from lastwriter.drill.profile_file import profile_schema

        click.echo(profile_schema(), nl=False)
        return
    from lastwriter.drill.profile_file import read_profile

    for name, path in resources.profiles().items():
        profile = read_profile(path)
        seconds = sum(phase.duration for phase in profile.phases)
        click.echo(f"{name}  ({profile.target.mode}, {seconds:.0f} s of load)")
        click.echo(click.wrap_text(profile.hypothesis, 100, "    ", "    "))


@cli.command(short_help="Copy a profile and its locustfiles.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--profile", default="quickstart", show_default=True, help="Packaged profile to start from.")
@_debug_option
def init(folder: Path, profile: str) -> None:
    """Copy a profile and its locustfiles to DIR, to start your own drill from.

    \b
    Examples:
      lastwriter init demo && lastwriter run demo/quickstart.yaml
    """
    from lastwriter.drill.starter import copy_starter

    path = copy_starter(folder, profile)
    click.echo(f"wrote {path} and its locustfiles in {path.parent / 'locustfiles'}")
    click.echo(f"next: edit them, then `lastwriter run {path}`")


def _say(verdict: Verdict) -> None:
    from verifier.summary import terminal_lines

    click.echo(err=True)
    for line in terminal_lines(verdict):
        click.echo(line)


def _code(verdict: Verdict | None) -> int:
    from verifier.verdict import exit_code

    return INCONCLUSIVE if verdict is None else exit_code(verdict)
