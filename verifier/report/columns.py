"""What the page takes from lost.jsonl and findings.parquet: every loss and every finding counted, the worst in words.

Both are read piece by piece: a run may have lost millions of writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from verifier.errors import RecordError
from verifier.history.columns import Int64
from verifier.report.series import Buckets, at_times

_LOST: Final = pa.schema([("key", pa.string()), ("region", pa.string()), ("op", pa.int64()), ("end_ns", pa.int64())])
_BYTES_AT_ONCE: Final = 1 << 24
_FEW: Final = 1000


@dataclass(frozen=True, slots=True)
class Lost:
    """Acknowledged writes that are gone."""

    over_time: list[int]
    """How many had been acknowledged in each bucket."""
    few: frozenset[int] = frozenset()
    """Operation ids of all of them, where they are only a few."""
    by_key: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Key → Region of the lost write → count."""


@dataclass(frozen=True, slots=True)
class AllFindings:
    """Every finding of the run."""

    over_time: Mapping[str, list[int]] = field(default_factory=dict)
    """Check → in how many of its findings each bucket was the first in which they could be seen."""
    in_words: tuple[dict[str, Any], ...] = ()
    """Rows of findings.parquet that have a sentence, as they stand there."""


def read_lost(path: Path, buckets: Buckets, t0_ns: int, keys: Collection[str]) -> Lost:
    """``keys``: those whose Regions are told apart. Raises RecordError if the file is there and cannot be read;
    without it, nothing is known of keys and times."""
    over_time = np.zeros(buckets.count, np.int64)
    few: list[int] = []
    by_key: dict[str, dict[str, int]] = {}
    told = pa.array(sorted(keys), pa.string())
    for batch in _lost_writes(path):
        over_time += at_times(batch["end_ns"].to_numpy() + t0_ns, buckets)
        if len(few) < _FEW:
            few += batch["op"].to_pylist()
        table = pa.Table.from_batches([batch])
        counts = table.filter(pc.is_in(table["key"], told)).group_by(["key", "region"]).aggregate([([], "count_all")])
        for row in counts.to_pylist():
            of_key = by_key.setdefault(row["key"], {})
            of_key[row["region"]] = of_key.get(row["region"], 0) + row["count_all"]
    return Lost(over_time.tolist(), frozenset(few) if len(few) < _FEW else frozenset(), by_key)


def _lost_writes(path: Path) -> Iterator[pa.RecordBatch]:
    if not path.exists() or not path.stat().st_size:
        return
    parse = pyarrow.json.ParseOptions(explicit_schema=_LOST, unexpected_field_behavior="ignore")
    try:
        yield from pyarrow.json.open_json(path, pyarrow.json.ReadOptions(block_size=_BYTES_AT_ONCE), parse)
    except pa.ArrowInvalid as error:
        raise RecordError(f"{path}: {str(error).splitlines()[0]}; run `lastwriter verify` again") from None


def read_findings(path: Path, buckets: Buckets, t0_ns: int) -> AllFindings:
    """Raises RecordError if the file is there and cannot be read; without it, verdict.json's findings are all."""
    if not path.exists():
        return AllFindings()
    over_time: dict[str, Int64] = {}
    in_words: list[dict[str, Any]] = []
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, ["check", "at_ns", "sentence"])
                check, at_ns = table["check"].combine_chunks(), table["at_ns"].to_numpy()
                for code, name in enumerate(check.dictionary.to_pylist()):
                    mine = at_times(at_ns[check.indices.to_numpy() == code] + t0_ns, buckets)
                    over_time[name] = over_time.get(name, 0) + mine
                said = pc.is_valid(table["sentence"])
                if pc.any(said).as_py():
                    in_words += file.read_row_group(group).filter(said).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise RecordError(f"{path}: {str(error).splitlines()[0]}; run `lastwriter verify` again") from None
    return AllFindings({name: counts.tolist() for name, counts in over_time.items()}, tuple(in_words))
