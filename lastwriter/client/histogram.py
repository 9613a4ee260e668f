"""HdrHistogram's buckets, for whole arrays at once: latencies from a microsecond to an hour, three digits."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

LOWEST_NS: Final = 1_000
HIGHEST_NS: Final = 3_600_000_000_000
DIGITS: Final = 3

_SHAPE: Final = HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)
_UNIT: Final = int(_SHAPE.unit_magnitude)
_HALF_MAGNITUDE: Final = int(_SHAPE.sub_bucket_half_count_magnitude)
_HALF: Final = int(_SHAPE.sub_bucket_half_count)
_MASK: Final = int(_SHAPE.sub_bucket_mask)
LENGTH: Final = int(_SHAPE.counts_len)
"""Number of buckets."""

Int64 = npt.NDArray[np.int64]


def bucket_of(values_ns: Int64) -> Int64:
    """Index of each value's bucket; what lies outside the range goes to its ends."""
    values = np.clip(values_ns, 0, HIGHEST_NS)
    # frexp's exponent is the bit length; exact, as the range lies below 2 ** 53.
    bits = np.frexp((values | _MASK).astype(np.float64))[1].astype(np.int64)
    bucket = bits - _UNIT - (_HALF_MAGNITUDE + 1)
    sub_bucket = values >> (bucket + _UNIT)
    index: Int64 = ((bucket + 1) << _HALF_MAGNITUDE) + sub_bucket - _HALF
    return index


def _highest_values() -> Int64:
    index = np.arange(LENGTH, dtype=np.int64)
    bucket = (index >> _HALF_MAGNITUDE) - 1
    sub_bucket = (index & (_HALF - 1)) + np.where(bucket < 0, 0, _HALF)
    shift = np.maximum(bucket, 0) + _UNIT
    highest: Int64 = (sub_bucket << shift) + (np.int64(1) << shift) - 1
    return highest


HIGHEST_VALUES_NS: Final = _highest_values()
"""By bucket: the greatest value that falls into it."""


def percentile_ns(counts: Int64, share: float) -> int | None:
    """Value at a share (0.99) of the counts by bucket; None of none."""
    total = int(counts.sum())
    if total == 0:
        return None
    target = max(1, int(share * total + 0.5))
    return int(HIGHEST_VALUES_NS[np.searchsorted(np.cumsum(counts), target)])


def to_hdr(counts: Int64) -> Any:
    """An HdrHistogram of these counts, to encode."""
    histogram = HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)
    used = np.flatnonzero(counts)
    for index in used:
        histogram.counts[int(index)] = int(counts[index])
    if len(used):
        histogram.set_internal_tacking_values(int(used[0]), int(used[-1]), int(counts.sum()))
    return histogram
