"""Values: canonical form, numbers against decimal, sizes to the byte, and what is refused in which words."""

from __future__ import annotations

import base64
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.requests.sizes import item_bytes, number_bytes, read_units, write_units
from lastwriter.emulator.requests.values import (
    add_numbers,
    canonical_item,
    canonical_number,
    canonical_value,
    number,
    subtract_numbers,
)

EXACT = Context(prec=600, rounding=ROUND_HALF_EVEN)


def message_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(ApiError) as caught:
        call(*arguments)
    return caught.value.message


@st.composite
def decimals(draw: st.DrawFn) -> Decimal:
    """Numbers in DynamoDB's range: up to 38 digits, magnitude 1E-130 to 9.99E+125."""
    digits = draw(st.integers(0, 10**38 - 1))
    exponent = draw(st.integers(-130, 125 - max(0, len(str(digits)) - 1)))
    return Decimal((draw(st.integers(0, 1)), tuple(map(int, str(digits))), exponent))


def written(value: Decimal) -> st.SearchStrategy[str]:
    """Ways to write the same number down."""
    plain = format(value, "f")
    return st.sampled_from(
        [plain, "0" + plain.lstrip("-") if value >= 0 else plain, f"{value:E}", str(value), f"{value:e}"]
    )


class TestNumbers:
    @pytest.mark.parametrize(
        ("given_text", "canonical"),
        [
            ("0", "0"),
            ("-0", "0"),
            ("0.000", "0"),
            ("0e125", "0"),
            ("-0.00E-130", "0"),
            ("0.0e+0000000000000000000000001", "0"),
            ("00042", "42"),
            ("+3", "3"),
            (".123", "0.123"),
            ("5.", "5"),
            ("1.0", "1"),
            ("3.1400", "3.14"),
            ("1.5E2", "150"),
            ("1e+5", "100000"),
            ("-17.4E37", "-174" + "0" * 36),
            ("1E125", "1" + "0" * 125),
            ("1E-130", "0." + "0" * 129 + "1"),
            ("1" + "0" * 60, "1" + "0" * 60),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ],
    )
    def test_canonical_form(self, given_text: str, canonical: str) -> None:
        assert canonical_number(given_text) == canonical
        assert canonical_number(canonical) == canonical

    @pytest.mark.parametrize(
        "text",
        [
            *("NaN", "Infinity", "-Infinity", "dog", " 1", "1 ", "1_000", "٣", "1e", "--1", "0x1"),
            *("1e9223372036854775808", "0e-9223372036854775809", "1e" + "9" * 5000),
        ],
    )
    def test_what_is_no_number(self, text: str) -> None:
        assert message_of(canonical_number, text) == f"The parameter cannot be converted to a numeric value: {text}"

    def test_an_empty_number(self) -> None:
        assert message_of(canonical_number, "") == "The parameter cannot be converted to a numeric value"

    @pytest.mark.parametrize("text", ["1E126", "-1E126", "11e125", "1e9223372036854775807", "9" * 127, "0e126"])
    def test_too_large(self, text: str) -> None:
        assert message_of(canonical_number, text).startswith("Number overflow.")

    @pytest.mark.parametrize("text", ["1E-131", "-0.9e-130", "1e-9223372036854775808", "0.0E-131"])
    def test_too_small(self, text: str) -> None:
        assert message_of(canonical_number, text).startswith("Number underflow.")

    @pytest.mark.parametrize(
        "text", ["123456789012345678901234567890123456789", "3.14159265358979323846264338327950288419"]
    )
    def test_39_digits(self, text: str) -> None:
        assert message_of(canonical_number, text) == "Attempting to store more than 38 significant digits in a Number"

    def test_a_long_text_is_refused_quickly(self) -> None:
        assert "38 significant digits" in message_of(canonical_number, "0." + "1" * 200_000)

    @given(st.data())
    def test_every_way_to_write_a_number_has_one_form(self, data: st.DataObject) -> None:
        value = data.draw(decimals())
        forms = {canonical_number(data.draw(written(value))) for _ in range(3)}
        assert len(forms) == 1
        assert Decimal(forms.pop()) == value

    @given(decimals(), decimals())
    def test_sums_agree_with_decimal(self, left: Decimal, right: Decimal) -> None:
        one, two = canonical_number(str(left)), canonical_number(str(right))
        for combine, exact in ((add_numbers, EXACT.add(left, right)), (subtract_numbers, EXACT.subtract(left, right))):
            fits = not exact or (
                len(exact.normalize(EXACT).as_tuple().digits) <= 38 and -130 <= exact.adjusted() <= 125
            )
            if fits:
                result = combine(one, two)
                assert Decimal(result) == exact
                assert canonical_number(result) == result
            else:
                assert "Number" in message_of(combine, one, two)

    def test_a_sum_with_too_many_digits_is_refused_as_an_overflow(self) -> None:
        assert message_of(add_numbers, "1" + "0" * 50, "1").startswith("Number overflow.")

    @given(decimals(), decimals())
    def test_order(self, left: Decimal, right: Decimal) -> None:
        one, two = number(canonical_number(str(left))), number(canonical_number(str(right)))
        assert (one < two) == (left < right)
        assert (one == two) == (left == right)


