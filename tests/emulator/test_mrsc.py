"""MRSC: the journal in virtual time, by scenario and by thousands of seeded schedules."""

from __future__ import annotations

import random

import pytest

from tests.emulator.linearizable import linearizable, step
from tests.emulator.virtual import EAST, MS, OHIO, OREGON, REGIONS, Call, S, World

KEY = {"pk": {"S": "k"}}
ADD = {
    "Key": KEY,
    "UpdateExpression": "ADD v :one",
    "ExpressionAttributeValues": {":one": {"N": "1"}},
    "ReturnValues": "ALL_NEW",
}
CREATE = {"ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
TRIP_NS = {(EAST, OHIO): 16 * MS, (EAST, OREGON): 64 * MS, (OHIO, OREGON): 50 * MS}


def trip(source: str, target: str) -> int:
    return TRIP_NS.get((source, target)) or TRIP_NS[target, source]


def world(witness: str | None = None, **settings: object) -> World:
    return World("MRSC", witness=witness, round_trip=trip, **settings)


def test_a_write_takes_a_round_trip_to_the_nearest_region() -> None:
    w = world()
    call = w.put(EAST, "k", "a")
    w.settle()
    assert call.ok
    assert call.took_ns == 16 * MS


def test_a_strong_read_anywhere_sees_what_was_acknowledged_before_it_began() -> None:
    w = world()
    call = w.put(EAST, "k", "a")
    while call.end_ns is None:
        w.wait(MS)
    for region in REGIONS:
        assert w.value(region, "k", consistent=True) == "a"


def test_an_eventual_read_is_local_and_may_be_stale() -> None:
    w = world()
    w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}})
    stale = w.get(OREGON, "k")
    assert stale.item is None
    assert stale.took_ns == 0
    w.settle()
    assert w.value(OREGON, "k") == "a"


def test_a_race_between_regions_has_one_winner_and_the_loser_wrote_nothing() -> None:
    w = world()
    east, oregon = w.put(EAST, "k", "east"), w.put(OREGON, "k", "oregon")
    w.settle()
    assert east.ok
    assert oregon.status == 409
    assert oregon.error == "ReplicatedWriteConflictException"
    assert {w.value(region, "k", consistent=True) for region in REGIONS} == {"east"}


def test_the_loser_of_a_race_can_write_at_once_after_its_answer() -> None:
    w = world()
    w.put(EAST, "k", "east")
    loser = w.put(OREGON, "k", "oregon")
    while loser.end_ns is None:
        w.wait(MS)
    again = w.ask(OREGON, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "oregon"}})
    assert again.ok


def test_the_status_of_a_conflict_is_a_setting() -> None:
    w = world(conflict_status="400")
    w.put(EAST, "k", "east")
    loser = w.put(OREGON, "k", "oregon")
    w.settle()
    assert loser.status == 400


def test_writers_of_one_region_queue_and_never_conflict() -> None:
    w = world()
    calls = [w.send(EAST, "UpdateItem", **ADD) for _ in range(20)]
    w.settle()
    assert [call.body["Attributes"]["v"]["N"] for call in calls if call.body] == [str(n + 1) for n in range(20)]
    assert [call.took_ns for call in calls] == [16 * MS * (n + 1) for n in range(20)]


def test_a_condition_that_fails_on_an_old_copy_is_judged_again() -> None:
    w = world()
    w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}})
    w.settle()
    w.ask(EAST, "DeleteItem", Key=KEY)
    # Oregon still has the item; its condition fails there, and holds by the journal.
    created = w.ask(OREGON, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "b"}}, **CREATE)
    assert created.ok


def test_deleting_what_only_the_others_have_yet_deletes_it() -> None:
    w = world()
    w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}})
    deleted = w.ask(OREGON, "DeleteItem", Key=KEY, ReturnValues="ALL_OLD")
    assert deleted.body
    assert deleted.body["Attributes"]["v"] == {"S": "a"}
    assert w.value(EAST, "k", consistent=True) is None


def test_an_isolated_region_serves_eventual_reads_only_and_the_others_everything() -> None:
    w = world(mrsc_timeout="500ms")
    w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}})
    w.settle()
    w.fault("region-isolated", EAST)
    write = w.put(EAST, "other", "x")
    read = w.send(EAST, "GetItem", Key=KEY, ConsistentRead=True)
    assert w.value(EAST, "k") == "a"
    elsewhere = w.ask(OHIO, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "b"}})
    assert elsewhere.ok
    assert elsewhere.took_ns == 50 * MS
    assert w.value(OREGON, "k", consistent=True) == "b"
    w.wait(S)
    assert (write.status, write.error) == (500, "InternalServerError")
    assert (read.status, read.error) == (500, "InternalServerError")
    assert write.took_ns == 500 * MS


