"""What the record calls the keys of a load."""

from __future__ import annotations

from collections.abc import Iterable

from lastwriter.client.keys import Key
from lastwriter.client.recorder import Recorder
from verifier.history.columns import NO_CODE


class KeyCodes:
    """Recorder codes of keys: name, class, owner, what the user counts. One of a load, shared by its users."""

    def __init__(self, recorder: Recorder, keys: Iterable[Key]) -> None:
        self._recorder = recorder
        self._codes: dict[str, tuple[int, int, int, int]] = {}
        for key in keys:
            self.of(key)

    def update(self, other: KeyCodes) -> None:
        """Know what another one of the same recorder knows."""
        self._codes.update(other._codes)

    def of(self, key: Key | str) -> tuple[int, int, int, int]:
        """Codes of key, class, home Region and logical key."""
        found = self._codes.get(name := key if isinstance(key, str) else key.name)
        if found is None:
            recorder, code = self._recorder, self._recorder.key.of(name)
            if isinstance(key, str):
                found = (code, NO_CODE, NO_CODE, NO_CODE)
            else:
                home, logical = recorder.home_region.of(key.home_region), recorder.logical_key.of(key.logical)
                found = (code, recorder.key_class.of(key.key_class), home, logical)
            self._codes[name] = found
        return found
