"""MREC: last writer wins in virtual time, by scenario and by thousands of seeded schedules."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lastwriter.emulator.core.mrec import MrecTable
from tests.emulator.virtual import EAST, MS, OHIO, OREGON, REGIONS, S, World

KEY = {"pk": {"S": "k"}}
FIXED = {"replicator_delay": "2s", "replicator_delay_spread": "0%"}
TRIP_NS = {(EAST, OHIO): 16 * MS, (EAST, OREGON): 64 * MS, (OHIO, OREGON): 50 * MS}


def trip(source: str, target: str) -> int:
    return TRIP_NS.get((source, target)) or TRIP_NS[target, source]


def world(**settings: Any) -> World:
    return World("MREC", round_trip=trip, **settings)


def add(w: World, region: str) -> str:
    call = w.send(
        region,
        "UpdateItem",
        Key=KEY,
        UpdateExpression="ADD v :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="ALL_NEW",
    )
    assert call.body
    return str(call.body["Attributes"]["v"]["N"])


def test_a_write_is_answered_at_once_and_seen_elsewhere_after_the_way_and_the_replicator() -> None:
    w = world(**FIXED)
    assert w.put(EAST, "k", "a").took_ns == 0
    w.to(2 * S + 8 * MS - 1)
    assert (w.value(EAST, "k"), w.value(OHIO, "k"), w.value(OREGON, "k")) == ("a", None, None)
    w.to(2 * S + 8 * MS)
    assert (w.value(OHIO, "k"), w.value(OREGON, "k")) == ("a", None)
    w.to(2 * S + 32 * MS)
    assert w.value(OREGON, "k") == "a"


def test_strong_reads_see_the_local_copy_only() -> None:
    w = world(**FIXED)
    w.put(EAST, "k", "a")
    assert w.value(OHIO, "k", consistent=True) is None


def test_increments_from_three_regions_at_once_leave_one_regions_count() -> None:
    w = world(**FIXED)
    for _ in range(5):
        for region in REGIONS:
            add(w, region)
        w.wait(MS)
    w.settle()
    assert {w.value(region, "k") for region in REGIONS} == {"5"}


def test_equal_timestamps_are_decided_by_the_name_of_the_region() -> None:
    w = world(**FIXED)
    for region in (OREGON, EAST, OHIO):
        w.put(region, "k", region)
    w.settle()
    assert {w.value(region, "k") for region in REGIONS} == {OREGON}


def test_a_change_that_arrives_late_loses_and_leaves_no_trace() -> None:
    w = world(**FIXED)
    w.put(EAST, "k", "earlier")
    w.wait(MS)
    w.put(OHIO, "k", "later")
    w.settle()
    assert {w.value(region, "k") for region in REGIONS} == {"later"}


def test_a_deletion_competes_by_time_and_the_item_does_not_come_back() -> None:
    w = world(**FIXED)
    w.put(EAST, "k", "a")
    w.settle()
    cut = w.cut(EAST, OHIO)
    w.put(OHIO, "k", "b")
    w.wait(MS)
    w.send(EAST, "DeleteItem", Key=KEY)
    w.wait(10 * S)
    w.heal(cut)
    w.settle()
    assert {w.value(region, "k") for region in REGIONS} == {None}


def test_deleting_nothing_replicates_nothing() -> None:
    w = world(**FIXED)
    w.send(EAST, "DeleteItem", Key=KEY)
    assert w.quiet


def test_two_regions_may_each_create_the_same_item() -> None:
    w = world(**FIXED)
    first = w.put(EAST, "k", "east", ConditionExpression="attribute_not_exists(pk)")
    w.wait(MS)
    second = w.put(OHIO, "k", "ohio", ConditionExpression="attribute_not_exists(pk)")
    third = w.put(EAST, "k", "again", ConditionExpression="attribute_not_exists(pk)")
    assert (first.ok, second.ok, third.error) == (True, True, "ConditionalCheckFailedException")
    w.settle()
    assert {w.value(region, "k") for region in REGIONS} == {"ohio"}


def test_changes_of_an_item_arrive_in_order_and_each_after_its_delay() -> None:
    w = world(**FIXED)
    for number in range(3):
        w.to(number * S)
        w.put(EAST, "k", str(number))
    seen = []
    for number in range(3):
        w.to((2 + number) * S + 8 * MS)
        seen.append(w.value(OHIO, "k"))
    assert seen == ["0", "1", "2"]


def test_a_cut_holds_changes_back_and_the_third_region_does_not_pass_them_on() -> None:
    w = world(**FIXED)
    cut = w.cut(EAST, OHIO)
    w.put(EAST, "k", "a")
    w.wait(60 * S)
    assert (w.value(OHIO, "k"), w.value(OREGON, "k")) == (None, "a")
    assert not w.quiet
    w.heal(cut)
    w.wait(8 * MS)
    assert w.value(OHIO, "k") == "a"
    assert w.quiet


def test_a_change_on_its_way_when_the_link_breaks_waits_too() -> None:
    w = world(**FIXED)
    w.put(EAST, "k", "a")
    w.wait(S)
    cut = w.cut(EAST, OHIO)
    w.wait(10 * S)
    assert w.value(OHIO, "k") is None
    w.heal(cut)
    w.settle()
    assert w.value(OHIO, "k") == "a"


def test_one_way_cuts_stop_one_direction() -> None:
    w = world(**FIXED)
    w.cut(EAST, OHIO, one_way=True)
    w.put(EAST, "e", "a")
    w.put(OHIO, "o", "b")
    w.wait(10 * S)
    assert (w.value(OHIO, "e"), w.value(EAST, "o")) == (None, "b")


@pytest.mark.parametrize("kind", ["region-isolated", "replication-paused"])
def test_a_region_cut_off_goes_on_serving_and_converges_afterwards(kind: str) -> None:
    w = world(**FIXED)
    fault = w.fault(kind, EAST)
    assert w.put(EAST, "k", "east").ok
    assert w.value(EAST, "k", consistent=True) == "east"
    w.wait(10 * S)
    w.put(OHIO, "k", "ohio")
    w.wait(10 * S)
    assert [w.value(region, "k") for region in REGIONS] == ["east", "ohio", "ohio"]
    w.heal(fault)
    w.settle()
    assert {w.value(region, "k") for region in REGIONS} == {"ohio"}


def test_replication_takes_about_the_median_with_a_long_tail() -> None:
    w = world(latency_scale="0%", replicator_delay="500ms", replicator_delay_spread="50%")
    lags = []
    for number in range(400):
        start_ns = w.now_ns
        w.put(EAST, str(number), "a")
        while w.value(OHIO, str(number)) is None:
            due_ns = w.core.next_ns
            assert due_ns
            w.to(due_ns)
        lags.append((w.now_ns - start_ns) / MS)
    lags.sort()
    assert 450 < lags[200] < 550
    assert 900 < lags[380] < 1200
    assert lags[0] > 100


def test_without_latency_and_delay_replication_is_part_of_the_write() -> None:
    w = world(latency_scale="0%", replicator_delay="0ms")
    w.put(EAST, "k", "a")
    assert {w.value(region, "k") for region in REGIONS} == {"a"}
    assert w.core.next_ns is None


def test_a_scan_shows_items_and_no_tombstones() -> None:
    w = world(**FIXED)
    for key in "abc":
        w.put(EAST, key, key)
    w.send(EAST, "DeleteItem", Key={"pk": {"S": "b"}})
    reply = w.ask(EAST, "Scan").body
    assert reply
    assert sorted(item["pk"]["S"] for item in reply["Items"]) == ["a", "c"]


def _random_schedule(seed: int) -> None:
    rng = random.Random(seed)
    w = World(
        "MREC",
        round_trip=lambda a, b: TRIP_NS.get((a, b), TRIP_NS.get((b, a), 0)) * (seed % 3 > 0),
        replicator_delay=rng.choice(["0ms", "20ms", "500ms"]),
        replicator_delay_spread=rng.choice(["0%", "200%"]),
        seed=seed,
    )
    engine = w.core.control.tables[0].engine
    assert isinstance(engine, MrecTable)
    versions: dict[str, tuple[int, str]] = {}
    written: dict[str, list[tuple[int, str]]] = {"a": [], "b": []}
    shown: dict[tuple[str, str], tuple[int, str]] = {}
    cut_off: dict[str, tuple[str, str, set[str]]] = {}  # fault → from, to, what was written meanwhile
    for number in range(rng.randint(5, 40)):
        w.wait(rng.choice([0, 0, 1, 20, 100, 700]) * MS)
        chance = rng.random()
        if chance < 0.1:
            source, target = rng.sample(REGIONS, 2)
            cut_off[w.cut(source, target, one_way=True)] = (source, target, set())
        elif chance < 0.15:
            region = rng.choice(REGIONS)
            cut_off[w.fault("region-isolated", region)] = (region, "", set())
        elif chance < 0.25 and cut_off:
            name = rng.choice(list(cut_off))
            del cut_off[name]
            w.heal(name)
        region, key = rng.choice(REGIONS), rng.choice("ab")
        replica = engine.replicas[region]
        if rng.random() < 0.85:
            w.put(region, key, str(number))
            version = replica.items[key]
            versions[str(number)] = version[:2]
            written[key].append(version[:2])
            for source, _, meanwhile in cut_off.values():
                if source == region:
                    meanwhile.add(str(number))
        else:
            w.send(region, "DeleteItem", Key={"pk": {"S": key}})
            if key in replica.items:
                written[key].append(replica.items[key][:2])
        for place in REGIONS:  # time never runs backwards, and nothing passes a broken link or a third Region
            value = w.value(place, key)
            now = engine.replicas[place].items.get(key, (-1, "", None))[:2]
            assert now >= shown.get((place, key), (-1, "")), f"seed {seed}: an older version in {place}"
            shown[place, key] = now
            if value is not None:
                assert versions[value] == now
            for source, target, meanwhile in cut_off.values():
                if place != source and target in ("", place):
                    assert value not in meanwhile, f"seed {seed}: {value} of {source} reached {place}"
    for fault in cut_off:
        w.heal(fault)
    w.settle()
    for key in "ab":
        final = [engine.replicas[region].items.get(key) for region in REGIONS]
        assert final[0] == final[1] == final[2], f"seed {seed}: replicas differ"
        if written[key]:
            assert final[0] is not None
            assert final[0][:2] == max(written[key]), f"seed {seed}: not the last writer"


@pytest.mark.parametrize("batch", range(6))
def test_replicas_converge_on_the_last_writer_under_random_faults(batch: int) -> None:
    for seed in range(batch * 250, batch * 250 + 250):
        _random_schedule(seed)