def test_a_write_that_timed_out_may_commit_after_healing() -> None:
    w = world(mrsc_timeout="500ms")
    fault = w.fault("region-isolated", EAST)
    write = w.put(EAST, "k", "late")
    w.wait(S)
    assert write.status == 500
    w.heal(fault)
    w.settle()
    assert w.value(OREGON, "k", consistent=True) == "late"


def test_a_write_that_waited_for_its_turn_when_it_timed_out_never_happens() -> None:
    w = world(mrsc_timeout="500ms")
    fault = w.fault("region-isolated", EAST)
    calls = [w.send(EAST, "UpdateItem", **ADD) for _ in range(3)]
    w.wait(S)
    assert [call.status for call in calls] == [500] * 3
    w.heal(fault)
    w.settle()
    assert w.value(OHIO, "k", consistent=True) == "1"


def test_a_recovering_region_reads_strongly_only_behind_what_it_missed() -> None:
    w = world(mrsc_timeout="60s")
    fault = w.fault("region-isolated", EAST)
    for number in range(5):
        assert w.ask(OHIO, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": str(number)}}).ok
    assert not w.core.control.tables[0].engine.caught_up(EAST)
    w.heal(fault)
    assert w.value(EAST, "k", consistent=True) == "4"
    assert w.core.control.tables[0].engine.caught_up(EAST)


def test_a_cut_link_leaves_everything_available_through_the_third_region() -> None:
    w = world()
    w.cut(EAST, OHIO)
    call = w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}})
    assert call.took_ns == 64 * MS
    assert w.value(OHIO, "k", consistent=True) == "a"


def test_entries_travel_around_a_link_that_breaks_under_them() -> None:
    w = world()
    call = w.put(EAST, "k", "a")
    w.wait(4 * MS)  # half way to Ohio
    w.cut(EAST, OHIO)
    w.settle()
    assert call.ok
    assert call.took_ns == 64 * MS  # by the copy that went to Oregon at the start


def test_a_delivery_does_not_arrive_over_links_that_broke_under_it() -> None:
    w = world()
    w.put(EAST, "k", "a")
    w.wait(20 * MS)  # committed in Ohio at 8 ms; due in Oregon at 33 ms
    cuts = [w.cut(OHIO, OREGON), w.cut(EAST, OREGON)]
    w.wait(S)
    assert w.value(OREGON, "k") is None
    w.heal(cuts[1])
    w.wait(32 * MS)
    assert w.value(OREGON, "k") == "a"


def test_an_acknowledged_write_survives_the_loss_of_either_holder() -> None:
    for lost in (EAST, OHIO):
        w = world()
        call = w.put(EAST, "k", "a")
        while call.end_ns is None:
            w.wait(MS)
        w.fault("region-down", lost)
        left = next(region for region in (EAST, OHIO) if region != lost)
        assert w.value(OREGON, "k", consistent=True) == "a"
        assert w.value(left, "k", consistent=True) == "a"


def test_an_entry_whose_second_holder_is_cut_off_does_not_hold_up_the_others() -> None:
    w = world()
    call = w.put(EAST, "k", "a")
    w.wait(9 * MS)  # committed in Ohio; its acknowledgement is under way
    w.fault("region-isolated", OHIO)
    w.wait(S)
    assert call.ok
    assert w.ask(OREGON, "PutItem", Item={"pk": {"S": "other"}, "v": {"S": "b"}}).ok
    assert w.value(OREGON, "k", consistent=True) == "a"


def test_a_one_way_cut_lets_the_entry_commit_and_its_acknowledgement_go_around() -> None:
    w = world()
    w.cut(OHIO, EAST, one_way=True)
    call = w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}})
    assert call.took_ns == 8 * MS + 25 * MS + 32 * MS


def test_a_witness_holds_entries_and_serves_nothing() -> None:
    w = world(witness=OREGON)
    w.fault("region-isolated", OHIO)
    assert w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}}).took_ns == 64 * MS
    refused = w.get(OREGON, "k")
    assert refused.error == "ResourceNotFoundException"


def test_with_the_witness_and_one_replica_lost_nothing_is_acknowledged() -> None:
    w = world(witness=OREGON, mrsc_timeout="300ms")
    w.fault("region-down", OREGON)
    w.fault("region-isolated", OHIO)
    assert w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}}).status == 500


