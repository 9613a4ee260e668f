"""Requests on one table: what they do, what they return, and how they are refused."""

# ruff: noqa: E501 - DynamoDB's messages read better unbroken

from __future__ import annotations

import copy
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.requests.operations import (
    check_request,
    compile_get,
    compile_scan,
    compile_write,
    item_key,
    table_name,
)
from lastwriter.emulator.requests.schema import KeyAttribute, TableSchema
from lastwriter.emulator.requests.sizes import item_bytes
from tests.emulator.replicas import arranged

Item = dict[str, Any]

PLAIN = TableSchema("plain", KeyAttribute("pk", "S"))
SORTED = TableSchema("sorted", KeyAttribute("pk", "S"), KeyAttribute("sk", "N"))
BINARY = TableSchema("binary", KeyAttribute("pk", "B"))

SCHEMAS = {schema.name: schema for schema in (PLAIN, SORTED, BINARY)}

MARK = {
    "TableName": "plain",
    "Key": {"pk": {"S": "k"}},
    "UpdateExpression": "SET #p = if_not_exists(#w, :none), #w = :op ADD #v :d",
    "ExpressionAttributeNames": {"#p": "_p", "#w": "_w", "#v": "v"},
    "ExpressionAttributeValues": {":none": {"N": "-1"}, ":op": {"N": "77"}, ":d": {"N": "1"}},
    "ReturnValues": "ALL_NEW",
}


def write(operation: str, current: Item | None, **parameters: Any) -> tuple[Item | None, dict[str, Any]]:
    """New item and reply. Compiled twice, for the second time takes the remembered plan; the request stays as it is."""
    request = {"TableName": "plain", **parameters}
    before = copy.deepcopy(request), copy.deepcopy(current)
    for _ in range(2):
        compiled = compile_write(operation, request, SCHEMAS[request["TableName"]])
        new = compiled.evaluate(current)
        reply = compiled.reply(current, new)
    assert (request, current) == before
    return new, reply


def refused(call: Any, *arguments: Any, **parameters: Any) -> str:
    """The message of the ValidationException, the same twice."""
    messages = []
    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            call(*arguments, **parameters)
        assert caught.value.name == "ValidationException"
        assert caught.value.status == 400
        messages.append(caught.value.message)
    assert messages[0] == messages[1]
    return messages[0]


def get(current: Item | None, **parameters: Any) -> dict[str, Any]:
    request = {"TableName": "plain", "Key": {"pk": {"S": "k"}}, **parameters}
    schema = SCHEMAS[request["TableName"]]
    assert compile_get(request, schema).reply(current) == compile_get(request, schema).reply(current)
    return compile_get(request, schema).reply(current)


def scan(items: list[Item], **parameters: Any) -> dict[str, Any]:
    request = {"TableName": "plain", **parameters}
    schema = SCHEMAS[request["TableName"]]
    return compile_scan(request, schema).reply(arranged(schema, items))


KEY = {"pk": {"S": "k"}}


