"""Text of an expression → syntax tree. What is wrong with the text alone is said here, as DynamoDB says it.

Recursive descent over a token list. A condition in parentheses and an operand in parentheses look alike until the token
after them, so one rule reads both and the callers say which they need.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from lastwriter.emulator.requests.errors import ApiError, validation

MAX_TEXT_BYTES: Final = 4096
MAX_NESTING: Final = 64
MAX_OPERATORS: Final = 300
"""And functions, in one expression."""
"""Parentheses and NOTs inside each other (chosen: DynamoDB's own bound is not documented)."""

COMPARATORS: Final = frozenset({"=", "<>", "<", "<=", ">", ">="})


# ---- the tree


class Path(NamedTuple):
    """``a.#b[2]``: attribute names as written (``#b`` unresolved) and list positions."""

    parts: tuple[str | int, ...]


class Placeholder(NamedTuple):
    """``:v``"""

    name: str


class Call(NamedTuple):
    """``size(a)``, ``attribute_exists(a)``, ``if_not_exists(a, :v)`` …"""

    name: str
    arguments: tuple[Operand, ...]


class Sum(NamedTuple):
    """``a + :v`` or ``a - :v`` on the right of SET."""

    operator: str
    left: Operand
    right: Operand


class Comparison(NamedTuple):
    """``a < :v``"""

    operator: str
    left: Operand
    right: Operand


class Between(NamedTuple):
    """``a BETWEEN :low AND :high``"""

    operand: Operand
    low: Operand
    high: Operand


class In(NamedTuple):
    """``a IN (:x, :y)``"""

    operand: Operand
    options: tuple[Operand, ...]


class Logical(NamedTuple):
    """``a AND b AND c`` or ``a OR b``; operator in capitals."""

    operator: str
    parts: tuple[Condition, ...]


class Not(NamedTuple):
    """``NOT a``"""

    part: Condition


class Action(NamedTuple):
    """One action of an update expression: clause (SET, REMOVE, ADD, DELETE), where, and with what."""

    clause: str
    path: Path
    value: Operand | None


class Update(NamedTuple):
    """An update expression. ``repeated`` is the first clause keyword that stands twice."""

    actions: tuple[Action, ...]
    repeated: str | None


class ConditionText(NamedTuple):
    """A condition expression. ``redundant``: it has parentheses around parentheses."""

    root: Condition
    redundant: bool


Operand = Path | Placeholder | Call | Sum
Condition = Comparison | Between | In | Logical | Not | Call
_Term = Operand | Condition


def parse_condition(text: str) -> ConditionText:
    """Condition, filter or key condition expression."""
    return _parse(text, _Parser.condition)


def parse_update(text: str) -> Update:
    """Update expression."""
    return _parse(text, _Parser.update)


def parse_projection(text: str) -> tuple[Path, ...]:
    """Projection expression."""
    return _parse(text, _Parser.projection)


_Tree = TypeVar("_Tree")


def _parse(text: str, rule: Callable[[_Parser], _Tree]) -> _Tree:
    if not text.strip(" \t\r\n"):
        raise validation("The expression can not be empty;")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        tail = f" expression size: {size}" if rule is _Parser.condition else ""
        raise validation(f"Expression size has exceeded the maximum allowed size;{tail}")
    parser = _Parser(text)
    tree = rule(parser)
    parser.expect_end()
    return tree


# ---- tokens

_WORD: Final = 1
_NAME: Final = 2
_PLACEHOLDER: Final = 3
_NUMBER: Final = 4
_OTHER: Final = 5
_END: Final = 6

_TOKEN: Final = re.compile(
    r"[ \t\r\n]*(?:([A-Za-z][A-Za-z0-9_]*)|(#[A-Za-z0-9_]+)|(:[A-Za-z0-9_]+)|([0-9]+)|(<=|<>|>=|[^ \t\r\n]))"
)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.matches = list(_TOKEN.finditer(text))
        self.kinds = [match.lastindex or _OTHER for match in self.matches]
        self.kinds.append(_END)
        self.texts = [match[match.lastindex or 0] for match in self.matches]
        self.texts.append("<EOF>")
        self.at = 0
        self.nesting = 0
        self.operators = 0
        self.redundant = False
        self.closed = (-1, -1)
        """Token positions of the pair of parentheses that was closed last."""

    # -- conditions

    def condition(self) -> ConditionText:
        root = self._need_condition(self._or())
        return ConditionText(root, self.redundant)

    def _or(self) -> _Term:
        return self._chain("OR", self._and)

    def _and(self) -> _Term:
        return self._chain("AND", self._not)

    def _chain(self, operator: str, part: Callable[[], _Term]) -> _Term:
        first = part()
        if not self._is_keyword(operator):
            return first
        parts = [self._need_condition(first)]
        while self._is_keyword(operator):
            self._operator()
            parts.append(self._need_condition(part()))
        return Logical(operator, tuple(parts))

    def _not(self) -> _Term:
        if not self._is_keyword("NOT"):
            return self._predicate()
        self._operator()
        self._deeper()
        part = self._need_condition(self._not())
        self.nesting -= 1
        return Not(part)

    def _predicate(self) -> _Term:
        left = self._term(self._or)
        if not isinstance(left, Operand):
            return left
        operator = self.texts[self.at]
        if operator in COMPARATORS:
            self._operator()
            return Comparison(operator, left, self._operand())
        if self._is_keyword("BETWEEN"):
            self._operator()
            low = self._operand()
            if not self._is_keyword("AND"):
                raise self._error()
            self.at += 1
            return Between(left, low, self._operand())
        if self._is_keyword("IN"):
            self._operator()
            return In(left, self._arguments())
        return left

    def _need_condition(self, term: _Term) -> Condition:
        if isinstance(term, Path | Placeholder | Sum):
            raise self._error()  # an operand alone: a comparator is missing here
        return term

    # -- operands

    def _term(self, inside: Callable[[], _Term]) -> _Term:
        """An operand, or whatever ``inside`` reads between parentheses."""
        kind, text = self.kinds[self.at], self.texts[self.at]
        if kind == _PLACEHOLDER:
            self.at += 1
            return Placeholder(text)
        if text == "(":
            return self._parentheses(inside)
        if kind == _WORD and self.texts[self.at + 1] == "(":
            self._operator()
            return Call(text, self._arguments())
        return self.path()

    def _parentheses(self, inside: Callable[[], _Term]) -> _Term:
        opened = self.at
        self.at += 1
        self._deeper()
        term = inside()
        self.nesting -= 1
        if self.closed == (opened + 1, self.at - 1):
            self.redundant = True
        self.closed = (opened, self.at)
        self._take(")")
        return term

    def _operand(self) -> Operand:
        term = self._term(self._operand)
        if not isinstance(term, Operand):
            raise self._error()
        return term

    def _arguments(self) -> tuple[Operand, ...]:
        self._take("(")
        self._deeper()
        arguments = [self._operand()]
        while self.texts[self.at] == ",":
            self.at += 1
            arguments.append(self._operand())
        self._take(")")
        self.nesting -= 1
        return tuple(arguments)

    def path(self) -> Path:
        parts: list[str | int] = [self._attribute()]
        while True:
            text = self.texts[self.at]
            if text == ".":
                self.at += 1
                parts.append(self._attribute())
            elif text == "[":
                self.at += 1
                if self.kinds[self.at] != _NUMBER:
                    raise self._error()
                parts.append(_position(self.texts[self.at]))
                self.at += 1
                self._take("]")
            else:
                return Path(tuple(parts))

    def _attribute(self) -> str:
        kind, text = self.kinds[self.at], self.texts[self.at]
        if kind != _NAME and (kind != _WORD or text.upper() in _OPERATORS):
            raise self._error()
        self.at += 1
        return text

    # -- updates

    def update(self) -> Update:
        actions: list[Action] = []
        seen: list[str] = []
        repeated = None
        while True:
            clause = self.texts[self.at].upper()
            if clause not in _CLAUSES:
                raise self._error()
            self.at += 1
            if clause in seen:
                repeated = repeated or clause
            seen.append(clause)
            actions.append(self._action(clause))
            while self.texts[self.at] == ",":
                self.at += 1
                actions.append(self._action(clause))
            if self.kinds[self.at] == _END:
                return Update(tuple(actions), repeated)

    def _action(self, clause: str) -> Action:
        path = self.path()
        if clause == "SET":
            self._take("=")
            return Action(clause, path, self._set_value())
        if clause == "REMOVE":
            return Action(clause, path, None)
        if self.kinds[self.at] != _PLACEHOLDER:
            raise self._error()
        self.at += 1
        return Action(clause, path, Placeholder(self.texts[self.at - 1]))

    def _set_value(self) -> Operand:
        left = self._term(self._set_value)
        if not isinstance(left, Operand):
            raise self._error()
        operator = self.texts[self.at]
        if operator not in ("+", "-") or isinstance(left, Sum):
            return left
        self._operator()
        return Sum(operator, left, self._operand())

    # -- projections

    def projection(self) -> tuple[Path, ...]:
        paths = [self.path()]
        while self.texts[self.at] == ",":
            self.at += 1
            paths.append(self.path())
        return tuple(paths)

    # -- tokens

    def expect_end(self) -> None:
        if self.kinds[self.at] != _END:
            raise self._error()

    def _is_keyword(self, word: str) -> bool:
        return self.kinds[self.at] == _WORD and self.texts[self.at].upper() == word

    def _take(self, text: str) -> None:
        if self.texts[self.at] != text:
            raise self._error()
        self.at += 1

    def _operator(self) -> None:
        """Go past one."""
        self.at += 1
        self.operators += 1
        if self.operators > MAX_OPERATORS:
            raise validation(f"The expression contains too many operators; operator count: {self.operators}")

    def _deeper(self) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise validation(f"The expression has too many nested levels; nesting levels: {self.nesting}")

    def _error(self) -> ApiError:
        """Syntax error at the current token, with the tokens on both sides of it."""
        before = max(self.at - 1, 0)
        if self.kinds[self.at] == _END:
            near = self.texts[before]
        else:
            after = min(self.at + 1, len(self.matches) - 1)
            near = self.text[self._span(before)[0] : self._span(after)[1]]
        return validation(f'Syntax error; token: "{self.texts[self.at]}", near: "{near}"')

    def _span(self, token: int) -> tuple[int, int]:
        match = self.matches[token]
        return match.span(match.lastindex or 0)


def _position(digits: str) -> int:
    """A position in a list: at most Java's largest int."""
    if len(digits) > 10 or int(digits) > _MAX_POSITION:
        raise validation(f"List index is not within the allowable range; index: [{digits}]")
    return int(digits)


_MAX_POSITION: Final = 2**31 - 1
_OPERATORS: Final = frozenset({"AND", "OR", "NOT", "BETWEEN", "IN"})
_CLAUSES: Final = frozenset({"SET", "REMOVE", "ADD", "DELETE"})
