"""Options of a locustfile started by hand, and the plan that they make."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import ValidationError

from lastwriter.client.plan import OWNED, Failover, Health, HotKeys, Keys, Load, LoadPlan, Pattern, Retry
from lastwriter.client.worker import workload_of
from lastwriter.errors import UserError
from lastwriter.units import format_share, parse_rate, parse_share
from verifier.rundir import Mode

DEFAULT_REGIONS: Final = ("us-east-1", "us-east-2", "us-west-2")

_IN_WEB_UI: Final = ("rate", "keys", "hot", "zipf", "pattern", "retry", "failover")

_OPTION_OF: Final = {"count": "--keys", "share": "--hot", "item_bytes": "--item-bytes"}
"""Fields of a load whose option is called otherwise."""

_TITLE: Final = "lastwriter options"
_EXAMPLES: Final = """examples:
  locust -f locustfiles/counters.py --emulator
      web UI on http://127.0.0.1:8089, an emulated table in three Regions
  locust -f locustfiles/counters.py --emulator --headless -t 20s --rate 200/s --pattern region-items
      open loop: 200 intents a second, all users and Regions together
  locust -f locustfiles/hot_keys.py --emulator --mode MRSC --headless -t 20s --keys 100 --hot 2=80% --retry jittered
      four of five clicks go to two of a hundred keys (or --zipf 1.1)
  locust -f locustfiles/standby.py --emulator --headless -t 20s --rate 100/s --shares us-east-1=95%,us-west-2=5%
      a standby Region with a share of the traffic
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says about where and how a locustfile runs, besides Locust's own options."""

    endpoints: dict[str, str]
    """Region → URL; empty: an emulator is to be started."""
    regions: tuple[str, ...]
    control: str | None
    mode: Mode
    witness: str | None
    table: str
    client: Literal["wire", "boto3"]
    results: Path
    health: Health = field(default_factory=Health)


def add_options(parser: Any) -> None:
    """To Locust's parser (event ``init_command_line_parser``)."""
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1")  # Locust's own default: every interface
    group = parser.add_argument_group(_TITLE, _EXAMPLES)
    add = group.add_argument
    # Locust prints its own --help before it has imported the locustfile, so ours is not in it.
    add("--options", action=_ShowOptions, nargs=0, help="show these options with examples, and exit")
    add("--plan", metavar="FILE", help="run this load plan (JSON); `lastwriter run` starts Locust with one")
    add("--emulator", action="store_true", help="start an emulator of a global table, and write to that")
    add("--endpoints", metavar="REGION=URL,...", help="write to these endpoints")
    add("--control", metavar="URL", help="control port of an emulator started by hand; tells when replication is done")
    add("--regions", metavar="A,B,C", help=f"Regions of the emulator; default: {','.join(DEFAULT_REGIONS)}")
    add("--mode", choices=get_args(Mode), default="MREC", help="consistency mode; default: MREC")
    add("--witness", metavar="REGION", help="MRSC with two replicas: the Region of the witness")
    add("--table", default="lastwriter", help="name of the global table, made if it is missing; default: lastwriter")
    add("--client", choices=("wire", "boto3"), default="wire", help="what sends the requests; default: wire")
    add("--results", metavar="DIR", default="results", help="where run directories go; default: results")
    add("--seed", type=int, help="of everything that is drawn; default: drawn, and kept in run.json")
    add(
        "--rate",
        metavar="RATE",
        help="open loop: intents a second, all users together, e.g. 200/s; default: closed loop",
    )
    add("--arrival", choices=("uniform", "poisson"), default="uniform", help="of an open loop; default: uniform")
    add("--keys", type=int, default=10, metavar="N", help="number of keys; default: 10")
    add("--hot", metavar="N=SHARE", help="N of the keys get this share of the operations, e.g. 2=80%%")
    add("--zipf", metavar="EXPONENT", help="keys are drawn by a Zipf distribution, e.g. 1.1")
    add("--shares", metavar="REGION=SHARE,...", help="share of the users by Region, e.g. us-east-1=90%%,us-west-2=10%%")
    add("--item-bytes", type=int, default=0, metavar="N", help="size of every item written; default: what it takes")
    add("--pattern", choices=get_args(Pattern), default="naive", help="how items are written; default: naive")
    add("--retry", choices=get_args(Retry), default="none", help="what users do after a failure; default: none")
    add("--attempts", type=int, default=5, metavar="N", help="of --retry jittered: at most; default: 5")
    add("--deadline", default="5s", metavar="TIME", help="an attempt without an answer by then is unknown; default: 5s")
    add(
        "--failover",
        choices=get_args(Failover),
        default="none",
        help="what users do when their Region does not answer; default: none",
    )
    add(
        "--health",
        metavar="NAME=VALUE,...",
        help="of --failover routed: interval, timeout, threshold, ttl, failback, drained_within; e.g. ttl=5s",
    )
    add("--degraded-reads", action="store_true", help="try a strong read that failed as an eventual one")
    add(
        "--worker-regions",
        metavar="A,B",
        help="a worker on another machine: run the users of these Regions only; default: of any",
    )
    for action in group._group_actions:
        # Locust's parser sets these, its groups do not.
        action.include_in_web_ui = action.dest in _IN_WEB_UI
        action.is_secret = action.is_required = action.is_multiple = False


