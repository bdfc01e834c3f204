"""Thresholds: real numbers to codes and back, what they clear, and the profile of a model."""

from dataclasses import replace

import numpy as np
import pytest

from cli.options import load_model
from golden_model import evaluate, vit
from quantize import float_forward, float_model_of, quantize_model
from quantize.datasets import sample
from quantize.errors import QuantizeError
from quantize.float_model import load_float, save_float
from quantize.masks import average_attention, prune_to_sparsity, with_masks
from quantize.threshold_profile import threshold_profile, zeros_of
from quantize.thresholds import cleared, parse_tau, real_thresholds, with_thresholds
from spec.model_config import THRESHOLDS
from spec.model_file import load, save

TENSORS = {"q": "attn.q", "k": "attn.k", "v": "attn.v", "context": "attn.context"}


def images(count, size=12):
    return sample("models/sample.safetensors", size).images[:count]


def tensors_of(run, model, pictures):
    seen = {}
    run(model, pictures, seen.__setitem__)
    return seen


def test_cleared():
    x = np.array([-0.5, -0.2, 0.0, 0.2, 0.3, 0.5])
    assert cleared(x, 0.2).tolist() == [-0.5, 0, 0, 0, 0.3, 0.5]
    assert cleared(x, 0) is x
    assert cleared(x, [0.2, 0, 0.3]).tolist() == [-0.5, 0, 0.0, 0.2, 0, 0.5]


def test_tau_may_be_written_in_three_ways():
    assert parse_tau(0.1, 2) == (dict.fromkeys(THRESHOLDS, 0.1),) * 2
    assert parse_tau({"q": 0.1}, 2) == ({"q": 0.1},) * 2
    assert parse_tau([{"q": 0.1}, {}], 2) == ({"q": 0.1}, {})


@pytest.mark.parametrize(
    ("tau", "message"),
    [
        ("x", "must be a number, an object, or a list of 2"),
        ([{}], "a list of 2 objects"),
        ([{}, 3], "entry 1 must be an object"),
        ({"norm": 1}, "norm is none of q, k, v, scores"),
        ({"q": -0.1}, "q must be a number of at least 0, not -0.1"),
        ({"q": float("nan")}, "q must be a number of at least 0"),
        ({"q": "much"}, "q must be a number of at least 0"),
        (True, "must be a number"),
    ],
)
def test_bad_tau(tau, message):
    with pytest.raises(QuantizeError, match=message):
        parse_tau(tau, 2)


@pytest.mark.parametrize("name", ["micro", "micro-relu"])
def test_codes_are_the_largest_that_clear_nothing_above_tau(name):
    tau = 0.15
    model = with_thresholds(load_model(name), tau)
    for block, real in enumerate(real_thresholds(model)):
        codes = model.thresholds(block)
        assert set(codes) == set(THRESHOLDS)
        for tensor, code in codes.items():
            if code == 0:
                assert tensor not in real
                continue
            unit = np.asarray(real[tensor]) / (code + 0.5)
            assert (code * unit <= tau * (1 + 1e-5)).all()
            assert ((code + 1) * unit > tau).any()
        assert codes["probs"] == 38
        # raw scores: 2**-7 octaves, sqrt(8) as they are not scaled yet
        assert codes["scores"] == int(0.15 / (8**0.5 * np.log(2) / 128))


def test_integers_and_floats_clear_the_same(tmp_path):
    model = with_thresholds(load_model("micro"), 0.2)
    save(model, tmp_path / "model.safetensors")
    model = load(tmp_path / "model.safetensors")
    codes = tensors_of(vit, model, images(16))
    floats = tensors_of(float_forward, float_model_of(model), images(16))
    name = "blocks.0."
    for tensor, collected in TENSORS.items():
        code, limit = codes[name + collected], model.thresholds(0)[tensor]
        assert limit >= 2, "too small to see"
        size = np.abs(code.astype(int))
        assert not ((size > 0) & (size <= limit)).any()
        assert ((code == 0) == (floats[name + collected] == 0)).mean() > 0.95
        assert 0.03 < (code == 0).mean() < 0.9
    same = (codes["head"].argmax(axis=1) == floats["head"].argmax(axis=1)).mean()
    assert same > 0.8
    plain = float_forward(float_model_of(load_model("micro")), images(16))
    assert np.abs(plain - floats["head"]).max() > 0.5