class TestPut:
    def test_an_item_replaces_another(self) -> None:
        new, reply = write("PutItem", {**KEY, "a": {"S": "old"}}, Item={**KEY, "b": {"N": "1.0"}})
        assert new == {**KEY, "b": {"N": "1"}}
        assert reply == {}

    def test_the_old_item_is_returned_if_asked_for(self) -> None:
        old = {**KEY, "a": {"S": "old"}}
        assert write("PutItem", old, Item=KEY, ReturnValues="ALL_OLD")[1] == {"Attributes": old}
        assert write("PutItem", None, Item=KEY, ReturnValues="ALL_OLD")[1] == {}

    @pytest.mark.parametrize(
        ("item", "message"),
        [
            ({"a": {"S": "x"}}, "One or more parameter values were invalid: Missing the key pk in the item"),
            (
                {"pk": {"N": "1"}},
                "One or more parameter values were invalid: Type mismatch for key pk expected: S actual: N",
            ),
            (
                {"pk": {"S": ""}},
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
                "empty string value. Key: pk",
            ),
            (
                {"pk": {"S": "x" * 2049}},
                "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 "
                "bytes",
            ),
            (
                {**KEY, "a": {"SS": []}},
                "1 validation error detected: One or more parameter values were invalid: An string set  may not be "
                "empty",
            ),
            (
                {**KEY, "a": {}},
                "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            ),
            (
                {**KEY, "a": {"N": "dog"}},
                "1 validation error detected: The parameter cannot be converted to a numeric value: dog",
            ),
            ({**KEY, "a": {"S": "x" * 409_600}}, "Item size has exceeded the maximum allowed size"),
        ],
    )
    def test_items_that_are_refused(self, item: Item, message: str) -> None:
        assert refused(write, "PutItem", None, Item=item) == message

    def test_an_empty_binary_key(self) -> None:
        assert refused(write, "PutItem", None, TableName="binary", Item={"pk": {"B": ""}}) == (
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty "
            "binary value. Key: pk"
        )

    def test_the_largest_item(self) -> None:
        item = {**KEY, "a": {"S": "x" * (409_600 - 4)}}
        assert item_bytes(item) == 409_600
        assert write("PutItem", None, Item=item)[0] == item

    def test_other_return_values(self) -> None:
        assert refused(write, "PutItem", None, Item=KEY, ReturnValues="ALL_NEW") == (
            "1 validation error detected: ReturnValues can only be ALL_OLD or NONE"
        )


class TestUpdate:
    def test_the_writers_mark(self) -> None:
        first, reply = write("UpdateItem", None, **MARK)
        assert first == {**KEY, "_p": {"N": "-1"}, "_w": {"N": "77"}, "v": {"N": "1"}}
        assert reply == {"Attributes": first}
        second = write("UpdateItem", first, **MARK)[0]
        assert second == {**KEY, "_p": {"N": "77"}, "_w": {"N": "77"}, "v": {"N": "2"}}

    def test_without_an_expression_an_item_comes_into_being(self) -> None:
        assert write("UpdateItem", None, Key=KEY) == (KEY, {})
        current = {**KEY, "a": {"S": "x"}}
        assert write("UpdateItem", current, Key=KEY)[0] == current

    def test_taking_away_brings_no_item_into_being(self) -> None:
        values = {":s": {"SS": ["x"]}}
        assert write("UpdateItem", None, Key=KEY, UpdateExpression="REMOVE a.b, c") == (None, {})
        assert (
            write("UpdateItem", None, Key=KEY, UpdateExpression="DELETE a :s", ExpressionAttributeValues=values)[0]
            is None
        )

    @pytest.mark.parametrize(
        ("returned", "attributes"),
        [
            ("NONE", None),
            ("ALL_OLD", {**KEY, "a": {"N": "1"}, "m": {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}}),
            ("ALL_NEW", {**KEY, "b": {"N": "5"}, "m": {"M": {"x": {"N": "5"}, "y": {"N": "2"}}}}),
            ("UPDATED_OLD", {"a": {"N": "1"}, "m": {"M": {"x": {"N": "1"}}}}),
            ("UPDATED_NEW", {"b": {"N": "5"}, "m": {"M": {"x": {"N": "5"}}}}),
        ],
    )
    def test_return_values(self, returned: str, attributes: Item | None) -> None:
        reply = write(
            "UpdateItem",
            {**KEY, "a": {"N": "1"}, "m": {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}},
            Key=KEY,
            UpdateExpression="SET b = :v, m.x = :v REMOVE a",
            ExpressionAttributeValues={":v": {"N": "5"}},
            ReturnValues=returned,
        )[1]
        assert reply.get("Attributes") == attributes

    @pytest.mark.parametrize("returned", ["ALL_OLD", "UPDATED_OLD"])
    def test_no_old_values_without_an_old_item(self, returned: str) -> None:
        assert write("UpdateItem", None, **{**MARK, "ReturnValues": returned})[1] == {}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"UpdateExpression": ""}, "Invalid UpdateExpression: The expression can not be empty;"),
            (
                {"UpdateExpression": "SET a = :none ADD #v :d"},
                "Value provided in ExpressionAttributeNames unused in expressions: keys: {#p, #w}",
            ),
            (
                {"UpdateExpression": "SET #p = :none, #w = :op REMOVE #v"},
                "Value provided in ExpressionAttributeValues unused in expressions: keys: {:d}",
            ),
            (
                {"UpdateExpression": None},
                "ExpressionAttributeNames can only be specified when using expressions",
            ),
            ({"ExpressionAttributeNames": {}}, "ExpressionAttributeNames must not be empty"),
            ({"ExpressionAttributeValues": {}}, "ExpressionAttributeValues must not be empty"),
            (
                {"ExpressionAttributeNames": {"p": "_p"}},
                'ExpressionAttributeNames contains invalid key: Syntax error; key: "p"',
            ),
            (
                {"ExpressionAttributeValues": {"#none": {"N": "1"}}},
                'ExpressionAttributeValues contains invalid key: Syntax error; key: "#none"',
            ),
            (
                {"ExpressionAttributeValues": {**MARK["ExpressionAttributeValues"], ":d": {"N": "dog"}}},
                "The parameter cannot be converted to a numeric value: dog",
            ),
            (
                {"ExpressionAttributeValues": {**MARK["ExpressionAttributeValues"], ":d": {"NS": []}}},
                "One or more parameter values were invalid: An number set  may not be empty",
            ),
            (
                {"ExpressionAttributeValues": {**MARK["ExpressionAttributeValues"], ":d": {"S": "x"}}},
                "Invalid UpdateExpression: Incorrect operand type for operator or function; operator: ADD, operand "
                "type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND",
            ),
            (
                {"AttributeUpdates": {"a": {"Action": "PUT", "Value": {"S": "x"}}}},
                "Can not use both expression and non-expression parameters in the same request: Non-expression "
                "parameters: {AttributeUpdates} Expression parameters: {UpdateExpression}",
            ),
            (
                {"ReturnValues": "ALL"},
                "Value 'ALL' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: "
                "[ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]",
            ),
            ({"Key": None}, "Value null at 'key' failed to satisfy constraint: Member must not be null"),
        ],
    )
    def test_mistakes_in_the_request_are_counted(self, changes: dict[str, Any], message: str) -> None:
        assert refused(write, "UpdateItem", None, **{**MARK, **changes}) == f"1 validation error detected: {message}"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"Key": {"pk": {"N": "1"}}}, "The provided key element does not match the schema"),
            ({"Key": {}}, "The provided key element does not match the schema"),
            ({"Key": {**KEY, "x": {"S": "y"}}}, "The provided key element does not match the schema"),
            (
                {"Key": {"pk": {"S": ""}}},
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
                "empty string value. Key: pk",
            ),
            (
                {"ExpressionAttributeNames": {"#p": "pk", "#w": "_w", "#v": "v"}},
                "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the "
                "key",
            ),
            (
                {"ConditionExpression": "pk.x = :op"},
                "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: pk",
            ),
        ],
    )
    def test_mistakes_against_the_table(self, changes: dict[str, Any], message: str) -> None:
        assert refused(write, "UpdateItem", None, **{**MARK, **changes}) == message

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"UpdateExpression": 5}, "NUMBER_VALUE cannot be converted to String"),
            ({"ReturnValues": True}, "TRUE_VALUE cannot be converted to String"),
            ({"Key": "k"}, "Unexpected field type"),
            ({"Key": {"pk": "k"}}, "Unexpected value type in payload"),
            ({"ExpressionAttributeNames": {"#p": 1, "#w": "w", "#v": "v"}}, "NUMBER_VALUE cannot be converted to String"),
            ({"ExpressionAttributeNames": ["#p"]}, "Unrecognized collection type java.util.Map<java.lang.String, "
             "java.lang.String>"),
            ({"ExpressionAttributeValues": []}, "Unrecognized collection type java.util.Map<java.lang.String, "
             "com.amazonaws.dynamodb.v20120810.AttributeValue>"),
            ({"ReturnConsumedCapacity": ["TOTAL"]}, "Unrecognized collection type class java.lang.String"),
        ],
    )  # fmt: skip
    def test_wrong_json(self, changes: dict[str, Any], message: str) -> None:
        for _ in range(2):
            with pytest.raises(ApiError) as caught:
                write("UpdateItem", None, **{**MARK, **changes})
            assert (caught.value.name, caught.value.message) == ("SerializationException", message)

    @pytest.mark.parametrize(
        ("expression", "cost", "extra"),
        [
            ("SET b = :pad", 3 + 19, 0),
            ("SET b = :pad REMOVE c", 3 + 19 + 2, 0),
            ("SET b = :pad, d = :one", 3 + 38, 1 + 2),
        ],
    )
    def test_the_largest_update(self, expression: str, cost: int, extra: int) -> None:
        """UpdateItem leaves the key out of what it compares with 400 KB and adds a cost for each action."""
        key = {"pk": {"S": "K"}}

        def update(finished: int) -> None:
            values = {":pad": {"S": "x" * (finished - item_bytes(key) - 1 - extra)}, ":one": {"N": "1"}}
            used = {name: value for name, value in values.items() if name in expression}
            new = write("UpdateItem", None, Key=key, UpdateExpression=expression, ExpressionAttributeValues=used)[0]
            assert new is not None
            assert item_bytes(new) == finished

        ceiling = min(409_600, 409_600 + item_bytes(key) - cost)
        update(ceiling)
        assert refused(update, ceiling + 1) == "Item size to update has exceeded the maximum allowed size"

    def test_an_update_in_nothing_but_types_of_values_is_judged_each_time(self) -> None:
        request = {"Key": KEY, "UpdateExpression": "ADD a :v"}
        write("UpdateItem", None, **request, ExpressionAttributeValues={":v": {"N": "1"}})
        write("UpdateItem", None, **request, ExpressionAttributeValues={":v": {"SS": ["a"]}})
        assert "operand type: LIST" in refused(
            write, "UpdateItem", None, **request, ExpressionAttributeValues={":v": {"L": []}}
        )


