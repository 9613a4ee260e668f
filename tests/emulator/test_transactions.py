"""Transactions: atomic at home, torn elsewhere, refused in MRSC; reasons, tokens, conflicts. In virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, MS, OHIO, TABLE, Call, S, World, create_request, indexed_request


def key(name: str) -> dict[str, Any]:
    return {"TableName": TABLE, "Key": {"pk": {"S": name}}}


def put(name: str, value: str = "1", **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": TABLE, "Item": {"pk": {"S": name}, "v": {"N": value}}, **more}}


def add(name: str, **more: Any) -> dict[str, Any]:
    return {
        "Update": {
            **key(name),
            "UpdateExpression": "ADD v :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
            **more,
        }
    }


def delete(name: str, **more: Any) -> dict[str, Any]:
    return {"Delete": {**key(name), **more}}


def check(name: str, condition: str = "attribute_exists(pk)", **more: Any) -> dict[str, Any]:
    return {"ConditionCheck": {**key(name), "ConditionExpression": condition, **more}}


def transact(w: World, *actions: dict[str, Any], region: str = EAST, **more: Any) -> Call:
    return w.ask(region, "TransactWriteItems", TransactItems=list(actions), **more)


def read(w: World, region: str, *names: str) -> list[str | None]:
    call = w.ask(region, "TransactGetItems", TransactItems=[{"Get": key(name)} for name in names])
    assert call.ok, call.body
    assert call.body is not None
    return [one["Item"]["v"]["N"] if "Item" in one else None for one in call.body["Responses"]]


def reasons(call: Call) -> list[str]:
    assert call.error == "TransactionCanceledException"
    assert call.body is not None
    codes = [reason["Code"] for reason in call.body["CancellationReasons"]]
    assert call.body["Message"] == (
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
    )
    return codes


def test_all_actions_or_none() -> None:
    w = World("MREC")
    assert transact(w, put("a"), put("b"), put("c")).body == {}
    assert transact(w, add("a"), delete("b"), check("c"), put("d")).ok
    assert read(w, EAST, "a", "b", "c", "d") == ["2", None, "1", "1"]
    call = transact(w, add("a"), check("b"), put("c", "9"))
    assert reasons(call) == ["None", "ConditionalCheckFailed", "None"]
    assert read(w, EAST, "a", "b", "c") == ["2", None, "1"]


def test_a_reason_has_the_item_where_it_is_asked_for() -> None:
    w = World("MREC")
    transact(w, put("a", "7"))
    old = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    absent = {"ConditionExpression": "attribute_not_exists(pk)"}
    call = transact(w, put("a", **absent, **old), put("x"), delete("b", ConditionExpression="attribute_exists(pk)"))
    assert reasons(call) == ["ConditionalCheckFailed", "None", "ConditionalCheckFailed"]
    assert call.body is not None
    assert call.body["CancellationReasons"] == [
        {
            "Code": "ConditionalCheckFailed",
            "Message": "The conditional request failed",
            "Item": {"pk": {"S": "a"}, "v": {"N": "7"}},
        },
        {"Code": "None"},
        {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"},
    ]


def test_an_update_that_does_not_fit_its_item_cancels() -> None:
    w = World("MREC")
    w.put(EAST, "a", "text")
    call = transact(w, put("b"), add("a"))
    assert reasons(call) == ["None", "ValidationError"]
    assert read(w, EAST, "b") == [None]


def test_elsewhere_a_transaction_is_seen_torn_and_whole_in_the_end() -> None:
    w = World("MREC", seed=3)
    names = [f"k{number}" for number in range(10)]
    transact(w, *map(put, names))
    seen = set()
    while None in (values := read(w, OHIO, *names)):
        seen.add(sum(value is not None for value in values))
        w.wait(5 * MS)
    assert len(seen) > 3
    assert read(w, OHIO, *names) == ["1"] * 10


def test_mrsc_takes_no_transactions() -> None:
    w = World("MRSC")
    message = "Transaction operations are not supported for global tables with MultiRegionConsistency set to STRONG"
    for call in (
        transact(w, put("a")),
        w.ask(EAST, "TransactGetItems", TransactItems=[{"Get": key("a")}]),
    ):
        assert call.error == "ValidationException"
        assert message in str(call.body)


def test_a_transaction_over_several_tables() -> None:
    w = World("MREC")
    w.core.control.make_global(create_request("other"), (EAST, OHIO), "MREC", None)
    other = put("a")
    other["Put"]["TableName"] = "other"
    assert transact(w, put("a"), other).ok
    assert w.ask(EAST, "GetItem", **{**key("a"), "TableName": "other"}).item is not None


def test_the_same_token_does_it_once_for_ten_minutes() -> None:
    w = World("MREC")
    w.put(EAST, "a", "0")
    transact(w, put("a", "0"))
    assert transact(w, add("a"), ClientRequestToken="t").ok
    again = transact(w, add("a"), ClientRequestToken="t", ReturnConsumedCapacity="TOTAL")
    assert again.body == {"ConsumedCapacity": [{"TableName": TABLE, "CapacityUnits": 2.0, "ReadCapacityUnits": 2.0}]}
    assert read(w, EAST, "a") == ["1"]
    assert transact(w, add("b"), ClientRequestToken="t").error == "IdempotentParameterMismatchException"
    assert transact(w, add("a"), ClientRequestToken="t", region=OHIO).ok  # tokens are a Region's own
    w.settle()
    value = read(w, EAST, "a")[0]
    w.wait(600 * S)
    assert transact(w, add("a"), ClientRequestToken="t").ok
    assert read(w, EAST, "a") == [str(int(value or 0) + 1)]


def test_a_cancelled_transaction_leaves_its_token_free() -> None:
    w = World("MREC")
    assert reasons(transact(w, check("a"), put("b"), ClientRequestToken="t")) == ["ConditionalCheckFailed", "None"]
    transact(w, put("a"))
    assert transact(w, check("a"), put("b"), ClientRequestToken="t").ok
    assert read(w, EAST, "b") == ["1"]


def test_while_a_transaction_holds_an_item_others_conflict() -> None:
    w = World("MREC", transaction_time="10ms")
    first = w.send(EAST, "TransactWriteItems", TransactItems=[add("a"), add("b")], ClientRequestToken="t")
    repeated = w.send(EAST, "TransactWriteItems", TransactItems=[add("a"), add("b")], ClientRequestToken="t")
    other = w.send(EAST, "TransactWriteItems", TransactItems=[put("x"), add("b")])
    single = w.put(EAST, "a", "1")
    batch = w.send(EAST, "BatchWriteItem", RequestItems={TABLE: [{"DeleteRequest": {"Key": {"pk": {"S": "a"}}}}]})
    both = w.send(EAST, "TransactGetItems", TransactItems=[{"Get": key("c")}, {"Get": key("a")}])
    assert repeated.error == "TransactionInProgressException"
    assert reasons(other) == ["None", "TransactionConflict"]
    assert single.error == batch.error == "TransactionConflictException"
    assert reasons(both) == ["None", "TransactionConflict"]
    assert w.get(EAST, "a").item is None
    assert w.get(OHIO, "a").item is None
    w.wait(10 * MS)
    assert first.ok
    assert first.took_ns == 10 * MS
    assert read(w, EAST, "a", "b", "x") == ["1", "1", None]
    assert w.put(EAST, "a", "2").ok


def test_a_transaction_is_judged_by_what_replication_brought_meanwhile() -> None:
    w = World("MREC", transaction_time="2s", replicator_delay="100ms")
    w.put(OHIO, "a", "1")
    call = w.send(EAST, "TransactWriteItems", TransactItems=[check("a"), put("b")])
    w.wait(2 * S)
    assert call.ok


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([], "Value '[]' at 'transactItems' failed to satisfy constraint: Member must have length greater than or"),
        ([put(str(number)) for number in range(101)], "Member must have length less than or equal to 100"),
        ([put("a"), delete("a")], "Transaction request cannot include multiple operations on one item"),
        ([put("a") | delete("b")], "TransactItems can only contain one of Check, Put, Update or Delete"),
        ([{}], "TransactItems can only contain one of Check, Put, Update or Delete"),
        ([{"ConditionCheck": key("a")}], "Value null at 'transactItems.1.member.conditionCheck.conditionExpression'"),
        ([check("a", "!!")], 'Invalid ConditionExpression: Syntax error; token: "!"'),
        ([put("")], "The AttributeValue for a key attribute cannot contain an empty string value. Key: pk"),
        ([delete("")], "The AttributeValue for a key attribute cannot contain an empty string value. Key: pk"),
    ],
)
def test_what_a_transaction_may_not_say(actions: list[dict[str, Any]], message: str) -> None:
    call = transact(World("MREC"), *actions)
    assert call.error == "ValidationException"
    assert message in str((call.body or {})["message"])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            {"Put": {"TableName": TABLE, "Item": {"pk": {"S": "p"}, "sk": {"S": "x"}}}},
            "One or more parameter values were invalid: Type mismatch for key sk expected: N actual: S",
        ),
        (
            {"Put": {"TableName": TABLE, "Item": {"pk": {"S": "p"}, "sk": {"N": "1"}, "g": {"N": "5"}}}},
            "One or more parameter values were invalid: Type mismatch for Index Key g Expected: S Actual: N "
            "IndexName: by-g",
        ),
        (delete("a"), "The provided key element does not match the schema"),
    ],
)
def test_mistakes_about_keys_are_an_actions_own(action: dict[str, Any], message: str) -> None:
    call = transact(World("MREC", create=indexed_request()), action)
    assert reasons(call) == ["ValidationError"]
    assert call.body is not None
    assert call.body["CancellationReasons"][0]["Message"] == message


def test_4_mb_are_a_transaction() -> None:
    w = World("MREC")

    def big(count: int) -> list[dict[str, Any]]:
        return [
            {"Put": {"TableName": TABLE, "Item": {"pk": {"S": f"{number}"}, "v": {"S": "x" * 350_000}}}}
            for number in range(count)
        ]

    assert transact(w, *big(11)).ok
    assert transact(w, *big(12)).error == "ValidationException"


def test_a_table_that_there_is_not() -> None:
    w = World(None)
    assert transact(w, put("a")).error == "ResourceNotFoundException"
    assert w.ask(EAST, "TransactGetItems", TransactItems=[{"Get": key("a")}]).error == "ResourceNotFoundException"


def test_transactions_cost_twice() -> None:
    w = World("MREC")
    call = transact(w, put("a"), check("b", "attribute_not_exists(pk)"), ReturnConsumedCapacity="INDEXES")
    units = {"CapacityUnits": 4.0, "WriteCapacityUnits": 4.0}
    assert call.body == {"ConsumedCapacity": [{"TableName": TABLE, **units, "Table": units}]}
    gets = [{"Get": key("a")}, {"Get": key("missing")}]
    call = w.ask(EAST, "TransactGetItems", TransactItems=gets, ReturnConsumedCapacity="INDEXES")
    units = {"CapacityUnits": 4.0, "ReadCapacityUnits": 4.0}
    assert call.body is not None
    assert call.body["ConsumedCapacity"] == [{"TableName": TABLE, **units, "Table": units}]
