"""Which key an intent uses: uniform, Zipf or a hot set, and which Region owns a key."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lastwriter.client.plan import OWNED, Keys, Load, LoadPlan
from lastwriter.errors import UserError

HOT, NORMAL = "hot", "normal"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a load."""

    name: str
    index: int
    key_class: str | None
    """``hot`` or ``normal``; None: all keys are drawn alike."""
    home_region: str | None
    """Region that owns it; None: nobody does."""
    logical: str | None = None
    """What the user counts, where a pattern spreads that over several items; None: the key itself."""

    def part(self, suffix: str, home_region: str | None = None) -> Key:
        """One of the items that this key is spread over."""
        return Key(f"{self.name}{suffix}", self.index, self.key_class, home_region, self.name)

    def __str__(self) -> str:
        return self.name


def name_of(key: Key | str) -> str:
    """What it is called in the table."""
    return key if isinstance(key, str) else key.name


class KeyChooser:
    """Draws keys for one process.

    ``anything()`` draws from all keys. ``mine()`` draws from those that the process may write: all of them, or
    under a pattern with homes those that its Region owns (index modulo number of Regions), or that were moved to it.
    """

    def __init__(
        self, keys: Sequence[Key], shape: Keys, region: str, rng: random.Random, homes: Mapping[str, str] | None = None
    ) -> None:
        """``homes``: home Region of a key → the one that it was moved to."""
        self.keys = keys
        moved = homes or {}
        owned = [
            key for key in keys if key.home_region is None or moved.get(key.home_region, key.home_region) == region
        ]
        if not owned:
            raise UserError(
                f"Region {region} owns none of the {len(keys)} keys; give `keys.count` at least the number of Regions"
            )
        self.anything = _drawer(keys, shape, rng)
        self.mine = self.anything if len(owned) == len(keys) else _drawer(owned, shape, rng)


def load_keys(plan: LoadPlan, load_index: int) -> list[Key]:
    """Every key of a load of the plan."""
    load = plan.loads[load_index]
    regions = list(plan.endpoints)
    hot = _hot_count(load.keys)
    prefix = key_prefix(load, load_index)
    return [
        Key(
            name=f"{prefix}-{index}",
            index=index,
            key_class=None if hot is None else HOT if index < hot else NORMAL,
            home_region=regions[index % len(regions)] if load.pattern in OWNED else None,
        )
        for index in range(load.keys.count)
    ]


def _hot_count(shape: Keys) -> int | None:
    """How many keys, from the first on, are hot: the hot set, or by Zipf those that get half of all draws together."""
    if shape.hot is not None:
        return shape.hot.count
    if shape.zipf is None:
        return None
    drawn = list(itertools.accumulate((rank + 1) ** -shape.zipf for rank in range(shape.count)))
    return bisect.bisect_left(drawn, drawn[-1] / 2) + 1


def key_prefix(load: Load, load_index: int) -> str:
    """What the keys of a load begin with: its own prefix, or workload and position in the plan (from 1)."""
    return load.keys.prefix or f"{load.workload}-{load_index + 1}"


def _drawer(keys: Sequence[Key], shape: Keys, rng: random.Random) -> Drawer:
    if len(keys) == 1:
        return _Only(keys[0])
    if shape.zipf is not None:
        return _Zipf(keys, shape.zipf, rng)
    if shape.hot is not None:
        hot = [key for key in keys if key.key_class == HOT]
        normal = [key for key in keys if key.key_class == NORMAL]
        if hot and normal:
            return _Hot(_Uniform(hot, rng), _Uniform(normal, rng), shape.hot.share, rng)
    return _Uniform(keys, rng)


class Drawer:
    """Draws one key a call."""

    def __call__(self) -> Key:
        raise NotImplementedError


class _Only(Drawer):
    def __init__(self, key: Key) -> None:
        self._key = key

    def __call__(self) -> Key:
        return self._key


class _Uniform(Drawer):
    def __init__(self, keys: Sequence[Key], rng: random.Random) -> None:
        self._keys, self._count, self._random = keys, len(keys), rng.random

    def __call__(self) -> Key:
        return self._keys[int(self._random() * self._count)]


class _Hot(Drawer):
    def __init__(self, hot: Drawer, normal: Drawer, share: float, rng: random.Random) -> None:
        self._hot, self._normal, self._share, self._random = hot, normal, share, rng.random

    def __call__(self) -> Key:
        return self._hot() if self._random() < self._share else self._normal()


class _Zipf(Drawer):
    """The key at rank k (its index from 1) is drawn in proportion to 1 / k ** exponent."""

    def __init__(self, keys: Sequence[Key], exponent: float, rng: random.Random) -> None:
        self._keys, self._random = keys, rng.random
        self._cumulative = list(itertools.accumulate((key.index + 1) ** -exponent for key in keys))
        self._total = self._cumulative[-1]

    def __call__(self) -> Key:
        # Rounding may carry the product past the last sum.
        rank = bisect.bisect_right(self._cumulative, self._random() * self._total)
        return self._keys[min(rank, len(self._keys) - 1)]
