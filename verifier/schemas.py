"""JSON Schema of the files that a run leaves, for those who read them with something else.

    python -m verifier.schemas docs/schemas

writes them anew; a test holds the files in docs/schemas against the types.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from verifier.rundir import FaultRecord, RouteEvent, RunInfo
from verifier.verdict import Verdict

FILES: dict[str, type[BaseModel]] = {
    "verdict.schema.json": Verdict,
    "run.schema.json": RunInfo,
    "fault.schema.json": FaultRecord,
    "route.schema.json": RouteEvent,
}
"""File name → type of the file (fault, route: of one line of faults.jsonl, routes.jsonl)."""


def schema_text(model: type[BaseModel]) -> str:
    """The schema as it stands in the file."""
    return json.dumps(model.model_json_schema(by_alias=True), indent=2, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Write every schema into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in FILES.items():
        (folder / name).write_text(schema_text(model))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas"))
