"""docs/emulator.md says what the types say."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from lastwriter.emulator.faults import FaultKind, FaultParameters
from lastwriter.emulator.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text()


def test_every_setting_stands_with_its_default() -> None:
    defaults = Settings().model_dump(mode="json")
    for name, field in Settings.model_fields.items():
        row = f"| `{name}` | `{defaults[name]}` | {field.description} |"
        assert row in TEXT, f"the table of settings in docs/emulator.md lacks this line:\n{row}"


def test_every_fault_and_every_parameter_stands() -> None:
    for kind in get_args(FaultKind):
        assert f"| `{kind}` |" in TEXT
    for name in set(FaultParameters.model_fields) - {"kind"}:
        assert f"`{name}`" in TEXT
