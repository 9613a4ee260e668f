"""Keys: who may write which, and how often each is drawn."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from lastwriter.client.keys import KeyChooser, load_keys
from lastwriter.client.plan import HotKeys, Keys, Load, LoadPlan
from lastwriter.errors import UserError

REGIONS = ["us-east-1", "us-east-2", "us-west-2"]


def chooser(load: Load, region: str = REGIONS[0], seed: str = "s") -> KeyChooser:
    plan = LoadPlan(
        run="r",
        run_directory="r",
        seed=1,
        mode="MREC",
        table="t",
        endpoints={name: f"http://{name}" for name in REGIONS},
        loads=[Load(workload="other"), load],
        phases=[],
    )
    return KeyChooser(load_keys(plan, 1), load.keys, region, random.Random(seed))


def test_loads_have_keys_of_their_own_unless_they_share_a_prefix() -> None:
    assert chooser(Load(workload="counters", keys=Keys(count=2))).keys[1].name == "counters-2-1"
    assert chooser(Load(workload="counters", keys=Keys(count=2, prefix="shared"))).keys[1].name == "shared-1"


def test_every_key_is_drawn_equally_often() -> None:
    keys = chooser(Load(workload="a", keys=Keys(count=20)))
    counts = Counter(keys.anything().index for _ in range(20_000))
    assert len(counts) == 20
    assert all(800 < count < 1200 for count in counts.values())


def test_the_same_seed_draws_the_same_keys() -> None:
    load = Load(workload="a", keys=Keys(count=1000, zipf=1.1))
    one, same, other = (chooser(load, seed=seed) for seed in ("1", "1", "2"))
    drawn = [[keys.anything().index for _ in range(50)] for keys in (one, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_by_zipf_the_first_keys_that_get_half_of_the_draws_are_hot() -> None:
    drawer = chooser(Load(workload="a", keys=Keys(count=100, zipf=1.0)))
    classes = [key.key_class for key in drawer.keys]
    hot = classes.count("hot")
    assert classes == ["hot"] * hot + ["normal"] * (100 - hot)
    shares = [1 / rank for rank in range(1, 101)]
    assert sum(shares[: hot - 1]) < sum(shares) / 2 <= sum(shares[:hot])
    (only,) = chooser(Load(workload="a", keys=Keys(count=1, zipf=2.0))).keys
    assert only.key_class == "hot"


def test_zipf_draws_rank_k_in_proportion_to_its_power() -> None:
    keys = chooser(Load(workload="a", keys=Keys(count=100, zipf=1.0)))
    counts = Counter(keys.anything().index for _ in range(50_000))
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.1)
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.2)


def test_hot_keys_get_their_share_and_their_class() -> None:
    keys = chooser(Load(workload="a", keys=Keys(count=100, hot=HotKeys(count=2, share="80%"))))
    drawn = [keys.anything() for _ in range(20_000)]
    assert sum(key.key_class == "hot" for key in drawn) / len(drawn) == pytest.approx(0.8, abs=0.02)
    assert {key.index for key in drawn if key.key_class == "hot"} == {0, 1}
    assert {key.key_class for key in drawn} == {"hot", "normal"}
    assert chooser(Load(workload="a")).anything().key_class is None


@pytest.mark.parametrize(
    "shape", [Keys(count=7), Keys(count=7, zipf=0.9), Keys(count=7, hot=HotKeys(count=2, share="90%"))]
)
def test_under_home_region_a_process_writes_its_own_regions_keys_only(shape: Keys) -> None:
    written: dict[str, set[int]] = {}
    for region in REGIONS:
        keys = chooser(Load(workload="a", pattern="home-region", keys=shape), region)
        mine = [keys.mine() for _ in range(2000)]
        assert {key.home_region for key in mine} == {region}
        written[region] = {key.index for key in mine}
        assert {keys.anything().index for _ in range(5000)} == set(range(7)), "reads go anywhere"
    assert sorted(index for indices in written.values() for index in indices) == list(range(7))


def test_other_patterns_write_anywhere() -> None:
    keys = chooser(Load(workload="a", keys=Keys(count=5)))
    assert {keys.mine().index for _ in range(500)} == set(range(5))
    assert keys.mine().home_region is None


def test_a_region_without_a_key_is_said() -> None:
    with pytest.raises(UserError, match=r"us-west-2 owns none of the 2 keys"):
        chooser(Load(workload="a", pattern="home-region", keys=Keys(count=2)), "us-west-2")
