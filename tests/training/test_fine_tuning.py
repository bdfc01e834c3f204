"""Fine-tuning of bundled models with masks, thresholds, ReLU and the auto-encoder."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from quantize import float_forward, load_float, quantize_model  # noqa: E402
from quantize.float_model import FloatModel  # noqa: E402
from quantize.masks import kept_masks  # noqa: E402
from spec.model_config import THRESHOLDS, ModelConfig, Stage  # noqa: E402
from tests.training.conftest import random_data  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.recipe import RECIPES, FineTuning  # noqa: E402
from training.train import read_float, train  # noqa: E402
from training.trainer import Trainer  # noqa: E402
from training.vit import Vit, VitConfig  # noqa: E402

SHAPE = {"image_size": 12, "patch_size": 4, "embed_dim": 16, "heads": 2, "mlp_dim": 32}
SHAPE |= {"classes": 10, "depth": 3}
STAGES = (Stage(block=1, rule="selector"), Stage(block=2, rule="selector"))


@pytest.fixture(scope="module")
def data():
    """As many images as one batch of the recipes."""
    torch.set_num_threads(1)
    return random_data(256)


def random_model(tau, masked, **fields):
    """A model whose scores, thresholds and masks all matter, and its twin in numpy."""
    torch.manual_seed(5)
    model = Vit(VitConfig(**SHAPE, thresholds=bool(tau), **fields)).eval()
    with torch.no_grad():
        model.pos_embed.normal_()
        for name, parameter in model.named_parameters():
            if "selector" in name:
                parameter.mul_(2.0)
            elif parameter.ndim > 1 and "code" not in name:
                parameter.normal_(std=0.15)
            if name.endswith("score3.bias"):
                parameter.zero_()
            elif name.endswith(("code.bias", "qkv.bias")):
                parameter.normal_(std=0.3)
    kept = np.random.default_rng(1).random((3, 2, 10, 10)) < 0.4
    kept[..., 0] = kept[:, :, 0] = True
    tensors = [torch.from_numpy(each).float() if masked else None for each in kept]
    model.set_sieves(tensors, tau)
    config = json.loads(json.dumps(asdict(model.config)))
    config["masks"] = [int(each.sum()) for each in kept] if masked else []
    twin = FloatModel(
        config=ModelConfig.from_json(json.dumps(config), where="test"),
        parameters={name: value.numpy() for name, value in model.state_dict().items()},
        mean=(0.3,),
        std=(0.4,),
        kept=dict(enumerate(kept)) if masked else {},
        tau=(tau,) * 3 if tau else (),
    )
    return model, twin


ALL = dict.fromkeys(THRESHOLDS, 0.05)
CASES = {
    "mask": ({}, True, {}),
    "mask, dropped tokens": ({}, True, {"stages": STAGES}),
    "mask, a package each": ({}, True, {"stages": STAGES, "packages": "each"}),
    "code": ({}, False, {"auto_encoder": 1}),
    "relu": ({}, False, {"activation": "relu"}),
    **{name: ({name: 0.1}, False, {}) for name in THRESHOLDS},
    "probs": ({"probs": 0.4}, False, {}),
    "all": (ALL, True, {"stages": STAGES, "activation": "relu", "auto_encoder": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_training_computes_what_the_float_reference_does(case):
    tau, masked, fields = CASES[case]
    model, twin = random_model(tau, masked, **fields)
    pixels = np.random.default_rng(1).integers(0, 256, (24, 12, 12), dtype=np.uint8)
    images = (torch.from_numpy(pixels).float() / 255 - 0.3) / 0.4
    with torch.no_grad():
        got = model(images[:, None]).numpy()
        plain = Vit(replace(model.config, thresholds=False, auto_encoder=0))
        plain.load_state_dict(model.state_dict(), strict=False)
        without = plain(images[:, None]).numpy()
    expected = float_forward(twin, pixels)
    # a value beside its threshold may fall on either side
    close = np.abs(got - expected).max(axis=1) < 1e-4
    assert close.mean() >= (0.85 if tau else 1)
    if case != "relu":
        assert np.abs(got - without).max() > 1e-3, "the test sees nothing"


def test_penalties():
    model, _ = random_model({}, False, auto_encoder=1, activation="relu")
    images = torch.randn(4, 1, 12, 12)
    found = model.learn(images)[2]
    assert len(found.activity) == len(found.reconstruction) == 3
    torch.stack(found.reconstruction).sum().backward()
    assert model.blocks[1].attn.q_encode.weight.grad.abs().sum() > 0
    seen = []
    model.blocks[0].attn.qkv.register_forward_hook(lambda *_: seen.append(_[2]))
    model.blocks[0].mlp.act.register_forward_hook(lambda *_: seen.append(_[2]))
    again = model.learn(images)[2]
    qkv, hidden = seen
    q, k, _ = qkv.view(4, 10, 3, 2, 8).permute(2, 0, 3, 1, 4)
    loss = 0
    for kind, x in (("q", q), ("k", k)):
        attn = model.blocks[0].attn
        decoded = getattr(attn, f"{kind}_decode")(getattr(attn, f"{kind}_encode")(x))
        loss = loss + (decoded - x).square().sum((1, 2, 3)).sqrt().mean()
    torch.testing.assert_close(again.reconstruction[0], loss)
    torch.testing.assert_close(again.activity[0], hidden.mean())


@pytest.mark.parametrize(
    "name", ["micro-relu", "micro-masks", "micro-coded", "micro-effort", "micro-all"]
)
def test_recipes_give_models_that_quantise(name, data, tmp_path):
    path, records = tmp_path / "out.safetensors", []
    fields = {"data": data, "compile_model": False, "epochs": 1}
    train(RECIPES[name], path, progress=records.append, **fields)
    assert len(records) == 1, "nothing else is trained on the way"
    model = load_float(path)
    tuning = RECIPES[name].fine_tuning
    assert model.config.activation == RECIPES[name].model.activation
    assert bool(model.kept) == bool(tuning.sparsity)
    assert model.tau == ((dict(tuning.tau),) * model.config.depth if tuning.tau else ())
    quantized = quantize_model(model, data.held_back.images)
    masks = kept_masks(quantized)
    if tuning.sparsity:
        assert 1 - masks.mean() == pytest.approx(tuning.sparsity, abs=0.03)
    if tuning.tau:
        assert quantized.thresholds(0)["probs"] == int(0.05 * 255)
    train(RECIPES[name], tmp_path / "again.safetensors", **fields)
    first, second = (read_float(path)[1], read_float(tmp_path / "again.safetensors")[1])
    assert first.keys() == second.keys()
    assert all(first[key].equal(second[key]) for key in first)


def test_keys_are_centred_where_thresholds_see_them(data):
    trainer = Trainer(RECIPES["micro-all"], data)
    assert trainer.teacher is not None
    keys = slice(16, 32)
    own, taught = (
        model.blocks[0].attn.qkv.bias[keys] for model in (trainer.model, trainer.teacher)
    )
    assert (own - taught).abs().max() == 0, "the teacher is the start, centred too"
    relu = Trainer(RECIPES["micro-relu"], data)
    start = read_float_of("micro")["blocks.0.attn.qkv.bias"]
    assert relu.model.blocks[0].attn.qkv.bias.detach().equal(start)
    tokens = read_float_of("micro-tokens")["blocks.0.attn.qkv.bias"]
    assert not own.detach().equal(tokens[keys])


def read_float_of(name):
    """Float weights of a bundled model."""
    from cli.options import load_model
    from quantize import float_model_of

    model = float_model_of(load_model(name))
    return {key: torch.from_numpy(value) for key, value in model.parameters.items()}


def test_activity_falls_with_its_weight(data):
    """A strong push makes more zeros than none."""
    shares = []
    for weight in (0.0, 3.0):
        tuning = replace(RECIPES["micro-relu"].fine_tuning, activity_weight=weight)
        trainer = Trainer(replace(RECIPES["micro-relu"], fine_tuning=tuning), data)
        for _ in range(4):
            for step in range(5):
                trainer._run_step(step + 5, torch.arange(256))
        images = trainer._normalise(trainer.images[:64])[:, None]
        activity = trainer.model.learn(images)[2].activity
        shares.append(torch.stack(activity).sum().item())
    assert shares[1] < 0.8 * shares[0]


def test_bad_fine_tuning(data):
    recipe = RECIPES["micro-relu"]
    with pytest.raises(TrainingError, match="there is no bundled model 'nano'"):
        Trainer(replace(recipe, fine_tuning=FineTuning(start="nano")), data)
    with pytest.raises(TrainingError, match=r"tau: norm 0\.1 is no threshold"):
        FineTuning(start="micro", tau=(("norm", 0.1),))
    with pytest.raises(TrainingError, match="sparsity must be at least 0 and below 1, not 1"):
        FineTuning(start="micro", sparsity=1.0)
    with pytest.raises(TrainingError, match=r"thresholds of the model need fine_tuning\.tau"):
        replace(recipe, model=replace(recipe.model, thresholds=True))
