"""Token selectors: scores, decisions, what is left, and that training sees what evaluation does."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from dataclasses import asdict, replace  # noqa: E402

from golden_model.units.token_score import plan_sigmoid as integer_plan  # noqa: E402
from quantize.float_forward import float_forward  # noqa: E402
from quantize.float_model import FloatModel  # noqa: E402
from spec.model_config import ModelConfig, Stage  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.selector import (  # noqa: E402
    Noise,
    Rows,
    gumbel_difference,
    keep_decision,
    plan_sigmoid,
    select,
)
from training.vit import Vit, VitConfig  # noqa: E402

SHAPE = {"image_size": 12, "patch_size": 4, "embed_dim": 16, "heads": 2, "mlp_dim": 32}
SHAPE |= {"classes": 10, "depth": 4}


def stages(*blocks, rule="selector", threshold=8192):
    return tuple(Stage(block=block, rule=rule, threshold=threshold) for block in blocks)


def spread_model(**fields):
    """A model whose scores lie on both sides of the threshold."""
    torch.manual_seed(3)
    model = Vit(VitConfig(**SHAPE, **fields))
    with torch.no_grad():
        model.pos_embed.normal_()
        for name, parameter in model.named_parameters():
            if "selector" in name:
                parameter.mul_(2.0)
            elif parameter.ndim > 1:
                parameter.normal_(std=0.15)
            if name.endswith("score3.bias"):
                parameter.zero_()
    return model.eval()


def numpy_logits(model, pixels, collect=None):
    """The same model in the float forward pass of `quantize`."""
    import json

    config = ModelConfig.from_json(json.dumps(asdict(model.config)), where="test")
    parameters = {name: value.numpy() for name, value in model.state_dict().items()}
    twin = FloatModel(config=config, parameters=parameters, mean=(0.3,), std=(0.4,))
    return float_forward(twin, pixels, collect)


def pixels_of(count):
    return np.random.default_rng(1).integers(0, 256, (count, 12, 12), dtype=np.uint8)


CHOICES = [
    {"stages": stages(1, 2, 3)},
    {"stages": stages(1, 2, 3), "packages": "each"},
    {"stages": stages(1, 3), "package": "mean"},
    {"stages": stages(1, 2), "package": "none"},
    {"stages": stages(1, threshold=0) + stages(2, threshold=16384)},
    {"stages": stages(1, threshold=16384), "package": "none"},
    {"stages": stages(1, 3, rule="cls_attention", threshold=3300)},
]


@pytest.mark.parametrize("fields", CHOICES)
def test_masked_rows_are_the_same_as_rows_that_are_gone(fields):
    model = spread_model(**fields)
    pixels = pixels_of(24)
    images = (torch.from_numpy(pixels).float() / 255 - 0.3) / 0.4
    with torch.no_grad():
        logits, alive = model.trace(images[:, None])
    kept = {}

    def collect(name, array):
        if name.endswith("selector.kept"):
            kept.setdefault(name, []).append(array[:, 1:].sum(1))

    expected = numpy_logits(model, pixels, collect)
    np.testing.assert_allclose(logits.numpy(), expected, atol=2e-5)
    first = next(iter(kept.values()))[0]
    assert (alive[0].sum(1).numpy() == first).all()
    if not any(stage.threshold in (0, 16384) for stage in fields["stages"]):
        assert len(set(first.tolist())) > 1, "all images keep equally many: the test sees nothing"


def test_noise_of_zero_decides_as_evaluation_does():
    model = spread_model(stages=stages(1, 2, 3))
    images = torch.randn(16, 1, 12, 12)
    quiet = model.trace(images)
    noisy = model.trace(images, None, torch.zeros(3, 16, 9))
    assert quiet[1].equal(noisy[1].detach())
    torch.testing.assert_close(quiet[0], noisy[0])


def test_every_selector_parameter_has_a_gradient():
    model = spread_model(stages=stages(1, 3))
    logits, alive = model.trace(torch.randn(32, 1, 12, 12), None, torch.zeros(2, 32, 9))
    (logits.square().mean() + alive.mean()).backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if "selector" in name and not parameter.grad.abs().sum() > 0
    ]
    assert silent == []


def test_decisions_are_hard_forwards_and_soft_backwards():
    scores = torch.tensor([0.2, 0.5, 0.8], requires_grad=True)
    quiet = keep_decision(scores, 0.5, None)
    assert quiet.tolist() == [0, 1, 1]
    kept = keep_decision(scores, 0.5, Noise(logistic=torch.tensor([9.0, 0.0, -9.0])))
    assert kept.tolist() == [1, 1, 0]
    kept.sum().backward()
    assert (scores.grad > 0).all()


def test_gumbel_keeps_as_often_as_the_score_says():
    scores = torch.tensor([0.1, 0.5, 0.9]).expand(20_000, 3)
    noise = gumbel_difference((20_000, 3), torch.Generator().manual_seed(1))
    share = keep_decision(scores, 0.5, Noise(logistic=noise)).mean(0)
    torch.testing.assert_close(share, scores[0], atol=0.02, rtol=0)


def test_plan_is_that_of_the_integer_model():
    codes = np.arange(-2000, 2001)
    exact = plan_sigmoid(torch.from_numpy(codes / 256)).numpy() * 256
    assert np.abs(exact - integer_plan(codes)).max() < 1


def test_the_package_is_the_weighted_mean_of_what_is_dropped():
    x = torch.randn(1, 5, 4)
    rows = Rows(x=x, live=torch.ones(1, 5), packages=0)
    scores = torch.tensor([[0.9, 0.3, 0.1, 0.6]])
    choice = {"prefix": 1, "threshold": 0.5, "packages": "merged"}
    weighted = select(rows, scores, package="weighted", **choice)
    torch.testing.assert_close(weighted.x[0, 5], (0.3 * x[0, 2] + 0.1 * x[0, 3]) / 0.4)
    assert weighted.live.tolist() == [[1, 1, 0, 0, 1, 1]]
    plain = select(rows, scores, package="mean", **choice)
    torch.testing.assert_close(plain.x[0, 5], x[0, 2:4].mean(0))
    again = select(weighted, torch.ones(1, 5), package="mean", **choice)
    torch.testing.assert_close(again.x[0, 5], weighted.x[0, 5])
    kept = select(rows, torch.ones(1, 4), package="weighted", **choice)
    assert kept.live.tolist() == [[1, 1, 1, 1, 1, 0]]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"stages": stages(0)}, r"stages\[0\]: block must be an integer in 1\.\.3, not 0"),
        ({"stages": stages(4)}, r"stages\[0\]: block must be an integer in 1\.\.3, not 4"),
        ({"stages": stages(2, 1)}, r"stages\[1\]: block must be more than 2"),
        ({"package": "sum"}, "package must be weighted, mean or none, not 'sum'"),
    ],
)
def test_bad_stages_are_refused(fields, text):
    with pytest.raises(TrainingError, match=text):
        VitConfig(**SHAPE, **fields)


def test_dense_parameters_fit_a_model_with_stages():
    config = VitConfig(**SHAPE, stages=stages(2))
    dense = Vit(replace(config, stages=())).state_dict()
    missing = Vit(config).load_state_dict(dense, strict=False).missing_keys
    assert missing
    assert all(name.startswith("blocks.2.selector.") for name in missing)
