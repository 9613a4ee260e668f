"""What DynamoDB answered in October 2026, word for word, where the Regions that were asked agree.

Recorded by the public ``dynamodb-conformance`` suite (us-east-1 and eu-west-2, 2026-10-09). Where AWS is between two
wordings, ours is the one that more Regions had.
"""

# ruff: noqa: E501 - DynamoDB's messages read better unbroken

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.virtual import EAST, TABLE, World, keys

SORTED = "sorted"
INVALID = "One or more parameter values were invalid: "
KEY = {"pk": {"S": "k"}}
EMPTY_KEY = "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {} value. Key: pk"
NO_MATCH = "The provided key element does not match the schema"
CAPACITY = "Value 'BOGUS' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
METRICS = "Value 'BOGUS2' at 'returnItemCollectionMetrics' failed to satisfy constraint: Member must satisfy enum value set: [SIZE, NONE]"
RETURNED = "Value 'BOGUS' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"
NO_NAME = "Value '' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to 1"
NO_KEY = "Value null at 'key' failed to satisfy constraint: Member must not be null"
MAP_KEYS = "Map keys must satisfy constraint: [Member must have length less than or equal to 255, Member must have length greater than or equal to 3, Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+]"
OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
UNDERFLOW = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
NOT_NUMERIC = "The parameter cannot be converted to a numeric value"
NEST = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"


def one(message: str) -> str:
    return f"1 validation error detected: {message}"


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(levels):
        value = {"M": {"n": value}}
    return value


@pytest.fixture(scope="module")
def w() -> World:
    world = World("MREC")
    definitions = [{"AttributeName": name, "AttributeType": kind} for name, kind in (("pk", "S"), ("sk", "N"))]
    made = world.ask(
        EAST, "CreateTable", TableName=SORTED, KeySchema=keys("pk", "sk"), AttributeDefinitions=definitions,
        BillingMode="PAY_PER_REQUEST",
    )  # fmt: skip
    assert made.ok
    return world


def says(w: World, operation: str, **request: Any) -> str:
    call = w.ask(EAST, operation, **request)
    assert call.body is not None
    assert not call.ok, f"{operation} was accepted"
    return str(call.body.get("message", call.body.get("Message")))


NUMBERS = ["abc", "", "1e126", "1e2147483647"]
NUMBERS_NOW = [f"{NOT_NUMERIC}: abc", f"{NOT_NUMERIC}: ", OVERFLOW, OVERFLOW]
NUMBERS_BEFORE = [f"{NOT_NUMERIC}: abc", NOT_NUMERIC, OVERFLOW, UNDERFLOW]
SETS: list[dict[str, Any]] = [{"SS": ["b", "a", "b"]}, {"BS": ["/w==", "AA==", "AA=="]}, {"NS": ["2", "1", "2"]}]
SETS_NOW = [
    INVALID + 'Input collection ["a", "b", "b"] contains duplicates.',
    INVALID + 'Input collection ["AA==","/w==","AA=="]of type BS contains duplicates.',
    INVALID + "Input collection contains duplicates.",
]
SETS_BEFORE = [
    INVALID + "Input collection [b, a, b] contains duplicates.",
    INVALID + "Input collection [/w==, AA==, AA==]of type BS contains duplicates.",
    "Input collection contains duplicates",
]
VALUES = [*({"N": number} for number in NUMBERS), *SETS]
NOW = [*NUMBERS_NOW, *SETS_NOW]
BEFORE = [*NUMBERS_BEFORE, *SETS_BEFORE]
COMPARED = {"ConditionExpression": "attribute_not_exists(pk) OR n = :v"}

