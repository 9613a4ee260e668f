"""Projection expressions: which parts of an item a read returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lastwriter.emulator.requests.expressions.paths import Steps, check_disjoint, check_reserved, projector
from lastwriter.emulator.requests.expressions.scope import Scope
from lastwriter.emulator.requests.expressions.syntax import Path
from lastwriter.emulator.requests.values import Item


def check_projection(paths: Sequence[Path], scope: Scope) -> list[Steps]:
    """The paths with their names resolved; ApiError for the first mistake (without the name of the parameter)."""
    check_reserved(paths)
    resolved = [scope.path(path) for path in paths]
    check_disjoint(resolved)
    return resolved


def compile_projection(paths: Sequence[Steps]) -> Callable[[Item], Item]:
    """Closure from an item to the parts that the projection names."""
    return projector(paths)
