"""Words that cannot stand as attribute names in expressions."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def reserved_words() -> frozenset[str]:
    """All of them, in capitals (AWS developer guide, "Reserved words in DynamoDB")."""
    return frozenset(files(__package__).joinpath("reserved_words.txt").read_text("ascii").split())


def is_reserved(word: str) -> bool:
    """Whether ``word`` is one of them, in any case."""
    return word.upper() in reserved_words()
