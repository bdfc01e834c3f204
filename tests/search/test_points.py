"""Points of a search: what knobs do to a model and a machine, and what its figures are."""

import numpy as np
import pytest

from golden_model.sieve import sieve
from quantize.masks import kept_masks, sparsity
from quantize.thresholds import real_thresholds
from search.errors import SearchError
from search.space import space_of
from sim.image_cycles import ImageCycles
from spec.errors import SievitError
from spec.model_file import load, save
from spec.presets import PRESETS, changed, preset
from tests.search.searches import evaluator, images


@pytest.fixture(scope="module")
def own():
    return evaluator()


def with_base(own, **values):
    return own.space.point({**own.space.base, **values})


def test_the_base_changes_nothing(own):
    point = own.space.point(own.space.base)
    assert point.model is own.space.model
    assert point.config == own.space.config


def test_stages(own):
    before = own.space.model.config.stages
    after = with_base(
        own, **{"stages.0.factor": 0.0, "stages.1.factor": 1.1, "stages.2.factor": 1.0}
    ).model.config.stages
    assert [stage.block for stage in after] == [2, 3]
    assert after[0].threshold == round(1.1 * before[1].threshold)
    assert after[1] == before[2]


def test_masks(own):
    assert not any(with_base(own, **{"masks.sparsity": 0.0}).model.config.masks)
    pruned = kept_masks(with_base(own, **{"masks.sparsity": 0.4}).model)
    assert sparsity(pruned) >= 0.4
    assert 0.9 not in own.space.knobs["masks.sparsity"]  # ten tokens: CLS's row and column stay


def test_thresholds(own):
    point = with_base(own, **{"tau.fc1": 0.2, "tau.context": 0.0})
    for before, after in zip(
        real_thresholds(own.space.model), real_thresholds(point.model), strict=True
    ):
        assert 0 < after["fc1"] <= 0.2 * 1.2
        assert "context" not in after
        np.testing.assert_allclose(after["probs"], before["probs"])
    dense = evaluator("micro-relu")
    assert not dense.space.point(dense.space.base).model.config.thresholds
    assert dense.space.point({**dense.space.base, "tau.fc1": 0.1}).model.config.thresholds


def test_machines(own):
    point = with_base(own, **{"machine.lanes": 16, "machine.leave_out": True})
    assert point.config.name == "tiny,lanes=16,cls_scores=off,effort_gate=off"
    assert preset(point.config.name) == point.config
    with pytest.raises(SievitError, match="bus_bits must lie in 64"):
        with_base(own, **{"machine.bus_bits": 128})


def test_every_setting_alone_is_a_model_file(own, tmp_path):
    for name, choices in own.space.knobs.items():
        if name.startswith("machine."):
            continue
        for choice in choices:
            path = tmp_path / "point.safetensors"
            save(with_base(own, **{name: choice}).model, path)
            load(path)


def test_changed_machines_have_names():
    assert changed(preset("tiny"), banks=4) == PRESETS["tiny"]
    twice = changed(preset("tiny,banks=8"), lanes=16, banks=4)
    assert twice == preset("tiny,lanes=16")


def test_figures(own):
    found = own.measure(own.space.base)
    data, model = own.calibration, own.space.model
    left = sieve(model, data.images)
    assert found["top1"] == (left.predictions == data.labels).mean()
    some = own.sampled
    cycles = ImageCycles(model, own.space.config, own.timing)
    assert found["image_cycles"] == list(cycles.each(data.images[some], left.of(some)))
    assert found["cycles"] == np.mean(found["image_cycles"])
    assert found["gates"] == found["logic_gates"] + 8 * found["sram_bytes"] * 0.5


def test_held_out_images_are_others(own):
    predictions = sieve(own.space.model, images(100, 32).images).predictions
    assert own.check(own.space.base) == (predictions == images(100, 32).labels).mean()


def test_fewer_zeros_skipped_take_longer(own):
    own_machine = own.measure(own.space.base)
    slower = own.measure({**own.space.base, "machine.zero_skip": False})
    assert slower["cycles"] > own_machine["cycles"]
    assert slower["gates"] < own_machine["gates"]
    assert slower["top1"] == own_machine["top1"]


def test_nothing_to_search():
    model, machine = evaluator("micro").space.model, preset("small")
    with pytest.raises(SearchError, match=r"nothing to search: .* 'small' has a knob of masks"):
        space_of(model, machine, images(0, 8).images, ["masks"])
    with pytest.raises(SearchError, match=r"knobs must be some of tokens, .*, not 'colour'"):
        space_of(model, machine, images(0, 8).images, ["colour"])
