"""The record by row group: what the page takes of it is the same however the files are cut."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from verifier.report import write_report
from verifier.rundir import RunDirectory


def test_the_page_is_the_same_however_the_files_are_cut(run: RunDirectory, page_html: str, tmp_path: Path) -> None:
    """Neighbours of findings and witnesses come from many row groups, whose dictionaries differ."""
    cut = shutil.copytree(run.path, tmp_path / run.name)
    for path in (cut / "history").glob("*.parquet"):
        pq.write_table(pq.read_table(path), path, row_group_size=50)
        assert pq.read_metadata(path).num_row_groups > 10
    page = write_report(RunDirectory(cut)).read_text("utf-8")

    def data(html: str) -> str:
        return html[html.index('<script type="application/json" id="data">') :]

    assert data(page) == data(page_html)
