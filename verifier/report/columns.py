"""What the page takes from lost.jsonl and findings.parquet: every loss and every finding, reduced to a few columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from verifier.errors import RecordError
from verifier.history.columns import Int64


def _no_times() -> Int64:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Lost:
    """Acknowledged writes that are gone."""

    acknowledged_ns: Int64 = field(default_factory=_no_times)
    """When each had been acknowledged, from t0."""
    ops: Int64 = field(default_factory=_no_times)
    """Operation id of each."""
    by_key: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Key → Region of the lost write → count."""


@dataclass(frozen=True, slots=True)
class AllFindings:
    """Every finding of the run."""

    at_ns: Mapping[str, Int64] = field(default_factory=dict)
    """Check → when each of its findings could first be seen, from t0."""
    in_words: tuple[dict[str, Any], ...] = ()
    """Rows of findings.parquet that have a sentence, as they stand there."""


def read_lost(path: Path) -> Lost:
    """Raises RecordError if the file is there and cannot be read; without it, nothing is known of keys and times."""
    if not path.exists() or not path.stat().st_size:
        return Lost()
    wanted = pa.schema([("key", pa.string()), ("region", pa.string()), ("op", pa.int64()), ("end_ns", pa.int64())])
    parse = pyarrow.json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="ignore")
    try:
        table = pyarrow.json.read_json(path, parse_options=parse)
    except pa.ArrowInvalid as error:
        raise RecordError(f"{path}: {str(error).splitlines()[0]}; run `lastwriter verify` again") from None
    counts = table.group_by(["key", "region"]).aggregate([([], "count_all")]).to_pylist()
    by_key: dict[str, dict[str, int]] = {}
    for row in counts:
        by_key.setdefault(row["key"], {})[row["region"]] = row["count_all"]
    return Lost(table["end_ns"].to_numpy(), table["op"].to_numpy(), by_key)


def read_findings(path: Path) -> AllFindings:
    """Raises RecordError if the file is there and cannot be read; without it, verdict.json's findings are all."""
    if not path.exists():
        return AllFindings()
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise RecordError(f"{path}: {str(error).splitlines()[0]}; run `lastwriter verify` again") from None
    checks = np.asarray(table["check"].cast(pa.string()).to_pylist(), dtype=object)
    at_ns = table["at_ns"].to_numpy()
    in_words = table.filter(pa.compute.is_valid(table["sentence"])).to_pylist()
    return AllFindings({name: at_ns[checks == name] for name in dict.fromkeys(checks.tolist())}, tuple(in_words))