PLACES: dict[str, tuple[str, Any]] = {
    "put": ("PutItem", lambda v: {"Item": {**KEY, "n": v}}),
    "put, nested": ("PutItem", lambda v: {"Item": {**KEY, "n": {"M": {"x": {"L": [v]}}}}}),
    "put, condition": ("PutItem", lambda v: {"Item": KEY, **COMPARED, "ExpressionAttributeValues": {":v": v}}),
    "put, expected": ("PutItem", lambda v: {"Item": KEY, "Expected": {"n": {"Value": v}}}),
    "update": ("UpdateItem", lambda v: {"Key": KEY, "UpdateExpression": "SET n = :v", "ExpressionAttributeValues": {":v": v}}),
    "update, legacy": ("UpdateItem", lambda v: {"Key": KEY, "AttributeUpdates": {"n": {"Action": "PUT", "Value": v}}}),
    "update, key": ("UpdateItem", lambda v: {"Key": {"pk": v}, "UpdateExpression": "SET n = :o", "ExpressionAttributeValues": {":o": {"N": "1"}}}),
    "delete": ("DeleteItem", lambda v: {"Key": KEY, "ConditionExpression": "n = :v", "ExpressionAttributeValues": {":v": v}}),
    "delete, key": ("DeleteItem", lambda v: {"Key": {"pk": v}}),
}  # fmt: skip
BARE: dict[str, tuple[str, Any]] = {
    "get": ("GetItem", lambda v: {"Key": {"pk": v}}),
    "batch get": ("BatchGetItem", lambda v: {"TableName": None, "RequestItems": {TABLE: {"Keys": [{"pk": v}]}}}),
    "query": ("Query", lambda v: {"KeyConditionExpression": "pk = :p", "FilterExpression": "n = :v", "ExpressionAttributeValues": {":p": {"S": "k"}, ":v": v}}),
    "query, legacy": ("Query", lambda v: {"KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "k"}]}}, "QueryFilter": {"n": {"ComparisonOperator": "EQ", "AttributeValueList": [v]}}}),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_values_of_single_writes(w: World, place: str) -> None:
    operation, request = PLACES[place]
    assert [says(w, operation, **request(value)) for value in VALUES] == [one(message) for message in NOW]


@pytest.mark.parametrize("place", BARE)
def test_values_of_reads(w: World, place: str) -> None:
    operation, request = BARE[place]
    assert [says(w, operation, **request(value)) for value in VALUES] == NOW


def test_values_of_batches_and_transactions(w: World) -> None:
    def batch(value: Any) -> str:
        return says(
            w, "BatchWriteItem", TableName=None, RequestItems={TABLE: [{"PutRequest": {"Item": {**KEY, "n": value}}}]}
        )

    def transaction(action: dict[str, Any]) -> str:
        (kind,) = action
        return says(
            w, "TransactWriteItems", TableName=None, TransactItems=[{kind: {"TableName": TABLE, **action[kind]}}]
        )

    def get(value: Any) -> str:
        items = [{"Get": {"TableName": TABLE, "Key": {"pk": value}}}]
        return says(w, "TransactGetItems", TableName=None, TransactItems=items)

    wrapped = [f"ExpressionAttributeValues contains invalid value: {message} for key :v" for message in BEFORE]
    assert [batch(value) for value in VALUES] == BEFORE
    assert [transaction({"Put": {"Item": {**KEY, "n": value}}}) for value in VALUES] == BEFORE
    for kind, content in (
        ("Put", {"Item": KEY, **COMPARED}),
        ("Update", {"Key": KEY, "UpdateExpression": "SET n = :v"}),
        ("ConditionCheck", {"Key": KEY, **COMPARED}),
    ):
        given = [transaction({kind: {**content, "ExpressionAttributeValues": {":v": value}}}) for value in VALUES]
        assert given == wrapped
    assert [get(value) for value in VALUES] == BEFORE


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("1e99999999999", OVERFLOW), ("-1e99999999999", OVERFLOW), ("1e-99999999999", UNDERFLOW),
        ("1e2147483648", OVERFLOW), ("1e-2147483648", UNDERFLOW), ("1e-131", UNDERFLOW),
        ("1e9223372036854775808", f"{NOT_NUMERIC}: 1e9223372036854775808"), ("0e126", OVERFLOW), ("0e-131", UNDERFLOW),
        ("1.2.3", f"{NOT_NUMERIC}: 1.2.3"), (" 1", f"{NOT_NUMERIC}:  1"), ("1 ", f"{NOT_NUMERIC}: 1 "),
        ("0x10", f"{NOT_NUMERIC}: 0x10"), ("1e", f"{NOT_NUMERIC}: 1e"), ("NaN", f"{NOT_NUMERIC}: NaN"),
        ("Infinity", f"{NOT_NUMERIC}: Infinity"),
        ("1234567890123456789012345678901234567890", "Attempting to store more than 38 significant digits in a Number"),
    ],
)  # fmt: skip
def test_numbers(w: World, number: str, message: str) -> None:
    assert says(w, "PutItem", Item={**KEY, "n": {"N": number}}) == one(message)


ONLY_EXPRESSIONS = "ExpressionAttribute{} can only be specified when using expressions"
EXISTS = {"ConditionExpression": "attribute_exists(a)"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ExpressionAttributeValues": {":v": {"S": "x"}}}, ONLY_EXPRESSIONS.format("Values")),
        ({"ExpressionAttributeNames": {"#a": "a"}}, ONLY_EXPRESSIONS.format("Names")),
        ({"Expected": {"a": {"Exists": False}}, "ExpressionAttributeNames": {"#a": "a"}}, ONLY_EXPRESSIONS.format("Names")),
        ({**EXISTS, "ExpressionAttributeValues": {}}, "ExpressionAttributeValues must not be empty"),
        ({**EXISTS, "ExpressionAttributeNames": {}}, "ExpressionAttributeNames must not be empty"),
        ({"ConditionExpression": ""}, "Invalid ConditionExpression: The expression can not be empty;"),
        ({"ReturnValues": "ALL_NEW"}, "ReturnValues can only be ALL_OLD or NONE"),
        ({"ReturnValues": "UPDATED_NEW"}, "ReturnValues can only be ALL_OLD or NONE"),
        ({"Expected": {"a": {"Exists": True}}}, INVALID + "Value must be provided when Exists is true for Attribute: a"),
        ({"Expected": {"a": {"Exists": False, "Value": {"S": "x"}}}}, INVALID + "Value cannot be used when Exists is false for Attribute: a"),
        ({"Expected": {"a": {"ComparisonOperator": "EQ"}}}, INVALID + "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: a"),
        ({"Expected": {"a": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [{"S": "x"}]}}}, INVALID + "Invalid number of argument(s) for the BETWEEN ComparisonOperator"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("operation", ["PutItem", "DeleteItem"])
def test_the_envelope_of_single_writes(w: World, operation: str, parameters: dict[str, Any], message: str) -> None:
    place = "Item" if operation == "PutItem" else "Key"
    assert says(w, operation, **{place: KEY}, **parameters) == one(message)


@pytest.mark.parametrize(
    ("operation", "request_", "message"),
    [
        # members together, in their order
        ("UpdateItem", {"TableName": "", "UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": {"S": "x"}}}, f"2 validation errors detected: {NO_NAME}; {NO_KEY}"),
        (
            "UpdateItem",
            {"TableName": "", "UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": {"S": "x"}}, "ReturnConsumedCapacity": "BOGUS", "ReturnValues": "BOGUS"},
            f"4 validation errors detected: {CAPACITY}; {NO_NAME}; {RETURNED}; {NO_KEY}",
        ),
        ("UpdateItem", {"TableName": "", "Key": {}}, one(NO_NAME)),
        (
            "UpdateItem",
            {"AttributeUpdates": {"x": {"Action": "PUT", "Value": {"S": "1"}}}, "Expected": {"a": {"Exists": False}, "b": {"Exists": False}}, "ConditionalOperator": "XOR"},
            f"2 validation errors detected: Value 'XOR' at 'conditionalOperator' failed to satisfy constraint: Member must satisfy enum value set: [OR, AND]; {NO_KEY}",
        ),
        ("UpdateItem", {"Key": KEY, "UpdateExpression": "SET b = :w", "ConditionExpression": "a = :v", "ExpressionAttributeValues": {":w": {"S": "x"}}}, one("Invalid ConditionExpression: An expression attribute value used in expression is not defined; attribute value: :v")),
        ("UpdateItem", {"Key": KEY, "UpdateExpression": "SET pk = :v", "ExpressionAttributeValues": {":v": {"S": "x"}}}, INVALID + "Cannot update attribute pk. This attribute is part of the key"),
        ("PutItem", {"Item": {"pk": {"S": ""}}}, EMPTY_KEY.format("string")),
        ("PutItem", {"Item": {"pk": {"N": "5"}}}, INVALID + "Type mismatch for key pk expected: S actual: N"),
        ("DeleteItem", {"TableName": SORTED, "Key": KEY}, NO_MATCH),
        ("GetItem", {"Key": {"pk": {"S": ""}}}, EMPTY_KEY.format("string")),
        # batches
        ("BatchGetItem", {"RequestItems": {}}, one("Value at 'RequestItems' failed to satisfy constraint: Member must have length greater than or equal to 1")),
        ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": []}}}, one(f"Value at 'RequestItems.{TABLE}.member.Keys' failed to satisfy constraint: Member must have length greater than or equal to 1")),
        ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [{"pk": {"S": str(n)}} for n in range(101)]}}}, one(f"Value at 'RequestItems.{TABLE}.member.Keys' failed to satisfy constraint: Member must have length less than or equal to 100")),
        ("BatchGetItem", {"RequestItems": {"bad!name": {"Keys": [{"pk": {"S": "a"}}]}}}, one(f"""Value '{{"bad!name":{{"Keys":[{{"pk":{{"S":"a"}}}}]}}}}' at 'requestItems' failed to satisfy constraint: {MAP_KEYS}""")),
        (
            "BatchGetItem",
            {"RequestItems": {"bad!name": {"Keys": [{"pk": {"S": "a"}}]}}, "ReturnConsumedCapacity": "BOGUS"},
            f"""2 validation errors detected: Value '{{"bad!name":{{"Keys":[{{"pk":{{"S":"a"}}}}]}}}}' at 'requestItems' failed to satisfy constraint: {MAP_KEYS}; {CAPACITY}""",
        ),
        ("BatchGetItem", {"RequestItems": {"missing": {"Keys": [KEY]}}, "ReturnConsumedCapacity": "BOGUS"}, one(CAPACITY)),
        ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [KEY, KEY]}}}, "Provided list of item keys contains duplicates"),
        ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [KEY], "ProjectionExpression": "a, a"}}}, "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a]"),
        ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [KEY], "ProjectionExpression": "pk"}, SORTED: {"Keys": [{**KEY, "sk": {"N": "1"}}], "AttributesToGet": ["pk"]}}}, "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}"),
        ("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": KEY}}]}, "ReturnConsumedCapacity": "BOGUS", "ReturnItemCollectionMetrics": "BOGUS2"}, f"2 validation errors detected: {CAPACITY}; {METRICS}"),
        ("BatchWriteItem", {"RequestItems": {"bad!name": [{"PutRequest": {"Item": KEY}}]}, "ReturnConsumedCapacity": "BOGUS"}, one(CAPACITY)),
        ("BatchWriteItem", {"RequestItems": {TABLE: []}}, one(f"Value '{{{TABLE}=[]}}' at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than or equal to 1]")),
        ("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": {"pk": {"N": "5"}}}}]}}, NO_MATCH),
        ("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": {"other": {"S": "x"}}}}]}}, NO_MATCH),
        ("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": {"pk": {"S": ""}}}}]}}, EMPTY_KEY.format("string")),
        ("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": KEY}}, {"DeleteRequest": {"Key": KEY}}]}}, "Provided list of item keys contains duplicates"),
        ("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": {**KEY, "d": deep(32)}}}]}}, NEST),
        # operators and functions: 300 of them
        ("Scan", {"FilterExpression": " OR ".join(["size(a) = b"] * 101)}, "Invalid FilterExpression: The expression contains too many operators; operator count: 301"),
        ("UpdateItem", {"Key": KEY, "UpdateExpression": "SET " + ",".join(f"a{n}=a+b" for n in range(301))}, one("Invalid UpdateExpression: The expression contains too many operators; operator count: 301")),
        # key conditions
        ("Query", {"TableName": SORTED, "KeyConditionExpression": "pk = :p AND begins_with(sk, :v)", "ExpressionAttributeValues": {":p": {"S": "q"}, ":v": {"N": "1"}}}, "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N"),
        ("Query", {"TableName": SORTED, "KeyConditionExpression": "pk = :p AND begins_with(sk, :v)", "ExpressionAttributeValues": {":p": {"S": "q"}, ":v": {"S": "a"}}}, INVALID + "Condition parameter type does not match schema type"),
        ("Query", {"TableName": SORTED, "KeyConditionExpression": "pk = :p AND :v >= sk", "ExpressionAttributeValues": {":p": {"S": "q"}, ":v": {"BOOL": True}}}, "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: >=, operand type: BOOL"),
        ("Query", {"TableName": SORTED, "KeyConditionExpression": "pk = :p AND sk = :v", "ExpressionAttributeValues": {":p": {"S": "q"}, ":v": {"BOOL": True}}}, INVALID + "Condition parameter type does not match schema type"),
        ("Query", {"TableName": SORTED, "KeyConditionExpression": "pk = :p AND sk > :a AND sk < :b", "ExpressionAttributeValues": {":p": {"S": "q"}, ":a": {"N": "1"}, ":b": {"N": "5"}}}, "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key"),
        ("Query", {"TableName": SORTED, "KeyConditionExpression": "pk = :p AND sk > :a AND extra = :b", "ExpressionAttributeValues": {":p": {"S": "q"}, ":a": {"N": "1"}, ":b": {"N": "5"}}}, "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)"),
        ("Query", {"TableName": "missing", "KeyConditionExpression": "pk = :p AND begins_with(sk, :n)", "ExpressionAttributeValues": {":p": {"S": "q"}, ":n": {"N": "1"}}}, "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N"),
        ("Query", {"TableName": SORTED, "KeyConditionExpression": "begins_with(sk, :n) AND pk = :missing", "ExpressionAttributeValues": {":n": {"N": "1"}}}, "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N"),
    ],
)  # fmt: skip
def test_messages(w: World, operation: str, request_: dict[str, Any], message: str) -> None:
    table = {"TableName": None} if operation.startswith("Batch") else {}
    assert says(w, operation, **{**table, **request_}) == message


