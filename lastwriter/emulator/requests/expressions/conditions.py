"""Conditions: checked as DynamoDB checks them, then compiled to a closure over items.

DynamoDB reports one mistake, in this order: redundant parentheses, unknown function, misused function, reserved word;
then, condition by condition, undefined names and values, number of operands, operands that are the same, their types.
"""

from __future__ import annotations

import base64
import operator
from collections.abc import Callable, Iterator
from typing import Any, Final

from lastwriter.emulator.requests.errors import validation
from lastwriter.emulator.requests.expressions.paths import Steps, check_reserved, reader, show
from lastwriter.emulator.requests.expressions.scope import (
    Read,
    Scope,
    Values,
    misused,
    needs_path,
    wrong_count,
    wrong_type,
)
from lastwriter.emulator.requests.expressions.syntax import (
    Between,
    Call,
    Comparison,
    Condition,
    ConditionText,
    In,
    Logical,
    Not,
    Operand,
    Path,
    Placeholder,
)
from lastwriter.emulator.requests.sizes import binary_bytes, utf8_bytes
from lastwriter.emulator.requests.values import TYPES, Item, Value, sortable, type_of

Test = Callable[[Item, Values], bool]
"""A compiled condition: does it hold for the item?"""

MAX_OPTIONS: Final = 100
"""Operands of IN."""

_OPERANDS: Final = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
}
_ORDERED: Final = frozenset({"S", "N", "B"})
_TEXTS: Final = frozenset({"S", "B"})
_SIZED: Final = TYPES - {"N", "BOOL", "NULL"}
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def check_condition(condition: ConditionText, scope: Scope) -> None:
    """ApiError for the first mistake (without the name of the parameter)."""
    if condition.redundant:
        raise validation("The expression has redundant parentheses;")
    calls = list(_calls(condition.root))
    for call in calls:
        if call.name not in _OPERANDS:
            raise validation(f"Invalid function name; function: {call.name}")
    for leaf in leaves(condition.root):
        _check_placing(leaf)
    check_reserved(paths_of(condition.root))
    for leaf in leaves(condition.root):
        _check_leaf(leaf, scope)


def compile_condition(condition: Condition, scope: Scope) -> Test:
    """Closure of a condition that has passed :func:`check_condition`."""
    if isinstance(condition, Logical):
        return _compile_logical(condition, scope)
    if isinstance(condition, Not):
        test = compile_condition(condition.part, scope)
        return lambda item, values: not test(item, values)
    if isinstance(condition, Comparison):
        return _compile_comparison(condition, scope)
    if isinstance(condition, Between):
        low = _compile_order(operator.ge, condition.operand, condition.low, scope)
        high = _compile_order(operator.le, condition.operand, condition.high, scope)
        return lambda item, values: low(item, values) and high(item, values)
    if isinstance(condition, In):
        return _compile_in(condition, scope)
    return _compile_call(condition, scope)


def leaves(condition: Condition) -> Iterator[Comparison | Between | In | Call]:
    """The conditions under AND, OR and NOT, in the order of the text."""
    if isinstance(condition, Logical):
        for part in condition.parts:
            yield from leaves(part)
    elif isinstance(condition, Not):
        yield from leaves(condition.part)
    else:
        yield condition


def paths_of(condition: Condition) -> Iterator[Path]:
    """Every path in the condition, in the order of the text."""
    for leaf in leaves(condition):
        for operand in _operands(leaf):
            yield from _paths(operand)


# ---- checks


def _operands(leaf: Comparison | Between | In | Call) -> tuple[Operand, ...]:
    if isinstance(leaf, Comparison):
        return (leaf.left, leaf.right)
    if isinstance(leaf, Between):
        return (leaf.operand, leaf.low, leaf.high)
    if isinstance(leaf, In):
        return (leaf.operand, *leaf.options)
    return leaf.arguments


def _paths(operand: Operand) -> Iterator[Path]:
    if isinstance(operand, Path):
        yield operand
    elif isinstance(operand, Call):
        for argument in operand.arguments:
            yield from _paths(argument)


def _calls(condition: Condition) -> Iterator[Call]:
    for leaf in leaves(condition):
        for operand in _operands(leaf):
            yield from _calls_in(operand)
        if isinstance(leaf, Call):
            yield leaf


def _calls_in(operand: Operand) -> Iterator[Call]:
    if isinstance(operand, Call):
        for argument in operand.arguments:
            yield from _calls_in(argument)
        yield operand


def _check_placing(leaf: Comparison | Between | In | Call) -> None:
    """Only ``size`` gives an operand; the others give a condition."""
    if isinstance(leaf, Call) and leaf.name == "size":
        raise misused("size")
    for operand in _operands(leaf):
        for call in _calls_in(operand):
            if call.name != "size":
                raise misused(call.name)


