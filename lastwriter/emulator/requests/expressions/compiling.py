"""Text of an expression parameter → closure, with the parameter's name in front of whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, TypeVar

from lastwriter.emulator.requests.errors import ApiError, in_request, validation
from lastwriter.emulator.requests.expressions.conditions import Test, check_condition, compile_condition, paths_of
from lastwriter.emulator.requests.expressions.paths import Steps
from lastwriter.emulator.requests.expressions.projections import check_projection
from lastwriter.emulator.requests.expressions.scope import Scope, Values
from lastwriter.emulator.requests.expressions.syntax import (
    ConditionText,
    Update,
    parse_condition,
    parse_projection,
    parse_update,
)
from lastwriter.emulator.requests.expressions.updates import check_update, compile_update
from lastwriter.emulator.requests.values import Item

MAX_TREES: Final = 4096
"""Syntax trees kept of each kind; the oldest are forgotten."""

_condition_tree = lru_cache(MAX_TREES)(parse_condition)
_update_tree = lru_cache(MAX_TREES)(parse_update)
_projection_tree = lru_cache(MAX_TREES)(parse_projection)

_Result = TypeVar("_Result")


def condition_tree(parameter: str, text: str, scope: Scope) -> ConditionText:
    """Syntax tree of a condition whose names, values and types have been checked."""

    def checked() -> ConditionText:
        tree = _condition_tree(text)
        check_condition(tree, scope)
        return tree

    return _named(parameter, checked)


def compile_condition_text(parameter: str, text: str, scope: Scope) -> tuple[Test, list[Steps]]:
    """Closure of a condition, and the paths that it reads."""
    tree = condition_tree(parameter, text, scope)
    return compile_condition(tree.root, scope), [scope.path(path) for path in paths_of(tree.root)]


def compile_update_text(text: str, scope: Scope) -> tuple[Callable[[Item, Values], Item], list[Steps], Update]:
    """Closure of an update, the paths that it changes, and its syntax tree."""

    def checked() -> tuple[Update, list[Steps]]:
        tree = _update_tree(text)
        return tree, check_update(tree, scope)

    tree, changed = _named("UpdateExpression", checked)
    return compile_update(tree, scope), changed, tree


def projection_paths(text: str, scope: Scope) -> list[Steps]:
    """Paths of a projection."""
    return _named("ProjectionExpression", lambda: check_projection(_projection_tree(text), scope))


def check_scalar_keys(paths: Iterable[Steps], key_names: tuple[str, ...], what: str = "Key") -> None:
    """Key attributes are scalars: nothing can be looked up inside them."""
    for path in paths:
        if len(path) > 1 and path[0] in key_names:
            raise validation(
                "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: "
                f"{what}: {path[0]}"
            )


def _named(parameter: str, work: Callable[[], _Result]) -> _Result:
    try:
        return work()
    except ApiError as error:
        raise in_request(f"Invalid {parameter}: {error.message}") from None