def test_paused_replication_answers_500_until_the_region_has_caught_up() -> None:
    w = world()
    w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}})
    w.settle()
    fault = w.fault("replication-paused", EAST)
    refused = w.put(EAST, "k", "b")
    assert (refused.status, refused.took_ns) == (500, 0)
    assert w.get(EAST, "k", consistent=True).status == 500
    assert w.value(EAST, "k") == "a"
    assert w.ask(OHIO, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "c"}}).ok
    w.heal(fault)
    assert w.put(EAST, "k", "d").status == 500  # not caught up yet
    w.wait(100 * MS)
    assert w.value(EAST, "k", consistent=True) == "c"
    assert w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "e"}}).ok


def test_faults_overlap_and_heal_in_any_order() -> None:
    w = world(mrsc_timeout="300ms")
    isolated, down = w.fault("region-isolated", EAST), w.fault("region-down", EAST)
    cut = w.cut(EAST, OHIO)
    w.heal(isolated)
    assert w.ask(EAST, "PutItem", Item={"pk": {"S": "k"}, "v": {"S": "a"}}).status == 500
    w.heal(down)
    assert w.ask(EAST, "PutItem", Item={"pk": {"S": "l"}, "v": {"S": "a"}}).took_ns == 64 * MS
    w.heal(cut)
    assert w.ask(EAST, "PutItem", Item={"pk": {"S": "m"}, "v": {"S": "a"}}).took_ns == 16 * MS


def test_at_zero_latency_everything_is_answered_in_the_call_without_timers() -> None:
    w = world(latency_scale="0%")
    assert w.put(EAST, "k", "a").ok
    assert w.get(OREGON, "k", consistent=True).took_ns == 0
    assert w.value(OHIO, "k") == "a"
    assert w.core.next_ns is None


def _random_schedule(seed: int) -> list[Call]:
    """A few clients in every Region write and read one item while links and Regions come and go."""
    rng = random.Random(seed)
    scale = rng.choice([0, 1, 1, 1])
    trips = {pair: rng.choice([0, 2, 16, 50]) * MS * scale for pair in TRIP_NS}

    def random_trip(source: str, target: str) -> int:
        found = trips.get((source, target))
        return trips[target, source] if found is None else found

    witness = rng.choice([None, None, OREGON])
    w = World(
        "MRSC", witness=witness, round_trip=random_trip, mrsc_timeout="100ms", client_latency=rng.choice(["0ms", "1ms"])
    )
    replicas = [region for region in REGIONS if region != witness]
    faults: list[str] = []
    numbers = rng.random() < 0.3  # a counter, else a register
    for value in range(rng.randint(5, 10)):
        w.wait(rng.choice([0, 0, 1, 3, 10, 40, 120]) * MS)
        chance = rng.random()
        if chance < 0.2:
            kind = rng.choice(["link-cut", "link-cut", "region-isolated", "region-down", "replication-paused"])
            if kind == "link-cut":
                source, target = rng.sample(REGIONS, 2)
                faults.append(w.cut(source, target, rng.random() < 0.5))
            else:
                faults.append(w.fault(kind, rng.choice(REGIONS)))
        elif chance < 0.35 and faults:
            w.heal(faults.pop(rng.randrange(len(faults))))
        region = rng.choice(replicas)
        what = rng.random()
        if what < 0.3:
            w.send(region, "GetItem", Key=KEY, ConsistentRead=True)
        elif numbers or what > 0.95:
            w.send(region, "UpdateItem", **ADD) if numbers else w.send(
                region, "DeleteItem", Key=KEY, ReturnValues="ALL_OLD"
            )
        elif what < 0.7:
            w.put(region, "k", str(value))
        elif what < 0.85:
            w.put(region, "k", str(value), **CREATE)
        else:
            w.send(region, "DeleteItem", Key=KEY, ReturnValues="ALL_OLD")
    w.wait(rng.choice([0, 20, 400]) * MS)
    for fault in faults:
        w.heal(fault)
    w.settle()
    copies = {w.value(region, "k") for region in replicas}
    assert len(copies) == 1, f"seed {seed}: replicas differ: {copies}"
    for region in replicas:
        assert w.get(region, "k", consistent=True).ok
    return w.calls


@pytest.mark.parametrize("batch", range(8))
def test_every_item_is_linearizable_under_random_faults(batch: int) -> None:
    conflicts = unknowns = 0
    for seed in range(batch * 500, batch * 500 + 500):
        calls = _random_schedule(seed)
        strong = [call for call in calls if call.operation != "GetItem" or call.request.get("ConsistentRead")]
        assert all(call.end_ns is not None for call in calls), f"seed {seed}: never answered"
        steps = [one for one in map(step, strong) if one is not None]
        assert linearizable(steps), f"seed {seed}"
        conflicts += sum(call.error == "ReplicatedWriteConflictException" for call in calls)
        unknowns += sum(call.status == 500 for call in calls)
    assert conflicts > 50
    assert unknowns > 50
