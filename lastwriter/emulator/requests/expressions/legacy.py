"""The parameters that expressions replaced, as the syntax trees of expressions: Expected, filters, AttributeUpdates.

A condition on an attribute becomes the comparison that an expression would have, compiled by the same closures; only
the checks and their words differ (those of the ``dynalite`` and ScyllaDB projects' tests against AWS). Names and values
get placeholders that no request can contain, so they never meet those of an expression.

Two differences of meaning: NOT_CONTAINS does not hold for an attribute that is not there; ADD appends to a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastwriter.emulator.requests.errors import ApiError, in_request, validation
from lastwriter.emulator.requests.expressions.conditions import Test, compile_condition
from lastwriter.emulator.requests.expressions.keyconditions import KeyCondition
from lastwriter.emulator.requests.expressions.paths import Steps
from lastwriter.emulator.requests.expressions.scope import Scope, Values
from lastwriter.emulator.requests.expressions.syntax import (
    Action,
    Between,
    Call,
    Comparison,
    Condition,
    In,
    Logical,
    Not,
    Path,
    Placeholder,
    Update,
)
from lastwriter.emulator.requests.expressions.updates import compile_update, wrong_operand
from lastwriter.emulator.requests.values import Item, Value, canonical_value, sortable, type_of

_INVALID: Final = "One or more parameter values were invalid: "
_COMPARATORS: Final = {"EQ": "=", "NE": "<>", "LE": "<=", "LT": "<", "GE": ">=", "GT": ">"}
_COUNTS: Final = {"NULL": 0, "NOT_NULL": 0, "BETWEEN": 2}  # IN: one or more; all others: one
_SCALARS: Final = frozenset({"S", "N", "B"})
_TYPES: Final = {
    **dict.fromkeys(("LE", "LT", "GE", "GT", "CONTAINS", "NOT_CONTAINS", "IN", "BETWEEN"), _SCALARS),
    "BEGINS_WITH": frozenset({"S", "B"}),
}
_SETS: Final = frozenset({"SS", "NS", "BS"})
_ADDABLE: Final = _SETS | {"N", "L"}
_EMPTY_LIST: Final = "empty list"


@dataclass(slots=True)
class Translated:
    """Conditions of old, compiled. ``values`` are what their placeholders stand for."""

    test: Test | None
    paths: list[Steps]
    values: dict[str, Value]


@dataclass(slots=True)
class TranslatedUpdate:
    """AttributeUpdates, compiled."""

    update: Callable[[Item, Values], Item] | None
    changed: list[Steps]
    clauses: list[str]
    values: dict[str, Value]


def translate_expected(request: Mapping[str, Any]) -> Translated:
    """Expected and ConditionalOperator of a write."""
    given: Mapping[str, Any] = request.get("Expected") or {}
    conditions = {}
    for name, condition in given.items():
        values = _expected_values(name, condition)
        operator = condition.get("ComparisonOperator") or ("EQ" if values else "NULL")
        _check_operands(operator, values, strict=condition.get("ComparisonOperator") is not None)
        conditions[name] = (operator, values)
    return _translate("Expected", conditions, request)


def translate_filter(parameter: str, request: Mapping[str, Any]) -> Translated:
    """ScanFilter or QueryFilter."""
    return _translate(parameter, _conditions(request.get(parameter) or {}), request)


def translate_key_conditions(request: Mapping[str, Any]) -> dict[str, KeyCondition]:
    """KeyConditions: key attribute → condition. Operators that no key takes are refused once the keys are known."""
    conditions = _conditions(request["KeyConditions"])
    if not 1 <= len(conditions) <= 2:
        raise in_request("Conditions can be of length 1 or 2 only")
    return {
        name: KeyCondition(_key_operator(operator), tuple(values)) for name, (operator, values) in conditions.items()
    }


def translate_updates(request: Mapping[str, Any]) -> TranslatedUpdate:
    """AttributeUpdates."""
    names: dict[str, str] = {}
    values: dict[str, Value] = {}
    actions: list[Action] = []
    for at, (name, change) in enumerate(request["AttributeUpdates"].items()):
        given, action = change.get("Value"), change.get("Action") or "PUT"
        value = canonical_value(given) if given is not None else None
        _check_action(action, value)
        names[f"#update {at}"] = name
        path, operand = Path((f"#update {at}",)), Placeholder(f"update {at}")
        if value is None:
            actions.append(Action("REMOVE", path, None))
            continue
        values[operand.name] = value
        if action == "ADD" and "L" in value:
            values[_EMPTY_LIST] = {"L": []}
            present = Call("if_not_exists", (path, Placeholder(_EMPTY_LIST)))
            actions.append(Action("SET", path, Call("list_append", (present, operand))))
        else:
            actions.append(Action("SET" if action == "PUT" else action, path, operand))
    scope = Scope(names, values)
    compiled = compile_update(Update(tuple(actions), None), scope) if actions else None
    return TranslatedUpdate(
        _reworded(compiled) if compiled is not None else None,
        [scope.path(action.path) for action in actions],
        [action.clause for action in actions],
        values,
    )


def _reworded(update: Callable[[Item, Values], Item]) -> Callable[[Item, Values], Item]:
    refusal = wrong_operand().message

    def apply(item: Item, values: Values) -> Item:
        try:
            return update(item, values)
        except ApiError as error:
            if error.message != refusal:
                raise
            raise validation("Type mismatch for attribute to update") from None

    return apply


def _check_action(action: str, value: Value | None) -> None:
    if value is None:
        if action != "DELETE":
            raise in_request(_INVALID + "Only DELETE action is allowed when no attribute value is specified")
    elif action == "DELETE" and type_of(value) not in _SETS:
        raise in_request(_INVALID + f"DELETE action with value is not supported for the type {type_of(value)}")
    elif action == "ADD" and type_of(value) not in _ADDABLE:
        raise in_request(_INVALID + f"ADD action is not supported for the type {type_of(value)}")


# ---- conditions


def _expected_values(name: str, condition: Mapping[str, Any]) -> list[Value]:
    """The values that an attribute is compared with; none: it must not be there, or an operator says so."""
    operator, exists = condition.get("ComparisonOperator"), condition.get("Exists")
    several, one = condition.get("AttributeValueList"), condition.get("Value")
    if several is not None and one is not None:
        raise in_request(_INVALID + f"Value and AttributeValueList cannot be used together for Attribute: {name}")
    if operator is not None:
        if exists is not None:
            raise in_request(_INVALID + f"Exists and ComparisonOperator cannot be used together for Attribute: {name}")
        if operator not in ("NULL", "NOT_NULL") and several is None and one is None:
            raise in_request(
                _INVALID + f"Value or AttributeValueList must be used with ComparisonOperator: {operator} "
                f"for Attribute: {name}"
            )
    elif several is not None:
        raise in_request(
            _INVALID + f"AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}"
        )
    elif exists is not False and one is None:
        shown = "null" if exists is None else "true"
        raise in_request(_INVALID + f"Value must be provided when Exists is {shown} for Attribute: {name}")
    elif exists is False and one is not None:
        raise in_request(_INVALID + f"Value cannot be used when Exists is false for Attribute: {name}")
    given = several if several is not None else [one] if one is not None else []
    return [canonical_value(value) for value in given]


def _conditions(given: Mapping[str, Any]) -> dict[str, tuple[str, list[Value]]]:
    conditions = {}
    for name, condition in given.items():
        values = [canonical_value(value) for value in condition.get("AttributeValueList") or ()]
        _check_operands(condition["ComparisonOperator"], values)
        conditions[name] = (condition["ComparisonOperator"], values)
    return conditions


def _check_operands(operator: str, values: list[Value], *, strict: bool = True) -> None:
    if strict and (not values if operator == "IN" else len(values) != _COUNTS.get(operator, 1)):
        raise in_request(_INVALID + f"Invalid number of argument(s) for the {operator} ComparisonOperator")
    if len({type_of(value) for value in values}) > 1:
        raise in_request(_INVALID + "AttributeValues inside AttributeValueList must be of same type")
    allowed = _TYPES.get(operator)
    for value in values:
        if allowed is not None and type_of(value) not in allowed:
            raise in_request(
                _INVALID + f"ComparisonOperator {operator} is not valid for {type_of(value)} AttributeValue type"
            )
    if operator == "BETWEEN" and sortable(values[0]) > sortable(values[1]):
        raise in_request(
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
        )


def _translate(
    parameter: str, conditions: Mapping[str, tuple[str, list[Value]]], request: Mapping[str, Any]
) -> Translated:
    joint = request.get("ConditionalOperator")
    if joint is not None and not conditions:
        raise in_request("ConditionalOperator cannot be used without Filter or Expected")
    if joint is not None and len(conditions) == 1:
        raise in_request("ConditionalOperator can only be used when Filter or Expected has two or more elements")
    scope_names: dict[str, str] = {}
    scope_values: dict[str, Value] = {}
    parts: list[Condition] = []
    for at, (name, (operator, values)) in enumerate(conditions.items()):
        key = f"#{parameter} {at}"
        scope_names[key] = name
        operands = tuple(Placeholder(f"{parameter} {at} {number}") for number in range(len(values)))
        scope_values.update(zip((operand.name for operand in operands), values, strict=True))
        parts.append(_condition(operator, Path((key,)), operands))
    if not parts:
        return Translated(None, [], {})
    root = parts[0] if len(parts) == 1 else Logical(joint or "AND", tuple(parts))
    scope = Scope(scope_names, scope_values)
    return Translated(compile_condition(root, scope), [(name,) for name in conditions], scope_values)


def _condition(operator: str, path: Path, operands: tuple[Placeholder, ...]) -> Condition:
    match operator:
        case "NULL":
            return Call("attribute_not_exists", (path,))
        case "NOT_NULL":
            return Call("attribute_exists", (path,))
        case "BETWEEN":
            return Between(path, *operands)
        case "IN":
            return In(path, operands)
        case "CONTAINS":
            return Call("contains", (path, *operands))
        case "NOT_CONTAINS":
            return Logical("AND", (Call("attribute_exists", (path,)), Not(Call("contains", (path, *operands)))))
        case "BEGINS_WITH":
            return Call("begins_with", (path, *operands))
    return Comparison(_COMPARATORS[operator], path, *operands)


def _key_operator(operator: str) -> str:
    return "begins_with" if operator == "BEGINS_WITH" else _COMPARATORS.get(operator, operator)