class TestConditions:
    FAILS: ClassVar = {"ConditionExpression": "attribute_not_exists(pk)"}

    @pytest.mark.parametrize(
        ("operation", "parameters"),
        [("PutItem", {"Item": KEY}), ("UpdateItem", {"Key": KEY}), ("DeleteItem", {"Key": KEY})],
    )
    def test_a_condition_that_does_not_hold(self, operation: str, parameters: dict[str, Any]) -> None:
        current = {**KEY, "a": {"S": "x"}}
        for asked, shown in ((None, None), ("NONE", None), ("ALL_OLD", current)):
            with pytest.raises(ApiError) as caught:
                write(operation, current, **parameters, **self.FAILS, ReturnValuesOnConditionCheckFailure=asked)
            body = {
                "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                "message": "The conditional request failed",
            }
            assert caught.value.body() == (body if shown is None else {**body, "Item": shown})
        assert write(operation, None, **parameters, **self.FAILS)[1] == {}

    def test_no_item_with_a_failure_where_there_is_none(self) -> None:
        with pytest.raises(ApiError) as caught:
            write(
                "DeleteItem",
                None,
                Key=KEY,
                ConditionExpression="attribute_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        assert "Item" not in caught.value.body()

    def test_conditions_are_known(self) -> None:
        request = {"TableName": "plain", "Key": KEY}
        assert not compile_write("DeleteItem", request, PLAIN).has_condition
        assert compile_write("DeleteItem", {**request, **self.FAILS}, PLAIN).has_condition


class TestDelete:
    def test_deleting(self) -> None:
        current = {**KEY, "a": {"S": "x"}}
        assert write("DeleteItem", current, Key=KEY) == (None, {})
        assert write("DeleteItem", current, Key=KEY, ReturnValues="ALL_OLD")[1] == {"Attributes": current}
        assert write("DeleteItem", None, Key=KEY, ReturnValues="ALL_OLD") == (None, {})

    def test_mistakes_in_the_request_are_counted(self) -> None:
        assert refused(write, "DeleteItem", None, Key=KEY, ConditionExpression="") == (
            "1 validation error detected: Invalid ConditionExpression: The expression can not be empty;"
        )


class TestKeys:
    @pytest.mark.parametrize(
        ("table", "key", "expected"),
        [
            ("plain", {"pk": {"S": "k"}}, "k"),
            ("binary", {"pk": {"B": "AAE="}}, b"\x00\x01"),
            ("sorted", {"pk": {"S": "k"}, "sk": {"N": "1.0"}}, ("k", 1)),
            ("sorted", {"sk": {"N": "-0.5"}, "pk": {"S": "k"}}, ("k", -0.5)),
        ],
    )
    def test_the_primary_key(self, table: str, key: Item, expected: Any) -> None:
        request = {"TableName": table, "Key": key}
        assert compile_get(request, SCHEMAS[table]).key == expected
        assert compile_write("DeleteItem", request, SCHEMAS[table]).key == expected
        new = compile_write("UpdateItem", request, SCHEMAS[table]).evaluate(None)
        assert new is not None
        assert item_key(new, SCHEMAS[table]) == expected

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ({"pk": {"S": "k"}}, "The provided key element does not match the schema"),
            ({"pk": {"S": "k"}, "sk": {"S": "1"}}, "The provided key element does not match the schema"),
            ({"pk": {"S": "k"}, "sk": {"N": "x"}}, "The parameter cannot be converted to a numeric value: x"),
        ],
    )
    def test_keys_that_do_not_fit(self, key: Item, message: str) -> None:
        assert refused(get, None, TableName="sorted", Key=key) == message

    def test_a_long_sort_key(self) -> None:
        schema = TableSchema("t", KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))
        key = {"pk": {"S": "k"}, "sk": {"S": "x" * 1025}}
        assert refused(compile_get, {"TableName": "t", "Key": key}, schema) == (
            "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit "
            "of 1024 bytes"
        )

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (None, "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null"),
            ("", "1 validation error detected: Value '' at 'tableName' failed to satisfy constraint: Member must have "
             "length greater than or equal to 1"),
            ("bad table!@#", "1 validation error detected: Value 'bad table!@#' at 'tableName' failed to satisfy "
             "constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"),
            ("a" * 256, f"1 validation error detected: Value '{'a' * 256}' at 'tableName' failed to satisfy constraint: "
             "Member must have length less than or equal to 255"),
        ],
    )  # fmt: skip
    def test_table_names(self, name: str | None, message: str) -> None:
        assert refused(table_name, {"TableName": name}) == message

    def test_a_table_by_its_arn(self) -> None:
        arn = "arn:aws:dynamodb:us-east-1:000000000000:table/plain"
        assert table_name({"TableName": arn}) == "plain"
        assert compile_get({"TableName": arn, "Key": KEY}, PLAIN).key == "k"


