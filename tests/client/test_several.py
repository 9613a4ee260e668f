"""Several items in one request, and sets: what is asked, and what the rows say of each item."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from gevent import GreenletExit

from lastwriter.client.keys import Key
from lastwriter.client.plan import Load
from lastwriter.client.retry import Attempts
from lastwriter.client.several import CANCELED, Change
from tests.client.test_table import CONDITION, FAIL, OK, UNKNOWN, Rig, item
from verifier.history.schema import ABSENT


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def attempts(**load: object) -> Attempts:
    return Attempts(Load(workload="work", users=1, **load), random.Random(1), sleep=lambda _: None)  # type: ignore[arg-type]


def test_a_transaction_is_one_operation_with_a_row_an_item(rig: Rig) -> None:
    rig.client.says(OK)
    changes = [Change.add("a", -5), Change.put("b", 7, expect=3), Change.delete("c"), Change.check("d", 9)]
    answer = rig.table.transact_write(changes)
    ((operation, body),) = rig.client.asked
    assert operation == "TransactWriteItems"
    assert "ClientRequestToken" not in body
    kinds = [next(iter(member)) for member in body["TransactItems"]]
    assert kinds == ["Update", "Update", "Delete", "ConditionCheck"]
    added = body["TransactItems"][0]["Update"]
    assert added["UpdateExpression"] == "SET #p = if_not_exists(#w, :none), #w = :op ADD v :v"
    assert added["ExpressionAttributeValues"][":v"] == {"N": "-5"}
    assert body["TransactItems"][1]["Update"]["ConditionExpression"] == "#w = :expect"
    assert "UpdateExpression" not in body["TransactItems"][3]["ConditionCheck"]
    rows = rig.rows()
    assert {row["op"] for row in rows} == {answer.op}
    assert [(row["key"], row["kind"], row["value"], row["result"], row["saw"], row["prev"]) for row in rows] == [
        ("a", "txn_write", -5, None, answer.op, None),
        ("b", "txn_write", 7, 7, answer.op, 3),  # its condition held, so that is what it replaced
        ("c", "delete", None, None, None, None),
        ("d", "txn_read", None, None, 9, None),
    ]


def test_a_cancelled_transaction_says_of_each_item_why(rig: Rig) -> None:
    reasons = [
        {"Code": "None"},
        {"Code": "ConditionalCheckFailed", "Item": item(5, 9, 8)},
        {"Code": "TransactionConflict"},
    ]
    rig.client.says(FAIL, {"CancellationReasons": reasons}, CANCELED)
    rig.client.says(FAIL, {"CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}]}, CANCELED)
    answer = rig.table.transact_write([Change.add("a", 1), Change.add("b", 1, expect=3), Change.add("c", 1)])
    assert (answer.error, answer.parts[1].writer) == (CONDITION, 9)
    again = rig.table.transact_write([Change.add("a", 1), Change.add("b", 1)])
    assert again.error == "TransactionConflictException"  # worth another attempt
    rows = rig.rows()
    assert [(row["outcome"], row["error"], row["saw"]) for row in rows[:3]] == [
        (FAIL, CANCELED, None),
        (FAIL, CONDITION, 9),
        (FAIL, "TransactionConflictException", None),
    ]
    assert {row["process"] for row in rows} == {100}


def test_attempts_with_a_token_send_the_same_and_leave_one_mark(rig: Rig) -> None:
    rig.client.says(UNKNOWN, error="Timeout")
    rig.client.says(OK)
    tries = attempts(retry="jittered")
    tries._unknown = True
    for attempt in tries:
        rig.table.transact_write([Change.put("a"), Change.put("b")], attempt, token=True)
    (_, first), (_, second) = rig.client.asked
    assert first == second
    rows = rig.rows()
    assert [(row["attempt"], row["outcome"]) for row in rows] == [(1, UNKNOWN)] * 2 + [(2, OK)] * 2
    assert {row["token"] for row in rows} == {tries.intent}
    assert {row["saw"] for row in rows[2:]} == {tries.intent}
    assert [row["process"] for row in rows] == [100, 100, 101, 101]  # one process more, not two


def test_transactional_and_batch_reads_have_a_row_for_every_item_asked_for(rig: Rig) -> None:
    rig.client.says(OK, {"Responses": [{"Item": item(5, 9, 8)}, {}]})
    rig.client.says(FAIL, error="TransactionCanceledException")
    found = {"t": [{**item(1, 2, 3), "pk": {"S": "c"}}]}
    left = {"t": {"Keys": [{"pk": {"S": "b"}}]}}
    rig.client.says(OK, {"Responses": found, "UnprocessedKeys": left})
    both = rig.table.transact_read(["a", "b"])
    assert [part.writer for part in both.parts] == [9, ABSENT]
    rig.table.transact_read(["a", "b"])
    batch = rig.table.batch_read(["a", "b", "c"], strong=False)
    assert batch.unprocessed == [1]
    assert [(row["kind"], row["key"], row["outcome"], row["saw"]) for row in rig.rows()] == [
        ("txn_read", "a", OK, 9),
        ("txn_read", "b", OK, ABSENT),
        ("txn_read", "a", FAIL, None),
        ("txn_read", "b", FAIL, None),
        ("read_eventual", "a", OK, ABSENT),
        ("read_eventual", "b", FAIL, None),
        ("read_eventual", "c", OK, 2),
    ]


def test_a_batch_write_fails_item_by_item_or_is_unknown_as_a_whole(rig: Rig) -> None:
    rig.client.says(OK, {"UnprocessedItems": {"t": [{"DeleteRequest": {"Key": {"pk": {"S": "b"}}}}]}})
    rig.client.says(UNKNOWN, error="ThrottlingException")  # classified as such for a batch
    changes = [Change.put("a", 1), Change.delete("b")]
    rig.table.batch_write(changes)
    rig.table.batch_write(changes)
    (_, body), _ = rig.client.asked
    assert body["RequestItems"]["t"][0]["PutRequest"]["Item"]["v"] == {"N": "1"}
    rows = rig.rows()
    assert [(row["kind"], row["outcome"], row["error"]) for row in rows] == [
        ("write", OK, None),
        ("delete", FAIL, "Unprocessed"),
        ("write", UNKNOWN, "ThrottlingException"),
        ("delete", UNKNOWN, "ThrottlingException"),
    ]
    assert rows[0]["saw"] == rows[0]["op"]
    with pytest.raises(ValueError, match="no conditions"):
        rig.table.batch_write([Change.put("a", expect=1)])


def test_a_query_has_a_row_for_every_item_found(rig: Rig) -> None:
    rig.client.says(OK, {"Items": [{**item(9, 4, 3), "pk": {"S": "x"}}, {**item(8, 6, 5), "pk": {"S": "y"}}]})
    rig.client.says(OK, {"Items": []})
    assert [one.value for one in rig.table.query("board", limit=2)] == [9, 8]
    assert rig.table.query("board") == []
    assert [(row["kind"], row["key"], row["result"], row["saw"]) for row in rig.rows()] == [
        ("read_index", "x", 9, 4),
        ("read_index", "y", 8, 6),
        ("read_index", "board", None, None),
    ]


def test_what_is_in_flight_at_the_end_is_unknown_in_every_row(rig: Rig) -> None:
    rig.client.replies.append(GreenletExit())
    with pytest.raises(GreenletExit):
        rig.table.transact_write([Change.put("a"), Change.check("b", 1)])
    rows = rig.rows()
    assert [(row["kind"], row["outcome"], row["error"]) for row in rows] == [
        ("txn_write", UNKNOWN, "InFlight"),
        ("txn_read", FAIL, "InFlight"),
    ]


def test_sets_are_recorded_with_what_came_back(rig: Rig) -> None:
    def cart(*elements: int, kind: str = "NS") -> dict[str, object]:
        return {**item(0, 9, 8), "e": {kind: [str(one) for one in elements]}}

    rig.client.says(OK, {"Attributes": cart(7, 3)})
    rig.client.says(OK, {"Item": cart(7, kind="SS")})
    rig.client.says(OK, {})
    rig.client.says(OK, {"Attributes": item(0, 9, 8)})
    rig.client.says(FAIL, {"Item": cart(1)}, CONDITION)
    rig.table.include("c", 7)
    seen = rig.table.get_set("c")
    assert (seen.elements, rig.table.get_set("c").elements) == (frozenset([7]), frozenset())
    rig.table.replace_set("c", seen, exclude=7)
    refused = rig.table.replace_set("c", seen, text=True)
    assert refused.elements == frozenset([1])
    bodies = [body for _, body in rig.client.asked]
    assert bodies[0]["UpdateExpression"].endswith("ADD e :e")
    assert bodies[0]["ExpressionAttributeValues"][":e"] == {"NS": ["7"]}
    assert bodies[3]["UpdateExpression"].endswith("REMOVE e"), "there are no empty sets"
    assert bodies[4]["ExpressionAttributeValues"][":e"] == {"SS": ["7", str(refused.op)]}
    assert [(row["kind"], row["value"], row["elements"], row["expect"]) for row in rig.rows()] == [
        ("set_add", 7, [3, 7], None),
        ("read", None, [7], None),
        ("read", None, [], None),
        ("set_remove", 7, [], 9),
        ("set_add", refused.op, [1], 9),
    ]


def test_taking_and_appending(rig: Rig) -> None:
    rig.client.says(OK, {"Attributes": item(4, 9, 8)})
    rig.client.says(FAIL, {}, CONDITION)
    rig.table.take("shoes", 3)
    rig.table.append(Key("ledger", 0, None, None), 12)
    (_, take), (_, append) = rig.client.asked
    assert take["ConditionExpression"] == "v >= :count"
    assert take["ExpressionAttributeValues"][":v"] == {"N": "-3"}
    assert append["Key"] == {"pk": {"S": "ledger/12"}}
    assert [(row["kind"], row["key"], row["logical_key"], row["value"], row["result"]) for row in rig.rows()] == [
        ("take", "shoes", None, 3, 4),
        ("append", "ledger/12", "ledger", 12, None),
    ]