def read_settings(options: Any) -> Settings:
    """UserError if the options do not say where the table is, or contradict one another."""
    endpoints = _parse_endpoints(options.endpoints) if options.endpoints else {}
    if options.emulator and endpoints:
        raise UserError("--emulator starts one, --endpoints names others: give one of the two")
    if not options.emulator and not endpoints:
        raise UserError(
            "where is the table? Add --emulator to start one here, or --endpoints us-east-1=http://127.0.0.1:8000,…"
        )
    if endpoints and options.regions:
        raise UserError("--regions is for --emulator; --endpoints names its Regions itself")
    regions = tuple(endpoints) or _parse_regions(options.regions)
    witness = options.witness or None
    if options.mode == "MRSC" and len(regions) + (witness is not None) != 3:
        raise UserError(f"MRSC takes three Regions, or two and --witness; there are {len(regions)}")
    if witness is not None and options.mode == "MREC":
        raise UserError("a witness exists in MRSC only; leave --witness out or add --mode MRSC")
    if witness in regions:
        raise UserError(f"{witness} cannot be replica and witness at once")
    return Settings(
        endpoints=endpoints,
        regions=regions,
        control=options.control or None,
        mode=options.mode,
        witness=witness,
        table=options.table,
        client=options.client,
        results=Path(options.results),
        health=_parse_health(options.health) if options.health else Health(),
    )


def worker_regions(options: Any) -> tuple[str, ...]:
    """Regions whose users a worker runs; none: any."""
    return tuple(part.strip() for part in (options.worker_regions or "").split(",") if part.strip())


def make_loads(options: Any, user_classes: Iterable[type], users: int) -> list[Load]:
    """One load a user class, from options that may change from run to run in Locust's web UI."""
    classes = list(user_classes)
    try:
        rate = parse_rate(options.rate) / len(classes) if options.rate else None
        keys = Keys(
            count=int(options.keys),
            hot=_parse_hot(options.hot) if options.hot else None,
            zipf=float(options.zipf) if options.zipf else None,
        )
        return [
            Load(
                workload=workload_of(user_class),
                pattern=options.pattern,
                rate=None if rate is None else f"{rate!r}/s",
                arrival=options.arrival,
                # Locust starts one user unless told otherwise, which says nothing about how many share a rate.
                processes=None if rate is None or users <= len(classes) else users // len(classes),
                regions=_parse_shares(options.shares) if options.shares else {},
                keys=keys,
                item_bytes=options.item_bytes,
                retry=options.retry,
                attempts=options.attempts,
                deadline=options.deadline,
                failover=options.failover,
                degraded_reads=options.degraded_reads,
            )
            for user_class in classes
        ]
    except ValidationError as error:
        first = error.errors()[0]
        name = _OPTION_OF.get(str(first["loc"][0]), f"--{first['loc'][0]}") if first["loc"] else "--hot, --keys, --zipf"
        raise UserError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise UserError(f"--rate, --keys or --zipf: {error}") from None


def make_plan(
    settings: Settings,
    loads: list[Load],
    endpoints: Mapping[str, str],
    target: Literal["emulator", "endpoints"],
    run_directory: Path,
    seed: int,
) -> LoadPlan:
    """The plan of a run that goes on until somebody stops it."""
    return LoadPlan(
        run=run_directory.name,
        run_directory=str(run_directory.resolve()),
        seed=seed,
        mode=settings.mode,
        table=settings.table,
        endpoints={region: endpoints[region] for region in settings.regions},
        target=target,
        client=settings.client,
        loads=loads,
        phases=[],
        health=settings.health,
    )


def draw_seed(options: Any) -> int:
    """The seed asked for, else a new one."""
    return int(options.seed) if options.seed is not None else secrets.randbelow(1 << 31)


