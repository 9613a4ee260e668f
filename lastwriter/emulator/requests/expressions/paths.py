"""Document paths: names resolved, read, projected, and checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lastwriter.emulator.requests.errors import ApiError, validation
from lastwriter.emulator.requests.expressions.reserved import is_reserved
from lastwriter.emulator.requests.expressions.syntax import Path
from lastwriter.emulator.requests.values import Item, Value

Steps = tuple[str | int, ...]
"""A path with its names resolved: attribute names and list positions; the first is a top-level attribute."""

Names = Mapping[str, str]
"""ExpressionAttributeNames."""


def check_reserved(paths: Iterable[Path]) -> None:
    """The first name written out that is a reserved word is refused."""
    for path in paths:
        for part in path.parts:
            if isinstance(part, str) and part[0] != "#" and is_reserved(part):
                raise validation(f"Attribute name is a reserved keyword; reserved keyword: {part}")


def resolve(path: Path, names: Names) -> Steps:
    """The path with every ``#name`` replaced."""
    return tuple(names[part] if isinstance(part, str) and part[0] == "#" else part for part in path.parts)


def check_defined(path: Path, names: Names) -> None:
    """Every ``#name`` must be defined."""
    for part in path.parts:
        if isinstance(part, str) and part[0] == "#" and part not in names:
            raise validation(
                f"An expression attribute name used in the document path is not defined; attribute name: {part}"
            )


def show(steps: Steps) -> str:
    """``[a, b, [2]]`` as DynamoDB's messages show a path."""
    return "[" + ", ".join(f"[{step}]" if isinstance(step, int) else step for step in steps) + "]"


def check_disjoint(paths: Sequence[Steps]) -> None:
    """No path may contain another, and no place may be used both as a map and as a list."""
    if len(paths) < 2 or len({path[0] for path in paths}) == len(paths):
        return
    conflict: ApiError | None = None
    for late, second in enumerate(paths):
        for first in paths[:late]:
            clash = _clash(first, second)
            if clash == "overlap":
                raise validation(_clash_message(clash, first, second))
            if clash and conflict is None:
                conflict = validation(_clash_message(clash, first, second))
    if conflict is not None:
        raise conflict


def _clash(first: Steps, second: Steps) -> str | None:
    for one, two in zip(first, second, strict=False):
        if type(one) is not type(two):
            return "conflict"
        if one != two:
            return None
    return "overlap"


def _clash_message(clash: str, first: Steps, second: Steps) -> str:
    return (
        f"Two document paths {clash} with each other; must remove or rewrite one of these paths; "
        f"path one: {show(first)}, path two: {show(second)}"
    )


def reader(steps: Steps) -> Callable[[Item], Value | None]:
    """Function from an item to the value at the path, None where there is none."""
    head = steps[0]
    assert isinstance(head, str)
    if len(steps) == 1:
        return lambda item: item.get(head)
    tail = steps[1:]

    def read(item: Item) -> Value | None:
        value = item.get(head)
        for step in tail:
            if value is None:
                return None
            value = _child(value, step)
        return value

    return read


def _child(value: Value, step: str | int) -> Value | None:
    if isinstance(step, int):
        members: list[Value] | None = value.get("L")
        return members[step] if members is not None and step < len(members) else None
    attributes: Item | None = value.get("M")
    return attributes.get(step) if attributes is not None else None


def projector(paths: Sequence[Steps]) -> Callable[[Item], Item]:
    """Function from an item to the parts of it at the paths; list elements close up, in their order."""
    if all(len(path) == 1 for path in paths):
        heads = [str(path[0]) for path in paths]
        if len(heads) == 1:
            (only,) = heads
            return lambda item: {only: item[only]} if only in item else {}
        return lambda item: {head: item[head] for head in heads if head in item}
    tree: dict[str | int, Any] = {}
    for path in paths:
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    return lambda item: _select_attributes(item, tree)


def _select_attributes(attributes: Item, tree: dict[Any, Any]) -> Item:
    selected = {}
    for name, below in tree.items():
        if name in attributes:
            value = _select(attributes[name], below)
            if value is not None:
                selected[name] = value
    return selected


def _select(value: Value, tree: dict[Any, Any]) -> Value | None:
    if not tree:
        return value
    if "M" in value:
        attributes = _select_attributes(value["M"], tree)
        return {"M": attributes} if attributes else None
    if "L" in value:
        members = value["L"]
        picked = [_select(members[at], tree[at]) for at in sorted(_positions(tree)) if at < len(members)]
        found = [member for member in picked if member is not None]
        return {"L": found} if found else None
    return None


def _positions(tree: Mapping[Any, Any]) -> list[int]:
    return [step for step in tree if isinstance(step, int)]
