"""Random expressions with a second, naive evaluator over plain Python values, to hold the compiled ones against.

Nothing here is shared with the emulator: values are ``(type, python value)`` pairs, text is built next to a function
that says what it means.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

Plain = tuple[str, Any]
PlainItem = dict[str, Plain]
Meaning = Callable[[PlainItem], Any]

ATTRIBUTES = ["aa", "bb", "cc", "dd"]


def to_json(value: Plain) -> dict[str, Any]:
    """As DynamoDB-JSON."""
    kind, content = value
    if kind == "N":
        return {"N": format(content, "f")}
    if kind == "B":
        return {"B": base64.b64encode(content).decode()}
    if kind == "SS":
        return {"SS": sorted(content)}
    if kind == "NS":
        return {"NS": [format(member, "f") for member in sorted(content)]}
    if kind == "L":
        return {"L": [to_json(member) for member in content]}
    if kind == "M":
        return {"M": {name: to_json(member) for name, member in content.items()}}
    return {kind: content}


def from_json(value: dict[str, Any]) -> Plain:
    """Back again."""
    ((kind, content),) = value.items()
    if kind == "N":
        return "N", Decimal(content)
    if kind == "B":
        return "B", base64.b64decode(content)
    if kind == "SS":
        return "SS", frozenset(content)
    if kind == "NS":
        return "NS", frozenset(map(Decimal, content))
    if kind == "L":
        return "L", [from_json(member) for member in content]
    if kind == "M":
        return "M", {name: from_json(member) for name, member in content.items()}
    return kind, content


WORDS = ["", "a", "ab", "b", "é"]
NUMBERS = [Decimal(text) for text in ("-3", "-0.25", "0", "1", "1.5", "2")]
BYTES = [b"", b"\x00", b"\xff", b"\x00\xff"]
FLAT: list[Plain] = [
    *(("S", word) for word in WORDS),
    *(("N", value) for value in NUMBERS),
    *(("B", data) for data in BYTES),
    ("BOOL", True),
    ("BOOL", False),
    ("NULL", True),
    ("SS", frozenset({"a"})),
    ("SS", frozenset({"", "a", "é"})),
    ("NS", frozenset({Decimal(1)})),
    ("NS", frozenset({Decimal(1), Decimal("1.5")})),
]
NESTED: list[Plain] = [
    ("L", []),
    ("L", [("N", Decimal(1)), ("S", "a")]),
    ("L", [("M", {"aa": ("N", Decimal(2))}), ("L", [("S", "b")])]),
    ("M", {}),
    ("M", {"aa": ("N", Decimal(1)), "bb": ("S", "ab")}),
    ("M", {"aa": ("L", [("N", Decimal(1)), ("N", Decimal(2))]), "bb": ("M", {"aa": ("S", "a")})}),
]
plain_values: st.SearchStrategy[Plain] = st.sampled_from([*FLAT, *NESTED])
items: st.SearchStrategy[PlainItem] = st.fixed_dictionaries({}, optional=dict.fromkeys(ATTRIBUTES, plain_values))


class Expressions:
    """Draws an expression piece by piece, collecting names and values."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.names: dict[str, str] = {}
        self.values: dict[str, Plain] = {}

    def space(self) -> str:
        return self.draw(st.sampled_from(["", " ", "\n "]))

    def value(self, kinds: str | None = None) -> tuple[str, Meaning]:
        """A placeholder for a value, of one of the types if given."""
        pool = [value for value in (*FLAT, *NESTED) if kinds is None or value[0] in kinds.split()]
        value = self.draw(st.sampled_from(pool))
        name = f":v{len(self.values)}"
        self.values[name] = value
        return name, lambda item: value

    def name(self, name: str) -> str:
        if self.draw(st.booleans()):
            return name
        placeholder = f"#{len(self.names)}"
        self.names[placeholder] = name
        return placeholder

    def path(self) -> tuple[str, Meaning]:
        head = self.draw(st.sampled_from(ATTRIBUTES))
        steps = self.draw(st.lists(st.sampled_from([*ATTRIBUTES[:2], 0, 1]), max_size=2))
        text = self.name(head)
        for step in steps:
            text += f"[{step}]" if isinstance(step, int) else "." + self.name(str(step))
        return text, lambda item: look_up(item, [head, *steps])

    def operand(self) -> tuple[str, Meaning]:
        kind = self.draw(st.sampled_from(["path", "path", "value", "size"]))
        if kind == "value":
            return self.value("N S B")
        text, read = self.path()
        return (text, read) if kind == "path" else (f"size({text})", lambda item: size_of(read(item)))

    def condition(self, depth: int = 2) -> tuple[str, Meaning]:
        kinds = ["compare", "between", "in", "exists", "type", "begins", "contains"]
        if depth:
            kinds += ["and", "or", "not", "not", "and"]
        kind = self.draw(st.sampled_from(kinds))
        if kind in ("and", "or"):
            parts = [self.nested(depth - 1) for _ in range(self.draw(st.integers(2, 3)))]
            texts = [text for text, _ in parts]
            tests = [test for _, test in parts]
            if kind == "and":
                return " AND ".join(texts), lambda item: all(test(item) for test in tests)
            return " or ".join(texts), lambda item: any(test(item) for test in tests)
        if kind == "not":
            text, test = self.nested(depth - 1)
            return f"NOT {text}", lambda item: not test(item)
        return getattr(self, kind)()

    def nested(self, depth: int) -> tuple[str, Meaning]:
        text, test = self.condition(depth)
        return f"({self.space()}{text}{self.space()})", test

    def compare(self) -> tuple[str, Meaning]:
        operator = self.draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]))
        (left, one), (right, two) = self.path(), self.operand()
        return f"{left}{self.space()}{operator}{self.space()}{right}", lambda item: compare(
            operator, one(item), two(item)
        )

    def between(self) -> tuple[str, Meaning]:
        text, read = self.operand()
        (low, least), (high, most) = self.path(), self.path()
        return (
            f"{text} BETWEEN {low} and {high}",
            lambda item: compare(">=", read(item), least(item)) and compare("<=", read(item), most(item)),
        )

    # ``in`` is a keyword: the drawn kind's name is looked up with getattr
    def among(self) -> tuple[str, Meaning]:
        text, read = self.path()
        options = [self.value() for _ in range(self.draw(st.integers(1, 3)))]
        return (
            f"{text} IN ({', '.join(name for name, _ in options)})",
            lambda item: any(compare("=", read(item), option(item)) for _, option in options),
        )

    def exists(self) -> tuple[str, Meaning]:
        text, read = self.path()
        if self.draw(st.booleans()):
            return f"attribute_exists({text})", lambda item: read(item) is not None
        return f"attribute_not_exists ({text})", lambda item: read(item) is None

    def type(self) -> tuple[str, Meaning]:
        text, read = self.path()
        kind = self.draw(st.sampled_from(["S", "N", "B", "SS", "NS", "BS", "L", "M", "BOOL", "NULL"]))
        name = f":v{len(self.values)}"
        self.values[name] = ("S", kind)
        return f"attribute_type({text}, {name})", lambda item: read(item) is not None and read(item)[0] == kind

    def begins(self) -> tuple[str, Meaning]:
        text, read = self.path()
        start, what = self.value("S B")
        return (
            f"begins_with({text}, {start})",
            lambda item: (
                read(item) is not None
                and read(item)[0] == what(item)[0]
                and read(item)[1][: len(what(item)[1])] == what(item)[1]
            ),
        )

    def contains(self) -> tuple[str, Meaning]:
        text, read = self.path()
        part, what = self.value()
        return f"contains({text}, {part})", lambda item: contains(read(item), what(item))


