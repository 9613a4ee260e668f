"""CreateTable: the schema that it states, and how it is refused."""

# ruff: noqa: E501 - DynamoDB's messages read better unbroken

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.requests.operations import parse_create_table
from lastwriter.emulator.requests.schema import KeyAttribute, TableSettings

INDEX = {
    "IndexName": "idx",
    "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "ALL"},
}
LOCAL = {
    "IndexName": "local",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "l", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}


def request(keys: str = "pk", types: str = "pk:S", **parameters: Any) -> dict[str, Any]:
    """A CreateTable request: keys ``pk,sk``, attribute definitions ``pk:S,sk:N``."""
    kinds = ["HASH", "RANGE", "RANGE"]
    return {
        "TableName": "table",
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind} for name, kind in zip(keys.split(","), kinds, strict=False)
        ],
        "AttributeDefinitions": [
            dict(zip(("AttributeName", "AttributeType"), one.split(":"), strict=True)) for one in types.split(",")
        ],
        "BillingMode": "PAY_PER_REQUEST",
        **parameters,
    }


def refused(create: dict[str, Any], name: str = "ValidationException") -> str:
    with pytest.raises(ApiError) as caught:
        parse_create_table(create)
    assert caught.value.name == name
    return caught.value.message


def test_keys_and_types() -> None:
    schema, _ = parse_create_table(request())
    assert (schema.name, schema.partition, schema.sort) == ("table", KeyAttribute("pk", "S"), None)
    schema, _ = parse_create_table(request("pk,sk", "sk:N,pk:B"))
    assert (schema.partition, schema.sort) == (KeyAttribute("pk", "B"), KeyAttribute("sk", "N"))
    assert schema.key_names == ("pk", "sk")


