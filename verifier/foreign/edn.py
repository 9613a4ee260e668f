"""EDN, as far as histories need it: forms with the line on which they begin, and back to text.

Numbers, strings, booleans and nil are Python's own. Vectors and lists are tuples, sets frozensets, maps :class:`Map`
(they hash); keywords and symbols are :class:`Name`. Tags (``#jepsen.history.Op{…}``) are passed over, and so are
comments and what ``#_`` discards. There is a library for EDN, but it tells no line numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from verifier.errors import RecordError


@dataclass(frozen=True, slots=True)
class Name:
    """``:read``, ``some/symbol``: equal to itself only."""

    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Map:
    """A map; ``get`` takes the text of a keyword or any form."""

    items: frozenset[tuple[Any, Any]]

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, as in a dict."""
        return next((value for one, value in self.items if one == key), default)

    def __repr__(self) -> str:
        return write(self)


_TOKEN: Final = re.compile(
    r"""
      (?P<space>   [\s,]+ | ;[^\n]* )
    | (?P<string>  "(?:[^"\\]|\\.)*" )
    | (?P<open>    \#\{ | [\[({] )
    | (?P<close>   [\])}] )
    | (?P<discard> \#_ )
    | (?P<tag>     \#[A-Za-z][\w.\-/*+!?$%&=<>]* )
    | (?P<char>    \\(?:u[0-9a-fA-F]{4}|[a-z]+|\S) )
    | (?P<atom>    [^\s,;"\[\](){}\\]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSE: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9]\d*)N?\Z")
_FLOAT: Final = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?M?\Z")
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", '"': '"'}
_CHARACTERS: Final = {"newline": "\n", "return": "\r", "space": " ", "tab": "\t"}
_WORDS: Final = {"nil": None, "true": True, "false": False}
_DEEPEST: Final = 200


def forms(text: str, where: str = "", line: int = 1, *, inside: bool = False) -> Iterator[tuple[int, Any]]:
    """Every top-level form with its line. ``inside``: if there is one vector or list at the top, the forms in it.

    Raises RecordError with the line of what cannot be read.
    """
    reader = _Reader(text, where, line)
    if inside:
        reader.enter()
    while (form := reader.form()) is not _END:
        yield reader.began, form


def one(text: str, where: str = "", line: int = 1) -> tuple[Any, str]:
    """The first form of a text, and what follows it. Raises RecordError if there is none."""
    reader = _Reader(text, where, line)
    form = reader.form()
    if form is _END:
        raise reader.error("something is missing here")
    return form, text[reader.place :]


def whole(text: str) -> Any:
    """The only form of a text. Raises RecordError."""
    form, more = one(text)
    if more.strip():
        raise RecordError(f"{text}: one value is wanted, and {more.strip()!r} follows it")
    return form


def write(form: Any) -> str:
    """A form as text, on one line."""
    if form is None:
        return "nil"
    if form is True or form is False:
        return "true" if form else "false"
    if isinstance(form, Name):
        return form.text
    if isinstance(form, str):
        text = form.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'
    if isinstance(form, tuple | list):
        return "[" + " ".join(map(write, form)) + "]"
    if isinstance(form, frozenset):
        return "#{" + " ".join(sorted(map(write, form))) + "}"
    if isinstance(form, Map):
        return "{" + ", ".join(sorted(f"{write(key)} {write(value)}" for key, value in form.items)) + "}"
    return str(form)


class _End:
    pass


_END: Final = _End()


class _Reader:
    def __init__(self, text: str, where: str, line: int) -> None:
        self.text, self.where, self.line = text, where, line
        self.place = 0
        self.began = line
        self.entered: str | None = None

    def error(self, what: str, line: int | None = None) -> RecordError:
        return RecordError(f"{self.where}line {self.line if line is None else line}: {what}")

    def enter(self) -> None:
        """Step into a vector or list at the top."""
        place, line = self.place, self.line
        kind, text = self._token()
        if kind == "open" and text in ("[", "("):
            self.entered = _CLOSE[text]
        else:
            self.place, self.line = place, line

    def form(self) -> Any:
        """The next form at the top; ``_END`` at the end of the text."""
        while True:
            kind, text = self._token()
            self.began = self.line
            if kind == "end":
                if self.entered is not None:
                    raise self.error(f"the file ends before the {self.entered} that should close it")
                return _END
            if kind == "close" and text == self.entered:
                self.entered = None
                if self._token()[0] != "end":
                    raise self.error("something follows the end of the history")
                return _END
            if kind == "discard":
                self._value(*self._token(), 0)
                continue
            return self._value(kind, text, 0)

    def _token(self) -> tuple[str, str]:
        while self.place < len(self.text):
            match = _TOKEN.match(self.text, self.place)
            if match is None:
                raise self.error(f"cannot read {self.text[self.place : self.place + 20]!r}")
            kind, text = str(match.lastgroup), match.group()
            self.place = match.end()
            if kind == "space":
                self.line += text.count("\n")
                continue
            return kind, text
        return "end", ""

    def _value(self, kind: str, text: str, depth: int) -> Any:
        if kind == "atom":
            return self._atom(text)
        if kind == "string":
            began, self.line = self.line, self.line + text.count("\n")
            return _ESCAPE.sub(lambda match: self._escape(match.group(1), began), text[1:-1])
        if kind == "open":
            return self._collection(text, depth)
        if kind == "tag":
            return self._value(*self._token(), depth)
        if kind == "char":
            name = text[1:]
            return chr(int(name[1:], 16)) if len(name) == 5 and name[0] == "u" else _CHARACTERS.get(name, name)
        raise self.error("something is missing here" if kind == "end" else f"unexpected {text}")

    def _collection(self, opening: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise self.error("nested too deeply")
        began, closing = self.line, _CLOSE[opening]
        items = []
        while True:
            kind, text = self._token()
            if kind == "close" and text == closing:
                break
            if kind == "end":
                raise self.error(f"{opening} is never closed", began)
            if kind == "discard":
                self._value(*self._token(), depth)
                continue
            items.append(self._value(kind, text, depth + 1))
        if opening == "{":
            if len(items) % 2:
                raise self.error("a map with a key and no value", began)
            return Map(frozenset(dict(zip(items[::2], items[1::2], strict=True)).items()))
        return frozenset(items) if opening == "#{" else tuple(items)

    def _atom(self, text: str) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.match(text):
            return int(text.rstrip("N"))
        if _FLOAT.match(text):
            return float(text.rstrip("M"))
        if text[0].isdigit() or text == ":":
            raise self.error(f"cannot read {text!r}")
        return Name(text)

    def _escape(self, text: str, line: int) -> str:
        if len(text) == 5:
            return chr(int(text[1:], 16))
        if text not in _ESCAPES:
            raise self.error(f"cannot read \\{text} in a string", line)
        return _ESCAPES[text]