setattr(Expressions, "in", Expressions.among)


def look_up(item: PlainItem, steps: list[Any]) -> Plain | None:
    value: Plain | None = item.get(steps[0])
    for step in steps[1:]:
        if value is None:
            return None
        kind, content = value
        if isinstance(step, int):
            value = content[step] if kind == "L" and step < len(content) else None
        else:
            value = content.get(step) if kind == "M" else None
    return value


def size_of(value: Plain | None) -> Plain | None:
    if value is None or value[0] in ("N", "BOOL", "NULL"):
        return None
    return "N", Decimal(len(value[1].encode() if value[0] == "S" else value[1]))


def compare(operator: str, left: Plain | None, right: Plain | None) -> bool:
    if operator == "<>":
        return not compare("=", left, right)
    if left is None or right is None or left[0] != right[0]:
        return False
    if operator == "=":
        return bool(left[1] == right[1])
    if left[0] not in ("S", "N", "B"):
        return False
    one, two = (value[1].encode() if value[0] == "S" else value[1] for value in (left, right))
    return bool({"<": one < two, "<=": one <= two, ">": one > two, ">=": one >= two}[operator])


def contains(value: Plain | None, part: Plain) -> bool:
    if value is None:
        return False
    kind, content = value
    if kind in ("S", "B"):
        return part[0] == kind and part[1] in content
    if kind in ("SS", "NS"):
        return part[0] + "S" == kind and part[1] in content
    return kind == "L" and part in content


@st.composite
def conditions(draw: st.DrawFn) -> tuple[str, dict[str, str], dict[str, Plain], Meaning]:
    """Text, names, values and meaning of a condition."""
    drawn = Expressions(draw)
    text, meaning = drawn.condition()
    return text, drawn.names, drawn.values, meaning
