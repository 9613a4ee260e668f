"""The JSON Schemas in docs/schemas say what the types say."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifier.schemas import FILES, schema_text

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_what_the_type_says(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert text == schema_text(FILES[name]), "run `python -m verifier.schemas docs/schemas`"