class TestGet:
    ITEM: ClassVar = {**KEY, "a": {"M": {"b": {"N": "1"}, "c": {"N": "2"}}}, "d": {"S": "x"}}

    def test_an_item_or_nothing(self) -> None:
        assert get(self.ITEM) == {"Item": self.ITEM}
        assert get(None) == {}

    def test_consistency(self) -> None:
        request = {"TableName": "plain", "Key": KEY}
        assert not compile_get(request, PLAIN).consistent
        assert not compile_get({**request, "ConsistentRead": False}, PLAIN).consistent
        assert compile_get({**request, "ConsistentRead": True}, PLAIN).consistent

    def test_projection(self) -> None:
        names = {"#a": "a"}
        assert get(self.ITEM, ProjectionExpression="#a.b, d", ExpressionAttributeNames=names) == {
            "Item": {"a": {"M": {"b": {"N": "1"}}}, "d": {"S": "x"}}
        }
        assert get(self.ITEM, ProjectionExpression="zz") == {"Item": {}}
        assert get(self.ITEM, AttributesToGet=["d", "zz"]) == {"Item": {"d": {"S": "x"}}}

    @pytest.mark.parametrize(
        ("item", "consistent", "units"),
        [(None, False, 0.5), (None, True, 1.0), ({**KEY, "a": {"S": "x" * 4096}}, True, 2.0), (KEY, False, 0.5)],
    )
    def test_capacity(self, item: Item | None, consistent: bool, units: float) -> None:
        asked = {"ConsistentRead": consistent, "ReturnConsumedCapacity": "TOTAL"}
        assert get(item, **asked)["ConsumedCapacity"] == {"TableName": "plain", "CapacityUnits": units}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"ProjectionExpression": "!!! INVALID !!!"},
                'Invalid ProjectionExpression: Syntax error; token: "!", near: "!!"',
            ),
            (
                {"ProjectionExpression": "a", "ExpressionAttributeNames": {"#x": "x"}},
                "Value provided in ExpressionAttributeNames unused in expressions: keys: {#x}",
            ),
            (
                {"ProjectionExpression": "pk.a"},
                "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: pk",
            ),
            (
                {"ProjectionExpression": "a", "AttributesToGet": ["b"]},
                "Can not use both expression and non-expression parameters in the same request: Non-expression "
                "parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}",
            ),
            (
                {"AttributesToGet": ["b", "b"]},
                "One or more parameter values were invalid: Duplicate value in attribute name: b",
            ),
        ],
    )
    def test_mistakes(self, changes: dict[str, Any], message: str) -> None:
        assert refused(get, None, **changes) == message

    def test_a_wrong_boolean(self) -> None:
        get(None, ConsistentRead=True)
        with pytest.raises(ApiError, match="Unexpected token received from parser"):
            get(None, ConsistentRead="true")