def _check_leaf(leaf: Comparison | Between | In | Call, scope: Scope) -> None:
    operands = _operands(leaf)
    for operand in operands:
        _check_defined(operand, scope)
    for call in (*operands, leaf):
        if isinstance(call, Call) and len(call.arguments) != _OPERANDS[call.name]:
            raise wrong_count(call.name, len(call.arguments))
    _check_distinct(leaf, scope)
    for operand in operands:
        if isinstance(operand, Call):
            _check_size(operand, scope)
    if isinstance(leaf, Comparison):
        if leaf.operator in _ORDER:
            for operand in operands:
                _require_ordered(leaf.operator, operand, scope)
    elif isinstance(leaf, Between):
        for operand in operands:
            _require_ordered("BETWEEN", operand, scope)
        _check_bounds(leaf, scope)
    elif isinstance(leaf, In):
        if len(leaf.options) > MAX_OPTIONS:
            raise validation(
                f"The IN operator is provided with too many operands; number of operands: {len(leaf.options)}"
            )
    else:
        _check_call(leaf, scope)


def _check_defined(operand: Operand, scope: Scope) -> None:
    if isinstance(operand, Path):
        scope.path(operand)
    elif isinstance(operand, Placeholder):
        scope.value(operand)
    elif isinstance(operand, Call):
        for argument in operand.arguments:
            _check_defined(argument, scope)


def _check_distinct(leaf: Comparison | Between | In | Call, scope: Scope) -> None:
    operands = _operands(leaf)
    if isinstance(leaf, Between | In) or len(operands) != 2:
        return
    first, second = operands
    if isinstance(first, Path) and isinstance(second, Path) and scope.path(first) == scope.path(second):
        name = leaf.operator if isinstance(leaf, Comparison) else leaf.name
        raise validation(
            "The first operand must be distinct from the remaining operands for this operator or function; "
            f"operator: {name}, first operand: {show(scope.path(first))}"
        )


def _require_ordered(name: str, operand: Operand, scope: Scope) -> None:
    scope.require_type(operand, _ORDERED, lambda kind: wrong_type(name, kind))


def _check_size(call: Call, scope: Scope) -> None:
    (argument,) = call.arguments
    scope.require_type(argument, _SIZED, lambda kind: wrong_type("size", kind))


def _check_call(call: Call, scope: Scope) -> None:
    first = call.arguments[0]
    if call.name in ("attribute_exists", "attribute_not_exists"):
        if not isinstance(first, Path):
            raise needs_path(call.name)
    elif call.name == "begins_with":
        for argument in call.arguments:
            if isinstance(argument, Call):
                raise wrong_type(call.name, "N")
            scope.require_type(argument, _TEXTS, lambda kind: wrong_type("begins_with", kind))
    elif call.name == "attribute_type":
        _check_type_name(call.arguments[1], scope)


def _check_type_name(argument: Operand, scope: Scope) -> None:
    if not isinstance(argument, Placeholder):
        raise wrong_type("attribute_type", "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}")
    scope.require_type(argument, frozenset({"S"}), lambda kind: wrong_type("attribute_type", kind))
    kind = scope.value(argument)["S"]
    if kind not in TYPES:
        raise validation(
            f"Invalid attribute type name found; type: {kind}, valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
        )
    name = argument.name
    scope.requirements.append(lambda values: values[name]["S"] in TYPES)


def _check_bounds(between: Between, scope: Scope) -> None:
    low, high = between.low, between.high
    if not isinstance(low, Placeholder) or not isinstance(high, Placeholder):
        return
    bounds = [scope.value(low), scope.value(high)]
    shown = [f"AttributeValue: {{{kind}:{content}}}" for bound in bounds for kind, content in bound.items()]
    where = f"lower bound operand: {shown[0]}, upper bound operand: {shown[1]}"
    if type_of(bounds[0]) != type_of(bounds[1]):
        raise validation(f"The BETWEEN operator requires same data type for lower and upper bounds; {where}")
    if sortable(bounds[0]) > sortable(bounds[1]):
        raise validation(
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; " + where
        )
    first, second = low.name, high.name
    scope.requirements.append(lambda values: _in_order(values[first], values[second]))


def _in_order(low: Value, high: Value) -> bool:
    return type_of(low) == type_of(high) and bool(sortable(low) <= sortable(high))


# ---- closures


