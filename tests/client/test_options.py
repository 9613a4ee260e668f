"""Options of a locustfile started by hand: what they make, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from locust import task
from locust.argument_parser import LocustArgumentParser

from lastwriter.client.options import add_options, check_plan, make_loads, make_plan, read_plan, read_settings
from lastwriter.client.plan import Health, HotKeys, Keys, Load
from lastwriter.client.user import GlobalTableUser
from lastwriter.errors import UserError

REGIONS = ("us-east-1", "us-east-2", "us-west-2")


class Counters(GlobalTableUser):
    workload = "counters"

    @task
    def increment(self) -> None: ...

    @task
    def read(self) -> None: ...


class Registers(Counters):
    workload = "registers"
    patterns = ("naive", "conditional")


def options(*arguments: str) -> Any:
    parser = LocustArgumentParser()
    add_options(parser)
    return parser.parse_args(list(arguments))


def plan_of(*loads: Load, **given: Any) -> Any:
    settings = read_settings(options("--emulator"))
    endpoints = dict.fromkeys(REGIONS, "http://127.0.0.1:1")
    plan = make_plan(settings, list(loads), endpoints, "emulator", Path("results/run"), 1)
    return plan.model_copy(update=given)


def test_an_emulator_has_three_regions_unless_told_otherwise() -> None:
    assert read_settings(options("--emulator")).regions == REGIONS
    assert read_settings(options("--emulator", "--regions", "a, b")).regions == ("a", "b")


def test_endpoints_name_the_regions_in_order() -> None:
    settings = read_settings(options("--endpoints", "b=http://127.0.0.1:2/,a=https://a.example"))
    assert settings.endpoints == {"b": "http://127.0.0.1:2", "a": "https://a.example"}
    assert settings.regions == ("b", "a")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "where is the table? Add --emulator"),
        (["--emulator", "--endpoints", "a=http://x"], "give one of the two"),
        (["--endpoints", "http://x"], "is not REGION=URL"),
        (["--endpoints", "a=x:8000"], "is not REGION=URL"),
        (["--endpoints", "a=http://x,a=http://y"], "a is listed twice"),
        (["--endpoints", "a=http://x", "--regions", "a"], "--regions is for --emulator"),
        (["--emulator", "--regions", "a,a,b"], "listed twice"),
        (["--emulator", "--mode", "MRSC", "--regions", "a,b"], "MRSC takes three Regions, or two and --witness"),
        (["--emulator", "--witness", "c"], "a witness exists in MRSC only"),
        (["--emulator", "--mode", "MRSC", "--regions", "a,b", "--witness", "b"], "cannot be replica and witness"),
    ],
)
def test_contradictions_are_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError) as raised:
        read_settings(options(*arguments))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_by_hand_it_is_a_closed_loop_of_as_many_as_locust_starts() -> None:
    (load,) = make_loads(options("--emulator", "--keys", "3"), [Counters], 25)
    assert (load.rate, load.users, load.processes, load.keys.count) == (None, None, None, 3)


def test_a_rate_is_shared_by_the_user_classes_and_by_the_users() -> None:
    loads = make_loads(options("--emulator", "--rate", "300/s"), [Counters, Registers], 40)
    assert [(load.workload, load.rate, load.processes) for load in loads] == [
        ("counters", 150.0, 20),
        ("registers", 150.0, 20),
    ]
    (alone,) = make_loads(options("--emulator", "--rate", "300/s"), [Counters], 1)
    assert alone.processes is None, "one user is Locust's default, not a wish"


def test_arrivals_attempts_and_deadlines_are_options_too() -> None:
    given = ["--rate", "9/s", "--arrival", "poisson", "--retry", "jittered", "--attempts", "9", "--deadline", "300ms"]
    (load,) = make_loads(options("--emulator", *given), [Counters], 1)
    assert (load.arrival, load.attempts, load.deadline) == ("poisson", 9, 0.3)


def test_keys_may_be_hot_or_zipf_and_regions_have_shares() -> None:
    arguments = ["--keys", "50", "--hot", "2=80%", "--shares", "us-east-1=90%, us-west-2=10%", "--item-bytes", "900"]
    (load,) = make_loads(options("--emulator", *arguments), [Counters], 1)
    assert (load.keys.count, load.keys.hot) == (50, HotKeys(count=2, share="80%"))
    assert load.regions == pytest.approx({"us-east-1": 0.9, "us-west-2": 0.1})
    assert load.item_bytes == 900
    (load,) = make_loads(options("--emulator", "--zipf", "1.1"), [Counters], 1)
    assert load.keys.zipf == 1.1


def test_locust_prints_its_help_before_it_knows_ours_so_there_is_an_option_for_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        options("--options")
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "locust -f locustfiles/hot_keys.py --emulator --mode MRSC" in said
    assert "--shares REGION=SHARE" in said
    assert "--web-port" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rate", "300"],
        ["--rate", "fast"],
        ["--keys", "0"],
        ["--deadline", "5"],
        ["--deadline", "0s"],
        ["--attempts", "0"],
        ["--hot", "2"],
        ["--hot", "2=x"],
        ["--hot", "20=80%"],
        ["--hot", "2=80%", "--zipf", "1"],
        ["--zipf", "steep"],
        ["--zipf", "-1"],
        ["--shares", "us-east-1"],
        ["--shares", "us-east-1=90%"],
        ["--item-bytes", "-1"],
    ],
)
def test_a_bad_number_is_one_line(arguments: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        make_loads(options("--emulator", *arguments), [Counters], 1)
    assert "\n" not in str(raised.value)
    assert arguments[0] in str(raised.value)


def test_failover_is_an_option_and_so_is_the_health_that_it_follows() -> None:
    given = options(
        "--emulator", "--failover", "routed", "--degraded-reads", "--health", "interval=500ms, ttl=2s,failback=never"
    )
    (load,) = make_loads(given, [Counters], 1)
    assert (load.failover, load.degraded_reads) == ("routed", True)
    plan = make_plan(read_settings(given), [load], dict.fromkeys(REGIONS, "http://127.0.0.1:1"), "emulator", Path(), 1)
    assert plan.health == Health(interval="500ms", ttl="2s", failback="never")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [("ttl=5", "--health ttl: '5' has no unit"), ("tll=5s", "--health tll: "), ("ttl", "--health ttl: ")],
)
def test_health_that_cannot_be_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_settings(options("--emulator", "--health", text))


def test_the_web_ui_shows_what_may_change_from_run_to_run() -> None:
    parser = LocustArgumentParser()
    add_options(parser)
    assert set(parser.args_included_in_web_ui) - {"help"} == {
        "failover", "hot", "keys", "pattern", "rate", "retry", "zipf",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (Load(workload="countres"), "workload 'countres': the locustfiles have no user class"),
        (Load(workload="counters", mix={"incremnt": "100%"}), "has no task 'incremnt'; `mix` can name increment, read"),
        (Load(workload="counters", mix={"read": "0%"}), "leaves nothing to do"),
        (Load(workload="counters", regions={"mars-1": "100%"}), "mars-1 has no endpoint"),
        (Load(workload="counters", pattern="home-region", keys=Keys(count=2)), "not every Region owns one"),
        (Load(workload="counters", pattern="fenced", keys=Keys(count=2)), "fenced needs at least 3"),
        (Load(workload="registers", pattern="sharded"), "registers cannot be written as 'sharded'; it can as naive"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_one_line(load: Load, said: str) -> None:
    with pytest.raises(UserError) as raised:
        check_plan(plan_of(load), [Counters, Registers])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_classes_of_one_workload_are_one_too_many() -> None:
    twin: Any = SimpleNamespace(workload="counters", tasks=[])
    with pytest.raises(UserError, match="2 user classes; give each a `workload` of its own"):
        check_plan(plan_of(Load(workload="counters")), [Counters, twin])


def test_a_plan_comes_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan = plan_of(Load(workload="counters", rate="5/s"))
    path.write_text(plan.model_dump_json())
    assert read_plan(path, [Counters]) == plan
    path.write_text(plan.model_dump_json().replace('"seed"', '"seeed"'))
    with pytest.raises(UserError, match=r"plan .*plan\.json: seed"):
        read_plan(path, [Counters])
    with pytest.raises(UserError, match="cannot be read"):
        read_plan(tmp_path / "none.json", [Counters])