class TestCanonicalForm:
    @pytest.mark.parametrize(
        "value",
        [
            {"S": ""},
            {"S": "ü€"},
            {"N": "-12"},
            {"B": ""},
            {"B": "AAE="},
            {"BOOL": False},
            {"NULL": True},
            {"SS": ["a", "b"]},
            {"NS": ["-1", "2", "10"]},
            {"BS": ["AA==", "AQ=="]},
            {"L": []},
            {"M": {}},
            {"M": {"a": {"L": [{"N": "1"}]}}},
        ],
    )
    def test_canonical_values_are_kept_as_they_are(self, value: dict[str, Any]) -> None:
        assert canonical_value(value) is value

    @pytest.mark.parametrize(
        ("value", "canonical"),
        [
            ({"N": "01.50"}, {"N": "1.5"}),
            ({"NS": ["10", "9.0", "-1"]}, {"NS": ["-1", "9", "10"]}),
            ({"SS": ["b", "a"]}, {"SS": ["a", "b"]}),
            ({"BS": ["AQ==", "AA=="]}, {"BS": ["AA==", "AQ=="]}),
            ({"L": [{"N": "1.0"}]}, {"L": [{"N": "1"}]}),
            ({"M": {"a": {"N": "1e1"}}}, {"M": {"a": {"N": "10"}}}),
            ({"S": "x", "N": None}, {"S": "x"}),
        ],
    )
    def test_one_form(self, value: dict[str, Any], canonical: dict[str, Any]) -> None:
        before = orjson.dumps(value)
        assert canonical_value(value) == canonical
        assert orjson.dumps(value) == before

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({}, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"),
            ({"X": "y"}, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"),
            (
                {"S": "a", "N": "1"},
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported "
                "datatypes",
            ),
            ({"SS": []}, "One or more parameter values were invalid: An string set  may not be empty"),
            ({"NS": []}, "One or more parameter values were invalid: An number set  may not be empty"),
            ({"BS": []}, "One or more parameter values were invalid: Binary sets should not be empty"),
            (
                {"SS": ["a", "a"]},
                "One or more parameter values were invalid: Input collection [a, a] contains duplicates.",
            ),
            ({"NS": ["1", "1.0"]}, "Input collection contains duplicates"),
            (
                {"NULL": False},
                "One or more parameter values were invalid: Null attribute value types must have the value of true",
            ),
            ({"M": {"a": {"SS": []}}}, "One or more parameter values were invalid: An string set  may not be empty"),
        ],
    )
    def test_refused(self, value: dict[str, Any], message: str) -> None:
        with pytest.raises(ApiError) as caught:
            canonical_value(value)
        assert (caught.value.name, caught.value.message) == ("ValidationException", message)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({"S": 1}, "NUMBER_VALUE cannot be converted to String"),
            ({"N": 123}, "NUMBER_VALUE cannot be converted to String"),
            ({"S": True}, "TRUE_VALUE cannot be converted to String"),
            ({"S": ["a"]}, "Unrecognized collection type class java.lang.String"),
            ({"S": {}}, "Start of structure or map found where not expected"),
            ({"BOOL": "true"}, "Unexpected token received from parser"),
            ({"BOOL": 1}, "NUMBER_VALUE cannot be converted to Boolean"),
            ({"B": 1}, "only base-64-encoded strings are convertible to bytes"),
            ({"B": "abc"}, "Base64 encoded length is expected a multiple of 4 bytes but found: 3"),
            ({"B": "ab!="}, "Invalid Base64 character: '!'"),
            ({"B": "AB=="}, "Invalid last non-pad Base64 character dectected"),
            ({"L": {}}, "Start of structure or map found where not expected"),
            ({"L": "x"}, "Unexpected field type"),
            ({"SS": [1]}, "NUMBER_VALUE cannot be converted to String"),
            ("x", "Unexpected value type in payload"),
        ],
    )
    def test_wrong_json(self, value: Any, message: str) -> None:
        with pytest.raises(ApiError) as caught:
            canonical_value(value)
        assert (caught.value.name, caught.value.message) == ("SerializationException", message)
        assert caught.value.body()["__type"] == "com.amazon.coral.service#SerializationException"

    @pytest.mark.parametrize(("depth", "fits"), [(31, True), (32, False)])
    def test_nesting(self, depth: int, fits: bool) -> None:
        value: dict[str, Any] = {"S": "x"}
        for at in range(depth):
            value = {"L": [value]} if at % 2 else {"M": {"a": value}}
        if fits:
            assert canonical_value(value) == value
        else:
            assert message_of(canonical_value, value) == (
                "Nesting Levels have exceeded supported limits: "
                "Attributes in the item have nested levels beyond supported limit"
            )

    def test_what_is_empty_has_no_level_below(self) -> None:
        value: dict[str, Any] = {"M": {}}
        for _ in range(31):
            value = {"M": {"a": value}}
        assert canonical_value(value) == value


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.one_of(
    texts.map(lambda text: {"S": text}),
    decimals().map(lambda value: {"N": str(value)}),
    st.binary(max_size=6).map(lambda data: {"B": base64.b64encode(data).decode()}),
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
    st.sets(texts, min_size=1, max_size=3).map(lambda members: {"SS": list(members)}),
    st.sets(st.binary(min_size=1, max_size=3), min_size=1, max_size=3).map(
        lambda members: {"BS": [base64.b64encode(data).decode() for data in members]}
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda members: {"L": members}),
        st.dictionaries(texts, inner, max_size=3).map(lambda members: {"M": members}),
    ),
    max_leaves=8,
)