class TestCapacityOfWrites:
    @pytest.mark.parametrize(
        ("operation", "parameters", "units"),
        [
            ("PutItem", {"Item": KEY}, 3.0),
            ("DeleteItem", {"Key": KEY}, 3.0),
            ("UpdateItem", {"Key": KEY, "UpdateExpression": "REMOVE a"}, 3.0),
        ],
    )
    def test_the_larger_of_before_and_after(self, operation: str, parameters: dict[str, Any], units: float) -> None:
        current = {**KEY, "a": {"S": "x" * 3000}}
        for detail in ("TOTAL", "INDEXES"):
            consumed = write(operation, current, **parameters, ReturnConsumedCapacity=detail)[1]["ConsumedCapacity"]
            expected = {"TableName": "plain", "CapacityUnits": units}
            assert consumed == (expected if detail == "TOTAL" else {**expected, "Table": {"CapacityUnits": units}})
        assert write(operation, current, **parameters, ReturnConsumedCapacity="NONE")[1] == {}


def numbered(count: int) -> list[Item]:
    return [{"pk": {"S": f"k{at}"}, "n": {"N": str(at)}} for at in range(count)]


class TestScan:
    def test_everything(self) -> None:
        reply = scan(numbered(20))
        assert reply["Count"] == reply["ScannedCount"] == 20
        assert sorted(item["pk"]["S"] for item in reply["Items"]) == sorted(f"k{at}" for at in range(20))
        assert "LastEvaluatedKey" not in reply
        assert scan([]) == {"Count": 0, "ScannedCount": 0, "Items": []}

    @given(st.integers(0, 12), st.integers(1, 5), st.integers(1, 4), st.randoms())
    def test_pages_and_segments_give_every_item_once(self, count: int, limit: int, segments: int, random: Any) -> None:
        items = numbered(count)
        found = []
        for segment in range(segments):
            start = None
            while True:
                random.shuffle(items)  # replicas hold items in any order
                reply = scan(items, Limit=limit, Segment=segment, TotalSegments=segments, ExclusiveStartKey=start)
                assert reply["Count"] <= limit
                found += [item["pk"]["S"] for item in reply["Items"]]
                start = reply.get("LastEvaluatedKey")
                if start is None:
                    break
        assert sorted(found) == sorted(f"k{at}" for at in range(count))

    def test_pages_of_a_sorted_table(self) -> None:
        items = [{"pk": {"S": pk}, "sk": {"N": str(sk)}} for pk in "ab" for sk in (10, 9, -1)]
        found, start = [], None
        while True:
            reply = scan(items, TableName="sorted", Limit=1, ExclusiveStartKey=start)
            found += reply["Items"]
            start = reply.get("LastEvaluatedKey")
            if start is None:
                break
            assert start.keys() == {"pk", "sk"}
        by_partition = {pk: [int(item["sk"]["N"]) for item in found if item["pk"]["S"] == pk] for pk in "ab"}
        assert by_partition == {"a": [-1, 9, 10], "b": [-1, 9, 10]}

    def test_a_page_ends_at_one_megabyte(self) -> None:
        items = [{"pk": {"S": f"k{at}"}, "pad": {"S": "x" * 300_000}} for at in range(5)]
        first = scan(items)
        assert first["Count"] == 3
        assert scan(items, ExclusiveStartKey=first["LastEvaluatedKey"])["Count"] == 2

    def test_filter_and_projection(self) -> None:
        reply = scan(
            numbered(10),
            FilterExpression="n >= :seven",
            ExpressionAttributeValues={":seven": {"N": "7"}},
            ProjectionExpression="n",
        )
        assert (reply["Count"], reply["ScannedCount"]) == (3, 10)
        assert sorted(item["n"]["N"] for item in reply["Items"]) == ["7", "8", "9"]
        assert all(item.keys() == {"n"} for item in reply["Items"])

    def test_a_filter_comes_after_the_limit(self) -> None:
        reply = scan(
            numbered(10), Limit=4, FilterExpression="n < :zero", ExpressionAttributeValues={":zero": {"N": "0"}}
        )
        assert (reply["Count"], reply["ScannedCount"], reply["Items"]) == (0, 4, [])
        assert "LastEvaluatedKey" in reply

    def test_count_and_capacity(self) -> None:
        items = [{"pk": {"S": f"k{at}"}, "pad": {"S": "x" * 4000}} for at in range(5)]
        reply = scan(items, Select="COUNT", ReturnConsumedCapacity="TOTAL", ConsistentRead=True)
        assert reply == {
            "Count": 5,
            "ScannedCount": 5,
            "ConsumedCapacity": {"TableName": "plain", "CapacityUnits": 5.0},
        }
        assert scan(items, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"] == 2.5

    def test_consistency(self) -> None:
        assert compile_scan({"TableName": "plain", "ConsistentRead": True}, PLAIN).consistent
        assert not compile_scan({"TableName": "plain"}, PLAIN).consistent

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"Limit": 0}, "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must "
             "have value greater than or equal to 1"),
            ({"Segment": 0}, "The TotalSegments parameter is required but was not present in the request when Segment "
             "parameter is present"),
            ({"TotalSegments": 4}, "The Segment parameter is required but was not present in the request when parameter "
             "TotalSegments is present"),
            ({"Segment": 5, "TotalSegments": 5}, "The Segment parameter is zero-based and must be less than parameter "
             "TotalSegments: Segment: 5 is not less than TotalSegments: 5"),
            ({"Select": "ALL"}, "1 validation error detected: Value 'ALL' at 'select' failed to satisfy constraint: "
             "Member must satisfy enum value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, "
             "ALL_PROJECTED_ATTRIBUTES]"),
            ({"Select": "COUNT", "ProjectionExpression": "a"}, "Cannot specify the ProjectionExpression when choosing to "
             "get only the Count"),
            ({"Select": "SPECIFIC_ATTRIBUTES"}, "Must specify the AttributesToGet or ProjectionExpression when choosing "
             "to get SPECIFIC_ATTRIBUTES"),
            ({"ExclusiveStartKey": {"x": {"S": "y"}}}, "The provided starting key is invalid: The provided key element "
             "does not match the schema"),
            ({"FilterExpression": "#x = :v", "ExpressionAttributeValues": {":v": {"S": ""}}}, "Invalid FilterExpression: "
             "An expression attribute name used in the document path is not defined; attribute name: #x"),
            ({"ExpressionAttributeValues": {":v": {"S": ""}}}, "ExpressionAttributeValues can only be specified when "
             "using expressions: FilterExpression is null"),
            ({"IndexName": "none"}, "The table does not have the specified index: none"),
            ({"ScanFilter": {}, "FilterExpression": "a = b"}, "Can not use both expression and non-expression parameters in "
             "the same request: Non-expression parameters: {ScanFilter} Expression parameters: {FilterExpression}"),
        ],
    )  # fmt: skip
    def test_mistakes(self, parameters: dict[str, Any], message: str) -> None:
        assert refused(scan, [], **parameters) == message

    def test_a_start_in_another_segment(self) -> None:
        elsewhere = next(
            key
            for key in ({"pk": {"S": f"k{at}"}} for at in range(100))
            if scan([key], Segment=0, TotalSegments=2)["Count"] == 0
        )
        assert refused(scan, [], Segment=0, TotalSegments=2, ExclusiveStartKey=elsewhere) == (
            "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct "
            "Segment. TotalSegments: 2 Segment: 0"
        )


