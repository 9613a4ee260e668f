"""What an expression is compiled against: names, the values' types, and what was used of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lastwriter.emulator.requests.errors import ApiError, in_request, validation
from lastwriter.emulator.requests.expressions.paths import Steps, check_defined, resolve
from lastwriter.emulator.requests.expressions.syntax import Operand, Path, Placeholder
from lastwriter.emulator.requests.values import Item, Value, type_of

Values = Mapping[str, Value]
"""ExpressionAttributeValues in canonical form."""

Read = Callable[[Item, Values], Value | None]
"""A compiled operand."""

Requirement = Callable[[Values], bool]
"""What a compiled expression needs of the values' types. Where it fails, compiling again says what is wrong."""


@dataclass(slots=True)
class Scope:
    """Names and values of one request, and which of them its expressions use."""

    names: Mapping[str, str]
    values: Values
    used_names: set[str] = field(default_factory=set)
    used_values: set[str] = field(default_factory=set)
    requirements: list[Requirement] = field(default_factory=list)
    resolved: dict[Path, Steps] = field(default_factory=dict)

    def path(self, path: Path) -> Steps:
        """The path with its names resolved."""
        steps = self.resolved.get(path)
        if steps is None:
            check_defined(path, self.names)
            self.used_names.update(part for part in path.parts if isinstance(part, str) and part[0] == "#")
            steps = self.resolved[path] = resolve(path, self.names)
        return steps

    def value(self, placeholder: Placeholder) -> Value:
        """The value that the placeholder stands for in this request."""
        value = self.values.get(placeholder.name)
        if value is None:
            raise validation(
                f"An expression attribute value used in expression is not defined; attribute value: {placeholder.name}"
            )
        self.used_values.add(placeholder.name)
        return value

    def require_type(self, operand: Operand, allowed: frozenset[str], refuse: Callable[[str], ApiError]) -> None:
        """Refuse an operand that is a value of another type, now and whenever the compiled expression is used again."""
        if isinstance(operand, Placeholder):
            kind = type_of(self.value(operand))
            if kind not in allowed:
                raise refuse(kind)
            name = operand.name
            self.requirements.append(lambda values: not allowed.isdisjoint(values[name]))

    def check_all_used(self) -> None:
        """Names and values that no expression uses are refused."""
        for what, given, used in (
            ("Names", self.names, self.used_names),
            ("Values", self.values, self.used_values),
        ):
            unused = [key for key in given if key not in used]
            if unused:
                raise in_request(
                    f"Value provided in ExpressionAttribute{what} unused in expressions: keys: {{{', '.join(unused)}}}"
                )


def wrong_type(operator: str, kind: str) -> ApiError:
    """An operand's type does not suit the function or operator."""
    return validation(
        f"Incorrect operand type for operator or function; operator or function: {operator}, operand type: {kind}"
    )


def wrong_count(function: str, count: int) -> ApiError:
    """A function has too many operands, or too few."""
    return validation(
        "Incorrect number of operands for operator or function; "
        f"operator or function: {function}, number of operands: {count}"
    )


def misused(function: str) -> ApiError:
    """A function stands where it may not."""
    return validation(f"The function is not allowed to be used this way in an expression; function: {function}")


def needs_path(function: str) -> ApiError:
    """A function's first operand has to be a path."""
    return validation(f"Operator or function requires a document path; operator or function: {function}")
