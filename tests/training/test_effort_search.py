"""The choice of efforts and thresholds, from what each path says alone."""

from dataclasses import replace

import numpy as np
import pytest

from cli.options import BUNDLED
from golden_model.units.entropy_gate import is_certain
from golden_model.vit import answer
from quantize.datasets import Labelled, sample
from spec.dram import dram_preset
from spec.model_config import Effort
from spec.model_file import load
from spec.presets import preset
from training.effort_search import Goal, Outcome, Path, choices, choose, entropy, front
from training.effort_study import effort_study, path_cost, paths_of
from training.errors import TrainingError


@pytest.fixture(scope="module")
def micro():
    return load(BUNDLED / "micro.safetensors")


def outcome(rng: np.random.Generator, images: int, share: float) -> Outcome:
    """Right for about a share of the images, and for those that are certain rather more."""
    codes = rng.integers(0, 2000, images)
    return Outcome(right=rng.random(images) < share + (1000 - codes) / 8000, entropy=codes)


@pytest.fixture(scope="module")
def paths():
    rng = np.random.default_rng(3)
    return [
        Path(
            skipped=tuple(range(4 - number)),
            cycles=cycles,
            energy_proxy_uj=cycles / 8,
            calibration=outcome(rng, 300, share),
            held_out=outcome(rng, 200, share),
        )
        for number, (cycles, share) in enumerate([(100, 0.7), (130, 0.75), (200, 0.85)])
    ]


@pytest.fixture(scope="module")
def found(paths):
    return list(choices(paths))


@pytest.mark.parametrize(("multiplier", "shift"), [(40_000, 20), (65_535, 16), (9_000, 20)])
def test_entropy_is_the_smallest_threshold_that_is_certain(multiplier, shift):
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 300, (2000, 10)).astype(np.int16)
    logits[:10, 3] = 32767
    codes = entropy(logits, multiplier, shift)
    assert is_certain(logits, multiplier, shift, codes).all()
    unsure = codes > 0
    assert not is_certain(logits[unsure], multiplier, shift, codes[unsure] - 1).any()
    assert unsure.mean() > 0.1


def test_figures_are_those_of_the_cascade(paths, found):
    triples = [each for each in found if len(each.paths) == 3]
    choice = triples[len(triples) // 2]
    right, cycles, ends = 0, 0, [0, 0, 0]
    for image in range(200):
        for effort, number in enumerate(choice.paths):
            said = paths[number].held_out
            cycles += paths[number].cycles
            if effort == 2 or said.entropy[image] <= choice.thresholds[effort]:
                right += said.right[image]
                ends[effort] += 1
                break
    assert choice.held_out.top1 == right / 200
    assert choice.held_out.cycles == cycles / 200
    assert choice.held_out.shares == tuple(count / 200 for count in ends)
    assert min(ends) > 0


def test_every_cascade_gets_dearer(paths, found):
    assert {each.paths for each in found} == {
        (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)
    }  # fmt: skip
    assert all(len(each.thresholds) == len(each.paths) - 1 for each in found)
    assert {len(each.paths) for each in choices(paths, 2)} == {1, 2}


def test_the_front_is_not_beaten(found):
    best = front(found)
    assert len(best) > 5
    for each in found:
        known = each.calibration
        assert any(
            one.calibration.cycles <= known.cycles and one.calibration.top1 >= known.top1
            for one in best
        )
    cycles = [each.calibration.cycles for each in best]
    assert cycles == sorted(set(cycles))


def test_goals(found):
    whole = next(each for each in found if each.paths == (2,))
    least = whole.calibration.top1 - 0.05
    cheap = choose(found, Goal(max_drop=0.05))
    assert cheap.calibration.top1 >= least
    assert cheap.calibration.cycles == min(
        each.calibration.cycles for each in found if each.calibration.top1 >= least
    )
    good = choose(found, Goal(target_cycles=150))
    assert good.calibration.cycles <= 150
    assert good.calibration.top1 == max(
        each.calibration.top1 for each in found if each.calibration.cycles <= 150
    )
    limited = choose(found, Goal(target_cycles=190, low_share=0.8))
    assert not limited.thresholds or limited.calibration.shares[0] >= 0.8
    assert limited != choose(found, Goal(target_cycles=190))


def test_goals_that_nothing_meets(found):
    with pytest.raises(TrainingError, match="at most 99 cycles; the fewest are 100"):
        choose(found, Goal(target_cycles=99))


def test_paths_of_a_model(micro):
    shape = replace(micro.config, depth=4)
    order = [1, 3, 0, 2]
    assert paths_of(shape, order) == [(0, 1, 3), (1, 3), (1,), ()]
    assert paths_of(shape, order, [2]) == [(1, 3), ()]
    own = replace(shape, efforts=(Effort(skipped=(2,), threshold=9), Effort()))
    assert paths_of(own, order) == [(2,), ()]
    assert paths_of(own, order, [3]) == [(1,), ()]


def test_energy_is_a_mean_over_passes_like_cycles(found):
    for each in found:
        for figures in (each.calibration, each.held_out):
            assert figures.energy_proxy_uj == pytest.approx(figures.cycles / 8)


def test_skipped_attention_takes_fewer_cycles_and_less_energy(micro):
    where = preset("tiny"), "ddr", dram_preset("ddr")
    none, one, both = (path_cost(micro.config, path, *where) for path in ((), (0,), (0, 1)))
    assert none[0] > one[0] > both[0]
    assert none[1] > one[1] > both[1] > 0


def test_the_study_says_what_the_golden_model_does():
    data = sample(BUNDLED / "sample.safetensors", 12)
    known, others = (data.part(part) for part in (slice(120), slice(120, 220)))
    report, model = effort_study(
        load(BUNDLED / "micro-effort.safetensors"),
        "micro-effort",
        preset("tiny"),
        "ddr",
        dram_preset("ddr"),
        known,
        others,
        similar_images=20,
        goal=Goal(target_cycles=2900),
    )
    chosen = report["chosen"]
    assert len(model.config.efforts) == len(chosen["efforts"]) == 2
    assert chosen in report["front"]
    for split, images in (("calibration", known), ("held_out", others)):
        got = answer(model, images.images)
        shares = np.bincount(got.effort, minlength=2) / len(images.labels)
        assert chosen[split]["shares"] == tuple(shares)
        assert 0 < got.effort.mean() < 1
        assert chosen[split]["top1"] == (got.logits.argmax(axis=1) == images.labels).mean()
        low, high = (entry["held_out"]["cycles"] for entry in report["paths"])
        assert chosen[split]["cycles"] == pytest.approx(low + got.effort.mean() * high)


def test_a_model_with_stages_is_refused():
    tokens = load(BUNDLED / "micro-tokens.safetensors")
    none = Labelled(images=np.zeros((2, 12, 12), np.uint8), labels=np.zeros(2, np.uint8))
    where = preset("tiny"), "ddr", dram_preset("ddr")
    with pytest.raises(TrainingError, match="tokens: has stages"):
        effort_study(tokens, "tokens", *where, none, none, similar_images=2)
