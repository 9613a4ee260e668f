"""What every write of ours says of itself in its item: whose it is, and whose it replaced."""

from __future__ import annotations

from typing import Final

from verifier.history.schema import ABSENT, PREVIOUS_ATTRIBUTE, WRITER_ATTRIBUTE

PAD_ATTRIBUTE: Final = "padding"  # "pad" is one of DynamoDB's reserved words

MARK: Final = "SET #p = if_not_exists(#w, :none), #w = :op"
"""Beginning of an update expression; its names and values are :data:`NAMES`, ``:none`` and ``:op``."""

NAMES: Final = {"#p": PREVIOUS_ATTRIBUTE, "#w": WRITER_ATTRIBUTE}
NONE: Final = {"N": str(ABSENT)}
"""Value of ``:none``: nobody wrote the item before."""

OWN_BYTES: Final = 80
"""What keys, marks and value of an item take themselves, about: `padding` makes up the rest of `item_bytes`."""