def _compile_logical(condition: Logical, scope: Scope) -> Test:
    tests = tuple(compile_condition(part, scope) for part in condition.parts)
    if len(tests) == 2:
        left, right = tests
        if condition.operator == "AND":
            return lambda item, values: left(item, values) and right(item, values)
        return lambda item, values: left(item, values) or right(item, values)
    if condition.operator == "AND":
        return lambda item, values: all(test(item, values) for test in tests)
    return lambda item, values: any(test(item, values) for test in tests)


def compile_operand(operand: Operand, scope: Scope) -> Read:
    """Closure that reads a path, a value or a size."""
    if isinstance(operand, Placeholder):
        name = operand.name
        return lambda item, values: values[name]
    if isinstance(operand, Path):
        return compile_path(scope.path(operand))
    assert isinstance(operand, Call)
    read = compile_operand(operand.arguments[0], scope)
    return lambda item, values: _size(read(item, values))


def compile_path(steps: Steps) -> Read:
    """Closure that reads a path."""
    head = steps[0]
    assert isinstance(head, str)
    if len(steps) == 1:
        return lambda item, values: item.get(head)
    read = reader(steps)
    return lambda item, values: read(item)


def _compile_comparison(comparison: Comparison, scope: Scope) -> Test:
    order = _ORDER.get(comparison.operator)
    if order is not None:
        return _compile_order(order, comparison.left, comparison.right, scope)
    equal = _compile_equal(comparison.left, comparison.right, scope)
    if comparison.operator == "=":
        return equal
    return lambda item, values: not equal(item, values)


def _compile_equal(left: Operand, right: Operand, scope: Scope) -> Test:
    """Canonical values are equal exactly if their JSON is; what is absent equals nothing."""
    if isinstance(left, Path) and len(left.parts) == 1 and isinstance(right, Placeholder):
        head, name = scope.path(left)[0], right.name
        return lambda item, values: item.get(head) == values[name]  # type: ignore[arg-type]  # the head is a name
    one, two = compile_operand(left, scope), compile_operand(right, scope)

    def equal(item: Item, values: Values) -> bool:
        value = one(item, values)
        return value is not None and value == two(item, values)

    return equal


def _compile_order(order: Callable[[Any, Any], bool], left: Operand, right: Operand, scope: Scope) -> Test:
    one, two = compile_operand(left, scope), compile_operand(right, scope)

    def compare(item: Item, values: Values) -> bool:
        lesser, greater = one(item, values), two(item, values)
        if lesser is None or greater is None or type_of(lesser) != type_of(greater):
            return False
        first = sortable(lesser)
        return first is not None and order(first, sortable(greater))

    return compare


def _compile_in(condition: In, scope: Scope) -> Test:
    read = compile_operand(condition.operand, scope)
    options = tuple(compile_operand(option, scope) for option in condition.options)

    def among(item: Item, values: Values) -> bool:
        value = read(item, values)
        return value is not None and any(value == option(item, values) for option in options)

    return among


def _compile_call(call: Call, scope: Scope) -> Test:
    read = compile_operand(call.arguments[0], scope)
    if call.name == "attribute_exists":
        return lambda item, values: read(item, values) is not None
    if call.name == "attribute_not_exists":
        return lambda item, values: read(item, values) is None
    other = compile_operand(call.arguments[1], scope)
    if call.name == "attribute_type":

        def has_type(item: Item, values: Values) -> bool:
            value, kind = read(item, values), other(item, values)
            return value is not None and kind is not None and kind["S"] in value

        return has_type
    judge = _begins_with if call.name == "begins_with" else _contains

    def test(item: Item, values: Values) -> bool:
        value, part = read(item, values), other(item, values)
        return value is not None and part is not None and judge(value, part)

    return test


def _begins_with(value: Value, start: Value) -> bool:
    if "S" in value and "S" in start:
        return bool(value["S"].startswith(start["S"]))
    return "B" in value and "B" in start and base64.b64decode(value["B"]).startswith(base64.b64decode(start["B"]))


def _contains(value: Value, part: Value) -> bool:
    """A text in a text, bytes in bytes, a member in a set, an element in a list."""
    ((kind, content),) = value.items()
    ((part_kind, part_content),) = part.items()
    if kind == "L":
        return part in content
    if kind == "B":
        return part_kind == "B" and base64.b64decode(part_content) in base64.b64decode(content)
    return kind in (part_kind, part_kind + "S") and kind in ("S", "SS", "NS", "BS") and part_content in content


def _size(value: Value | None) -> Value | None:
    if value is None:
        return None
    ((kind, content),) = value.items()
    if kind == "S":
        return {"N": str(utf8_bytes(content))}
    if kind == "B":
        return {"N": str(binary_bytes(content))}
    return {"N": str(len(content))} if kind in _SIZED else None
