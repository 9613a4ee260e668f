"""Profiles: what is accepted, and how each mistake is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from lastwriter.client.course import Course
from lastwriter.drill.plan import fault_schedule, load_plan, load_seconds, phase_windows
from lastwriter.drill.profile import Profile
from lastwriter.drill.profile_file import Override, parse_override, parse_profile, profile_schema, read_profile
from lastwriter.errors import UserError
from lastwriter.resources import profiles

ROOT = Path(__file__).resolve().parents[2]

GOOD = """\
name: example
hypothesis: nothing is lost
target:
  mode: MREC
  regions: [us-east-1, us-east-2, us-west-2]
  settings:
    replicator_delay: 2s
load:
  - workload: counters
    rate: 50/s
    keys:
      count: 4
  - workload: registers
    users: 3
    regions: {us-east-1: 50%, us-west-2: 50%}
phases:
  - name: baseline
    duration: 10s
  - name: fault
    duration: 20s
    faults:
      - kind: link-cut
        links: [[us-east-1, us-west-2]]
        at: 2s
        duration: 10s
  - {name: recovery, duration: 30s, rate: 50%}
expect:
  - {metric: lost_updates, op: "==", value: 0, mode: MRSC}
"""


def parse(text: str = GOOD, *sets: str) -> Profile:
    return parse_profile(text, Path("drill.yaml"), [parse_override(item) for item in sets])


def mistake(text: str, *sets: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(text, *sets)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_profile_is_resolved_with_every_default() -> None:
    profile = parse()
    assert profile.target.table == "lastwriter"
    assert profile.load[0].rate == 50.0
    assert profile.phases[1].faults[0].duration == 10.0
    assert profile.phases[0].rate == Course(((1.0, 1.0),))
    # what run.json keeps can be read as a profile again
    assert Profile.model_validate(profile.model_dump(mode="json")) == profile


def test_a_rate_of_all_loads_together_is_a_share_of_their_own() -> None:
    text = GOOD.replace("users: 3", "rate: 150/s").replace(
        "rate: 50%", "rate: 100/s..400/s, burst: {every: 10s, length: 2s, rate: 1000/s}"
    )
    *_, last = parse(text).planned_phases()
    assert last.rate == Course(((0.5, 2.0),))
    assert last.burst is not None
    assert last.burst.rate == Course(((5.0, 5.0),))
    (shortened,) = parse(text).shortened().phases[2:]
    assert shortened.burst is not None
    assert (shortened.duration, shortened.burst.every) == (4.0, pytest.approx(10 * 4 / 30))
    assert "no load has a rate" in mistake(GOOD.replace("rate: 50/s", "users: 1").replace("rate: 50%", "rate: 10/s"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("    rate: 50/s", "    rte: 50/s"), "drill.yaml:10: load.0.rte: unknown field; did you mean 'rate'?"),
        (("    rate: 50/s", "    rate: 50"), "drill.yaml:10: load.0.rate: 50 has no unit; write a rate like 50"),
        (("    rate: 50/s", "    rate: 50/sec"), "drill.yaml:10: load.0.rate: unknown unit '/sec'"),
        (("duration: 20s", "duration: 20sec"), "did you mean '20s'?"),
        (("        at: 2s", "        at: 2m"), "drill.yaml:24: phases.1.faults.0.at: unknown unit 'm'"),
        (("kind: link-cut", "kind: link-cutt"), "drill.yaml:22: phases.1.faults.0.kind: unknown kind 'link-cutt'"),
        (("workload: counters", "workload: counter"), "unknown workload 'counter'; did you mean 'counters'?"),
        (("metric: lost_updates", "metric: lost_update"), "drill.yaml:28: expect.0.metric: unknown metric 'lost_up"),
        (("us-west-2]\n", "us-wets-2]\n"), "5: target.regions.2: unknown Region 'us-wets-2'; did you mean 'us-west-2'"),
        (("[[us-east-1, us-west-2]]", "[[us-east-1, us-west-1]]"), "Region 'us-west-1' is not in target.regions"),
        (("[[us-east-1, us-west-2]]", "[[us-east-1, us-east-1]]"), "a link joins two Regions"),
        (("    replicator_delay: 2s", "    replicator_dely: 2s"), "7: target.settings.replicator_dely: unknown"),
        (("  mode: MREC", "  mode: MREC\n  bugs: [relay, lost-writ]"), "5: target.bugs.1: lost-writ: no such bug"),
        (("  mode: MREC", "  mode: MREC\n  bugs: [lost-write=0]"), "target.bugs.0: lost-write=0: write it as"),
        (("  mode: MREC", "  mode: MREC\n  bugs: [early-ack]"), "early-ack breaks what MRSC promises"),
        (("  mode: MREC", "  mode: MREC\n  bugs: [restart-forgets]"), "give `data: true` under target"),
        (("us-east-1: 50%, us-west-2: 50%", "us-east-1: 50%, us-west-2: 40%"), "the shares add up to 90%, not 100%"),
        (("mode: MREC", "mode: MRECC"), "drill.yaml:4: target.mode: unknown mode 'MRECC'; did you mean 'MREC'?"),
        (("name: example", "nam: example"), "drill.yaml:1: nam: unknown field; did you mean 'name'?"),
        (("hypothesis: nothing is lost\n", ""), "hypothesis: missing"),
        (("name: baseline", "name: fault"), "two phases are named 'fault'"),
        (("        at: 2s", "        at: 25s"), "the fault would begin after its phase has ended"),
        (("    users: 3\n", "    users: 3\n    users: 4\n"), "15: load.1.users: given twice, first on line 14"),
        (("    users: 3\n", ""), "load.1: how much? give `rate`"),
        (("    rate: 50/s", "    rate: 50/s\n    mix: {incremnt: 100%}"), "load.0.mix.incremnt: counters has no such"),
        (("    rate: 50/s", "    rate: 50/s\n    pattern: home-region\n    keys: {count: 2}"), "given twice"),
        (("      count: 4", "      count: 2\n    pattern: home-region"), "load.0.keys: with 2 keys not every Region"),
        (("count: 4", "count: many"), "drill.yaml:12: load.0.keys.count: input should be a valid integer"),
        (("mode: MRSC}", "mode: MRSC, phase: fualt}"), "no phase 'fualt'; did you mean 'fault'?"),
        (("op: \"==\"", "op: \"=\""), "expect.0.op: unknown op '='"),
        (("rate: 50%}", "rate: 50%..}"), "drill.yaml:26: phases.2.rate: '' is not a share; write it like 50%"),
        (("rate: 50%}", "rate: [50%, 10/s]}"), "phases.2.rate: rates in /s and shares in % do not mix"),
        (("    rate: 50/s", "    rate: 50/s\n    failover: sdk-retry"), "load.0.failover: sdk-retry is about further"),
        (("rate: 50%}", "burst: {every: 1s, length: 2s, rate: 9%}}"), "`length` of a burst has to be less than"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_its_line_and_the_nearest_right_name(change: tuple[str, str], said: str) -> None:
    assert change[0] in GOOD
    assert said in mistake(GOOD.replace(*change, 1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a profile is a mapping"),
        ("- a\n- b\n", "drill.yaml:1: a profile is a mapping"),
        ("name: [a\nb: c", "drill.yaml:2: this is not YAML"),
        ("name: \x00", "this is not YAML"),
        ("a: " + "[" * 100 + "]" * 100, "nested too deep"),
        ("a: !!python/object:os.system {}", "this is not YAML"),
    ],
)
def test_what_is_no_profile_at_all(text: str, said: str) -> None:
    assert said in mistake(text)


def test_mrsc_with_two_regions_needs_a_witness() -> None:
    two = GOOD.replace("us-east-2, ", "").replace("mode: MREC", "mode: MRSC")
    assert "drill.yaml:5: target.regions: MRSC takes exactly three Regions, or two and a witness" in mistake(two)
    profile = parse(two, "target.witness=us-east-2")
    assert profile.all_regions == ["us-east-1", "us-west-2", "us-east-2"]
    assert "only MRSC has a witness" in mistake(two, "target.witness=us-east-2", "target.mode=MREC")
    assert "has a replica already" in mistake(two, "target.witness=us-west-2")
    assert "is the witness" in mistake(
        two, "target.witness=us-east-2", "load.1.regions={us-east-1: 50%, us-east-2: 50%}"
    )


def test_values_are_set_by_index_and_by_name() -> None:
    profile = parse(
        GOOD,
        "load.0.rate=5/s",
        "phases.fault.duration=40s",
        "phases.fault.faults.link-cut.at=1s",
        "load.registers.users=9",
        "expect.lost_updates.value=7",
        "load.counters.keys.hot={count: 1, share: 90%}",
        "target.settings.latency_scale=0%",
        "target.regions=[eu-west-1, us-east-1, us-west-2]",
    )
    assert profile.load[0].rate == 5
    assert profile.load[1].users == 9
    assert profile.phases[1].duration == 40
    assert profile.phases[1].faults[0].at == 1
    assert profile.expect[0].value == "7"
    assert profile.load[0].keys.hot is not None
    assert profile.target.regions[0] == "eu-west-1"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("load.0.rte=5/s", "--set load.0.rte=5/s: load.0.rte: unknown field; did you mean 'rate'?"),
        ("load.7.rate=5/s", "--set load.7.rate=5/s: there are 2 items"),
        ("phases.fualt.duration=5s", "no item 'fualt'; did you mean 'fault'?"),
        ("phases.fault.duration=5", "--set phases.fault.duration=5: phases.1.duration: 5 has no unit"),
        ("name.x.y=5", "name holds a single value"),
        ("load.0.rate", "write it as path=value"),
        ("load.0.rate=[", "the value is not YAML"),
    ],
)
def test_mistakes_in_overrides_name_the_option(override: str, said: str) -> None:
    assert said in mistake(GOOD, override)


def test_the_mode_option_is_named_as_such() -> None:
    with pytest.raises(UserError, match=r"^--mode XREC: target\.mode: unknown mode 'XREC'"):
        parse_profile(GOOD, Path("drill.yaml"), [Override("target.mode", "XREC", "--mode XREC")])


def test_short_keeps_every_fault_in_its_place() -> None:
    profile = parse().shortened()
    assert [phase.duration for phase in profile.phases] == [4, 4, 4]
    (fault,) = fault_schedule(profile)
    assert (fault.begin_s, fault.end_s) == pytest.approx((4.4, 6.4))
    assert load_seconds(parse(GOOD, "phases.fault.short=9s").shortened()) == 17


def test_faults_are_scheduled_from_t0_and_end_with_the_load() -> None:
    profile = parse(GOOD, "phases.recovery.faults=[{kind: region-down, regions: [us-east-1], at: 25s, duration: 60s}]")
    schedule = fault_schedule(profile)
    assert [(item.id, item.begin_s, item.end_s) for item in schedule] == [
        ("link-cut-1", 12, 22),
        ("region-down-1", 55, 60),
    ]
    assert schedule[0].words == "link us-east-1 – us-west-2 cut"


def test_phase_windows_end_where_the_load_ended() -> None:
    windows = phase_windows(parse(), 1_000_000_000, 25_000_000_000)
    assert [(w.name, w.start_ns, w.end_ns) for w in windows] == [
        ("baseline", 1_000_000_000, 11_000_000_000),
        ("fault", 11_000_000_000, 25_000_000_000),
    ]


def test_the_plan_names_replicas_only_and_in_order(tmp_path: Path) -> None:
    endpoints = {name: f"http://127.0.0.1/{name}" for name in ("us-west-2", "eu-west-1", "us-east-2", "us-east-1")}
    plan = load_plan(parse(), "run", tmp_path, endpoints, "wire", 7)
    assert list(plan.endpoints) == ["us-east-1", "us-east-2", "us-west-2"]
    assert [phase.rate.steps for phase in plan.phases] == [((1, 1),), ((1, 1),), ((0.5, 0.5),)]


def test_the_schema_in_docs_is_the_current_one() -> None:
    file = ROOT / "docs" / "schemas" / "profile.schema.json"
    assert file.read_text() == profile_schema(), "run: lastwriter profiles --schema > docs/schemas/profile.schema.json"
    assert json.loads(profile_schema())["properties"]["load"]


@pytest.mark.parametrize("name", sorted(profiles()))
@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_every_packaged_profile_is_right_in_both_modes(name: str, mode: str) -> None:
    profile = read_profile(profiles()[name], [Override("target.mode", mode, f"--mode {mode}")])
    assert profile.name == name
    assert len(profile.hypothesis.split()) > 10
    assert any(expectation.mode in (None, mode) for expectation in profile.expect), "a drill says what it expects"


def test_a_profile_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_profile(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        read_profile(tmp_path / "binary.yaml")


def test_yaml_of_the_packaged_profiles_says_nothing_twice() -> None:
    for path in profiles().values():
        yaml.safe_load(path.read_text())


def test_an_emulator_that_is_to_be_killed_has_to_write_down_what_it_acknowledges() -> None:
    links = "        links: [[us-east-1, us-west-2]]\n"
    kill = GOOD.replace("kind: link-cut", "kind: emulator-killed").replace(links, "")
    assert "drill.yaml:22: phases.1.faults.0: an emulator that is killed comes back with nothing" in mistake(kill)
    assert parse(kill, "target.data=true").target.data


def test_a_load_of_the_other_mode_is_left_out() -> None:
    text = GOOD.replace("  - workload: registers\n", "  - workload: registers\n    mode: MRSC\n")
    assert [load.workload for load in parse(text).load] == ["counters"]
    assert [load.workload for load in parse(text, "target.mode=MRSC").load] == ["counters", "registers"]
    neither = text.replace("  - workload: counters\n", "  - workload: counters\n    mode: MRSC\n")
    assert "every load is for another mode than the target's MREC" in mistake(neither)