def read_plan(path: Path, user_classes: Iterable[type]) -> LoadPlan:
    """UserError if the file is no plan, or the locustfiles have not the workloads that it names."""
    try:
        plan = LoadPlan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"plan {path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"plan {path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
    check_plan(plan, user_classes)
    return plan


def check_plan(plan: LoadPlan, user_classes: Iterable[type]) -> None:
    """UserError if a load of the plan cannot be carried out by these user classes."""
    by_workload: dict[str, list[Any]] = {}
    for user_class in user_classes:
        by_workload.setdefault(workload_of(user_class), []).append(user_class)
    for load in plan.loads:
        found = by_workload.get(load.workload, [])
        if len(found) != 1:
            known = ", ".join(sorted(by_workload)) or "none"
            what = "no user class" if not found else f"{len(found)} user classes; give each a `workload` of its own"
            raise UserError(f"workload {load.workload!r}: the locustfiles have {what} (workloads: {known})")
        tasks = {task.__name__ for task in found[0].tasks}
        unknown = [name for name in load.mix if name not in tasks]
        if unknown:
            raise UserError(f"{load.workload} has no task {unknown[0]!r}; `mix` can name {', '.join(sorted(tasks))}")
        if load.mix and not any(share > 0 for share in load.mix.values()):
            raise UserError(f"`mix` of {load.workload} leaves nothing to do: every share is 0 %")
        strangers = [region for region in load.regions if region not in plan.endpoints]
        if strangers:
            raise UserError(f"load {load.workload}: {strangers[0]} has no endpoint ({', '.join(plan.endpoints)} have)")
        if load.pattern in OWNED and load.keys.count < len(plan.endpoints):
            raise UserError(
                f"load {load.workload}: with {load.keys.count} keys not every Region owns one; "
                f"{load.pattern} needs at least {len(plan.endpoints)}"
            )
        modes = getattr(found[0], "modes", (plan.mode,))
        if plan.mode not in modes:
            raise UserError(f"{load.workload} needs what {plan.mode} tables refuse; it runs with {' or '.join(modes)}")
        patterns = getattr(found[0], "patterns", None)
        if patterns is not None and load.pattern not in patterns:
            raise UserError(f"{load.workload} cannot be written as {load.pattern!r}; it can as {', '.join(patterns)}")


def _parse_regions(text: str | None) -> tuple[str, ...]:
    if not text:
        return DEFAULT_REGIONS
    regions = tuple(part.strip() for part in text.split(",") if part.strip())
    if len(set(regions)) != len(regions):
        raise UserError(f"--regions {text}: a Region is listed twice")
    return regions


def _parse_hot(text: str) -> HotKeys:
    count, equals, share = text.partition("=")
    if not equals or not count.strip().isdigit():
        raise UserError(f"--hot: {text!r} is not N=SHARE, e.g. 2=80%")
    return HotKeys.model_validate({"count": int(count), "share": share.strip()})


def _parse_health(text: str) -> Health:
    given = dict(part.strip().partition("=")[::2] for part in text.split(","))
    try:
        return Health.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--health {first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from None


def _parse_shares(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(","):
        region, equals, share = part.strip().partition("=")
        try:
            parse_share(share)
        except ValueError:
            equals = ""
        if not equals or not region:
            raise UserError(f"--shares: {part.strip()!r} is not REGION=SHARE, e.g. us-east-1=90%")
        found[region] = share.strip()
    total = sum(map(parse_share, found.values()))
    if abs(total - 1) > 0.005:
        raise UserError(f"--shares add up to {format_share(total)}, not 100%")
    return found


class _ShowOptions(argparse.Action):
    """Prints the options of this module alone."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        ours = argparse.ArgumentParser(
            "locust -f LOCUSTFILE", add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        (group,) = (group for group in parser._action_groups if group.title == _TITLE)
        ours._action_groups = [group]
        print(ours.format_help().partition(f"{_TITLE}:\n")[2], end="")  # noqa: T201 - it is what was asked for
        parser.exit()


def _parse_endpoints(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(","):
        region, equals, url = part.strip().partition("=")
        if not equals or not region or not url.startswith(("http://", "https://")):
            raise UserError(f"--endpoints: {part.strip()!r} is not REGION=URL, e.g. us-east-1=http://127.0.0.1:8000")
        if region in found:
            raise UserError(f"--endpoints: {region} is listed twice")
        found[region] = url.rstrip("/")
    return found