def test_settings() -> None:
    throughput = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 7}
    create = request(BillingMode=None, ProvisionedThroughput=throughput, DeletionProtectionEnabled=True)
    create["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert parse_create_table(create)[1] == TableSettings("PROVISIONED", 5, 7, "NEW_AND_OLD_IMAGES", True, create)
    assert parse_create_table(request())[1] == TableSettings("PAY_PER_REQUEST", request=request())
    create["StreamSpecification"] = {"StreamEnabled": False}
    assert parse_create_table(create)[1].stream_view_type is None


def test_indexes() -> None:
    create = request("pk,sk", "pk:S,sk:S,g:N,l:B", GlobalSecondaryIndexes=[INDEX], LocalSecondaryIndexes=[LOCAL])
    schema, _ = parse_create_table(create)
    found = schema.index("idx"), schema.index("local"), schema.index("none")
    assert found[0] is not None
    assert found[1] is not None
    assert (found[0].is_global, found[0].keys) == (True, (KeyAttribute("g", "N"),))
    assert (found[1].is_global, found[1].keys) == (False, (KeyAttribute("pk", "S"), KeyAttribute("l", "B")))
    assert found[2] is None


PROVISIONED = {"BillingMode": "PROVISIONED"}


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (request(TableName=None), "The parameter 'TableName' is required but was not present in the request"),
        (
            request(TableName="ab"),
            "1 validation error detected: Value 'ab' at 'tableName' failed to satisfy constraint: Member must have "
            "length greater than or equal to 3",
        ),
        (
            request(TableName="a b c"),
            "1 validation error detected: Value 'a b c' at 'tableName' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
        ),
        (
            request(KeySchema=None),
            "1 validation error detected: Value null at 'keySchema' failed to satisfy constraint: Member must not be "
            "null",
        ),
        (
            request("pk,sk,extra", "pk:S,sk:S,extra:S"),
            "1 validation error detected: Value '[KeySchemaElement(attributeName=pk, keyType=HASH), "
            "KeySchemaElement(attributeName=sk, keyType=RANGE), KeySchemaElement(attributeName=extra, keyType=RANGE)]' "
            "at 'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2",
        ),
        (
            request(KeySchema=[{"AttributeName": "pk", "KeyType": "INVALID"}]),
            "1 validation error detected: Value 'INVALID' at 'keySchema.1.member.keyType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [HASH, RANGE]",
        ),
        (
            request(types="pk:INVALID"),
            "1 validation error detected: Value 'INVALID' at 'attributeDefinitions.1.member.attributeType' failed to "
            "satisfy constraint: Member must satisfy enum value set: [B, N, S]",
        ),
        (request("pk,pk"), "Invalid KeySchema: Some index key attribute have no definition"),
        (
            request("zz"),
            "One or more parameter values were invalid: Some index key attributes are not defined in "
            "AttributeDefinitions. Keys: [zz], AttributeDefinitions: [pk]",
        ),
        (
            request(KeySchema=[{"AttributeName": "pk", "KeyType": "RANGE"}]),
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
        ),
        (
            request(types="pk:S,other:S"),
            "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number "
            "of attributes defined in AttributeDefinitions",
        ),
        (
            request(**PROVISIONED),
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified "
            "when BillingMode is PROVISIONED",
        ),
        (
            request(ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}),
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be "
            "specified when BillingMode is PAY_PER_REQUEST",
        ),
        (
            request(**PROVISIONED, ProvisionedThroughput={"ReadCapacityUnits": 0, "WriteCapacityUnits": 1}),
            "1 validation error detected: Value '0' at 'provisionedThroughput.readCapacityUnits' failed to satisfy "
            "constraint: Member must have value greater than or equal to 1",
        ),
        (
            request(**PROVISIONED, ProvisionedThroughput={"ReadCapacityUnits": 10**13, "WriteCapacityUnits": 1}),
            "Given value 10000000000000 for ReadCapacityUnits is out of bounds",
        ),
        (
            request(BillingMode="FREE"),
            "1 validation error detected: Value 'FREE' at 'billingMode' failed to satisfy constraint: Member must "
            "satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]",
        ),
        (
            request(types="pk:S,l:S", LocalSecondaryIndexes=[LOCAL]),
            "One or more parameter values were invalid: Table KeySchema does not have a range key, which is required "
            "when specifying a LocalSecondaryIndex",
        ),
        (
            request(types="pk:S,g:S", GlobalSecondaryIndexes=[INDEX, INDEX]),
            "One or more parameter values were invalid: Duplicate index name: idx",
        ),
        (
            request(GlobalSecondaryIndexes=[]),
            "One or more parameter values were invalid: List of GlobalSecondaryIndexes is empty",
        ),
        (
            request(types="pk:S,g:S", GlobalSecondaryIndexes=[{**INDEX, "Projection": {}}]),
            "One or more parameter values were invalid: Unknown ProjectionType: null",
        ),
        (
            request(types="pk:S,g:S", GlobalSecondaryIndexes=[{**INDEX, "Projection": {"ProjectionType": "INCLUDE"}}]),
            "One or more parameter values were invalid: ProjectionType is INCLUDE, but NonKeyAttributes is not "
            "specified",
        ),
        (
            request(
                types="pk:S,g:S",
                GlobalSecondaryIndexes=[{**INDEX, "Projection": {"ProjectionType": "ALL", "NonKeyAttributes": ["a"]}}],
            ),
            "One or more parameter values were invalid: ProjectionType is ALL, but NonKeyAttributes is specified",
        ),
    ],
)
def test_refusals(create: dict[str, Any], message: str) -> None:
    assert refused(create) == message


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (request(TableName=5), "NUMBER_VALUE cannot be converted to String"),
        (request(KeySchema={}), "Start of structure or map found where not expected"),
        (request(KeySchema=["pk"]), "Unexpected value type in payload"),
        (request(**PROVISIONED, ProvisionedThroughput="x"), "Unexpected field type"),
        (request(DeletionProtectionEnabled="yes"), "Unexpected token received from parser"),
    ],
)
def test_wrong_json(create: dict[str, Any], message: str) -> None:
    assert refused(create, "SerializationException") == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "pk", "HASH", "S", "ALL"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["KeyType", "a"]), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
def test_any_json_in_any_place_is_answered(data: st.DataObject) -> None:
    create = request("pk,sk", "pk:S,sk:S,g:N,l:B", GlobalSecondaryIndexes=[INDEX], LocalSecondaryIndexes=[LOCAL])
    create["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    place: Any = copy.deepcopy(create)
    changed = place
    for _ in range(data.draw(st.integers(0, 4))):
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        inner = [key for key in keys if isinstance(place[key], dict | list) and place[key]]
        if inner:
            place = place[data.draw(st.sampled_from(inner))]
    keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
    place[data.draw(st.sampled_from(keys))] = data.draw(JSON)
    try:
        parse_create_table(changed)
    except ApiError as error:
        assert error.message  # noqa: PT017 - either outcome will do
