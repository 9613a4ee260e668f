"""Runs that are not on this machine: directories at any URL that fsspec knows, such as ``s3://bucket/run``.

What is to be read is copied into a temporary directory first, file by file; what judging leaves is copied back. Needs
the extra ``lastwriter[remote]``; ``s3://`` is then read by pyarrow itself, with the credentials, the Region and the
endpoint (``AWS_ENDPOINT_URL``) that the environment gives. Other protocols need their own driver, as fsspec says.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from verifier.errors import RecordError
from verifier.rundir import RunDirectory

_SEPARATOR: Final = "://"


def is_url(name: str) -> bool:
    """Whether this is a URL and not a path."""
    return _SEPARATOR in name


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is: a path or a URL. May be sent to other machines."""

    name: str

    @property
    def is_remote(self) -> bool:
        """Whether it is a URL."""
        return is_url(self.name)

    def files(self) -> list[str]:
        """Every file of the run, relative to it, sorted. Raises :class:`RecordError`."""
        with self._one_line("cannot be listed"):
            if not self.is_remote:
                root = Path(self.name)
                return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
            system, root_path = _filesystem(self.name)
            prefix = root_path.rstrip("/") + "/"
            found = [path.lstrip("/").removeprefix(prefix.lstrip("/")) for path in system.find(root_path)]
        if not found:
            raise RecordError(f"{self.name}: there is nothing there")
        return sorted(found)

    @contextlib.contextmanager
    def at_hand(self, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[RunDirectory]:
        """The run's directory on this machine, with the files that are wanted, until the context is left."""
        if not self.is_remote:
            yield RunDirectory(self.name)
            return
        with tempfile.TemporaryDirectory(prefix="lastwriter-") as folder:
            # The last part of the URL is the run's name.
            root = Path(folder) / self.name.rstrip("/").rpartition("/")[2]
            root.mkdir()
            self._fetch([name for name in self.files() if wanted(name)], root)
            try:
                yield RunDirectory(root)
            except RecordError as error:
                raise RecordError(str(error).replace(str(root), self.name.rstrip("/"))) from None

    def put(self, paths: Sequence[Path]) -> None:
        """Copy files into the run, in this order. Raises :class:`RecordError`."""
        with self._one_line("cannot be written to"):
            system, root = _filesystem(self.name)
            for path in paths:
                system.put_file(str(path), f"{root.rstrip('/')}/{path.name}")

    def _fetch(self, names: Sequence[str], root: Path) -> None:
        with self._one_line("cannot be read"):
            system, remote = _filesystem(self.name)
            for name in names:
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                system.get_file(f"{remote.rstrip('/')}/{name}", str(target))

    @contextlib.contextmanager
    def _one_line(self, what: str) -> Iterator[None]:
        try:
            yield
        except RecordError:
            raise
        except Exception as error:  # noqa: BLE001 - every driver has errors of its own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RecordError(f"{self.name}: {what} ({reason})") from None


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it."""
    try:
        import fsspec
        from fsspec.implementations.arrow import ArrowFSWrapper
    except ImportError:
        raise RecordError(f"{url}: reading runs from URLs needs fsspec: pip install 'lastwriter[remote]'") from None
    protocol, _, path = url.partition(_SEPARATOR)
    if protocol == "s3":
        from pyarrow.fs import S3FileSystem

        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return ArrowFSWrapper(S3FileSystem(endpoint_override=endpoint)), path
    try:
        system, within = fsspec.core.url_to_fs(url)
        return system, within
    except ImportError as error:
        raise RecordError(f"{url}: {protocol}:// needs a driver of its own ({error})") from None
