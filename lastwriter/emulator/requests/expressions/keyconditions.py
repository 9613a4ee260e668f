"""Key conditions of a Query: one value of the partition key, and at most one range of the sort key."""

from __future__ import annotations

from typing import Final, NamedTuple

from lastwriter.emulator.requests.errors import in_request
from lastwriter.emulator.requests.expressions.compiling import condition_tree
from lastwriter.emulator.requests.expressions.conditions import leaves
from lastwriter.emulator.requests.expressions.scope import Scope
from lastwriter.emulator.requests.expressions.syntax import (
    Between,
    Call,
    Comparison,
    Condition,
    In,
    Logical,
    Not,
    Operand,
    Path,
    Placeholder,
)
from lastwriter.emulator.requests.values import Value

_MIRRORED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class KeyCondition(NamedTuple):
    """``operator``: a comparator, ``BETWEEN`` or ``begins_with``."""

    operator: str
    operands: tuple[Value, ...]


def key_conditions(text: str, scope: Scope) -> dict[str, KeyCondition]:
    """Attribute → its condition; ApiError for what a key condition cannot be."""
    root = condition_tree("KeyConditionExpression", text, scope).root
    _refuse_operators(root)
    found: dict[str, KeyCondition] = {}
    for leaf in leaves(root):
        attribute, condition = _read(leaf, scope)
        if attribute in found:
            raise in_request(
                "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key"
            )
        found[attribute] = condition
    return found


def _refuse_operators(condition: Condition) -> None:
    name = None
    if isinstance(condition, Logical):
        name = "OR" if condition.operator == "OR" else None
        for part in condition.parts if name is None else ():
            _refuse_operators(part)
    elif isinstance(condition, Not):
        name = "NOT"
    elif isinstance(condition, In):
        name = "IN"
    elif isinstance(condition, Comparison) and condition.operator == "<>":
        name = "<>"
    elif isinstance(condition, Call) and condition.name != "begins_with":
        name = condition.name
    if name is not None:
        raise in_request(f"Invalid operator used in KeyConditionExpression: {name}")


def _read(leaf: Comparison | Between | In | Call, scope: Scope) -> tuple[str, KeyCondition]:
    if isinstance(leaf, Comparison):
        operator, operands = leaf.operator, [leaf.left, leaf.right]
    elif isinstance(leaf, Between):
        operator, operands = "BETWEEN", [leaf.operand, leaf.low, leaf.high]
    else:
        assert isinstance(leaf, Call)
        operator, operands = leaf.name, list(leaf.arguments)
    if any(isinstance(operand, Call) for operand in operands):
        raise in_request("KeyConditionExpressions cannot contain nested operations")
    paths = [operand for operand in operands if isinstance(operand, Path)]
    if operator in ("BETWEEN", "begins_with") and not isinstance(operands[0], Path):
        raise in_request(
            f"Invalid condition in KeyConditionExpression: {operator} operator must have the key attribute as its "
            "first operand"
        )
    if not paths:
        raise in_request("Invalid condition in KeyConditionExpression: No key attribute specified")
    if len(paths) > 1:
        raise in_request("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
    steps = scope.path(paths[0])
    if len(steps) > 1:
        raise in_request("KeyConditionExpressions cannot have conditions on nested attributes")
    if not isinstance(operands[0], Path):
        operator = _MIRRORED[operator]
    return str(steps[0]), KeyCondition(operator, tuple(_values(operands, scope)))


def _values(operands: list[Operand], scope: Scope) -> list[Value]:
    return [scope.value(operand) for operand in operands if isinstance(operand, Placeholder)]
