"""Expressions: what they mean, against a naive evaluator; what is refused, in DynamoDB's words; garbage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lastwriter.emulator.requests.errors import ApiError
from lastwriter.emulator.requests.expressions.compiling import (
    compile_condition_text,
    compile_update_text,
    projection_paths,
)
from lastwriter.emulator.requests.expressions.paths import projector
from lastwriter.emulator.requests.expressions.reserved import is_reserved, reserved_words
from lastwriter.emulator.requests.expressions.scope import Scope
from lastwriter.emulator.requests.values import canonical_item
from tests.emulator.naive import Plain, PlainItem, conditions, items, plain_values, to_json

Item = dict[str, Any]


def holds(text: str, item: Item, values: Item | None = None, names: dict[str, str] | None = None) -> bool:
    values = canonical_item(values or {})
    test, _ = compile_condition_text("ConditionExpression", text, Scope(names or {}, values))
    return test(canonical_item(item), values)


def updated(text: str, item: Item, values: Item | None = None, names: dict[str, str] | None = None) -> Item:
    values = canonical_item(values or {})
    update, _, _ = compile_update_text(text, Scope(names or {}, values))
    return update(canonical_item(item), values)


def projected(text: str, item: Item, names: dict[str, str] | None = None) -> Item:
    return projector(projection_paths(text, Scope(names or {}, {})))(item)


def message_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(ApiError) as caught:
        call(*arguments)
    assert caught.value.name == "ValidationException"
    return caught.value.message


def refusal_or(call: Callable[[], Any]) -> Any:
    """What ``call`` gives, or the message of the ValidationException that it raises."""
    try:
        return call()
    except ApiError as error:
        return error.message if error.name == "ValidationException" else error


class TestConditions:
    @given(conditions(), items)
    def test_they_mean_what_the_naive_evaluator_says(self, drawn: Any, item: PlainItem) -> None:
        text, names, given_values, meaning = drawn
        values = {name: to_json(value) for name, value in given_values.items()}
        stored = {name: to_json(value) for name, value in item.items()}
        result = refusal_or(lambda: holds(text, stored, values, names))
        assume("must be distinct" not in str(result))  # both sides happen to be the same path
        assert result == bool(meaning(item)), text

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("attribute_exists(a) AND NOT attribute_exists(z)", True),
            ("a = :one OR z = :one AND z = :one", True),  # AND binds closer
            ("(a = :one OR z = :one) AND z = :one", False),
            ("NOT a = :one OR a = :one", True),
            ("not (a = :one)", False),
            ("(a) = (:one)", True),
            ("a IN (:two, :one)", True),
            ("a BETWEEN :one AND :two", True),
            (":one BETWEEN :one AND a", True),
            ("size(s) = :two", True),
            ("size(m) < :two", True),
            ("z <> :one", True),
            ("z = y", False),
            ("z <> y", True),
            ("l[1] = :two", True),
            ("l[7] = :two", False),
            ("m.k = :one", True),
            ("m.k.z = :one", False),
            ("contains(l, :two)", True),
            ("s < :two", False),  # another type
        ],
    )
    def test_examples(self, text: str, expected: bool) -> None:
        item = {
            "a": {"N": "1"},
            "s": {"S": "xy"},
            "m": {"M": {"k": {"N": "1"}}},
            "l": {"L": [{"N": "1"}, {"N": "2"}]},
        }
        assert holds(text, item, {":one": {"N": "1"}, ":two": {"N": "2.0"}}) is expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "The expression can not be empty;"),
            (" \n", "The expression can not be empty;"),
            ("a-b", 'Syntax error; token: "-", near: "a-b"'),
            ("attribute_exists(", 'Syntax error; token: "<EOF>", near: "("'),
            ("contains (themes, :a", 'Syntax error; token: "<EOF>", near: ":a"'),
            ("attribute_exists(a) AND NOT #n", 'Syntax error; token: "<EOF>", near: "#n"'),
            ("(#n)", 'Syntax error; token: "<EOF>", near: ")"'),
            ("a == :a", 'Syntax error; token: "=", near: "== :a"'),
            ("_a = :a", 'Syntax error; token: "_", near: "_a"'),
            ("a = :a AND", 'Syntax error; token: "<EOF>", near: "AND"'),
            ("a = :a b", 'Syntax error; token: "b", near: ":a b"'),
            ("a.b. = :a", 'Syntax error; token: "=", near: ". = :a"'),
            ("a[:a] = :a", 'Syntax error; token: ":a", near: "[:a]"'),
            ("attribute_exists()", 'Syntax error; token: ")", near: "()"'),
            ("(a = :a) = :a", 'Syntax error; token: "=", near: ") = :a"'),
            ("((a = :a))", "The expression has redundant parentheses;"),
            ("((attribute_exists(a)))", "The expression has redundant parentheses;"),
            ("((a)) = :a", "The expression has redundant parentheses;"),
            ("missing_function(a)", "Invalid function name; function: missing_function"),
            ("ATTRIBUTE_EXISTS(a)", "Invalid function name; function: ATTRIBUTE_EXISTS"),
            ("size(a)", "The function is not allowed to be used this way in an expression; function: size"),
            (
                "attribute_exists(a) = :a",
                "The function is not allowed to be used this way in an expression; function: attribute_exists",
            ),
            (
                "size(contains(a, :a)) = :a",
                "The function is not allowed to be used this way in an expression; function: contains",
            ),
            ("Status = :a", "Attribute name is a reserved keyword; reserved keyword: Status"),
            ("a.size = :a", "Attribute name is a reserved keyword; reserved keyword: size"),
            (
                "#none = :a",
                "An expression attribute name used in the document path is not defined; attribute name: #none",
            ),
            (
                "a = :none",
                "An expression attribute value used in expression is not defined; attribute value: :none",
            ),
            (
                "attribute_exists(a, b)",
                "Incorrect number of operands for operator or function; operator or function: attribute_exists, "
                "number of operands: 2",
            ),
            (
                "contains(a, a)",
                "The first operand must be distinct from the remaining operands for this operator or function; "
                "operator: contains, first operand: [a]",
            ),
            (
                "a.b[1] = a.b[1]",
                "The first operand must be distinct from the remaining operands for this operator or function; "
                "operator: =, first operand: [a, b, [1]]",
            ),
            (
                "attribute_exists(:a)",
                "Operator or function requires a document path; operator or function: attribute_exists",
            ),
            (
                "begins_with(a, :n)",
                "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
            ),
            (
                "size(:n) = :n",
                "Incorrect operand type for operator or function; operator or function: size, operand type: N",
            ),
            (
                "attribute_type(a, :n)",
                "Incorrect operand type for operator or function; operator or function: attribute_type, "
                "operand type: N",
            ),
            (
                "attribute_type(a, :a)",
                "Invalid attribute type name found; type: text, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
            ),
            (
                "a BETWEEN :a AND :n",
                "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: "
                "AttributeValue: {S:text}, upper bound operand: AttributeValue: {N:1}",
            ),
            (
                "a BETWEEN :two AND :n",
                "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound "
                "operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}",
            ),
            (
                "a < :flag",
                "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
            ),
            (
                "a = :a OR " * 600 + "a = :a",
                "Expression size has exceeded the maximum allowed size; expression size: 6006",
            ),
        ],
    )
    def test_mistakes(self, text: str, message: str) -> None:
        values = {":a": {"S": "text"}, ":n": {"N": "1"}, ":two": {"N": "2"}, ":flag": {"BOOL": True}}
        assert message_of(holds, text, {}, values, {"#n": "n"}) == "Invalid ConditionExpression: " + message

    @pytest.mark.parametrize("text", ["(" * 2000, "NOT " * 1000, "NOT(" * 900 + "a", "size(" * 800, "a." * 2000])
    def test_deep_nesting_is_refused_not_recursed(self, text: str) -> None:
        assert message_of(holds, text, {}).startswith("Invalid ConditionExpression: ")

    def test_reserved_words(self) -> None:
        assert len(reserved_words()) == 573
        assert is_reserved("name")
        assert is_reserved("TTL")
        assert not is_reserved("pk")


class TestUpdates:
    @pytest.mark.parametrize(
        ("text", "item", "expected"),
        [
            ("SET b = a", {"a": {"N": "1"}}, {"a": {"N": "1"}, "b": {"N": "1"}}),
            ("REMOVE a SET b = a", {"a": {"N": "1"}}, {"b": {"N": "1"}}),
            ("SET a = b, b = a", {"a": {"N": "1"}, "b": {"N": "2"}}, {"a": {"N": "2"}, "b": {"N": "1"}}),
            ("SET a = a + :one", {"a": {"N": "41"}}, {"a": {"N": "42"}}),
            ("SET a = :one - a", {"a": {"N": "0.5"}}, {"a": {"N": "0.5"}}),
            ("SET a = (a + :one)", {"a": {"N": "1"}}, {"a": {"N": "2"}}),
            ("SET a = if_not_exists(a, :one) + :one", {}, {"a": {"N": "2"}}),
            ("SET a = if_not_exists(b, if_not_exists(c, :one))", {"c": {"S": "x"}}, {"a": {"S": "x"}, "c": {"S": "x"}}),
            ("SET a = list_append(a, :list)", {"a": {"L": []}}, {"a": {"L": [{"N": "1"}, {"S": "x"}]}}),
            ("SET a = list_append(:list, if_not_exists(a, :list))", {}, {"a": {"L": [{"N": "1"}, {"S": "x"}] * 2}}),
            ("set a.b = :one", {"a": {"M": {}}}, {"a": {"M": {"b": {"N": "1"}}}}),
            ("SET a[0] = :one", {"a": {"L": [{"S": "x"}]}}, {"a": {"L": [{"N": "1"}]}}),
            ("SET a[9] = :one", {"a": {"L": [{"S": "x"}]}}, {"a": {"L": [{"S": "x"}, {"N": "1"}]}}),
            (
                "SET a[84] = :one, a[37] = :two, a[17] = :x",
                {"a": {"L": []}},
                {"a": {"L": [{"S": "x"}, {"N": "2"}, {"N": "1"}]}},
            ),
            (
                "REMOVE a[1] SET a[3] = :x",
                {"a": {"L": [{"N": str(n)} for n in range(2, 8)]}},
                {"a": {"L": [{"N": "2"}, {"N": "4"}, {"S": "x"}, {"N": "6"}, {"N": "7"}]}},
            ),
            ("REMOVE a[0], a[2]", {"a": {"L": [{"N": "0"}, {"N": "1"}, {"N": "2"}]}}, {"a": {"L": [{"N": "1"}]}}),
            ("REMOVE a[17]", {"a": {"L": []}}, {"a": {"L": []}}),
            ("REMOVE a.b", {"a": {"M": {"b": {"N": "1"}}}}, {"a": {"M": {}}}),
            ("REMOVE z", {"a": {"N": "1"}}, {"a": {"N": "1"}}),
            (
                "SET a.b = :one, a.c.d = :two REMOVE a.x",
                {"a": {"M": {"x": {"N": "3"}, "c": {"M": {"y": {"N": "3"}}}}}},
                {"a": {"M": {"c": {"M": {"y": {"N": "3"}, "d": {"N": "2"}}}, "b": {"N": "1"}}}},
            ),
            ("ADD a :one", {}, {"a": {"N": "1"}}),
            ("ADD a :one", {"a": {"N": "-1"}}, {"a": {"N": "0"}}),
            ("ADD a.b :one", {"a": {"M": {"b": {"N": "1"}}}}, {"a": {"M": {"b": {"N": "2"}}}}),
            ("ADD a :set", {}, {"a": {"SS": ["p", "q"]}}),
            ("ADD a :set", {"a": {"SS": ["q", "r"]}}, {"a": {"SS": ["p", "q", "r"]}}),
            ("DELETE a :set", {"a": {"SS": ["q", "r"]}}, {"a": {"SS": ["r"]}}),
            ("DELETE a :set", {"a": {"SS": ["q"]}}, {}),
            ("DELETE a :set", {}, {}),
            ("ADD a :numbers", {"a": {"NS": ["10"]}}, {"a": {"NS": ["9", "10"]}}),
            ("ADD a :bytes", {"a": {"BS": ["AQ=="]}}, {"a": {"BS": ["AA==", "AQ=="]}}),
        ],
    )
    def test_examples(self, text: str, item: Item, expected: Item) -> None:
        values = {
            ":one": {"N": "1"},
            ":two": {"N": "2"},
            ":x": {"S": "x"},
            ":list": {"L": [{"N": "1"}, {"S": "x"}]},
            ":set": {"SS": ["p", "q"]},
            ":numbers": {"NS": ["9"]},
            ":bytes": {"BS": ["AA=="]},
        }
        before = repr(item)
        assert updated(text, item, values) == expected
        assert repr(item) == before

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "The expression can not be empty;"),
            ("INVALID SYNTAX HERE", 'Syntax error; token: "INVALID", near: "INVALID SYNTAX"'),
            ("SET", 'Syntax error; token: "<EOF>", near: "SET"'),
            ("REMOVE a,", 'Syntax error; token: "<EOF>", near: ","'),
            ("SET _123 = :n", 'Syntax error; token: "_", near: "SET _123"'),
            ("ADD hits : incr", 'Syntax error; token: ":", near: "hits : incr"'),
            ("SET a = :n + :n + :n", 'Syntax error; token: "+", near: ":n + :n"'),
            ("SET a = if_not_exists(a, :n + :n)", 'Syntax error; token: "+", near: ":n + :n"'),
            ("SET a = f(b, c)", "Invalid function name; function: f"),
            ("SET a = LIST_APPEND(a, :l)", "Invalid function name; function: LIST_APPEND"),
            ("SET data = :n", "Attribute name is a reserved keyword; reserved keyword: data"),
            ("ADD a :n SET b = :n ADD c :n", 'The "ADD" section can only be used once in an update expression;'),
            (
                "SET #none = :n",
                "An expression attribute name used in the document path is not defined; attribute name: #none",
            ),
            (
                "SET a = :none",
                "An expression attribute value used in expression is not defined; attribute value: :none",
            ),
            (
                "SET a = :n, a = :n",
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [a], path two: [a]",
            ),
            (
                "SET a.b = :n REMOVE a.b.c[2]",
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [a, b], path two: [a, b, c, [2]]",
            ),
            (
                "SET a.b = :n, a[1] = :n",
                "Two document paths conflict with each other; must remove or rewrite one of these paths; "
                "path one: [a, b], path two: [a, [1]]",
            ),
            (
                "ADD a :s",
                "Incorrect operand type for operator or function; operator: ADD, operand type: STRING, "
                "typeSet: ALLOWED_FOR_ADD_OPERAND",
            ),
            (
                "DELETE a :n",
                "Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER, "
                "typeSet: ALLOWED_FOR_DELETE_OPERAND",
            ),
            (
                "SET a = a + :s",
                "Incorrect operand type for operator or function; operator or function: +, operand type: S",
            ),
            (
                "SET a = list_append(a, :n)",
                "Incorrect operand type for operator or function; operator or function: list_append, operand type: N",
            ),
            (
                "SET a = list_append(list_append(a, :l), :l)",
                "The function is not allowed to be used this way in an expression; function: list_append",
            ),
            (
                "SET a = if_not_exists(:n, :n)",
                "Operator or function requires a document path; operator or function: if_not_exists",
            ),
            (
                "SET a = if_not_exists(a)",
                "Incorrect number of operands for operator or function; operator or function: if_not_exists, "
                "number of operands: 1",
            ),
            ("SET a[1000000000000] = :n", "List index is not within the allowable range; index: [1000000000000]"),
        ],
    )
    def test_mistakes_in_the_text(self, text: str, message: str) -> None:
        values = {":n": {"N": "1"}, ":s": {"S": "x"}, ":l": {"L": []}}
        assert message_of(updated, text, {}, values) == "Invalid UpdateExpression: " + message

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("SET b = z", "The provided expression refers to an attribute that does not exist in the item"),
            ("SET b = z + :n", "The provided expression refers to an attribute that does not exist in the item"),
            (
                "SET b = list_append(z, :l)",
                "The provided expression refers to an attribute that does not exist in the item",
            ),
            ("SET b = s + :n", "An operand in the update expression has an incorrect data type"),
            ("SET b = list_append(s, :l)", "An operand in the update expression has an incorrect data type"),
            ("ADD s :n", "An operand in the update expression has an incorrect data type"),
            ("ADD s :set", "An operand in the update expression has an incorrect data type"),
            ("DELETE s :set", "An operand in the update expression has an incorrect data type"),
            ("SET z.a = :n", "The document path provided in the update expression is invalid for update"),
            ("SET s.a = :n", "The document path provided in the update expression is invalid for update"),
            ("SET s[0] = :n", "The document path provided in the update expression is invalid for update"),
            ("REMOVE z.a", "The document path provided in the update expression is invalid for update"),
            ("SET l[9].a = :n", "The document path provided in the update expression is invalid for update"),
            ("ADD big :n", "Number overflow. Attempting to store a number with magnitude larger than supported range"),
        ],
    )
    def test_mistakes_for_the_item(self, text: str, message: str) -> None:
        item = {"s": {"S": "x"}, "l": {"L": []}, "big": {"N": "1E100"}}
        values = {":n": {"N": "1"}, ":l": {"L": []}, ":set": {"NS": ["1"]}}
        assert message_of(updated, text, item, values) == message

    @given(items, plain_values, st.sampled_from(["aa", "bb.aa", "aa[0]", "aa.bb[1]"]))
    def test_set_then_read_gives_the_value_and_changes_nothing_else(
        self, item: PlainItem, value: Plain, path: str
    ) -> None:
        before = {name: to_json(content) for name, content in item.items()}
        after = refusal_or(lambda: updated(f"SET {path} = :v", before, {":v": to_json(value)}))
        if isinstance(after, str):
            assert after == "The document path provided in the update expression is invalid for update"
            return
        head = path[:2]
        assert {name: after[name] for name in after if name != head} == {
            name: before[name] for name in before if name != head
        }
        existing = before.get(head, {}).get("L")
        if path.endswith("]") and (existing is None or len(existing) < 2):
            return  # appended: it may stand at another position
        assert holds(f"{path} = :v", after, {":v": to_json(value)})


class TestProjections:
    ITEM: ClassVar[Item] = {
        "a": {"M": {"b": {"N": "1"}, "c": {"L": [{"N": "0"}, {"M": {"d": {"S": "x"}, "e": {"S": "y"}}}]}}},
        "f": {"S": "z"},
    }

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("f", {"f": {"S": "z"}}),
            ("f, g", {"f": {"S": "z"}}),
            ("a.b", {"a": {"M": {"b": {"N": "1"}}}}),
            ("a.c[1].d", {"a": {"M": {"c": {"L": [{"M": {"d": {"S": "x"}}}]}}}}),
            ("a.c[7]", {}),
            ("a.b.c", {}),
            ("f.g", {}),
            (
                "a.c[1].e, a.c[0], #f",
                {"a": {"M": {"c": {"L": [{"N": "0"}, {"M": {"e": {"S": "y"}}}]}}}, "f": {"S": "z"}},
            ),
        ],
    )
    def test_examples(self, text: str, expected: Item) -> None:
        assert projected(text, self.ITEM, {"#f": "f"}) == expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("!!! INVALID !!!", 'Syntax error; token: "!", near: "!!"'),
            ("a,", 'Syntax error; token: "<EOF>", near: ","'),
            ("a b", 'Syntax error; token: "b", near: "a b"'),
            ("name", "Attribute name is a reserved keyword; reserved keyword: name"),
            (
                "a, a.b",
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [a], path two: [a, b]",
            ),
            (
                "#x",
                "An expression attribute name used in the document path is not defined; attribute name: #x",
            ),
        ],
    )
    def test_mistakes(self, text: str, message: str) -> None:
        assert message_of(projected, text, {}) == "Invalid ProjectionExpression: " + message


PIECES = st.sampled_from(
    [
        "a",
        "#n",
        ":v",
        "(",
        ")",
        "[",
        "]",
        ".",
        ",",
        "=",
        "<>",
        "<=",
        ">",
        "+",
        "-",
        "0",
        "12",
        "AND",
        "OR",
        "NOT",
        "IN",
        "BETWEEN",
        "SET",
        "REMOVE",
        "ADD",
        "DELETE",
        "size",
        "if_not_exists",
        "list_append",
        "contains",
        "attribute_exists",
        "attribute_type",
        "begins_with",
        "_",
        "!",
        "é",
        "\x00",
        '"',
        "data",
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=14).map(" ".join),
    st.lists(PIECES, max_size=10).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)


class TestGarbage:
    @given(TEXTS)
    def test_whatever_the_text_is_a_result_or_a_validation_exception(self, text: str) -> None:
        names, values = {"#n": "n"}, {":v": {"N": "1"}}
        assert isinstance(refusal_or(lambda: holds(text, {}, values, names)), bool | str)
        assert isinstance(refusal_or(lambda: updated(text, {}, values, names)), dict | str)
        assert isinstance(refusal_or(lambda: projected(text, {}, names)), dict | str)
