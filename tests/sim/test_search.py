"""Points of a search on simulated Verilog: cycles and bytes as predicted, every bit as expected."""

import pytest

pytest.importorskip("optuna")

from search.remeasure import remeasure, some_of
from tests.search.searches import evaluator

NO_STAGES = {f"stages.{number}.factor": 0.0 for number in range(3)}
POINTS = [
    {"stages.0.factor": 1.1, "masks.sparsity": 0.0, "tau.fc1": 0.1},
    {**NO_STAGES, "tau.probs": 0.2},
    {**NO_STAGES, "masks.sparsity": 0.0, "efforts.gate": 0.25, "efforts.skip1": True},
]


@pytest.mark.parametrize("changes", POINTS, ids=["tokens", "masks", "efforts"])
def test_a_point_takes_the_predicted_cycles(changes):
    own = evaluator(groups="tokens,masks,thresholds,efforts")
    values = {**own.space.base, **changes}
    point = {"trial": 5, "values": values, **own.measure(values)}
    found = remeasure(own, point, "micro-all")
    assert found["image_cycles"] == point["image_cycles"]
    assert found["dram_bytes"] == point["dram_bytes"]
    assert found["differing_elements"] == 0
    assert found["agrees"]
    wrong = {**point, "image_cycles": [point["image_cycles"][0] + 1]}
    assert not remeasure(own, wrong, "micro-all")["agrees"]


def test_stages_and_masks_are_within_the_stated_error():
    own = evaluator(groups="tokens,masks,thresholds,efforts")
    values = {**own.space.base, "stages.0.factor": 1.1, "masks.sparsity": 0.2, "tau.fc1": 0.1}
    point = {"trial": 5, "values": values, **own.measure(values)}
    found = remeasure(own, point, "micro-all")
    assert found["agrees"]
    assert found["dram_bytes"] == point["dram_bytes"]
    wrong = {**point, "image_cycles": [round(count * 1.01) for count in point["image_cycles"]]}
    assert not remeasure(own, wrong, "micro-all")["agrees"]


def test_some_points():
    points = [{"trial": number} for number in range(7)]
    assert [point["trial"] for point in some_of(points, 3)] == [0, 3, 6]
    assert some_of(points, 0) == []
    assert some_of(points, 1) == points[:1]
    assert some_of(points[:2], 5) == points[:2]
