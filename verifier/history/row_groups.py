"""Streams that nobody compacted, because their run was killed, as files that can be read by row group."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from verifier.errors import RecordError
from verifier.history.compact import write_parquet
from verifier.processes import scratch


@contextlib.contextmanager
def in_row_groups(directory: Path, files: Sequence[Path]) -> Iterator[list[Path]]:
    """The same files with every stream made into a Parquet file, in a folder that is gone afterwards.

    A stream can only be read as a whole. What is wrong with one is said of the stream. Raises :class:`RecordError`.
    """
    streams = [path for path in files if path.suffix == ".arrow"]
    if not streams:
        yield list(files)
        return
    with scratch(directory) as folder:
        made = {path: folder / path.with_suffix(".parquet").name for path in streams}
        try:
            try:
                for path, target in made.items():
                    write_parquet(path, target)
            except OSError as error:
                raise RecordError(f"{folder}: cannot be written ({error.strerror or error})") from None
            yield [made.get(path, path) for path in files]
        except RecordError as error:
            said = str(error)
            for path, target in made.items():
                said = said.replace(str(target), str(path))
            raise RecordError(said) from None
