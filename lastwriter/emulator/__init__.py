"""DynamoDB global tables on loopback: a pure core (no sockets, no wall clock) under a thin HTTP shell.

>>> from lastwriter.emulator import Emulator
>>> with Emulator(mode="MRSC", table="orders") as emulator:
...     client = emulator.client("us-east-1")

Importing the package imports nothing else: :class:`Emulator` is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lastwriter.emulator.embedded import Emulator as Emulator
    from lastwriter.emulator.embedded import Fault as Fault

__all__ = ["Emulator", "Fault"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lastwriter.emulator import embedded

        return getattr(embedded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