class TestSizes:
    @pytest.mark.parametrize(
        ("literal", "size"),
        [
            # Measured on AWS at the 400 KB limit (dynamodb-conformance, 2026-08-18).
            ("0", 1),
            ("1", 2),
            ("12", 2),
            ("123", 3),
            ("1234", 3),
            ("12345678901234567890123456789012345678", 20),
            ("0042", 2),
            ("100", 2),
            ("1010", 3),
            ("0.0000001", 2),
            ("1E125", 2),
            ("1E-100", 2),
            ("1.5", 3),
            ("15", 2),
            ("1.2", 3),
            ("1.200", 3),
            ("1.234", 4),
            ("3.14159", 5),
            ("123456", 4),
            ("-1", 3),
        ],
    )
    def test_numbers(self, literal: str, size: int) -> None:
        assert number_bytes(canonical_number(literal)) == size

    def test_items(self) -> None:
        item = {
            "pk": {"S": "abc"},  # 2 + 3
            "ü": {"S": "€"},  # 2 + 3
            "b": {"B": "AAECAw=="},  # 1 + 4
            "t": {"BOOL": True},  # 1 + 1
            "l": {"L": [{"NULL": True}, {"S": "xy"}]},  # 1 + 3 + (1 + 1) + (1 + 2)
            "m": {"M": {"k": {"N": "1"}}},  # 1 + 3 + (1 + 1 + 2)
            "s": {"SS": ["a", "bc"]},  # 1 + 3
            "n": {"NS": ["1", "22"]},  # 1 + 2 + 2
        }
        assert item_bytes(item) == 5 + 5 + 5 + 2 + 9 + 8 + 4 + 5

    @given(st.dictionaries(texts, values, max_size=4))
    def test_the_json_of_an_item_is_never_shorter_than_its_size(self, attributes: dict[str, Any]) -> None:
        item = canonical_item(attributes)
        assert item_bytes(item) <= len(orjson.dumps(item))

    @given(st.dictionaries(texts, values, max_size=4))
    def test_canonical_form_is_idempotent(self, attributes: dict[str, Any]) -> None:
        item = canonical_item(attributes)
        again = canonical_item(item)
        assert again == item
        assert all(again[name] is item[name] for name in item)

    @pytest.mark.parametrize(
        ("old", "new", "units"), [(0, 0, 1), (0, 1, 1), (0, 1024, 1), (0, 1025, 2), (3000, 100, 3), (100, 5000, 5)]
    )
    def test_write_units(self, old: int, new: int, units: int) -> None:
        assert write_units(old, new) == units

    @pytest.mark.parametrize(
        ("size", "consistent", "units"),
        [(0, True, 1), (0, False, 0.5), (4096, True, 1), (4097, False, 1), (9000, True, 3)],
    )
    def test_read_units(self, size: int, consistent: bool, units: float) -> None:
        assert read_units(size, consistent=consistent) == units
