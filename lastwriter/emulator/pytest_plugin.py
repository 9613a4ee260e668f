"""Fixtures for applications' tests: ``emulator``, one for the whole session, and ``global_table``, a fresh one a test.

Regions, settings and further options are fixtures too, to be overridden in a conftest: ``emulator_regions``,
``emulator_settings``, ``emulator_options``. The mode of a test's table is a mark:
``@pytest.mark.global_table(mode="MRSC")``. Faults heal at the end of each test.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lastwriter.emulator import Emulator

_numbers = itertools.count(1)


class GlobalTable:
    """An empty global table over all Regions of an emulator."""

    def __init__(self, emulator: Emulator, name: str) -> None:
        self.emulator = emulator
        self.name = name

    def client(self, region: str, **more: Any) -> Any:
        """A boto3 client of the Region."""
        return self.emulator.client(region, **more)

    def table(self, region: str, **more: Any) -> Any:
        """The table as a boto3 resource of the Region."""
        return self.emulator.resource(region, **more).Table(self.name)


def pytest_configure(config: pytest.Config) -> None:
    """The mark is known."""
    config.addinivalue_line(
        "markers", "global_table(mode, **more): mode and CreateTable parameters of the test's global_table"
    )


@pytest.fixture(scope="session")
def emulator_regions() -> tuple[str, ...]:
    """Regions of the emulator."""
    from lastwriter.emulator.embedded import REGIONS

    return REGIONS


@pytest.fixture(scope="session")
def emulator_settings() -> dict[str, Any]:
    """Settings of the emulator; as measured, unless a test says otherwise."""
    return {}


@pytest.fixture(scope="session")
def emulator_options() -> dict[str, Any]:
    """Further arguments of :class:`lastwriter.emulator.Emulator`: ``auth``, ``tls_certificate`` …; none."""
    return {}


@pytest.fixture(scope="session")
def _running_emulator(
    emulator_regions: tuple[str, ...], emulator_settings: dict[str, Any], emulator_options: dict[str, Any]
) -> Iterator[Emulator]:
    from lastwriter.emulator import Emulator

    with Emulator(regions=emulator_regions, settings=emulator_settings, **emulator_options) as running:
        yield running


@pytest.fixture
def emulator(_running_emulator: Emulator) -> Iterator[Emulator]:
    """The session's emulator, with no fault left in it at the end of the test."""
    yield _running_emulator
    _running_emulator.heal()


@pytest.fixture
def global_table(emulator: Emulator, request: pytest.FixtureRequest) -> GlobalTable:
    """A global table of the test's own."""
    mark = request.node.get_closest_marker("global_table")
    name = f"table-{next(_numbers)}"
    emulator.create_table(name, **(mark.kwargs if mark is not None else {}))
    return GlobalTable(emulator, name)