class TestWithoutATable:
    """What DynamoDB says before it misses the table."""

    @pytest.mark.parametrize(
        ("operation", "parameters", "message"),
        [
            ("UpdateItem", {"Key": KEY, "UpdateExpression": "SET"}, '1 validation error detected: Invalid UpdateExpression: Syntax error; token: "<EOF>", near: "SET"'),
            ("PutItem", {"Item": {"a": {"SS": []}}}, "1 validation error detected: One or more parameter values were invalid: An string set  may not be empty"),
            ("GetItem", {"Key": {"pk": {}}}, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"),
            ("Scan", {"TotalSegments": 2}, "The Segment parameter is required but was not present in the request when parameter TotalSegments is present"),
            ("Query", {}, "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."),
        ],
    )  # fmt: skip
    def test_a_mistake(self, operation: str, parameters: dict[str, Any], message: str) -> None:
        assert refused(check_request, operation, {"TableName": "none", **parameters}) == message

    @pytest.mark.parametrize("operation", ["UpdateItem", "DeleteItem", "GetItem"])
    def test_a_key_that_only_a_table_could_judge(self, operation: str) -> None:
        check_request(operation, {"TableName": "none", "Key": {"any": {"N": "1"}}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.sampled_from(["", "a", ":v", "#n", "pk", "SET a = :v"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["S", "N", "pk", ":v", "#n", "a", "L", "M"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
REQUESTS = {
    "UpdateItem": MARK,
    "PutItem": {"TableName": "plain", "Item": KEY, "ConditionExpression": "a <> :v",
                "ExpressionAttributeValues": {":v": {"S": "x"}}},
    "DeleteItem": {"TableName": "plain", "Key": KEY, "ReturnValues": "ALL_OLD"},
    "GetItem": {"TableName": "plain", "Key": KEY, "ProjectionExpression": "#a", "ExpressionAttributeNames": {"#a": "a"},
                "ConsistentRead": True},
    "Scan": {"TableName": "plain", "Limit": 1, "Segment": 0, "TotalSegments": 1, "Select": "COUNT",
             "ExclusiveStartKey": KEY},
}  # fmt: skip


class TestGarbage:
    @given(st.data())
    def test_any_json_in_any_place_is_answered(self, data: st.DataObject) -> None:
        """A result or an ApiError with a message, and the same again when a plan has been remembered."""
        operation = data.draw(st.sampled_from(sorted(REQUESTS)))
        request: Any = copy.deepcopy(REQUESTS[operation])
        place = request
        for _ in range(data.draw(st.integers(0, 2))):
            inner = [key for key in sorted(place) if isinstance(place[key], dict)]
            if inner:
                place = place[data.draw(st.sampled_from(inner))]
        place[data.draw(st.sampled_from([*sorted(place), "Select", "Expected", "a"]))] = data.draw(JSON)
        compile_request(operation, REQUESTS[operation])
        assert outcome(operation, request) == outcome(operation, request)


def compile_request(operation: str, request: Any) -> Any:
    if operation == "GetItem":
        return compile_get(request, PLAIN).reply({**KEY, "a": {"S": "x"}})
    if operation == "Scan":
        return compile_scan(request, PLAIN).reply(arranged(PLAIN, [KEY]))
    compiled = compile_write(operation, request, PLAIN)
    return compiled.reply(None, compiled.evaluate(None))


def outcome(operation: str, request: Any) -> Any:
    try:
        return compile_request(operation, request)
    except ApiError as error:
        return error.name, error.message, error.body()