def test_as_many_operators_as_are_allowed(w: World) -> None:
    assert w.ask(EAST, "Scan", FilterExpression=" OR ".join(["a = b", *["a<>b"] * 149, "size(a)=b"])).status == 400
    assert w.ask(EAST, "Scan", FilterExpression=" OR ".join(["NOT a = b", *["a<>b"] * 149])).ok
    updates = ",".join(f"a{n}=a+b" for n in range(300))
    assert w.ask(EAST, "PutItem", Item={**KEY, "a": {"N": "1"}, "b": {"N": "1"}}).ok
    assert w.ask(EAST, "UpdateItem", Key=KEY, UpdateExpression=f"SET {updates}").ok
    assert w.ask(EAST, "DeleteItem", Key=KEY).ok


MISSING = {"TableName": "missing"}
SYNTAX = 'Invalid ConditionExpression: Syntax error; token: "=", near: "= = b"'
AT = {"Key": KEY, "TableName": TABLE}


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([{"Put": {**MISSING, "Item": KEY}}, {"ConditionCheck": {**AT, "ConditionExpression": "attribute_not_exists("}}], 'Invalid ConditionExpression: Syntax error; token: "<EOF>", near: "("'),
        ([{"Put": {**MISSING, "Item": KEY, "ConditionExpression": "a = = b"}}], SYNTAX),
        ([{"Put": {**MISSING, "Item": {**KEY, "d": deep(40)}}}, {"Put": {**MISSING, "Item": {**KEY, "": {"S": "x"}}}}], NEST),
        ([{"Put": {**MISSING, "Item": {**KEY, "": {"S": "x"}}}}, {"Put": {**MISSING, "Item": {**KEY, "d": deep(100)}}}], "Empty attribute name"),
        ([{"Put": {**MISSING, "Item": {**KEY, "d": deep(100), "": {"S": "x"}}}}], "Empty attribute name"),
        ([{"Delete": {**MISSING, "Key": {"pk": deep(40)}}}, {"Put": {**MISSING, "Item": KEY, "ConditionExpression": "a = = b"}}], NEST),
        ([{"Delete": {**MISSING, "Key": {"pk": deep(100)}, "ConditionExpression": "a = = b"}}], SYNTAX),
        (
            [{"Delete": {**MISSING, "Key": KEY, "ConditionExpression": "a = :v" + " AND a = :v" * 373, "ExpressionAttributeValues": {":v": {"S": "x"}}}}],
            "Invalid ConditionExpression: Expression size has exceeded the maximum allowed size; expression size: 4109",
        ),
        (
            [{"Update": {**MISSING, "Key": KEY, "UpdateExpression": "SET " + ", ".join(f"a{n} = :v" for n in range(500)), "ExpressionAttributeValues": {":v": {"S": "x"}}}}],
            "Invalid UpdateExpression: Expression size has exceeded the maximum allowed size;",
        ),
        (
            [{"Put": {**MISSING, "Item": KEY}}, {"ConditionCheck": {**AT, "ConditionExpression": "attribute_not_exists(pk)", "ExpressionAttributeValues": {":v": {"S": "x"}}}}],
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}",
        ),
        ([{"Put": {"TableName": TABLE, "Item": KEY}}, {"Delete": AT}], "Transaction request cannot include multiple operations on one item"),
        ([{"Put": {"TableName": TABLE, "Item": {"pk": {"S": ""}}}}], EMPTY_KEY.format("string")),
        ([{"Update": {**AT, "Key": {"pk": {"S": ""}}, "UpdateExpression": "SET a = :v", "ExpressionAttributeValues": {":v": {"S": "x"}}}}], EMPTY_KEY.format("string")),
    ],
)  # fmt: skip
def test_transactions(w: World, actions: list[dict[str, Any]], message: str) -> None:
    assert says(w, "TransactWriteItems", TableName=None, TransactItems=actions) == message


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({"Put": {"TableName": TABLE, "Item": {"pk": {"N": "5"}}}}, INVALID + "Type mismatch for key pk expected: S actual: N"),
        ({"Delete": {**AT, "Key": {"pk": {"N": "5"}}}}, NO_MATCH),
        ({"ConditionCheck": {**AT, "Key": {"pk": {"L": [{"S": "x"}]}}, "ConditionExpression": "attribute_not_exists(pk)"}}, NO_MATCH),
    ],
)  # fmt: skip
def test_a_transaction_that_does_not_fit_the_table_is_cancelled(w: World, action: dict[str, Any], reason: str) -> None:
    call = w.ask(EAST, "TransactWriteItems", TableName=None, TransactItems=[action])
    assert call.body is not None
    assert call.error == "TransactionCanceledException"
    assert call.body["CancellationReasons"] == [{"Code": "ValidationError", "Message": reason}]


def test_transaction_members_are_judged_together(w: World) -> None:
    items = [{"Put": {"TableName": "missing", "Item": KEY}}]
    enums = {"ReturnConsumedCapacity": "BOGUS", "ReturnItemCollectionMetrics": "BOGUS2"}
    both = says(w, "TransactWriteItems", TableName=None, TransactItems=items, **enums)
    assert both == f"2 validation errors detected: {CAPACITY}; {METRICS}"
    token = "x" * 37
    long = f"Value '{token}' at 'clientRequestToken' failed to satisfy constraint: Member must have length less than or equal to 36"
    found = says(
        w,
        "TransactWriteItems",
        TableName=None,
        TransactItems=items,
        ReturnConsumedCapacity="BOGUS",
        ClientRequestToken=token,
    )
    assert found == f"2 validation errors detected: {long}; {CAPACITY}"
