"""Update expressions: checked as DynamoDB checks them, then compiled to a closure from item to new item.

The right sides are all read from the item as it was. List positions are those of the item as it was: SETs past the end
are appended in the order of their positions, and what takes elements away comes last, from the highest position down.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any, Final

from lastwriter.emulator.requests.errors import ApiError, validation
from lastwriter.emulator.requests.expressions.conditions import compile_path
from lastwriter.emulator.requests.expressions.paths import Steps, check_disjoint, check_reserved
from lastwriter.emulator.requests.expressions.scope import (
    Read,
    Scope,
    Values,
    misused,
    needs_path,
    wrong_count,
    wrong_type,
)
from lastwriter.emulator.requests.expressions.syntax import Action, Call, Operand, Path, Placeholder, Sum, Update
from lastwriter.emulator.requests.values import Item, Value, add_numbers, number, subtract_numbers, type_of

Change = Callable[[Item, Item, Values], None]
"""One action: reads the old item, changes the new one (which shares everything below its top level with the old)."""

_FUNCTIONS: Final = frozenset({"if_not_exists", "list_append"})
_WORDS: Final = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "NULL": "NULL",
    "BOOL": "BOOLEAN",
    "L": "LIST",
    "M": "MAP",
}
_WORDS_OF_SETS: Final = {"SS": "STRING_SET", "NS": "NUMBER_SET", "BS": "BINARY_SET"}
_SETS: Final = frozenset({"SS", "NS", "BS"})
_OPERANDS_OF: Final = {"ADD": _SETS | {"N"}, "DELETE": _SETS}
_ONLY_NUMBERS: Final = frozenset({"N"})
_ONLY_LISTS: Final = frozenset({"L"})


def check_update(update: Update, scope: Scope) -> list[Steps]:
    """The paths that the update changes; ApiError for the first mistake (without the name of the parameter).

    Order: reserved word, unknown function, section used twice, undefined names, undefined values, paths that overlap or
    conflict, types of ADD and DELETE, then number and types of other operands.
    """
    check_reserved(path for action in update.actions for path in _paths(action))
    calls = [call for action in update.actions if action.value is not None for call in _calls(action.value)]
    for call in calls:
        if call.name not in _FUNCTIONS:
            raise validation(f"Invalid function name; function: {call.name}")
    if update.repeated is not None:
        raise validation(f'The "{update.repeated}" section can only be used once in an update expression;')
    for action in update.actions:
        for path in _paths(action):
            scope.path(path)
    for action in update.actions:
        for placeholder in _placeholders(action.value):
            scope.value(placeholder)
    changed = [scope.path(action.path) for action in update.actions]
    check_disjoint(changed)
    for action in update.actions:
        if action.clause in _OPERANDS_OF and action.value is not None:
            scope.require_type(action.value, _OPERANDS_OF[action.clause], _refusal(action.clause))
    for action in update.actions:
        if action.clause == "SET" and action.value is not None:
            _check_operand(action.value, scope)
    return changed


def compile_update(update: Update, scope: Scope) -> Callable[[Item, Values], Item]:
    """Closure of an update that has passed :func:`check_update`: item as it was → new item."""
    changes = tuple(_compile_action(action, scope) for action in _in_order(update, scope))
    if len(changes) == 1:
        (only,) = changes

        def apply_one(item: Item, values: Values) -> Item:
            new = item.copy()
            only(item, new, values)
            return new

        return apply_one

    def apply(item: Item, values: Values) -> Item:
        new = item.copy()
        for change in changes:
            change(item, new, values)
        return new

    return apply


# ---- checks


def _paths(action: Action) -> Iterator[Path]:
    yield action.path
    if action.value is not None:
        yield from _paths_in(action.value)


def _paths_in(operand: Operand) -> Iterator[Path]:
    if isinstance(operand, Path):
        yield operand
    for part in _parts(operand):
        yield from _paths_in(part)


def _parts(operand: Operand) -> tuple[Operand, ...]:
    if isinstance(operand, Call):
        return operand.arguments
    if isinstance(operand, Sum):
        return (operand.left, operand.right)
    return ()


def _calls(operand: Operand) -> Iterator[Call]:
    for part in _parts(operand):
        yield from _calls(part)
    if isinstance(operand, Call):
        yield operand


def _placeholders(operand: Operand | None) -> Iterator[Placeholder]:
    if isinstance(operand, Placeholder):
        yield operand
    elif operand is not None:
        for part in _parts(operand):
            yield from _placeholders(part)


def _refusal(clause: str) -> Callable[[str], ApiError]:
    return lambda kind: validation(
        f"Incorrect operand type for operator or function; operator: {clause}, "
        f"operand type: {(_WORDS | _WORDS_OF_SETS)[kind]}, typeSet: ALLOWED_FOR_{clause}_OPERAND"
    )


def _check_operand(operand: Operand, scope: Scope) -> None:
    for part in _parts(operand):
        _check_operand(part, scope)
    if isinstance(operand, Sum):
        for side in (operand.left, operand.right):
            if isinstance(side, Call) and side.name == "list_append":
                raise wrong_type(operand.operator, "L")
            _require(operand.operator, side, _ONLY_NUMBERS, scope)
    elif isinstance(operand, Call):
        if len(operand.arguments) != 2:
            raise wrong_count(operand.name, len(operand.arguments))
        if operand.name == "if_not_exists":
            if not isinstance(operand.arguments[0], Path):
                raise needs_path(operand.name)
            return
        for argument in operand.arguments:
            if isinstance(argument, Call) and argument.name == "list_append":
                raise misused("list_append")
            _require(operand.name, argument, _ONLY_LISTS, scope)


def _require(name: str, operand: Operand, allowed: frozenset[str], scope: Scope) -> None:
    scope.require_type(operand, allowed, lambda kind: wrong_type(name, kind))


# ---- closures


def _in_order(update: Update, scope: Scope) -> list[Action]:
    resolved = [(action, scope.path(action.path)) for action in update.actions]
    shrinking = [one for one in resolved if one[0].clause in ("REMOVE", "DELETE")]
    growing = [one for one in resolved if one[0].clause in ("SET", "ADD")]
    growing.sort(key=lambda one: one[1][-1] if isinstance(one[1][-1], int) else -1)
    shrinking.sort(key=lambda one: _down(one[1]))
    return [action for action, _ in growing + shrinking]


def _down(steps: Steps) -> tuple[Any, ...]:
    """Sorts later list positions first; paths that differ in kind at a place never share what is before it."""
    return tuple((0, -step, "") if isinstance(step, int) else (1, 0, step) for step in steps)


def _compile_action(action: Action, scope: Scope) -> Change:
    steps = scope.path(action.path)
    if action.clause == "SET":
        assert action.value is not None
        if len(steps) == 1:
            return _compile_set_attribute(str(steps[0]), action.value, scope)
        return _compile_set_nested(steps, _compile_value(action.value, scope))
    if action.clause == "REMOVE":
        return _compile_remove(steps)
    assert isinstance(action.value, Placeholder)
    combine = _added if action.clause == "ADD" else _deleted
    return _compile_combination(steps, action.value.name, combine)


def _compile_value(operand: Operand, scope: Scope) -> Read:
    if isinstance(operand, Placeholder):
        name = operand.name
        return lambda item, values: values[name]
    if isinstance(operand, Path):
        return compile_path(scope.path(operand))
    if isinstance(operand, Sum):
        return _compile_sum(operand, scope)
    first, second = (_compile_value(argument, scope) for argument in operand.arguments)
    if operand.name == "list_append":
        return lambda item, values: {"L": _members(first(item, values)) + _members(second(item, values))}

    def if_not_exists(item: Item, values: Values) -> Value | None:
        value = first(item, values)
        return value if value is not None else second(item, values)

    return if_not_exists


def _compile_sum(operand: Sum, scope: Scope) -> Read:
    left, right = _compile_value(operand.left, scope), _compile_value(operand.right, scope)
    combine = add_numbers if operand.operator == "+" else subtract_numbers
    return lambda item, values: {"N": combine(_digits(left(item, values)), _digits(right(item, values)))}


def _compile_set_attribute(head: str, operand: Operand, scope: Scope) -> Change:
    """The two commonest right sides, a value and ``if_not_exists(attribute, :value)``, without closures in between."""
    if isinstance(operand, Placeholder):
        name = operand.name

        def set_value(old: Item, new: Item, values: Values) -> None:
            new[head] = values[name]

        return set_value
    if isinstance(operand, Call) and operand.name == "if_not_exists":
        first, second = operand.arguments
        if isinstance(first, Path) and len(first.parts) == 1 and isinstance(second, Placeholder):
            source, default = str(scope.path(first)[0]), second.name

            def set_first(old: Item, new: Item, values: Values) -> None:
                value = old.get(source)
                new[head] = value if value is not None else values[default]

            return set_first
    read = _compile_value(operand, scope)

    def set_attribute(old: Item, new: Item, values: Values) -> None:
        value = read(old, values)
        if value is None:
            raise _absent()
        new[head] = value

    return set_attribute


def _compile_set_nested(steps: Steps, read: Read) -> Change:
    head = str(steps[0])

    def set_nested(old: Item, new: Item, values: Values) -> None:
        value = read(old, values)
        if value is None:
            raise _absent()
        new[head] = _changed(new.get(head), steps, 1, lambda _: value)

    return set_nested


def _compile_remove(steps: Steps) -> Change:
    head = str(steps[0])
    if len(steps) == 1:

        def remove_attribute(old: Item, new: Item, values: Values) -> None:
            new.pop(head, None)

        return remove_attribute

    def remove_nested(old: Item, new: Item, values: Values) -> None:
        new[head] = _changed(new.get(head), steps, 1, lambda _: None)

    return remove_nested


def _compile_combination(steps: Steps, name: str, combine: Callable[[Value | None, Value], Value | None]) -> Change:
    head = str(steps[0])
    if len(steps) == 1 and combine is _added:

        def add_attribute(old: Item, new: Item, values: Values) -> None:
            """The commonest case, a number to a number, without a further call."""
            value, operand = new.get(head), values[name]
            digits = value.get("N") if value is not None else None
            addend = operand.get("N")
            if digits is not None and addend is not None:
                new[head] = {"N": add_numbers(digits, addend)}
            else:
                new[head] = _added(value, operand)

        return add_attribute
    if len(steps) == 1:

        def combine_attribute(old: Item, new: Item, values: Values) -> None:
            value = combine(new.get(head), values[name])
            if value is not None:
                new[head] = value
            else:
                new.pop(head, None)

        return combine_attribute

    def combine_nested(old: Item, new: Item, values: Values) -> None:
        new[head] = _changed(new.get(head), steps, 1, lambda value: combine(value, values[name]))

    return combine_nested


def _changed(parent: Value | None, steps: Steps, depth: int, change: Callable[[Value | None], Value | None]) -> Value:
    """``parent`` with the value at ``steps[depth:]`` below it changed (None: removed). Copies what it changes."""
    step = steps[depth]
    last = depth + 1 == len(steps)
    if isinstance(step, int):
        if parent is None or "L" not in parent:
            raise _invalid_path()
        members = list(parent["L"])
        present = step < len(members)
        if not present and not last:
            raise _invalid_path()
        child = members[step] if present else None
        value = change(child) if last else _changed(child, steps, depth + 1, change)
        if not present:
            members += [] if value is None else [value]
        elif value is None:
            del members[step]
        else:
            members[step] = value
        return {"L": members}
    if parent is None or "M" not in parent:
        raise _invalid_path()
    attributes = dict(parent["M"])
    child = attributes.get(step)
    value = change(child) if last else _changed(child, steps, depth + 1, change)
    if value is None:
        attributes.pop(step, None)
    else:
        attributes[step] = value
    return {"M": attributes}


def _added(value: Value | None, operand: Value) -> Value:
    if value is None:
        return operand
    addend = operand.get("N")
    if addend is not None:
        return {"N": add_numbers(_digits(value), addend)}
    kind = type_of(operand)
    if kind not in value:
        raise wrong_operand()
    return _set_of(kind, {*value[kind], *operand[kind]})


def _deleted(value: Value | None, operand: Value) -> Value | None:
    if value is None:
        return None
    kind = type_of(operand)
    if kind not in value:
        raise wrong_operand()
    rest = set(value[kind]).difference(operand[kind])
    return _set_of(kind, rest) if rest else None


def _set_of(kind: str, members: set[str]) -> Value:
    if kind == "NS":
        return {kind: sorted(members, key=number)}
    return {kind: sorted(members, key=base64.b64decode if kind == "BS" else None)}


def _digits(value: Value | None) -> str:
    if value is None:
        raise _absent()
    digits: str | None = value.get("N")
    if digits is None:
        raise wrong_operand()
    return digits


def _members(value: Value | None) -> list[Value]:
    if value is None:
        raise _absent()
    members: list[Value] | None = value.get("L")
    if members is None:
        raise wrong_operand()
    return members


def _absent() -> ApiError:
    return validation("The provided expression refers to an attribute that does not exist in the item")


def wrong_operand() -> ApiError:
    """The value at a path, or beside it, is of a type that the action cannot take."""
    return validation("An operand in the update expression has an incorrect data type")


def _invalid_path() -> ApiError:
    return validation("The document path provided in the update expression is invalid for update")
