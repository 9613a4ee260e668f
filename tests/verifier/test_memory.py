"""Memory is kept while a record is judged, and everything is as it was afterwards."""

from __future__ import annotations

import pyarrow as pa
import pytest

from verifier import memory


def test_the_memory_pool_is_put_back_whatever_happens() -> None:
    before = pa.default_memory_pool().backend_name

    def failing() -> None:
        with memory.kept():
            assert pa.array([1, 2, 3]).sum().as_py() == 6
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert pa.default_memory_pool().backend_name == before
