"""When a run says nothing: so many of its updates were never answered that almost anything would be explained by them.

An update with an unknown outcome may have taken effect at any time, or never. Every check allows for each of them, so
that it accuses nobody on their account; but what holds only because most of what was done may or may not have happened
has not been put to the test. What is violated stays violated: its witness is illegal whatever the unknown ones did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from verifier.checks.types import Result, join_notes
from verifier.headline import share_text
from verifier.tally import Tally, number

TOO_MANY_UNKNOWN: Final = 0.5
"""Above this share of updates without an answer nothing is said to hold."""


def doubted(results: Mapping[str, Result], intents: Tally) -> dict[str, Result]:
    """The same results; of a run with too many unknown outcomes none holds. ``intents``: what the parts counted."""
    updates, unknown = number(intents, "|updates"), number(intents, "|unknown_updates")
    if unknown <= TOO_MANY_UNKNOWN * updates:
        return dict(results)
    why = f"{unknown:,} of {updates:,} updates ({share_text(unknown, updates)}) were never answered: too many to tell"
    return {
        name: replace(result, verdict="unknown", note=join_notes([result.note, why]))
        if result.verdict == "holds"
        else result
        for name, result in results.items()
    }
