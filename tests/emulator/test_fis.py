"""Experiments as boto3's fis client makes them; and in virtual time, to the nanosecond."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lastwriter.emulator.faults import FaultSpec
from lastwriter.emulator.process import EmulatorProcess
from lastwriter.emulator.shell.control import ControlApi
from tests.emulator.running import client, emulator, until
from tests.emulator.virtual import EAST, MS, OHIO, OREGON, S, World

PAUSE = "aws:dynamodb:global-table-pause-replication"
KEY = {"pk": {"S": "k"}}


def arn(region: str = EAST, table: str = "orders") -> str:
    return f"arn:aws:dynamodb:{region}:000000000000:table/{table}"


HERE = {"resourceType": "aws:dynamodb:global-table", "resourceArns": [arn()], "selectionMode": "ALL"}


def template(**actions: Any) -> dict[str, Any]:
    return {
        "clientToken": "t",
        "description": "a drill",
        "roleArn": "arn:aws:iam::000000000000:role/fis",
        "stopConditions": [{"source": "none"}],
        "targets": {"here": HERE},
        "actions": actions,
    }


def pause(duration: str = "PT1M", *after: str) -> dict[str, Any]:
    action = {"actionId": PAUSE, "parameters": {"duration": duration}, "targets": {"Tables": "here"}}
    return action | ({"startAfter": list(after)} if after else {})


def wait(duration: str, *after: str) -> dict[str, Any]:
    return {"actionId": "aws:fis:wait", "parameters": {"duration": duration}, "startAfter": list(after)}


class Fis:
    """The service in virtual time."""

    def __init__(self, world: World) -> None:
        self._api = ControlApi(world.core, world.book, {}, lambda: world.core.scheduler.now_ns / 1e9)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self._api.respond(method, path, b"" if body is None else json.dumps(body).encode())

    def start(self, actions: dict[str, Any]) -> str:
        status, made = self.call("POST", "/experimentTemplates", {**template(**actions), "clientToken": ""})
        assert status == 200, made
        status, begun = self.call("POST", "/experiments", {"experimentTemplateId": made["experimentTemplate"]["id"]})
        assert status == 200, begun
        return str(begun["experiment"]["id"])

    def states(self, experiment: str) -> tuple[str, dict[str, str]]:
        _, body = self.call("GET", f"/experiments/{experiment}")
        found = body["experiment"]
        return found["state"]["status"], {name: one["state"]["status"] for name, one in found["actions"].items()}


def test_a_pause_begins_and_ends_with_its_action_and_actions_wait_for_each_other() -> None:
    w = World("MREC", latency_scale="0%", replicator_delay="0ms")
    fis = Fis(w)
    name = fis.start({"first": wait("PT10S"), "cut": pause("PT1M", "first"), "last": wait("PT5S", "cut")})
    assert fis.states(name) == ("running", {"first": "running", "cut": "pending", "last": "pending"})
    w.wait(10 * S - 1)
    w.put(EAST, "k", "a")
    assert w.value(OHIO, "k") == "a"
    w.wait(1)
    w.put(EAST, "k", "b")
    w.wait(60 * S - 1)
    assert w.value(OHIO, "k") == "a"
    assert fis.states(name)[1] == {"first": "completed", "cut": "running", "last": "pending"}
    w.wait(1)
    assert w.value(OHIO, "k") == "b"
    w.wait(5 * S)
    assert fis.states(name)[0] == "completed"


def test_under_mrsc_a_pause_answers_500_until_the_region_has_caught_up() -> None:
    w = World("MRSC")
    fis = Fis(w)
    name = fis.start({"cut": pause()})
    assert w.put(EAST, "k", "a").status == 500
    assert w.ask(OHIO, "PutItem", Item=KEY).ok
    w.wait(60 * S + 500 * MS)
    assert fis.states(name)[0] == "completed"
    assert w.ask(EAST, "PutItem", Item=KEY).ok


def other_table(w: World, name: str = "people") -> None:
    """A second global table."""
    from tests.emulator.virtual import keys

    definitions = [{"AttributeName": "pk", "AttributeType": "S"}]
    made = w.ask(
        EAST, "CreateTable", TableName=name, KeySchema=keys("pk"), AttributeDefinitions=definitions,
        BillingMode="PAY_PER_REQUEST",
    )  # fmt: skip
    assert made.ok
    for region in (OHIO, OREGON):
        assert w.ask(EAST, "UpdateTable", TableName=name, ReplicaUpdates=[{"Create": {"RegionName": region}}]).ok


def test_a_pause_is_of_its_table_alone() -> None:
    w = World("MREC", latency_scale="0%", replicator_delay="0ms")
    other_table(w)
    fis = Fis(w)
    name = fis.start({"cut": pause()})
    assert w.ask(EAST, "PutItem", TableName="people", Item=KEY).ok
    w.put(EAST, "k", "a")
    w.put(OHIO, "j", "b")
    found = w.ask(OHIO, "GetItem", TableName="people", Key=KEY).body
    assert found is not None
    assert "Item" in found
    assert w.value(OHIO, "k") is None
    assert (w.value(EAST, "j"), w.value(OREGON, "j")) == (None, "b")
    assert [state.spec.tables for state in w.book.states()] == [["orders"]]
    fis.call("DELETE", f"/experiments/{name}")
    assert (w.value(OHIO, "k"), w.value(EAST, "j")) == ("a", "b")


def test_pauses_of_a_table_and_of_its_region_overlap() -> None:
    w = World("MREC", latency_scale="0%", replicator_delay="0ms")
    fis = Fis(w)
    fis.start({"cut": pause("PT10S")})
    region = w.book.set(FaultSpec(kind="replication-paused", regions=[EAST]))
    isolated = w.book.set(FaultSpec(kind="region-isolated", regions=[EAST]))
    w.put(EAST, "k", "a")
    w.wait(10 * S)
    w.book.heal(isolated)
    assert w.value(OHIO, "k") is None
    w.book.heal(region)
    assert w.value(OHIO, "k") == "a"


@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_onset_may_be_late(mode: str) -> None:
    w = World(mode, latency_scale="0%", replicator_delay="0ms", fis_onset="5min")
    fis = Fis(w)
    name = fis.start({"cut": pause("PT10M")})
    w.wait(300 * S - 1)
    assert fis.states(name)[0] == "running"
    assert w.put(EAST, "k", "a").ok
    assert w.value(OHIO, "k") == "a"
    w.wait(1)
    w.put(EAST, "k", "b")
    assert w.value(OHIO, "k") == "a"
    w.wait(300 * S)
    assert fis.states(name)[0] == "completed"
    if mode == "MREC":
        assert w.value(OHIO, "k") == "b"


def test_an_action_that_ends_before_its_onset_breaks_nothing() -> None:
    w = World("MREC", fis_onset="5min")
    fis = Fis(w)
    name = fis.start({"cut": pause("PT1M")})
    w.wait(600 * S)
    assert fis.states(name) == ("completed", {"cut": "completed"})
    assert w.book.states() == []


def test_under_mrsc_settings_stand_still_and_the_other_regions_go_on() -> None:
    w = World("MRSC")
    fis = Fis(w)
    fis.start({"cut": pause()})
    update = {"DeletionProtectionEnabled": True}
    assert w.ask(OHIO, "UpdateTable", **update).error == "ResourceInUseException"
    assert w.ask(OHIO, "PutItem", Item=KEY).ok
    assert w.ask(OREGON, "GetItem", Key=KEY, ConsistentRead=True).ok
    assert w.ask(EAST, "GetItem", Key=KEY, ConsistentRead=True).status == 500
    stale = w.ask(EAST, "GetItem", Key=KEY)
    assert (stale.ok, stale.body) == (True, {})
    w.wait(61 * S)
    assert w.ask(OHIO, "UpdateTable", **update).ok
    assert w.ask(EAST, "GetItem", Key=KEY, ConsistentRead=True).body == {"Item": KEY}


def test_a_table_that_goes_while_it_is_paused_takes_its_pause_along() -> None:
    w = World("MREC", latency_scale="0%", replicator_delay="0ms")
    fis = Fis(w)
    name = fis.start({"cut": pause(), "later": pause("PT1M", "cut")})
    assert w.ask(OREGON, "UpdateTable", ReplicaUpdates=[{"Delete": {"RegionName": OHIO}}]).ok
    assert w.ask(OREGON, "DeleteTable").ok
    w.wait(24 * 3600 * S)
    assert w.ask(EAST, "DeleteTable").ok
    assert fis.states(name)[0] in ("completed", "failed")
    assert all(state.healed_ns is not None for state in w.book.states())


def test_some_of_the_targets_all_of_them_or_none() -> None:
    w = World("MREC", latency_scale="0%", replicator_delay="0ms")
    fis = Fis(w)
    arns = [arn(region) for region in (EAST, OHIO, OREGON)]
    for mode, number in (("ALL", 3), ("COUNT(2)", 2), ("COUNT(9)", 3), ("PERCENT(50)", 1)):
        body = {**template(cut=pause("PT1S")), "clientToken": mode}
        body["targets"] = {"here": {**HERE, "resourceArns": arns, "selectionMode": mode}}
        made = fis.call("POST", "/experimentTemplates", body)[1]["experimentTemplate"]["id"]
        name = fis.call("POST", "/experiments", {"experimentTemplateId": made})[1]["experiment"]["id"]
        resolved = fis.call("GET", f"/experiments/{name}/resolvedTargets")[1]["resolvedTargets"]
        assert len({one["targetInformation"]["resourceArn"] for one in resolved}) == number
        assert sum(state.healed_ns is None for state in w.book.states()) == number
        w.wait(1 * S)
    skipped = fis.call(
        "POST", "/experiments", {"experimentTemplateId": made, "experimentOptions": {"actionsMode": "skip-all"}}
    )[1]["experiment"]
    assert (skipped["state"]["status"], skipped["actions"]["cut"]["state"]["status"]) == ("completed", "skipped")


def test_targets_that_are_not_there_may_be_skipped() -> None:
    w = World("MREC")
    fis = Fis(w)
    body = {**template(cut=pause()), "experimentOptions": {"emptyTargetResolutionMode": "skip"}}
    body["targets"] = {"here": {**HERE, "resourceArns": [arn(table="missing")]}}
    made = fis.call("POST", "/experimentTemplates", body)[1]["experimentTemplate"]["id"]
    begun = fis.call("POST", "/experiments", {"experimentTemplateId": made})[1]["experiment"]
    assert (begun["state"]["status"], begun["actions"]["cut"]["state"]["status"]) == ("completed", "skipped")


def test_stopping_heals_and_cancels() -> None:
    w = World("MREC", latency_scale="0%", replicator_delay="0ms")
    fis = Fis(w)
    name = fis.start({"cut": pause(), "then": wait("PT1M", "cut")})
    w.put(EAST, "k", "a")
    assert w.value(OHIO, "k") is None
    status, body = fis.call("DELETE", f"/experiments/{name}")
    assert (status, body["experiment"]["state"]["status"]) == (200, "stopped")
    assert fis.states(name) == ("stopped", {"cut": "stopped", "then": "cancelled"})
    assert w.value(OHIO, "k") == "a"
    w.wait(300 * S)
    assert fis.states(name)[0] == "stopped"
    assert fis.call("DELETE", f"/experiments/{name}")[0] == 400


def test_every_fault_is_an_action_of_our_own() -> None:
    w = World("MREC", latency_scale="0%", replicator_delay="0ms")
    fis = Fis(w)
    links = f"{EAST}/{OHIO}, {EAST}/{OREGON}"
    cut = {"actionId": "lastwriter:link-cut", "parameters": {"links": links, "one_way": "true", "duration": "PT2S"}}
    slow = {"actionId": "lastwriter:link-latency", "parameters": {"links": links, "latency": "1s", "duration": "PT2S"}}
    keys = {"regions": f"{EAST},{OHIO}", "keys": "a,b", "duration": "PT2S"}
    fis.start({"cut": cut, "slow": slow, "hot": {"actionId": "lastwriter:region-throttled", "parameters": keys}})
    specs = {state.spec.kind: state.spec for state in w.book.states()}
    assert specs["link-cut"].one_way
    assert specs["link-latency"].links == [(EAST, OHIO), (EAST, OREGON)]
    assert specs["region-throttled"].keys == ["a", "b"]
    w.wait(2 * S)
    assert all(state.healed_ns == 2 * S for state in w.book.states())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"actions": {}}, "a template takes"),
        ({"actions": {"a": {"actionId": "aws:ec2:stop-instances"}}}, "unknown actionId aws:ec2:stop-instances"),
        ({"actions": {"a": wait("5 minutes")}}, "is not like PT5M"),
        ({"actions": {"a": wait("PT")}}, "is not like PT5M"),
        ({"actions": {"a": wait("PT1M", "b")}}, "startAfter names b"),
        ({"actions": {"a": wait("PT1M", "b"), "b": wait("PT1M", "a")}}, "start after each other"),
        ({"actions": {"a": {**pause(), "targets": {"Tables": "there"}}}}, "there is no target there"),
        ({"actions": {"a": {**pause(), "targets": {}}}}, "takes the target Tables"),
        ({"actions": {"a": {**wait("PT1M"), "targets": {"Tables": "here"}}}}, "takes no targets"),
        ({"actions": {"a": {**pause(), "parameters": {"duration": "PT1M", "x": "1"}}}}, "has no parameter x"),
        (
            {"actions": {"a": {"actionId": "lastwriter:region-down", "parameters": {"duration": "PT1M"}}}},
            "takes `regions`",
        ),
        (
            {
                "actions": {
                    "a": {"actionId": "lastwriter:region-down", "parameters": {"duration": "PT1M", "regions": "x"}}
                }
            },
            "no Region 'x' here",
        ),
        ({"stopConditions": [{"source": "aws:cloudwatch:alarm", "value": "x"}]}, "there are no alarms"),
        ({"targets": {"here": {"resourceType": "aws:ec2:instance", "selectionMode": "ALL"}}}, "unknown resource type"),
        (
            {"targets": {"here": {**HERE, "selectionMode": "COUNT(0)"}}},
            "selectionMode is ALL, COUNT(n) or PERCENT(n), not COUNT(0)",
        ),
        ({"targets": {"here": {**HERE, "resourceArns": []}}}, "resourceArns are missing"),
        ({"targets": {"here": {**HERE, "resourceArns": ["arn:aws:s3:::b"]}}}, "is not the ARN of a table"),
        ({"targets": {"here": {**HERE, "resourceTags": {"a": "b"}}}}, "only resourceArns are known here"),
        ({"targets": {"here": {**HERE, "filters": [{"path": "x", "values": ["y"]}]}}}, "only resourceArns are known"),
        ({"stopConditions": [{"source": "none", "value": "x"}]}, "takes no value"),
        ({"stopConditions": []}, "a template takes stopConditions"),
        ({"roleArn": None}, "a template takes roleArn"),
        ({"experimentOptions": {"accountTargeting": "multi-account"}}, "accountTargeting multi-account is not known"),
        ({"logConfiguration": {"logSchemaVersion": 2}}, "nowhere to write to"),
        ({"tags": {"a": 1}}, "tags are a map of texts"),
        ({"actions": [1]}, "shape"),
    ],
)
def test_a_template_that_names_what_there_is_not_is_refused(change: dict[str, Any], words: str) -> None:
    fis = Fis(World("MREC"))
    status, body = fis.call("POST", "/experimentTemplates", {**template(cut=pause()), **change})
    assert (status, body["__type"]) == (400, "ValidationException")
    assert words in body["message"]
    assert fis.call("GET", "/experimentTemplates")[1] == {"experimentTemplates": []}


@pytest.mark.parametrize("target", [arn(table="missing"), arn(region="eu-west-1")])
def test_an_experiment_without_its_table_fails_and_breaks_nothing(target: str) -> None:
    w = World("MREC")
    fis = Fis(w)
    body = template(first=wait("PT1M"), cut=pause())
    body["targets"] = {"here": {**HERE, "resourceArns": [target]}}
    made = fis.call("POST", "/experimentTemplates", body)[1]["experimentTemplate"]["id"]
    begun = fis.call("POST", "/experiments", {"experimentTemplateId": made})[1]["experiment"]
    assert begun["state"]["status"] == "failed"
    assert "Target resolution" in begun["state"]["reason"]
    assert w.book.states() == []


@pytest.fixture(scope="module")
def running() -> Iterator[EmulatorProcess]:
    with emulator((EAST, OHIO, OREGON), table="orders") as process:
        yield process


def test_boto3_creates_starts_watches_stops_and_lists(running: EmulatorProcess) -> None:
    fis = boto3.client(
        "fis", endpoint_url=running.control, region_name=EAST, aws_access_key_id="x", aws_secret_access_key="x"
    )
    assert PAUSE in {action["id"] for action in fis.list_actions()["actions"]}
    assert fis.get_action(id=PAUSE)["action"]["targets"]["Tables"]["resourceType"] == "aws:dynamodb:global-table"
    made = fis.create_experiment_template(**template(cut=pause()))["experimentTemplate"]
    again = fis.create_experiment_template(**template(cut=pause()))["experimentTemplate"]
    assert again["id"] == made["id"]
    assert fis.get_experiment_template(id=made["id"])["experimentTemplate"]["actions"]["cut"]["actionId"] == PAUSE
    assert [one["id"] for one in fis.list_experiment_templates()["experimentTemplates"]] == [made["id"]]

    begun = fis.start_experiment(clientToken="s", experimentTemplateId=made["id"])["experiment"]
    client(running.endpoints[EAST], EAST).put_item(TableName="orders", Item=KEY)
    west = client(running.endpoints[OREGON], OREGON)
    assert "Item" not in west.get_item(TableName="orders", Key=KEY)
    assert fis.get_experiment(id=begun["id"])["experiment"]["state"]["status"] == "running"
    assert fis.stop_experiment(id=begun["id"])["experiment"]["state"]["status"] == "stopped"
    until(lambda: "Item" in west.get_item(TableName="orders", Key=KEY))
    assert [one["state"]["status"] for one in fis.list_experiments()["experiments"]] == ["stopped"]

    short = fis.create_experiment_template(**{**template(cut=wait("PT0.05S")), "clientToken": "u"})[
        "experimentTemplate"
    ]
    begun = fis.start_experiment(clientToken="v", experimentTemplateId=short["id"])["experiment"]
    until(lambda: fis.get_experiment(id=begun["id"])["experiment"]["state"]["status"] == "completed")
    assert {one["resourceType"] for one in fis.list_target_resource_types()["targetResourceTypes"]} == {
        "aws:dynamodb:global-table"
    }
    assert fis.get_target_resource_type(resourceType="aws:dynamodb:global-table")["targetResourceType"]["description"]
    pages = [fis.list_actions(maxResults=5)]
    while "nextToken" in pages[-1]:
        pages.append(fis.list_actions(maxResults=5, nextToken=pages[-1]["nextToken"]))
    assert [action["id"] for page in pages for action in page["actions"]] == [
        action["id"] for action in fis.list_actions()["actions"]
    ]
    updated = fis.update_experiment_template(id=made["id"], description="another")["experimentTemplate"]
    assert (updated["description"], updated["actions"]) == ("another", made["actions"])
    with pytest.raises(ClientError, match="unknown actionId"):
        fis.update_experiment_template(id=made["id"], actions={"a": {"actionId": "aws:rds:reboot"}})
    fis.tag_resource(resourceArn=made["arn"], tags={"team": "orders", "x": "y"})
    fis.untag_resource(resourceArn=made["arn"], tagKeys=["x"])
    assert fis.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"team": "orders"}
    assert fis.get_experiment_template(id=made["id"])["experimentTemplate"]["tags"] == {"team": "orders"}
    of_one = fis.list_experiments(experimentTemplateId=short["id"])["experiments"]
    assert [one["experimentTemplateId"] for one in of_one] == [short["id"]]
    with pytest.raises(ClientError, match="ConflictException"):
        fis.create_experiment_template(**{**template(cut=wait("PT9S")), "clientToken": "u"})
    with pytest.raises(ClientError, match="nextToken is none that was given out"):
        fis.list_actions(nextToken="x")
    fis.delete_experiment_template(id=made["id"])
    with pytest.raises(ClientError, match="there is no experiment template") as refused:
        fis.get_experiment_template(id=made["id"])
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    with pytest.raises(ClientError, match="unknown actionId") as refused:
        fis.create_experiment_template(**{**template(a={"actionId": "aws:rds:reboot"}), "clientToken": "w"})
    assert refused.value.response["Error"]["Code"] == "ValidationException"