def test_the_float_keys_are_centred_and_attend_as_before():
    model = load_model("micro")
    none = with_thresholds(model, 0)
    before = tensors_of(float_forward, float_model_of(model), images(8))
    after = tensors_of(float_forward, float_model_of(none), images(8))
    name = "blocks.0.attn.k"
    assert (
        np.abs(after[name].mean(axis=(0, 1))).max() < np.abs(before[name].mean(axis=(0, 1))).max()
    )
    np.testing.assert_allclose(after["head"], before["head"], atol=0.02)
    assert (vit(none, images(8)) == vit(model, images(8))).all()


def test_tau_beyond_the_format_is_refused():
    with pytest.raises(QuantizeError, match=r"blocks\.0: probs must be at most 0\.996\d*, where"):
        with_thresholds(load_model("micro"), {"probs": 1.0})
    with pytest.raises(QuantizeError, match=r"blocks\.0: q must be at most"):
        with_thresholds(load_model("micro"), {"q": 1e6})


def test_float_files_hold_masks_and_tau(tmp_path):
    model = load_model("micro")
    kept, _ = prune_to_sparsity(average_attention(float_model_of(model), images(16)), 0.4, 1)
    real = float_model_of(with_thresholds(with_masks(model, kept), 0.1))
    save_float(real, tmp_path / "float.safetensors")
    again = load_float(tmp_path / "float.safetensors")
    assert again.config == real.config
    assert all((again.kept[n] == kept[n]).all() for n in range(2))
    assert (float_forward(again, images(4)) == float_forward(real, images(4))).all()
    quantized = quantize_model(again, images(16))
    assert quantized.config == real.config
    assert quantized.thresholds(1)["probs"] == real.tau[1]["probs"] * 255 // 1


def test_a_model_without_tau_is_no_model_with_thresholds():
    real = float_model_of(load_model("micro"))
    with pytest.raises(QuantizeError, match="thresholds need a tau for each block"):
        replace(real, config=replace(real.config, thresholds=True))
    with pytest.raises(QuantizeError, match="masks must be the numbers of kept scores"):
        replace(real, config=replace(real.config, masks=(100, 100)))


def test_zeros_are_those_of_the_golden_model():
    model, pictures = load_model("micro-relu"), images(70)
    predictions, found = zeros_of(model, pictures, workers=1)
    sparsity, saved = found["sparsity"], found["saved"]
    assert (predictions == evaluate(model, pictures).predictions).all()
    seen = tensors_of(vit, model, pictures)
    hidden = [seen[f"blocks.{n}.mlp.fc1"] for n in range(2)]
    context = [seen[f"blocks.{n}.attn.context"] for n in range(2)]
    probs = [seen[f"blocks.{n}.attn.probs"] for n in range(2)]
    collected = {"fc1": hidden, "context": context, "probs": probs}
    zeros = {key: sum(int((x == 0).sum()) for x in codes) for key, codes in collected.items()}
    for key, codes in collected.items():
        assert sparsity[key] == zeros[key] / sum(x.size for x in codes)
    # 10 tokens, 16 channels, 2 heads of 8, 32 hidden
    macs = 70 * 2 * (10 * 16 * 48 + 2 * 200 * 8 + 10 * 16 * 16 + 2 * 10 * 16 * 32)
    assert saved == (16 * (zeros["fc1"] + zeros["context"]) + 8 * zeros["probs"]) / macs
    assert sparsity["fc1"] > 0.5
    assert found["hidden"] == [(codes == 0).mean() for codes in hidden]


@pytest.mark.parametrize("name", ["micro", "micro-all"])
def test_profiles_grow_with_tau(name):
    data = sample("models/sample.safetensors", 12).first(64)
    found = threshold_profile(load_model(name), data.images, data.labels, (0, 0.1, 0.3))
    for tensor in THRESHOLDS:
        shares = [point.sparsity[tensor] for point in found]
        assert shares[0] < shares[-1], tensor
    assert found[0].saved < found[1].saved < found[2].saved
    assert found[0].top1 > found[2].top1
    (own,) = threshold_profile(load_model("micro-all"), data.images, data.labels, (None,))
    assert own.tau is None
    assert own.sparsity["context"] > 0.1
    only = threshold_profile(load_model(name), data.images, None, (0.3,), ("context",))
    assert only[0].top1 is None
    assert only[0].sparsity["context"] > found[0].sparsity["context"]
    assert only[0].sparsity["q"] < found[2].sparsity["q"] / 2
