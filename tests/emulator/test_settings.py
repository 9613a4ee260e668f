"""Settings and the dated data behind them."""

from __future__ import annotations

import itertools

import pytest

from lastwriter.emulator.core.roundtrips import check_region, known_regions, mrsc_regions, round_trip_ns
from lastwriter.emulator.settings import Settings
from lastwriter.errors import UserError


def test_settings_come_from_texts_on_top_of_others() -> None:
    base = Settings.parse({"replicator_delay": "2s", "replicator_delay_spread": "0%", "conflict_status": "400"})
    assert (base.replicator_delay, base.replicator_delay_spread, base.conflict_status) == (2.0, 0.0, 400)
    changed = Settings.parse({"latency_scale": "50%"}, base)
    assert (changed.replicator_delay, changed.latency_scale, changed.conflict_status) == (2.0, 0.5, 400)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replicator-dely": "1s"}, "did you mean replicator_delay"),
        ({"qqqq": "1"}, "the settings are replicator_delay"),
        ({"replicator_delay": "1 day"}, "unknown unit"),
        ({"latency_scale": "2"}, "unit"),
        ({"conflict_status": "418"}, "409"),
        ({"seed": "lucky"}, "seed"),
    ],
)
def test_a_wrong_setting_is_one_line(values: dict[str, str], words: str) -> None:
    with pytest.raises(UserError) as raised:
        Settings.parse(values)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_regions_of_mrsc_have_round_trips_to_each_other() -> None:
    for one, other in itertools.combinations(mrsc_regions(), 2):
        assert 5e6 < round_trip_ns(one, other) < 300e6
        assert round_trip_ns(one, other) == round_trip_ns(other, one)


def test_known_round_trips_are_as_aws_says() -> None:
    """The talk: Virginia to Ohio about 20 ms, to Tokyo about 200 ms for a write, which is one round trip."""
    assert 10e6 < round_trip_ns("us-east-1", "us-east-2") < 25e6
    assert 140e6 < round_trip_ns("us-east-1", "ap-northeast-1") < 220e6


def test_an_unknown_region_names_the_nearest() -> None:
    assert len(known_regions()) == 33
    with pytest.raises(UserError, match="did you mean eu-central-1"):
        check_region("eu-centrall-1")
    with pytest.raises(UserError, match="no measured round trip"):
        round_trip_ns("eu-south-1", "il-central-1")


def test_a_switch_is_what_yaml_makes_of_it() -> None:
    assert [Settings.parse({"throttling": value}).throttling for value in ("on", True, "True")] == ["on"] * 3
    assert Settings.parse({"throttling": False}).throttling == "off"
