"""Faults besides cuts, in virtual time: slow links, ailing Regions, lost replies, wrong clocks; alone and together."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import pytest
from pydantic import ValidationError

from lastwriter.emulator.core.environment import RESET, SILENCE
from lastwriter.emulator.faults import FaultSpec
from tests.emulator.running import ask, client, emulator
from tests.emulator.virtual import EAST, MS, OHIO, OREGON, REGIONS, Call, S, World

FIXED = {"replicator_delay": "2s", "replicator_delay_spread": "0%"}
TRIP_NS = {(EAST, OHIO): 16 * MS, (EAST, OREGON): 64 * MS, (OHIO, OREGON): 50 * MS}
KEY = {"pk": {"S": "k"}}


def world(mode: str = "MREC", **settings: Any) -> World:
    return World(mode, round_trip=lambda a, b: TRIP_NS.get((a, b)) or TRIP_NS[b, a], **{**FIXED, **settings})


def many(w: World, number: int = 400, region: str = EAST) -> list[Call]:
    calls = [w.put(region, str(n), "a") for n in range(number)]
    w.wait(10 * S)
    return calls


def share(calls: list[Call], status: int) -> float:
    return sum(call.status == status for call in calls) / len(calls)


def test_latency_on_a_link_delays_mrec_replication_and_no_client() -> None:
    w = world()
    slow = w.fault("link-latency", links=[(EAST, OHIO)], latency="300ms")
    assert w.put(EAST, "k", "a").took_ns == 0
    w.wait(2 * S + 308 * MS - 1)
    assert w.value(OHIO, "k") is None
    w.wait(1)
    assert (w.value(OHIO, "k"), w.value(OREGON, "k")) == ("a", "a")
    w.heal(slow)
    w.put(EAST, "k", "b")
    w.wait(2 * S + 8 * MS)
    assert w.value(OHIO, "k") == "b"


def test_latency_on_links_adds_its_round_trip_to_mrsc_writes_and_strong_reads() -> None:
    w = world("MRSC")
    links = [(EAST, OHIO), (EAST, OREGON)]
    slow = w.fault("link-latency", links=links, latency="300ms")
    assert w.ask(EAST, "PutItem", Item=KEY).took_ns == 16 * MS + 600 * MS
    assert w.get(EAST, "k", consistent=True).took_ns == 616 * MS
    assert w.get(EAST, "k").took_ns == 0
    assert w.ask(OHIO, "PutItem", Item={"pk": {"S": "l"}}).took_ns == 50 * MS
    w.heal(slow)
    w.settle()
    assert w.ask(EAST, "PutItem", Item=KEY).took_ns == 16 * MS


def test_one_way_latency_is_one_way_and_latencies_add_up() -> None:
    w = world("MRSC")
    w.fault("link-latency", links=[(EAST, OHIO), (EAST, OREGON)], latency="100ms", one_way=True)
    second = w.fault("link-latency", links=[(EAST, OHIO), (EAST, OREGON)], latency="50ms", one_way=True)
    assert w.ask(EAST, "PutItem", Item=KEY).took_ns == 166 * MS
    w.heal(second)
    w.settle()
    assert w.ask(EAST, "PutItem", Item=KEY).took_ns == 116 * MS


def test_a_new_scale_of_latencies_keeps_what_a_fault_adds() -> None:
    w = world("MRSC")
    slow = w.fault("link-latency", links=[(EAST, OHIO), (EAST, OREGON)], latency="100ms")
    w.core.use(w.core.environment.settings.model_copy(update={"latency_scale": 0.5}))
    assert w.ask(EAST, "PutItem", Item=KEY).took_ns == 208 * MS
    w.heal(slow)
    w.settle()
    assert w.ask(EAST, "PutItem", Item=KEY).took_ns == 8 * MS


@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_jitter_is_drawn_for_every_message_and_turns_nothing_around(mode: str) -> None:
    w = world(mode, replicator_delay="0ms", mrsc_timeout="60s")
    w.fault("link-latency", links=[(EAST, OHIO), (EAST, OREGON)], jitter="100ms")
    if mode == "MRSC":
        times = [w.ask(EAST, "PutItem", Item={"pk": {"S": str(n)}}).took_ns for n in range(100)]
        assert min(times) >= 16 * MS
        assert max(times) <= 240 * MS  # over Ohio at its worst, back from Oregon at its worst
        assert len(set(times)) > 90
    seen = []
    for number in range(60):
        w.put(EAST, "k", str(number))
        w.wait(20 * MS)
        seen.append(int(w.value(OHIO, "k") or 0))
    w.settle()
    assert seen == sorted(seen)
    assert {w.value(region, "k") for region in REGIONS} == {"59"}


def test_an_impaired_region_fails_some_requests_before_they_have_an_effect() -> None:
    w = world()
    fault = w.fault("region-impaired", EAST, errors="30%")
    calls = many(w)
    assert 0.2 < share(calls, 500) < 0.4
    assert {call.error for call in calls if not call.ok} == {"InternalServerError"}
    for call in calls:
        assert (w.value(OHIO, call.request["Item"]["pk"]["S"]) is not None) == call.ok
    w.heal(fault)
    assert share(many(w), 500) == 0


def test_errors_without_effect_leave_nothing_and_errors_after_leave_everything() -> None:
    for parameter, left in (("errors", None), ("errors_after", "a")):
        w = world()
        w.fault("region-impaired", EAST, **{parameter: "100%"})
        call = w.put(EAST, "k", "a")
        assert (call.status, call.error) == (500, "InternalServerError")
        w.settle()
        assert w.value(OHIO, "k") == left


def test_a_slow_request_takes_effect_at_once_and_is_answered_later() -> None:
    w = world()
    w.fault("region-impaired", EAST, slow="50%", slow_by="3s")
    calls = many(w)
    assert {call.took_ns for call in calls} == {0, 3 * S}
    assert 0.4 < sum(call.took_ns > 0 for call in calls) / len(calls) < 0.6


def test_a_refusal_passes_through_an_impaired_region_as_it_is() -> None:
    w = world()
    w.fault("region-impaired", EAST, slow="100%", slow_by="1s")
    call = w.ask(EAST, "PutItem", Item=KEY, ConditionExpression="attribute_exists(pk)")
    assert (call.status, call.error, call.took_ns) == (400, "ConditionalCheckFailedException", S)


def test_a_throttled_region_says_why() -> None:
    w = world()
    fault = w.fault("region-throttled", EAST)
    write, read = w.put(EAST, "k", "a"), w.get(EAST, "k")
    assert write.error == "ThrottlingException"
    assert write.body
    assert read.body
    assert write.body["throttlingReasons"][0]["reason"] == "TableWriteAccountLimitExceeded"
    assert read.body["throttlingReasons"][0] == {
        "reason": "TableReadAccountLimitExceeded",
        "resource": "arn:aws:dynamodb:us-east-1:000000000000:table/orders",
    }
    assert w.put(OHIO, "k", "a").ok
    w.heal(fault)
    assert w.put(EAST, "k", "a").ok


def test_a_hot_partition_is_throttled_alone() -> None:
    w = world()
    w.fault("region-throttled", EAST, keys=["hot", "7"])
    hot = w.put(EAST, "hot", "a")
    assert hot.error == "ProvisionedThroughputExceededException"
    assert hot.body
    assert hot.body["ThrottlingReasons"][0]["reason"] == "TableWriteKeyRangeThroughputExceeded"
    assert w.get(EAST, "7").error == "ProvisionedThroughputExceededException"
    assert w.put(EAST, "cold", "a").ok
    assert w.ask(EAST, "Scan").ok


def test_a_lost_reply_is_of_a_request_that_took_effect() -> None:
    for hang, status in ((False, RESET), (True, SILENCE)):
        w = world()
        w.fault("reply-lost", EAST, hang=hang)
        call = w.put(EAST, "k", "a")
        assert call.status == status
        w.settle()
        assert w.value(OHIO, "k") == "a"


def test_under_mrsc_the_reply_is_lost_when_it_would_have_left() -> None:
    w = world("MRSC")
    w.fault("reply-lost", EAST)
    call = w.ask(EAST, "PutItem", Item=KEY)
    assert (call.status, call.took_ns) == (RESET, 16 * MS)
    assert w.get(OHIO, "k", consistent=True).item


def test_a_reset_connection_took_its_request_with_it() -> None:
    w = world()
    w.fault("connection-reset", EAST, share="25%")
    calls = many(w)
    assert 0.15 < share(calls, RESET) < 0.35
    for call in calls:
        key = call.request["Item"]["pk"]["S"]
        assert (w.value(OHIO, key) is not None) == call.ok


def test_faults_of_requests_overlap_and_heal_in_any_order() -> None:
    w = world()
    faults = [
        w.fault("region-impaired", EAST, slow="100%", slow_by="1s"),
        w.fault("reply-lost", EAST),
        w.fault("region-impaired", EAST, OHIO, errors_after="100%"),
    ]
    call = w.ask(EAST, "PutItem", Item=KEY)
    assert (call.status, call.took_ns) == (RESET, S)
    w.heal(faults[1])
    call = w.ask(EAST, "PutItem", Item=KEY)
    assert (call.status, call.took_ns) == (500, S)
    w.heal(faults[0])
    w.heal(faults[2])
    call = w.ask(EAST, "PutItem", Item=KEY)
    assert (call.status, call.took_ns) == (200, 0)
    assert w.core.ailments.regions == {}


@pytest.mark.parametrize("kind", ["reply-lost", "connection-reset", "region-throttled", "region-impaired"])
def test_tables_can_be_looked_at_and_batches_suffer_as_one(kind: str) -> None:
    w = world()
    w.fault(kind, EAST, **({"errors": "100%"} if kind == "region-impaired" else {}))
    assert w.ask(EAST, "DescribeTable").ok
    batch = w.ask(EAST, "BatchWriteItem", RequestItems={"orders": [{"PutRequest": {"Item": KEY}}]})
    assert not batch.ok


def test_a_clock_that_is_behind_loses_to_writes_before_and_one_ahead_wins_over_those_after() -> None:
    for offset, survivor in (("-10s", "ohio"), ("10s", "east")):
        w = world()
        w.wait(60 * S)
        fault = w.fault("clock-skew", EAST, offset=offset)
        first, second = ((OHIO, "ohio"), (EAST, "east"))[:: 1 if offset[0] == "-" else -1]
        w.put(first[0], "k", first[1])
        w.wait(S)
        w.put(second[0], "k", second[1])
        w.settle()
        assert {w.value(region, "k") for region in REGIONS} == {survivor}
        w.heal(fault)
        w.put(EAST, "l", "a")
        w.wait(S)
        w.put(OHIO, "l", "b")
        w.settle()
        assert {w.value(region, "l") for region in REGIONS} == {"b"}


@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_a_lost_zone_is_brief_errors_and_slow_calls_and_nothing_lost(mode: str) -> None:
    w = world(mode)
    fault = w.fault("az-lost", EAST, election="3s")
    calls = [w.put(EAST, str(n), "a") for n in range(600)]
    stale = [w.send(EAST, "GetItem", Key={"pk": {"S": str(n)}}) for n in range(600)]
    assert all(call.ok for call in stale), "eventual reads need no leader"
    w.wait(5 * S)
    refused, quick = (
        [call for call in calls if not call.ok],
        [call for call in calls if call.ok and call.took_ns < S / 5],
    )
    slow = [call for call in calls if call.ok and call.took_ns > S / 5]
    assert {call.status for call in refused} == {500}
    assert 0.1 < len(refused) / 600 < 0.25
    assert 0.1 < len(slow) / 600 < 0.25
    assert len(quick) > 350
    assert max(call.took_ns for call in slow) < 3.2 * S
    assert all(w.value(EAST, str(n), consistent=True) == ("a" if calls[n].ok else None) for n in range(600))
    later = [w.put(EAST, str(n), "b") for n in range(600)]
    w.wait(S)
    assert all(call.ok and call.took_ns < S / 5 for call in later), "leaders have been elected"
    w.heal(fault)
    again = w.fault("az-lost", EAST, election="3s")
    w.wait(1500 * MS)
    halfway = many(w, 600)
    assert share(halfway, 500) < share(calls, 500), "partitions elect one after the other"
    w.heal(again)


def test_a_local_write_applies_under_any_skew() -> None:
    w = world()
    w.wait(60 * S)
    w.put(EAST, "k", "a")
    w.fault("clock-skew", EAST, offset="-1min")
    w.put(EAST, "k", "b")
    w.settle()
    assert {w.value(region, "k") for region in REGIONS} == {"b"}


def test_a_table_made_while_a_clock_is_off_goes_by_that_clock() -> None:
    w = World(None, **FIXED)
    w.fault("clock-skew", EAST, offset="1h")
    w.core.control.make_global(
        {
            "TableName": "orders",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
        REGIONS,
        "MREC",
        None,
    )
    w.put(EAST, "k", "east")
    w.wait(S)
    w.put(OHIO, "k", "ohio")
    w.settle()
    assert {w.value(region, "k") for region in REGIONS} == {"east"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "link-latency", "links": [(EAST, OHIO)]}, "does nothing without `latency` or `jitter`"),
        ({"kind": "link-latency", "regions": [EAST], "latency": "1s"}, "takes `links`"),
        ({"kind": "region-impaired", "regions": [EAST]}, "does nothing without"),
        ({"kind": "region-impaired", "regions": [EAST], "errors": "120%"}, "less than or equal to 1"),
        ({"kind": "emulator-killed", "regions": [EAST]}, "takes neither"),
        ({"kind": "az-lost", "regions": [EAST], "election": "0s"}, "greater than 0"),
        ({"kind": "clock-skew", "regions": [EAST]}, "does nothing without `offset`"),
        ({"kind": "clock-skew", "regions": [EAST], "offset": "5"}, "has no unit"),
        ({"kind": "link-cut", "links": [(EAST, OHIO)], "latency": "1s"}, "`latency` is of link-latency"),
        ({"kind": "region-down", "regions": [EAST], "share": "50%"}, "`share` is of"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_in_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        FaultSpec(**fields)


def test_a_fault_reads_back_what_it_writes() -> None:
    spec = FaultSpec(kind="clock-skew", regions=[EAST], offset="-300ms", lease=5)
    assert FaultSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.parameters == {"offset": "-300ms"}


def test_faults_of_requests_over_sockets_reset_and_silence_connections() -> None:
    with emulator((EAST, OHIO), table="orders") as running:
        table = client(running.endpoints[EAST], EAST, read_timeout=1)

        def during(kind: str, **parameters: Any) -> str:
            body = {"kind": kind, "regions": [EAST], **parameters}
            status, fault = ask(running.control, "POST", "/_lastwriter/faults", body)
            assert status == 201, fault
            try:
                table.put_item(TableName="orders", Item={"pk": {"S": kind}})
                return "ok"
            except botocore.exceptions.ClientError as error:
                return str(error.response["Error"]["Code"])
            except botocore.exceptions.BotoCoreError as error:
                return type(error).__name__
            finally:
                status, state = ask(running.control, "DELETE", f"/_lastwriter/faults/{fault['id']}")
                assert status == 200
                assert state["spec"]["kind"] == kind

        assert during("reply-lost") == "ConnectionClosedError"
        assert during("connection-reset") == "ConnectionClosedError"
        assert during("reply-lost", hang=True) == "ReadTimeoutError"
        assert during("region-throttled", keys=["region-throttled"]) == "ProvisionedThroughputExceededException"
        assert during("region-impaired", errors="100%") == "InternalServerError"
        assert during("clock-skew", offset="-1s") == "ok"
        assert ask(running.control, "POST", "/_lastwriter/faults", {"kind": "clock-skew", "regions": [EAST]})[0] == 400
        assert ask(running.control, "POST", "/_lastwriter/faults", {"kind": "emulator-killed"})[0] == 400
        left = {item["pk"]["S"] for item in table.scan(TableName="orders")["Items"]}
        assert left == {"reply-lost", "clock-skew"}
