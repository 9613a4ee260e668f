"""Plans: what requests of one shape have in common, checked and compiled once for a table, and found again.

Applications send the same few requests again and again; only the key or item and the values of an expression change.
All other parameters are texts (and names for an expression): where they are the same, what was found out about them
still holds, and a request costs what its own key and values cost.

A plan is found by the request's expressions, then compared with all its *fixed* parameters. The comparison never takes
one JSON type for another: fixed parameters are texts, and a text is equal to nothing else.
"""

from __future__ import annotations

from collections.abc import ItemsView
from dataclasses import dataclass
from typing import Any, Final

MAX_EXPRESSIONS: Final = 2000
"""Combinations of expressions whose plans are kept for a table; beyond that all are forgotten."""
MAX_ALIKE: Final = 8
"""Plans kept of requests with the same expressions that differ otherwise; the oldest are forgotten."""
MAX_PLACEHOLDERS: Final = 100
"""Requests with more names and values than this are compiled each time."""

_NAMES: Final = "ExpressionAttributeNames"
_VALUES: Final = "ExpressionAttributeValues"
_CHANGING: Final = frozenset({"Key", "Item", "ConsistentRead", _VALUES})

Expressions = tuple[str | None, ...]
"""The operation, then the texts of its expressions."""


@dataclass(slots=True, frozen=True)
class Shape:
    """What requests have to agree in to share a plan."""

    parameters: frozenset[str]
    """Names of all."""
    fixed: ItemsView[str, Any]
    """Those of which the values are part of the shape."""
    placeholders: frozenset[str] | None
    """Names of ExpressionAttributeValues; None: the request has none."""
    plan: Any


class Plans:
    """Of one table."""

    __slots__ = ("by_expressions",)

    def __init__(self) -> None:
        self.by_expressions: dict[Expressions, tuple[Shape, ...]] = {}

    def find(self, expressions: Expressions, request: dict[str, Any]) -> Shape | None:
        """The shape of the request, if its like has been seen. TypeError for expressions that are no texts."""
        for shape in self.by_expressions.get(expressions, ()):
            if shape.parameters == request.keys() and shape.fixed <= request.items():
                values = request.get(_VALUES)
                if (values.keys() if values is not None else None) == shape.placeholders:
                    return shape
        return None

    def remember(self, expressions: Expressions, request: dict[str, Any], plan: Any) -> None:
        """Keep what requests like this one compile to. The request has passed all checks."""
        fixed = {name: value for name, value in request.items() if name not in _CHANGING}
        if not all(value is None or type(value) is str or name == _NAMES for name, value in fixed.items()):
            return
        values = request.get(_VALUES)
        if len(request.get(_NAMES) or ()) + len(values or ()) > MAX_PLACEHOLDERS:
            return
        if len(self.by_expressions) >= MAX_EXPRESSIONS:
            self.by_expressions.clear()
        placeholders = frozenset(values) if values is not None else None
        alike = self.by_expressions.get(expressions, ())[-MAX_ALIKE + 1 :]
        self.by_expressions[expressions] = (*alike, Shape(frozenset(request), fixed.items(), placeholders, plan))
