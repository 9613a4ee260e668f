"""A certificate for ``localhost``, ``127.0.0.1`` and ``::1``, and the authority that signed it, made for every use.

Nothing trusts them but the tests, and no key is kept in the repository.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import trustme


def make_certificates(folder: Path) -> None:
    """Write ``ca.pem``, ``server.pem`` and ``server.key``."""
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1", "::1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server.cert_chain_pems[0].write_to_path(folder / "server.pem")
    server.private_key_pem.write_to_path(folder / "server.key")


@functools.cache
def certificates() -> Path:
    """Folder with the three files, one for this process, gone when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="lastwriter-certificates-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_certificates(folder)
    return folder
